"""Builds the CustomResourceDefinition of each kind. Pure: no files."""

from typing import Any, Final

from fleetfit_api import HardwareClass, InferenceDeployment, ModelSuite, NodeInference
from fleetfit_api.base import PrinterColumn, Resource, cel
from fleetfit_api.names import GROUP, VERSION

from fleetfit_crds.structural import structural_schema

KINDS: Final[tuple[type[Resource], ...]] = (InferenceDeployment, ModelSuite, HardwareClass, NodeInference)


def custom_resource_definition(kind: type[Resource]) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    names = kind.NAMES
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": names.crd_name,
            "labels": {"app.kubernetes.io/name": "fleetfit", "app.kubernetes.io/part-of": "fleetfit"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if names.namespaced else "Cluster",
            "names": {
                "kind": names.kind,
                "listKind": f"{names.kind}List",
                "plural": names.plural,
                "singular": names.kind.lower(),
                "shortNames": [names.short],
                "categories": ["fleetfit"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.COLUMNS],
                    "schema": {"openAPIV3Schema": _object_schema(kind)},
                }
            ],
        },
    }


def section_model(kind: type[Resource], section: str) -> type[Any]:
    """Return the model of `spec` or `status` of a kind."""
    model = kind.model_fields[section].annotation
    if not isinstance(model, type):
        raise TypeError(f"{kind.__name__}.{section} is not a model")
    return model


def _object_schema(kind: type[Resource]) -> dict[str, Any]:
    spec = structural_schema(section_model(kind, "spec"), with_defaults=True)
    if any("default" in child for child in spec["properties"].values()) and not spec.get("required"):
        spec["default"] = {}
    return {
        "description": kind.__doc__,
        "type": "object",
        "required": ["spec"] if kind.model_fields["spec"].is_required() else [],
        "properties": {
            "apiVersion": {"description": "Version of the schema of this object.", "type": "string"},
            "kind": {"description": "Kind of the object.", "type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural_schema(section_model(kind, "status"), with_defaults=False),
        },
        **(cel(*kind.RULES) if kind.RULES else {}),
    }


def _column(column: PrinterColumn) -> dict[str, Any]:
    rendered: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    if column.description:
        rendered["description"] = column.description
    if column.priority:
        rendered["priority"] = column.priority
    return rendered
