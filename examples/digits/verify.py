"""`python -m examples.digits.verify`: check that suite.yaml says the truth about the committed files.

Compares digest, size and cost features, and measures the accuracy anew. Exits with 1 and a sentence per fault.
Needs no training libraries.
"""

import argparse
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from fleetfit_api.suite import ModelSuite, Variant
from fleetfit_cli.suites.manifest import read_suite
from fleetfit_operator.predict.graph_features import graph_features

from examples.digits.catalogue import SUITE_FILE
from examples.digits.heldout import Digits, load_held_out
from examples.digits.measure import accuracy, latency_ms

ACCURACY_TOLERANCE = 1e-6
"""One held-out image weighs 0.0017, so this allows rounding in suite.yaml and nothing else."""


def main() -> int:
    """Check everything, print what was found, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.digits.verify", description=__doc__)
    parser.add_argument(
        "--accuracy-tolerance",
        type=float,
        default=ACCURACY_TOLERANCE,
        help="allowed difference; 0.002 lets one image flip on a processor that rounds in another way",
    )
    parser.add_argument("--time", action="store_true", help="also print the median time of one image here")
    arguments = parser.parse_args()
    held_out = load_held_out()
    suite = read_suite(SUITE_FILE)
    faults = list(find_faults(suite, SUITE_FILE.parent, held_out, arguments.accuracy_tolerance))
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if faults:
        return 1
    for variant in suite.spec.variants:
        print(_row(variant, held_out, timed=arguments.time))
    print(f"{len(suite.spec.variants)} variants are what suite.yaml says, on {len(held_out)} held-out digits")
    return 0


def find_faults(suite: ModelSuite, directory: Path, held_out: Digits, tolerance: float) -> Iterator[str]:
    """Yield a sentence for everything in which the files under `directory` differ from the suite."""
    for variant in suite.spec.variants:
        path = directory / variant.uri
        if not path.is_file():
            yield f"{variant.name}: {variant.uri} is missing"
            continue
        content = path.read_bytes()
        if len(content) != variant.size_bytes:
            yield f"{variant.name}: {variant.uri} has {len(content)} bytes, suite.yaml says {variant.size_bytes}"
        elif sha256(content).hexdigest() != variant.sha256:
            yield f"{variant.name}: {variant.uri} was changed, its SHA-256 is not the one in suite.yaml"
        else:
            yield from _figure_faults(variant, path, held_out, tolerance)


def _figure_faults(variant: Variant, path: Path, held_out: Digits, tolerance: float) -> Iterator[str]:
    measured = accuracy(path, held_out)
    if abs(measured - variant.accuracy) > tolerance:
        yield f"{variant.name}: accuracy is {measured:.6f}, suite.yaml says {variant.accuracy:.6f}"
    if graph_features(path) != variant.features:
        yield f"{variant.name}: suite.yaml has old cost features; run `python -m examples.digits.suite`"


def _row(variant: Variant, held_out: Digits, *, timed: bool) -> str:
    work = variant.features.multiply_accumulates / 1e6 if variant.features else 0.0
    row = f"{variant.name:24} {variant.size_bytes / 1e3:8.1f} kB {work:8.3f} MMAC  accuracy {variant.accuracy:.4f}"
    if not timed:
        return row
    return f"{row} {latency_ms(SUITE_FILE.parent / variant.uri, held_out):8.3f} ms"


if __name__ == "__main__":
    sys.exit(main())
