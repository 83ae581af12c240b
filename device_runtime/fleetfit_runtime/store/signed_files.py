"""Which files a statement of model-signing is about, and whether they are those of a model. Pure.

The statement lists each file of the signed directory with its digest, and has as its subject a digest over these
digests, so that a list cannot be cut or reordered. The files of a model must lie in it as they will lie on the node:
the further ones where the graph looks for them.
"""

import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fleetfit_runtime.store.signature_bundle import SignatureProblem, parsed

_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_PREDICATE: Final = "https://model_signing/signature/v1.0"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelDigests:
    """What is to be signed of a model.

    Attributes:
        graph: SHA-256 digest of the ONNX file.
        data: names of its further files, relative to it, with their digests.
    """

    graph: str
    data: tuple[tuple[str, str], ...] = ()


def signed_files(payload: bytes) -> dict[str, str]:
    """Return the SHA-256 digests of the signed files by their paths.

    Args:
        payload: the statement, whose signature has been checked.

    Raises:
        SignatureProblem: it is no such statement, or does not agree with itself.
    """
    statement = parsed(payload)
    try:
        _check_kind(statement)
        (subject,) = statement["subject"]
        root = subject["digest"]["sha256"]
        files = [_file(each) for each in statement["predicate"]["resources"]]
    except (KeyError, TypeError, ValueError) as error:
        raise SignatureProblem("holds a statement that is not formed like one of model-signing") from error
    over_all = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in files)).hexdigest()
    if over_all != root or len(dict(files)) != len(files):
        raise SignatureProblem("holds a list of files that does not fit the digest over them")
    return dict(files)


def check_covers(files: Mapping[str, str], model: ModelDigests) -> None:
    """Check that signed files are those of a model.

    Raises:
        SignatureProblem: one of the model's is not among them.
    """
    graphs = [path for path, digest in files.items() if digest == model.graph]
    if not graphs:
        raise SignatureProblem(
            f"is of other files: none of its {len(files)} has the digest {model.graph}; sign the model anew"
        )
    if not any(_has_data(files, posixpath.dirname(path), model) for path in graphs):
        names = ", ".join(name for name, _ in model.data)
        raise SignatureProblem(
            f"is not of {names} beside the graph; sign the directory with all files of the model"
        )


def _check_kind(statement: Any) -> None:
    if (statement["_type"], statement["predicateType"]) != (_STATEMENT, _PREDICATE):
        raise SignatureProblem(
            f"holds no statement of the type {_PREDICATE}; sign with model-signing 1.0 or later"
        )
    made = statement["predicate"]["serialization"]
    if (made["method"], made["hash_type"]) != ("files", "sha256"):
        raise SignatureProblem("is over parts of files or by another hash; sign whole files by sha256")


def _file(resource: Any) -> tuple[str, str]:
    name, algorithm, digest = resource["name"], resource["algorithm"], resource["digest"]
    if not isinstance(name, str) or algorithm != "sha256" or not _DIGEST.fullmatch(digest):
        raise ValueError("no file with a digest")
    return name, digest


def _has_data(files: Mapping[str, str], directory: str, model: ModelDigests) -> bool:
    return all(files.get(posixpath.join(directory, name)) == digest for name, digest in model.data)
