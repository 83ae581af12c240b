"""A `ModelSuite` as a YAML file: how it is read and how it is written."""

import json
from pathlib import Path
from typing import Any, Final

import yaml
from fleetfit_api.suite import ModelSuite
from pydantic import ValidationError

from fleetfit_cli.errors import WrongUseError
from fleetfit_cli.suites.suite_faults import suite_faults, validation_sentences

APPLY_LIMIT_BYTES: Final = 262_144
"""What annotations may hold, and so the largest object that client-side `kubectl apply` can keep its copy of."""

_LINE_WIDTH: Final = 110


def suite_document(suite: ModelSuite) -> dict[str, Any]:
    """Return the suite for `kubectl apply`: no status and nothing that is a default."""
    document = suite.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True, exclude={"status"}
    )
    return {"apiVersion": suite.api_version, "kind": suite.kind} | document


def manifest_text(document: dict[str, Any]) -> str:
    """Return a document as YAML, in its order."""
    return str(yaml.safe_dump(document, sort_keys=False, width=_LINE_WIDTH, allow_unicode=True))


def suite_manifest(suite: ModelSuite) -> str:
    """Return the suite as YAML for `kubectl apply`."""
    return manifest_text(suite_document(suite))


def is_too_large_to_apply(document: dict[str, Any]) -> bool:
    """Tell whether only `kubectl apply --server-side` takes the document."""
    return len(json.dumps(document, separators=(",", ":"), default=str).encode()) > APPLY_LIMIT_BYTES


def checked_suite(document: dict[str, Any]) -> ModelSuite:
    """Return the suite of a document.

    Raises:
        WrongUseError: the API server would refuse it; the message says why.
    """
    try:
        suite = ModelSuite.model_validate(document)
    except ValidationError as error:
        raise WrongUseError("; ".join(validation_sentences(error))) from error
    if faults := list(suite_faults(suite)):
        raise WrongUseError("; ".join(faults))
    return suite


def read_document(path: Path) -> dict[str, Any]:
    """Return the one ModelSuite of a YAML file as it is written there, complete or not.

    Raises:
        WrongUseError: there is no such file, or it holds something else.
    """
    try:
        documents = [
            each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each is not None
        ]
    except OSError as error:
        raise WrongUseError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise WrongUseError(f"{path} is not YAML: {reason}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict) or documents[0].get("kind") != "ModelSuite":
        raise WrongUseError(f"{path} must hold one object, of kind ModelSuite")
    document: dict[str, Any] = documents[0]
    return document


def leading_comment(path: Path) -> str:
    """Return the comment lines that a YAML file begins with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.startswith("#") and line.strip():
            break
        lines.append(line)
    return "".join(lines)


def read_suite(path: Path) -> ModelSuite:
    """Return the suite of a YAML file.

    Raises:
        WrongUseError: it is not one that the API server would take.
    """
    return checked_suite(read_document(path))
