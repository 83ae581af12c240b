"""What the committed variants and suite.yaml promise, measured on the real files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from fleetfit_api.deployment import InferenceDeployment
from fleetfit_api.suite import ModelSuite, Precision, Variant
from fleetfit_cli.suites.manifest import read_suite, suite_manifest

from examples.digits import verify
from examples.digits.catalogue import RECIPES, SUITE_FILE, Recipe
from examples.digits.heldout import Digits, load_held_out
from examples.digits.measure import open_session
from examples.digits.networks import INPUT_NAME, OUTPUT_NAME
from examples.digits.verify import ACCURACY_TOLERANCE, find_faults

DIRECTORY = SUITE_FILE.parent
COMMITTED_BYTES_CAP = 3_000_000


@pytest.fixture(scope="module")
def suite() -> ModelSuite:
    return read_suite(SUITE_FILE)


@pytest.fixture(scope="module")
def held_out() -> Digits:
    return load_held_out()


def work(variant: Variant) -> int:
    assert variant.features is not None
    return variant.features.multiply_accumulates


def faults(suite: ModelSuite, directory: Path, held_out: Digits) -> list[str]:
    return list(find_faults(suite, directory, held_out, ACCURACY_TOLERANCE))


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES])
def test_suite_says_the_truth_about_the_committed_file(
    name: str, suite: ModelSuite, held_out: Digits
) -> None:
    variant = suite.variant(name)
    assert variant is not None
    assert faults(with_variant(suite, variant), DIRECTORY, held_out) == []


def test_suite_has_a_variant_for_every_recipe_and_every_file(suite: ModelSuite) -> None:
    names = {variant.name for variant in suite.spec.variants}
    assert names == {recipe.name for recipe in RECIPES}
    assert {variant.uri for variant in suite.spec.variants} == {
        f"variants/{path.name}" for path in (DIRECTORY / "variants").glob("*.onnx")
    }


def test_suite_is_real_choice(suite: ModelSuite) -> None:
    variants = suite.spec.variants
    assert len(variants) >= 8
    assert {variant.precision for variant in variants} >= {Precision.FP32, Precision.FP16, Precision.INT8}
    assert sum(variant.size_bytes for variant in variants) < COMMITTED_BYTES_CAP
    assert max(map(work, variants)) > 50_000_000
    assert max(map(work, variants)) > 10_000 * min(map(work, variants))


def test_more_work_buys_accuracy_at_least_four_times(suite: ModelSuite) -> None:
    front: list[Variant] = []
    for variant in sorted(suite.spec.variants, key=lambda v: (work(v), -v.accuracy)):
        if not front or variant.accuracy > front[-1].accuracy:
            front.append(variant)
    assert len(front) >= 4
    assert front[-1].accuracy - front[0].accuracy > 0.02
    assert front[-1].accuracy > 0.985


def test_pruned_network_does_less_work_than_the_network_it_came_from(suite: ModelSuite) -> None:
    wide, pruned = suite.variant("residual-wide-fp32"), suite.variant("residual-pruned-fp32")
    assert wide is not None
    assert pruned is not None
    assert work(pruned) < 0.6 * work(wide)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_variant_takes_any_batch_and_gives_float_logits(recipe: Recipe, held_out: Digits) -> None:
    session = open_session(recipe.path)
    (one,) = session.run([OUTPUT_NAME], {INPUT_NAME: held_out.images[:1]})
    (three,) = session.run([OUTPUT_NAME], {INPUT_NAME: held_out.images[:3]})
    assert one.shape == (1, 10)
    assert three.dtype == np.float32
    np.testing.assert_allclose(three[:1], one, atol=0.05)


@pytest.mark.parametrize("spoil", ["byte", "length", "absence", "accuracy", "features"])
def test_verify_names_the_variant_that_is_wrong(
    spoil: str, suite: ModelSuite, held_out: Digits, tmp_path: Path
) -> None:
    variant = suite.spec.variants[-1]
    only = with_variant(suite, variant)
    path = tmp_path / variant.uri
    path.parent.mkdir()
    shutil.copy(DIRECTORY / variant.uri, path)
    assert faults(only, tmp_path, held_out) == []
    match spoil:
        case "byte":
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        case "length":
            path.write_bytes(path.read_bytes() + b"\0")
        case "absence":
            path.unlink()
        case "accuracy":
            only = with_variant(only, variant.model_copy(update={"accuracy": variant.accuracy - 1 / 600}))
        case _:
            only = with_variant(only, variant.model_copy(update={"features": None}))
    (fault,) = faults(only, tmp_path, held_out)
    assert fault.startswith(f"{variant.name}: ")


def with_variant(suite: ModelSuite, variant: Variant) -> ModelSuite:
    return suite.model_copy(update={"spec": suite.spec.model_copy(update={"variants": [variant]})})


def test_verify_command_exits_with_one_and_a_sentence(
    suite: ModelSuite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variant = suite.spec.variants[-1]
    wrong = with_variant(suite, variant.model_copy(update={"sha256": "0" * 64}))
    monkeypatch.setattr(verify, "read_suite", lambda _: wrong)
    monkeypatch.setattr("sys.argv", ["verify"])
    assert verify.main() == 1
    assert f"error: {variant.name}: variants/" in capsys.readouterr().err


def test_manifest_is_what_the_api_reads_back(suite: ModelSuite) -> None:
    document = yaml.safe_load(suite_manifest(suite))
    assert (document["kind"], document["metadata"]) == ("ModelSuite", {"name": "digits"})
    assert "status" not in document
    assert ModelSuite.model_validate(document) == suite


def test_deployment_refers_to_the_suite_and_some_variant_is_allowed(suite: ModelSuite) -> None:
    document = yaml.safe_load((DIRECTORY / "deployment.yaml").read_text(encoding="utf-8"))
    deployment = InferenceDeployment.model_validate(document)
    assert deployment.spec.suite_ref.name == suite.metadata.name
    assert document["apiVersion"] == suite.api_version
    assert deployment.spec.qoe.constraints.min_accuracy is not None
    assert all(v.accuracy >= deployment.spec.qoe.constraints.min_accuracy for v in suite.spec.variants)
