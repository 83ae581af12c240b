"""Signs as model-signing does, and wrongly in every way that a test needs."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PrivateKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey
IN_TOTO = "application/vnd.in-toto+json"
_HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def trust(directory: Path, *keys: PrivateKey) -> Path:
    """Put public keys into a directory, as a mounted ConfigMap has them."""
    directory.mkdir(parents=True, exist_ok=True)
    for key in keys:
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (directory / f"{hashlib.sha256(pem).hexdigest()[:8]}.pub").write_bytes(pem)
    return directory


def statement(files: Mapping[str, str], **over: Any) -> dict[str, Any]:
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()
    resources = [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in files.items()]
    made = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": made, "resources": resources},
        **over,
    }


def bundle(key: PrivateKey, payload: bytes, kind: str = IN_TOTO, **over: Any) -> dict[str, Any]:
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    if isinstance(key, Ed25519PrivateKey):
        signature = key.sign(message)
    else:
        signature = key.sign(message, ec.ECDSA(_HASHES[key.curve.key_size]))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "unproven"}, "tlogEntries": []},
        "dsseEnvelope": envelope | over,
    }


def signed(key: PrivateKey, files: Mapping[str, str], **over: Any) -> bytes:
    """Return a bundle over files by name, with parts of the statement replaced."""
    return json.dumps(bundle(key, json.dumps(statement(files, **over)).encode())).encode()
