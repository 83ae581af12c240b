"""A `ModelSuite` from ONNX files."""

import os.path
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fleetfit_api.suite import ModelSuite

from fleetfit_cli.errors import WrongUseError
from fleetfit_cli.suites.external_data import ExternalFile
from fleetfit_cli.suites.figures import GivenFigures, detected_precision
from fleetfit_cli.suites.manifest import checked_suite
from fleetfit_cli.suites.variant_file import VariantFile
from fleetfit_cli.suites.variant_words import VariantWord, check_known, check_names

ReadFile = Callable[[Path], VariantFile]


@dataclass(frozen=True, slots=True)
class SuiteWords:
    """What a user says of the whole suite; empty where nothing.

    Attributes:
        name: Name of the object.
        namespace: Its namespace.
        storage_uri: Base of the variants' URIs; without it nodes read the very files, by file URIs.
        root: The directory that the storage URI serves; each file's own directory where absent.
        texts: Description, metric and dataset by their names in the spec.
    """

    name: str
    namespace: str
    storage_uri: str
    root: Path | None
    texts: dict[str, str]


def new_suite(
    suite: SuiteWords, words: Sequence[VariantWord], given: GivenFigures, read: ReadFile
) -> ModelSuite:
    """Return the suite of these files.

    Raises:
        WrongUseError: something that a suite needs is missing or wrong; the message says what to give.
    """
    names = [word.name for word in words]
    check_names(words)
    check_known(list(given.accuracies), names, "--accuracy")
    check_known(list(given.precisions), names, "--precision")
    accuracies = {word.name: word.accuracy for word in words if word.accuracy is not None}
    accuracies |= given.accuracies
    if missing := [word for word in words if word.name not in accuracies]:
        raise WrongUseError(_accuracy_missing(missing))
    variants = []
    for word in words:
        file = read(word.path)
        precision = given.precisions.get(word.name) or detected_precision(word.name, file)
        variants.append(
            {
                "name": word.name,
                "uri": _uri(word.path, suite),
                "sha256": file.sha256,
                "sizeBytes": file.size_bytes,
                "files": [_further_file(each, suite) for each in file.external],
                "precision": precision,
                "accuracy": accuracies[word.name],
                "features": file.features,
            }
        )
    metadata = {"name": suite.name, "namespace": suite.namespace}
    spec: dict[str, Any] = {key: text for key, text in suite.texts.items() if text}
    if suite.storage_uri:
        spec["storageUri"] = suite.storage_uri
    return checked_suite({"metadata": metadata, "spec": {**spec, "variants": variants}})


def _accuracy_missing(words: Sequence[VariantWord]) -> str:
    first = words[0]
    names = ", ".join(word.name for word in words)
    return (
        f"the accuracy of {names} is missing: measure it on held-out data and give it beside the file, "
        f"as in {first.path}:0.98, or by --accuracy {first.name}=0.98"
    )


def _further_file(file: ExternalFile, suite: SuiteWords) -> dict[str, Any]:
    return {
        "name": file.name,
        "uri": _uri(file.path, suite, file.name),
        "sha256": file.sha256,
        "sizeBytes": file.size_bytes,
    }


def _uri(path: Path, suite: SuiteWords, name: str = "") -> str:
    """Return where nodes find a file; `name` is its path from the directory of its graph, if it is beside one."""
    if not suite.storage_uri:
        return path.absolute().as_uri()
    if suite.root is None:
        return quote(name or path.name)
    relative = Path(os.path.relpath(path, suite.root))
    if ".." in relative.parts:
        raise WrongUseError(f"{path} is not under {suite.root}, which is what --storage-uri serves (--root)")
    return quote(relative.as_posix())
