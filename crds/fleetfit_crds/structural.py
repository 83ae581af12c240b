"""From the JSON schema that pydantic writes to the structural OpenAPI v3 schema that a CRD must have.

Pure: values in, values out. It must not know any kind of the API by name.
"""

from collections.abc import Mapping
from typing import Any

from fleetfit_api.base import PATTERN_MESSAGE_KEY
from pydantic import BaseModel

_INT_OR_STRING = "x-kubernetes-int-or-string"
_DEFINITION_PREFIX = "#/$defs/"
_DROPPED_KEYS = frozenset({"title", "$defs", "$ref", "anyOf", "allOf", "const"})
_INT32_MAX = 2**31 - 1

JsonSchema = dict[str, Any]


def structural_schema(model: type[BaseModel], *, with_defaults: bool) -> JsonSchema:
    """Return the structural schema of a model: references inlined, nulls and titles gone.

    Args:
        model: the model of a spec or a status.
        with_defaults: keep defaults. A status is written whole by a program, so defaults there would only add
            noise to every object.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _Converter(schema.get("$defs", {}), with_defaults=with_defaults).convert(schema)


class _Converter:
    """Converts one schema with its definitions."""

    def __init__(self, definitions: Mapping[str, JsonSchema], *, with_defaults: bool) -> None:
        self._definitions = definitions
        self._with_defaults = with_defaults

    def convert(self, schema: JsonSchema) -> JsonSchema:
        schema = self._resolve(schema)
        converted = {key: value for key, value in schema.items() if key not in _DROPPED_KEYS}
        if converted.get(_INT_OR_STRING):
            converted.pop("type", None)
        if "const" in schema:
            converted["enum"] = [schema["const"]]
        _translate_exclusive_bounds(converted)
        _translate_pattern(converted)
        _add_number_format(converted)
        self._convert_children(converted)
        self._set_default(converted)
        return converted

    def _resolve(self, schema: JsonSchema) -> JsonSchema:
        """Merge the definition that a schema refers to, or the one branch of `X | None`, under the schema itself."""
        base: JsonSchema = {}
        if "$ref" in schema:
            base = self._resolve(self._definitions[schema["$ref"].removeprefix(_DEFINITION_PREFIX)])
        branches = [branch for branch in schema.get("anyOf", []) if branch.get("type") != "null"]
        if len(branches) == 1:
            base = self._resolve(branches[0])
        elif branches and not schema.get(_INT_OR_STRING):
            raise ValueError(f"a structural schema cannot express the union {branches}")
        rules = [*base.get("x-kubernetes-validations", []), *schema.get("x-kubernetes-validations", [])]
        merged = {**base, **schema}
        if rules:
            merged["x-kubernetes-validations"] = rules
        return merged

    def _convert_children(self, schema: JsonSchema) -> None:
        if "properties" in schema:
            schema["properties"] = {name: self.convert(child) for name, child in schema["properties"].items()}
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                schema[key] = self.convert(schema[key])

    def _set_default(self, schema: JsonSchema) -> None:
        """Keep a default only where it says something.

        An object's default is `{}`: the API server fills the defaults below it. An empty text, list or map means the
        same as absence and would only clutter what users see.
        """
        default = schema.pop("default", None)
        if not self._with_defaults:
            return
        if schema.get("type") == "object" and "properties" in schema:
            if default is not None and any("default" in child for child in schema["properties"].values()):
                schema["default"] = {}
        elif default not in (None, "", [], {}):
            schema["default"] = default


def _translate_exclusive_bounds(schema: JsonSchema) -> None:
    """Write exclusive bounds as OpenAPI v3.0 does: a bound and a flag."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in schema:
            schema[bound] = schema[exclusive]
            schema[exclusive] = True


def _translate_pattern(schema: JsonSchema) -> None:
    """Let CEL check a pattern that has a message: a schema's own pattern is refused with the regular expression."""
    message = schema.pop(PATTERN_MESSAGE_KEY, None)
    if message is not None:
        rule = {"rule": f"self.matches(r'{schema.pop('pattern')}')", "message": message}
        schema.setdefault("x-kubernetes-validations", []).append(rule)


def _add_number_format(schema: JsonSchema) -> None:
    if schema.get("type") == "integer":
        schema.setdefault("format", "int32" if schema.get("maximum", 0) <= _INT32_MAX else "int64")
    elif schema.get("type") == "number":
        schema.setdefault("format", "double")
