"""Public keys that a node trusts, from ConfigMaps that are mounted as directories of PEM files.

They are read at each check, so that a key may be added or withdrawn under a running node. The library that checks
signatures is imported at the first one, since most nodes never meet any.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    PublicKey = EllipticCurvePublicKey | Ed25519PublicKey

logger = logging.getLogger(__name__)

_PEM: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----[^-]{1,4096}-----END PUBLIC KEY-----")
_MOST_FILE_BYTES: Final = 1 << 16
_MOST_KEYS: Final = 64


class KeyRing:
    """Keys, one signature of any of which is enough.

    Args:
        keys: the keys.
    """

    def __init__(self, keys: Sequence["PublicKey"]) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def has_signed(self, message: bytes, signatures: Sequence[bytes]) -> bool:
        """Tell whether one of the signatures of a message is by one of the keys."""
        return any(_verifies(key, message, each) for key in self._keys for each in signatures)


class TrustedKeys:
    """The keys of a node.

    Args:
        directories: one for each ConfigMap; one that is not there is a ConfigMap that does not exist yet.
    """

    def __init__(self, directories: Sequence[Path] = ()) -> None:
        self._directories = tuple(directories)

    def read(self) -> KeyRing:
        """Return the keys as they are now; blocks. What is no key is logged and does not count."""
        keys = [key for path, pem in self._texts() if (key := _public_key(path, pem)) is not None]
        return KeyRing(keys[:_MOST_KEYS])

    def _texts(self) -> Iterator[tuple[Path, bytes]]:
        for directory in self._directories:
            for path in sorted(_entries(directory)):
                try:
                    with path.open("rb") as file:
                        content = file.read(_MOST_FILE_BYTES)
                except OSError as error:
                    logger.warning(
                        "trusted key cannot be read", extra={"path": str(path), "error": str(error)}
                    )
                    continue
                for pem in _PEM.findall(content):
                    yield path, pem


def _entries(directory: Path) -> list[Path]:
    try:
        # A mounted ConfigMap has names with a dot of its own.
        return [path for path in directory.iterdir() if not path.name.startswith(".") and path.is_file()]
    except OSError:
        return []


def _public_key(path: Path, pem: bytes) -> "PublicKey | None":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        logger.warning("trusted key is none", extra={"path": str(path), "error": str(error)})
        return None
    if isinstance(key, Ed25519PublicKey) or (isinstance(key, EllipticCurvePublicKey) and _hash_of(key)):
        return key
    logger.warning("trusted key is not ECDSA P-256, P-384, P-521 or Ed25519", extra={"path": str(path)})
    return None


def _verifies(key: "PublicKey", message: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(_hash_of(key)))
        else:
            key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _hash_of(key: "EllipticCurvePublicKey") -> Any:
    """Return the hash that sigstore pairs with the curve; None for a curve that it does not know."""
    from cryptography.hazmat.primitives import hashes

    pairs = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
    return pairs.get(key.curve.name)
