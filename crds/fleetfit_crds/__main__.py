"""Writes the generated files, or with --check tells which of them are stale."""

import argparse
import sys
from pathlib import Path

import yaml

from fleetfit_crds.definition import KINDS, custom_resource_definition
from fleetfit_crds.reference import api_reference

_HEADER = "# Generated from crds/fleetfit_api by `python -m fleetfit_crds`; do not edit.\n"


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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m fleetfit_crds", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a file is stale")
    parser.add_argument("--root", type=Path, default=Path(), help="root of the repository (default: here)")
    options = parser.parse_args(arguments)
    stale = stale_files(options.root)
    if options.check:
        for path in stale:
            sys.stderr.write(f"{path} is stale: run python -m fleetfit_crds\n")
        return 1 if stale else 0
    files = generated_files()
    for path in stale:
        (options.root / path).parent.mkdir(parents=True, exist_ok=True)
        (options.root / path).write_text(files[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
