"""Writes the API reference, one table per object, from the generated definitions. Pure: text out."""

from collections.abc import Iterator
from typing import Any

_INTRODUCTION = """\
# API reference

Group `fleetfit.io`, version `v1alpha1`. This page is generated from the models in `crds/fleetfit_api` by
`make generate`; do not edit it.

| kind | short name | scope | what it is |
|---|---|---|---|
"""


def api_reference(definitions: list[dict[str, Any]]) -> str:
    """Return the reference of all kinds as Markdown."""
    text = _INTRODUCTION
    for definition in definitions:
        spec = definition["spec"]
        kind, short = spec["names"]["kind"], spec["names"]["shortNames"][0]
        text += f"| [{kind}](#{kind.lower()}) | `{short}` | {spec['scope']} | {_schema(definition)['description']} |\n"
    for definition in definitions:
        text += "\n" + "\n".join(_kind_section(definition)) + "\n"
    return text


def _schema(definition: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _kind_section(definition: dict[str, Any]) -> Iterator[str]:
    schema = _schema(definition)
    yield f"## {definition['spec']['names']['kind']}\n"
    yield f"{schema['description']}"
    for section in ("spec", "status"):
        yield from _object_section(section, schema["properties"][section])


def _object_section(path: str, schema: dict[str, Any]) -> Iterator[str]:
    """Yield the table of an object's fields, its rules, then the sections of the objects below it."""
    yield f"\n### {path}\n"
    yield f"{schema.get('description', '')}\n"
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    required = schema.get("required", [])
    for name, child in schema["properties"].items():
        yield f"| `{name}`{' *' if name in required else ''} | {_type_text(child)} | {_meaning(child)} |"
    if required:
        yield "\n`*` required"
    for rule in schema.get("x-kubernetes-validations", []):
        yield f"\nRule: {rule['message']}."
    for name, child in schema["properties"].items():
        nested = _nested_object(child)
        if nested is not None:
            suffix = "[]" if child.get("type") == "array" else ""
            yield from _object_section(f"{path}.{name}{suffix}", nested)


def _nested_object(schema: dict[str, Any]) -> dict[str, Any] | None:
    candidate = schema.get("items", schema)
    return candidate if "properties" in candidate else None


def _type_text(schema: dict[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if schema.get("type") == "array":
        items = schema["items"]
        item_type = "object" if "properties" in items else _type_text(items)
        keys = schema.get("x-kubernetes-list-map-keys")
        return f"list of {item_type}" + (f" by {', '.join(keys)}" if keys else "")
    if "additionalProperties" in schema:
        return f"map of {_type_text(schema['additionalProperties'])}"
    if schema.get("format") in {"date-time", "int64"}:
        return {"date-time": "time", "int64": "integer (64 bit)"}[schema["format"]]
    return str(schema["type"])


def _meaning(schema: dict[str, Any]) -> str:
    details = list(_limits(schema))
    if "default" in schema and schema["default"] != {}:
        details.append(f"default `{_plain(schema['default'])}`")
    details += [
        rule["message"] for rule in schema.get("x-kubernetes-validations", []) if "properties" not in schema
    ]
    text = schema.get("description", "")
    return (f"{text} ({'; '.join(details)})" if details else text).replace("|", "\\|")


def _limits(schema: dict[str, Any]) -> Iterator[str]:
    if "enum" in schema:
        yield "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "minimum" in schema:
        yield f"{'above' if schema.get('exclusiveMinimum') else 'at least'} {_plain(schema['minimum'])}"
    if "maximum" in schema:
        yield f"{'below' if schema.get('exclusiveMaximum') else 'at most'} {_plain(schema['maximum'])}"
    if "maxItems" in schema:
        yield f"at most {schema['maxItems']} entries"
    if "pattern" in schema and not schema.get("x-kubernetes-int-or-string"):
        yield f"pattern `{schema['pattern']}`"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,.10g}".replace(",", "") if isinstance(value, float) else str(value)
