"""Brings what a suite says of its files up to date, and leaves everything else as its user wrote it.

It works on the document instead of on the model, so that what the model does not know (labels of other tools) or fills
in (defaults) comes out as it went in. A variant needs no more than a name, a uri and an accuracy to begin with.
"""

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from fleetfit_cli.console import note
from fleetfit_cli.errors import WrongUseError
from fleetfit_cli.suites.external_data import ExternalFile
from fleetfit_cli.suites.figures import GivenFigures, detected_precision
from fleetfit_cli.suites.new_suite import ReadFile
from fleetfit_cli.suites.variant_file import VariantFile
from fleetfit_cli.suites.variant_words import check_known

_OF_THE_SERVER: Final = (
    "managedFields",
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "selfLink",
)
_APPLIED_COPY: Final = "kubectl.kubernetes.io/last-applied-configuration"
_ORDER: Final = ("name", "uri", "sha256", "sizeBytes", "files", "precision", "accuracy", "features")


def refreshed(document: dict[str, Any], root: Path, given: GivenFigures, read: ReadFile) -> dict[str, Any]:
    """Return the document with digests, sizes and features of the files as they are now.

    Args:
        document: A ModelSuite, complete or not.
        root: Directory with what the suite's storageUri serves.
        given: Accuracies and precisions to take over.
        read: Reads a file.

    Raises:
        WrongUseError: the document is no suite, or a file cannot be found or read.
    """
    variants = list(_variants(document))
    names = [variant["name"] for variant in variants]
    check_known(list(given.accuracies), names, "--accuracy")
    check_known(list(given.precisions), names, "--precision")
    new = [_refreshed_variant(variant, root, given, read) for variant in variants]
    metadata = {k: v for k, v in document.get("metadata", {}).items() if k not in _OF_THE_SERVER}
    if annotations := metadata.get("annotations"):
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != _APPLIED_COPY}
    whole = {key: value for key, value in document.items() if key != "status"}
    return whole | {"metadata": metadata, "spec": {**document["spec"], "variants": new}}


def local_file(uri: str, root: Path) -> Path:
    """Return where the file of a variant is on this machine."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    # Of an absolute address only the last part can be known to be the file's name here as well.
    return root / (Path(unquote(parts.path)).name if parts.scheme else unquote(uri).lstrip("/"))


def _variants(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not isinstance(document.get("metadata", {}), dict):
        raise WrongUseError("metadata must hold the suite's name")
    spec = document.get("spec")
    variants = spec.get("variants") if isinstance(spec, dict) else None
    if not isinstance(variants, list) or not variants:
        raise WrongUseError("spec.variants must be a list with at least one variant")
    for number, variant in enumerate(variants):
        for key in ("name", "uri"):
            if not isinstance(variant, dict) or not isinstance(variant.get(key), str):
                raise WrongUseError(f"spec.variants[{number}] has no {key}")
        yield variant


def _refreshed_variant(
    variant: dict[str, Any], root: Path, given: GivenFigures, read: ReadFile
) -> dict[str, Any]:
    name = variant["name"]
    file = read(local_file(variant["uri"], root))
    accuracy = given.accuracies.get(name, variant.get("accuracy"))
    if accuracy is None:
        raise WrongUseError(
            f"the accuracy of {name} is missing: give it by --accuracy {name}=0.98, or in the file"
        )
    features = file.features.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    new = {
        "sha256": file.sha256,
        "sizeBytes": file.size_bytes,
        "precision": _precision(variant, given, file),
        "accuracy": accuracy,
        "features": features,
    }
    if file.external:
        new["files"] = [_further_file(each, variant) for each in file.external]
    merged = {key: value for key, value in variant.items() if key != "files"} | new
    return {key: merged[key] for key in dict.fromkeys([*variant, *_ORDER]) if key in merged}


def _further_file(file: ExternalFile, variant: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of a further file; where it is fetched stays as written, else it lies beside the graph."""
    written = [each for each in variant.get("files") or [] if isinstance(each, dict)]
    uri = next((each["uri"] for each in written if each.get("name") == file.name and "uri" in each), None)
    beside = posixpath.join(posixpath.dirname(variant["uri"]), quote(file.name))
    return {"name": file.name, "uri": uri or beside, "sha256": file.sha256, "sizeBytes": file.size_bytes}


def _precision(variant: dict[str, Any], given: GivenFigures, file: VariantFile) -> str:
    name, written = variant["name"], variant.get("precision")
    if (chosen := given.precisions.get(name)) is not None:
        return chosen.value
    if written is None:
        return detected_precision(name, file).value
    detected = file.formats.precision
    if detected is not None and detected.value != written:
        note(f"{name}: kept precision {written}, though its weights are {detected.value}")
    return str(written)
