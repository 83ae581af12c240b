"""The generated files are up to date, and the generated schemas are what an API server accepts."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleetfit_api.base import Resource
from fleetfit_crds.definition import KINDS, custom_resource_definition
from fleetfit_crds.generated import generated_files, stale_files
from fleetfit_crds.structural import structural_schema
from pydantic import BaseModel, Field

ROOT = Path(__file__).parents[3]
STRUCTURAL_KEYS = {
    "additionalProperties", "default", "description", "enum", "exclusiveMaximum", "exclusiveMinimum", "format",
    "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minimum", "pattern",
    "properties", "required", "type", "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-validations",
}  # fmt: skip


def schema_of(kind: type[Resource]) -> dict[str, Any]:
    version = custom_resource_definition(kind)["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from walk(schema[key], f"{path}[]")


def every_schema() -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in KINDS:
        yield from walk(schema_of(kind), kind.__name__)


def test_generated_files_are_not_stale() -> None:
    assert stale_files(ROOT) == [], "run `make generate`"


def test_check_names_the_stale_file_and_fails(tmp_path: Path) -> None:
    for path, text in generated_files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    command = [sys.executable, str(ROOT / "crds/generate.py"), "--root", str(tmp_path)]
    assert subprocess.run([*command, "--check"], check=False).returncode == 0

    (tmp_path / "docs/api.md").write_text("edited by hand", encoding="utf-8")
    check = subprocess.run([*command, "--check"], check=False, capture_output=True, text=True)
    assert check.returncode == 1
    assert "docs/api.md is stale" in check.stderr

    subprocess.run(command, check=True, capture_output=True)
    assert stale_files(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_has_a_description_that_is_a_sentence(kind: type[Resource]) -> None:
    for path, schema in walk(schema_of(kind), kind.__name__):
        for name, child in schema.get("properties", {}).items():
            if (path, name) != (kind.__name__, "metadata"):
                assert child.get("description", "").endswith("."), f"{path}.{name}"


def test_schemas_are_structural() -> None:
    for path, schema in every_schema():
        assert set(schema) <= STRUCTURAL_KEYS, path
        assert "type" in schema or schema.get("x-kubernetes-int-or-string") is True, path


def test_list_map_keys_are_required_so_that_they_are_never_absent() -> None:
    keyed = [(path, s) for path, s in every_schema() if s.get("x-kubernetes-list-type") == "map"]
    assert len(keyed) > 10
    for path, schema in keyed:
        assert set(schema["x-kubernetes-list-map-keys"]) <= set(schema["items"]["required"]), path


def test_defaults_are_in_specs_only() -> None:
    for kind in KINDS:
        properties = schema_of(kind)["properties"]
        assert not [path for path, schema in walk(properties["status"], "status") if "default" in schema]
    deployment = schema_of(KINDS[0])["properties"]["spec"]["properties"]
    assert deployment["qoe"]["default"] == {}
    assert deployment["qoe"]["properties"]["latencyTargetMilliseconds"]["default"] == 100.0
    assert deployment["rollout"]["properties"]["maxUnavailable"]["default"] == "25%"


def test_definitions_are_plain_yaml_with_status_short_name_and_category() -> None:
    names = {}
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
        names[spec["names"]["kind"]] = spec["names"]["shortNames"]
        assert spec["names"]["categories"] == ["fleetfit"]
        assert spec["versions"][0]["subresources"] == {"status": {}}
    assert names == {
        "InferenceDeployment": ["infd"],
        "ModelSuite": ["msuite"],
        "HardwareClass": ["hwc"],
        "NodeInference": ["ninf"],
    }


class _Inner(BaseModel):
    size: int = Field(default=3, gt=0, description="Size.")
    label: str = Field(default="", description="Label.")


class _Outer(BaseModel):
    inner: _Inner = Field(default=_Inner(), description="Where it is used.")
    maybe: _Inner | None = Field(default=None, description="Perhaps.")
    empty: list[str] = Field(default=[], description="Nothing.")


def test_references_are_inlined_and_the_description_of_the_use_wins() -> None:
    schema = structural_schema(_Outer, with_defaults=True)["properties"]
    assert schema["inner"]["description"] == "Where it is used."
    assert schema["inner"]["properties"]["size"] == {
        "default": 3, "description": "Size.", "exclusiveMinimum": True, "format": "int32", "minimum": 0,
        "type": "integer",
    }  # fmt: skip
    assert schema["maybe"]["type"] == "object"
    assert "default" not in schema["maybe"]


def test_an_object_defaults_to_empty_and_empty_defaults_are_left_out() -> None:
    schema = structural_schema(_Outer, with_defaults=True)["properties"]
    assert schema["inner"]["default"] == {}
    assert "default" not in schema["inner"]["properties"]["label"]
    assert "default" not in schema["empty"]


class _Union(BaseModel):
    either: int | str = Field(default=1, description="Two types.")


def test_a_union_that_a_structural_schema_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="union"):
        structural_schema(_Union, with_defaults=True)
