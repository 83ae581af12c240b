"""`python -m examples.digits.suite`: describe the committed ONNX files in suite.yaml, without training.

Everything in suite.yaml is derived from the files: digest, size, cost features, accuracy on the held-out digits.
"""

from collections.abc import Iterator
from hashlib import sha256

import yaml
from fleetfit_api.base import ObjectMeta
from fleetfit_api.suite import ModelSuite, ModelSuiteSpec, Variant
from fleetfit_operator.predict.graph_features import graph_features

from examples.digits.catalogue import RECIPES, SUITE_FILE, Recipe
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
    variants = []
    for recipe in RECIPES:
        variant = describe(recipe, held_out)
        variants.append(variant)
        yield f"{variant.name}: {variant.size_bytes} bytes, accuracy {variant.accuracy:.4f}"
    spec = ModelSuiteSpec(
        description="Handwritten digits, 8x8 pixels: input image [N,1,8,8] from 0 to 1, output logits [N,10].",
        storage_uri=STORAGE_URI,
        dataset=f"scikit-learn load_digits, {len(held_out)} held-out images",
        variants=variants,
    )
    suite = ModelSuite(metadata=ObjectMeta(name="digits"), spec=spec)
    SUITE_FILE.write_text(_HEADER + manifest(suite), encoding="utf-8")


def describe(recipe: Recipe, held_out: Digits) -> Variant:
    """Return what the suite says of a variant, measured from its file."""
    content = recipe.path.read_bytes()
    return Variant(
        name=recipe.name,
        uri=f"variants/{recipe.path.name}",
        sha256=sha256(content).hexdigest(),
        size_bytes=len(content),
        precision=recipe.precision,
        accuracy=round(accuracy(recipe.path, held_out), _ACCURACY_DECIMALS),
        features=graph_features(recipe.path),
    )


def manifest(suite: ModelSuite) -> str:
    """Return the suite as YAML for `kubectl apply`: no status and nothing that is a default."""
    document = suite.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True, exclude={"status"}
    )
    head = {"apiVersion": suite.api_version, "kind": suite.kind}
    return str(yaml.safe_dump(head | document, sort_keys=False, width=110))


def read_suite() -> ModelSuite:
    """Return the committed suite.

    Raises:
        ValueError: the file is not a valid ModelSuite.
    """
    return ModelSuite.model_validate(yaml.safe_load(SUITE_FILE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
