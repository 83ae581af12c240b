"""Checks that somebody whom the node trusts has signed a model, before it is loaded.

A bundle comes from the same kinds of places as models, and is kept beside them once it was good, so that a restart
without network can check anew. Bytes that differ from the suite's digests are never loaded anyway; a signature says
that these digests are those of somebody whose key the cluster's administrator has named.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.atomic_file import write_atomically
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.signature_bundle import MOST_BUNDLE_BYTES, SignatureProblem, read_bundle
from fleetfit_runtime.store.signed_files import ModelDigests, check_covers, signed_files
from fleetfit_runtime.store.source import Beginning, Wanted
from fleetfit_runtime.store.sources import Sources
from fleetfit_runtime.store.trusted_keys import KeyRing, TrustedKeys
from fleetfit_runtime.store.uri import redacted

logger = logging.getLogger(__name__)

_MISSING: Final = (
    "a signature is required here, and the variant has none; sign its files with model-signing and name the bundle in "
    "the variant's signatureUri"
)
_NO_KEYS: Final = (
    "a signature is required here, but this node trusts no key; put public keys into a ConfigMap in the namespace of "
    "the install and name it in spec.runtime.trustedKeys of the node's HardwareClass"
)


@dataclass(frozen=True, slots=True)
class SignatureTerms:
    """What is asked of a model's signature.

    Attributes:
        uri: where the bundle is; empty where there is none.
        required: whether the model must not be loaded without one.
    """

    uri: str = ""
    required: bool = False

    def file_name(self, graph_sha256: str) -> str:
        """Return the name under which the bundle of a model is kept; empty where there is none."""
        named = json.dumps([graph_sha256, self.uri]).encode()
        return hashlib.sha256(named).hexdigest() if self.uri else ""


class Signatures:
    """Checks the signatures of a node's models.

    Args:
        store: where good bundles are kept.
        sources: where bundles come from.
        keys: whom the node trusts.
        required: whether every model needs a signature, whatever its deployment says.
    """

    def __init__(
        self, store: BlobStore, sources: Sources, keys: TrustedKeys, *, required: bool = False
    ) -> None:
        self._store = store
        self._sources = sources
        self._keys = keys
        self._required = required

    async def check(self, model: ModelDigests, terms: SignatureTerms) -> None:
        """Check the signature of a model, if there is one or must be.

        A node without keys cannot check and skips what is not required.

        Raises:
            ModelFailure: a required one is missing, one is not good, or it cannot be fetched; the message says what
                to do.
        """
        required = terms.required or self._required
        if not terms.uri:
            if required:
                raise ModelFailure(Reason.SIGNATURE_INVALID, _MISSING)
            return
        keys = await asyncio.to_thread(self._keys.read)
        if not keys:
            if required:
                # As with credentials, the ConfigMap may come under a running node.
                raise ModelFailure(Reason.SIGNATURE_INVALID, _NO_KEYS, transient=True)
            return
        path = self._store.signature_path(terms.file_name(model.graph))
        if not await asyncio.to_thread(_kept_is_good, path, keys, model):
            content = await self._fetch(terms.uri)
            try:
                await asyncio.to_thread(verify, content, keys, model)
            except SignatureProblem as problem:
                message = f"the signature {redacted(terms.uri)} {problem}"
                raise ModelFailure(Reason.SIGNATURE_INVALID, message) from problem
            await asyncio.to_thread(_keep, path, content)

    async def _fetch(self, uri: str) -> bytes:
        wanted = Wanted(uri, "", MOST_BUNDLE_BYTES)
        content = bytearray()
        try:
            async with self._sources.for_uri(uri).open(wanted, Beginning()) as stream:
                async for chunk in stream.chunks:
                    content += chunk
                    if len(content) > MOST_BUNDLE_BYTES:
                        message = f"the signature {redacted(uri)} is larger than {MOST_BUNDLE_BYTES} bytes"
                        raise ModelFailure(Reason.SIGNATURE_INVALID, message)
        except ModelFailure as failure:
            if failure.reason != Reason.FILE_NOT_FOUND:
                raise
            message = f"the variant's signature is not there: {failure.message}; correct its signatureUri"
            raise ModelFailure(Reason.SIGNATURE_INVALID, message) from failure
        return bytes(content)


def verify(content: bytes, keys: KeyRing, model: ModelDigests) -> None:
    """Check that a bundle is a signature of a model's files by one of the keys.

    Raises:
        SignatureProblem: it is not.
    """
    envelope = read_bundle(content)
    if not keys.has_signed(envelope.signed_bytes, envelope.signatures):
        raise SignatureProblem(
            f"is by none of the {len(keys)} keys that this node trusts; sign with one of them, or add the signer's "
            "public key to a ConfigMap of spec.runtime.trustedKeys of the node's HardwareClass"
        )
    check_covers(signed_files(envelope.payload), model)


def _kept_is_good(path: Path, keys: KeyRing, model: ModelDigests) -> bool:
    with contextlib.suppress(OSError, SignatureProblem):
        with path.open("rb") as file:
            content = file.read(MOST_BUNDLE_BYTES + 1)
        verify(content, keys, model)
        return True
    return False


def _keep(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        # It is only fetched again.
        logger.warning("signature cannot be kept", extra={"error": str(error)})
