"""What the API server would refuse of a suite, told before it is applied, in the words it would use.

The models check types, bounds and patterns themselves; the rules on URIs and names are in the CRD as CEL, which only an
API server runs, and are stated here once more. A test applies the same suites to a real one.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fleetfit_api.base import PATTERN_MESSAGE_KEY
from fleetfit_api.suite import SCHEMES, SCHEMES_TEXT, ModelSuite
from pydantic import ValidationError

_SCHEMES: Final = re.compile(rf"({SCHEMES})://")
_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_URI_RULES: Final = (
    (
        re.compile(r"(?!file:)|file://(localhost)?/"),
        "with file: needs three slashes and an absolute path, as in file:///models/digits.onnx",
    ),
    (
        re.compile(r"(?!https?:)|https?://[^/?#:]"),
        "with http: or https: needs a host, as in https://models.example/digits.onnx",
    ),
    (
        re.compile(r"(?!(s3|gs|azure|oci|pvc):)|[a-z0-9]+://[^/?#:]"),
        "with s3:, gs:, azure:, oci: or pvc: needs a bucket, container, registry or claim, "
        "as in s3://models/digits.onnx",
    ),
    (
        re.compile(r"(?![a-z0-9]+://[^/?#]*@)"),
        "must not contain '@' before the path: credentials in a uri are not supported",
    ),
)
_PARENT: Final = re.compile(r"(?i)(^|/)(\.|%2e){2}([/?#]|$)")


def suite_faults(suite: ModelSuite) -> Iterator[str]:
    """Yield a sentence for every rule of the CRD that the models do not check and the suite breaks."""
    yield from _name_faults(suite)
    base = suite.spec.storage_uri
    if base is not None and not _SCHEMES.match(base):
        yield f"spec.storageUri must begin with {SCHEMES_TEXT}, {base!r} does not"
    elif base is not None:
        yield from (f"spec.storageUri {text}" for text in _uri_faults(base))
    for variant in suite.spec.variants:
        yield from (f"{variant.name}: a variant's uri {text}" for text in _variant_faults(variant.uri, base))
        if base is None and not all("://" in file.uri for file in variant.files):
            yield f"{variant.name}: files of a variant with a relative uri need spec.storageUri"
        if base is None and variant.signature_uri and "://" not in variant.signature_uri:
            yield f"{variant.name}: a relative signatureUri needs spec.storageUri"


def _name_faults(suite: ModelSuite) -> Iterator[str]:
    name, namespace = suite.metadata.name, suite.metadata.namespace
    if not _OBJECT_NAME.fullmatch(name) or len(name) > 253:
        yield (
            f"{name!r} is no name of an object: it is lower-case letters, digits, '-' and '.', "
            "and begins and ends with a letter or digit"
        )
    if namespace and (not _NAMESPACE.fullmatch(namespace) or len(namespace) > 63):
        yield f"{namespace!r} is no name of a namespace"
    for variant, count in Counter(variant.name for variant in suite.spec.variants).items():
        if count > 1:
            yield f"{count} variants have the name {variant}"


def _variant_faults(uri: str, base: str | None) -> Iterator[str]:
    if "://" in uri and not _SCHEMES.match(uri):
        yield f"must begin with {SCHEMES_TEXT}, or be relative to spec.storageUri"
    elif not _SCHEMES.match(uri) and base is None:
        yield "is relative, which needs spec.storageUri"
    yield from _uri_faults(uri)
    if _PARENT.search(uri):
        yield "must not contain '..' as a part of its path"


def _uri_faults(uri: str) -> Iterator[str]:
    return (text for rule, text in _URI_RULES if not rule.match(uri))


def validation_sentences(error: ValidationError) -> list[str]:
    """Return a sentence for each field that the models refuse, in the words of the CRD where it has some."""
    schema = ModelSuite.model_json_schema()
    return [
        f"{_path(problem['loc'])}: {_message(problem, schema) or problem['msg']}"
        for problem in error.errors(include_url=False)
    ]


def _path(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".") or "the suite"


def _message(problem: Mapping[str, Any], root: Mapping[str, Any]) -> str | None:
    """Return what the CRD says where a field breaks its pattern or bound."""
    schema: Mapping[str, Any] = root
    for part in problem["loc"]:
        schema = (
            schema.get("items", {}) if isinstance(part, int) else schema.get("properties", {}).get(part, {})
        )
        schema = _resolved(schema, root)
    rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", [])]
    if problem["type"] == "string_pattern_mismatch":
        return schema.get(PATTERN_MESSAGE_KEY) or next(iter(rules), None)
    return next(iter(rules), None) if problem["type"] == "less_than_equal" else None


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    for branch in schema.get("anyOf", []):
        if branch.get("type") != "null":
            return _resolved(branch, root)
    reference = str(schema.get("$ref", ""))
    return root["$defs"][reference.rpartition("/")[2]] if reference else schema
