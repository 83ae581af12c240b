"""A sigstore bundle with a DSSE envelope, as model-signing writes it: what was signed, and the signatures of it.

Pure. Bundles come from the same places as models and are as little to be trusted: whatever is not as it must be is a
`SignatureProblem`, and nothing of the payload counts before a trusted key has been found to have signed it.
The forms are those of the sigstore bundle 0.3, DSSE 1.0 and in-toto's Statement 1.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

MOST_BUNDLE_BYTES: Final = 1 << 20
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle"
_MOST_SIGNATURES: Final = 16


class SignatureProblem(Exception):  # noqa: N818 - an outcome that is reported, not a bug
    """A bundle does not prove what it should; the message is the end of a sentence that begins with its name."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a bundle holds.

    Attributes:
        payload: the bytes that were signed, an in-toto statement.
        signatures: signatures, of which one by a trusted key is enough.
    """

    payload: bytes
    signatures: tuple[bytes, ...]

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that a signature is over: DSSE's pre-authentication encoding of type and payload."""
        kind = PAYLOAD_TYPE.encode()
        return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(self.payload), self.payload)


def read_bundle(content: bytes) -> Envelope:
    """Return what a bundle holds; nothing of it is proven yet.

    Raises:
        SignatureProblem: it is not such a bundle.
    """
    if len(content) > MOST_BUNDLE_BYTES:
        raise SignatureProblem(f"is larger than {MOST_BUNDLE_BYTES} bytes")
    bundle = _object(parsed(content))
    media_type = bundle.get("mediaType")
    if not isinstance(media_type, str) or not media_type.startswith(_MEDIA_TYPE):
        raise SignatureProblem("is no sigstore bundle: sign the model with model-signing")
    if not isinstance(bundle.get("dsseEnvelope"), dict):
        raise SignatureProblem("holds no DSSE envelope: sign the model with model-signing, not as a blob")
    envelope = _object(bundle["dsseEnvelope"])
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise SignatureProblem(f"signs something else than {PAYLOAD_TYPE}")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or not 0 < len(signatures) <= _MOST_SIGNATURES:
        raise SignatureProblem(f"must hold 1 to {_MOST_SIGNATURES} signatures")
    return Envelope(
        _decoded(envelope.get("payload")), tuple(_decoded(_object(each).get("sig")) for each in signatures)
    )


def parsed(content: bytes) -> Any:
    """Return what a JSON text says.

    Raises:
        SignatureProblem: it is none.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise SignatureProblem("is no JSON") from error


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise SignatureProblem("is not formed like a sigstore bundle")
    return value


def _decoded(value: Any) -> bytes:
    try:
        # DSSE allows both alphabets.
        return base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
    except (AttributeError, ValueError, binascii.Error) as error:
        raise SignatureProblem("holds text that is not base64") from error
