"""Writes the CRDs and the API reference from the models, or with --check tells which of them are stale."""

import argparse
import sys
from pathlib import Path

from fleetfit_crds.generated import generated_files, stale_files


def main() -> int:
    """Run the command line; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a file is stale")
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).resolve().parent.parent,
        help="root of the repository (default: the one of this file)",
    )
    options = parser.parse_args()
    stale = stale_files(options.root)
    if options.check:
        for path in stale:
            sys.stderr.write(f"{path} is stale: run `make generate`\n")
        return 1 if stale else 0
    files = generated_files()
    for path in stale:
        (options.root / path).parent.mkdir(parents=True, exist_ok=True)
        (options.root / path).write_text(files[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
