"""Which files are generated, and which of them are stale."""

from pathlib import Path

import yaml

from fleetfit_crds.definition import KINDS, custom_resource_definition
from fleetfit_crds.reference import api_reference

_HEADER = "# Generated from crds/fleetfit_api by `make generate`; do not edit.\n"


def generated_files() -> dict[str, str]:
    """Return the text of every generated file by its path from the root of the repository."""
    definitions = [custom_resource_definition(kind) for kind in KINDS]
    files = {"docs/api.md": api_reference(definitions)}
    for definition in definitions:
        text = _HEADER + yaml.safe_dump(definition, sort_keys=False, width=120, allow_unicode=True)
        file_name = f"fleetfit.io_{definition['spec']['names']['plural']}.yaml"
        files[f"crds/{file_name}"] = text
        files[f"charts/fleetfit/crds/{file_name}"] = text
    return files


def stale_files(root: Path) -> list[str]:
    """Return the paths of generated files that are missing or differ from what would be generated now."""
    return [
        path
        for path, text in generated_files().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]
