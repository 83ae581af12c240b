"""`python -m examples.digits.suite`: describe the committed ONNX files in suite.yaml, without training.

Everything in suite.yaml is derived from the files: digest, size, cost features, accuracy on the held-out digits.
"""

from collections.abc import Iterator

from fleetfit_cli.suites.figures import GivenFigures
from fleetfit_cli.suites.manifest import suite_manifest
from fleetfit_cli.suites.new_suite import SuiteWords, new_suite
from fleetfit_cli.suites.variant_file import read_variant_file
from fleetfit_cli.suites.variant_words import VariantWord

from examples.digits.catalogue import RECIPES, SUITE_FILE
from examples.digits.heldout import Digits, load_held_out
from examples.digits.measure import accuracy

STORAGE_URI = "http://127.0.0.1:8765/digits"
_ACCURACY_DECIMALS = 6
_HEADER = f"""\
# Written by `python -m examples.digits.suite`; every figure comes from the files in variants/.
#
# Set spec.storageUri to where your nodes can fetch the directory examples/digits from. For a trial on one machine,
# `python -m http.server --directory examples 8765` serves {STORAGE_URI}.
"""


def main() -> None:
    """Write suite.yaml and print a line per variant."""
    for line in write_suite(load_held_out()):
        print(line)


def write_suite(held_out: Digits) -> Iterator[str]:
    """Write suite.yaml, yielding a line of progress per variant; the file is written at the end."""
    words, precisions = [], {}
    for recipe in RECIPES:
        measured = round(accuracy(recipe.path, held_out), _ACCURACY_DECIMALS)
        words.append(VariantWord(recipe.name, recipe.path, measured))
        precisions[recipe.name] = recipe.precision
        yield f"{recipe.name}: accuracy {measured:.4f}"
    about = SuiteWords(
        name="digits",
        namespace="",
        storage_uri=STORAGE_URI,
        root=SUITE_FILE.parent,
        texts={
            "description": "Handwritten digits, 8x8 pixels: "
            "input image [N,1,8,8] from 0 to 1, output logits [N,10].",
            "dataset": f"scikit-learn load_digits, {len(held_out)} held-out images",
        },
    )
    suite = new_suite(about, words, GivenFigures(precisions=precisions), read_variant_file)
    SUITE_FILE.write_text(_HEADER + suite_manifest(suite), encoding="utf-8")


if __name__ == "__main__":
    main()
