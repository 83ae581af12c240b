"""Refreshing a manifest changes what is read from files, and nothing that its user wrote."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from fleetfit_api.suite import ModelSuite, Precision
from fleetfit_cli.suites.manifest import read_suite
from fleetfit_cli.suites.refresh import local_file
from fleetfit_operator.predict.graph_features import graph_features

from examples.digits.catalogue import SUITE_FILE
from tests.unit.cli.onnx_files import Cli, built, convolution, write_model


def variant(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "uri": f"{name}.onnx", "accuracy": 0.75, **more}


def document(*variants: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "fleetfit.io/v1alpha1",
        "kind": "ModelSuite",
        "metadata": {"name": "shop", "labels": {"team": "edge"}},
        "spec": {"storageUri": "http://models.example", **spec, "variants": list(variants)},
    }


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for precision in (Precision.FP32, Precision.INT8):
        write_model(built(precision), tmp_path / f"{precision}.onnx")
    return tmp_path


def refresh(cli: Cli, directory: Path, content: dict[str, Any], *words: object) -> dict[str, Any]:
    source = directory / "suite.yaml"
    source.write_text(yaml.safe_dump(content), encoding="utf-8")
    result = cli("suite", "build", "--from", source, *words)
    assert result.status == 0, result.errors
    refreshed: dict[str, Any] = yaml.safe_load(result.output)
    return refreshed


def test_the_example_is_up_to_date_and_comes_out_as_it_is(cli: Cli) -> None:
    result = cli("suite", "build", "--from", SUITE_FILE)
    assert (result.status, result.errors) == (0, "")
    assert result.output == SUITE_FILE.read_text(encoding="utf-8")


def test_a_changed_file_changes_only_what_is_read_from_it(tmp_path: Path, cli: Cli) -> None:
    shutil.copytree(SUITE_FILE.parent / "variants", tmp_path / "variants")
    path = tmp_path / "suite.yaml"
    shutil.copy(SUITE_FILE, path)
    changed = tmp_path / "variants" / "mlp-fp32.onnx"
    write_model(built(Precision.FP32), changed)

    assert cli("suite", "build", "--from", path, "--output", path).status == 0
    old, new = read_suite(SUITE_FILE), read_suite(path)
    for before, after in zip(old.spec.variants, new.spec.variants, strict=True):
        if before.name != "mlp-fp32":
            assert after == before
    mlp = new.variant("mlp-fp32")
    assert mlp is not None
    assert mlp.features == graph_features(changed)
    assert mlp.size_bytes == changed.stat().st_size
    assert mlp.accuracy == old.spec.variants[-1].accuracy
    header = SUITE_FILE.read_text(encoding="utf-8").partition("apiVersion")[0]
    assert path.read_text(encoding="utf-8").startswith(header)


def test_a_name_a_uri_and_an_accuracy_are_enough_to_begin_with(directory: Path, cli: Cli) -> None:
    content = refresh(cli, directory, document(variant("fp32"), variant("int8")))
    suite = ModelSuite.model_validate(content)
    assert [v.precision for v in suite.spec.variants] == ["fp32", "int8"]
    assert all(v.features == graph_features(directory / v.uri) for v in suite.spec.variants)


def test_what_the_user_wrote_stays(directory: Path, cli: Cli) -> None:
    written = variant(
        "int8", requirements={"memoryBytes": 5, "providers": ["CPUExecutionProvider"]}, note="mine"
    )
    content = refresh(cli, directory, document(written, metric="accuracy", ours=[1]))
    assert content["metadata"] == {"name": "shop", "labels": {"team": "edge"}}
    assert content["spec"]["metric"] == "accuracy"
    assert content["spec"]["ours"] == [1]
    found = content["spec"]["variants"][0]
    assert {key: found[key] for key in written} == written


def test_a_precision_that_was_written_stays_and_is_told_when_the_weights_differ(
    directory: Path, cli: Cli
) -> None:
    source = directory / "suite.yaml"
    source.write_text(yaml.safe_dump(document(variant("int8", precision="fp16"))), encoding="utf-8")
    result = cli("suite", "build", "--from", source)
    assert "int8: kept precision fp16, though its weights are int8" in result.errors
    assert yaml.safe_load(result.output)["spec"]["variants"][0]["precision"] == "fp16"

    result = cli("suite", "build", "--from", source, "--precision", "int8=int8", "--accuracy", "int8=0.5")
    assert result.errors == ""
    found = yaml.safe_load(result.output)["spec"]["variants"][0]
    assert (found["precision"], found["accuracy"]) == ("int8", 0.5)


def test_what_an_api_server_added_is_left_out(directory: Path, cli: Cli) -> None:
    content = document(variant("fp32"))
    content["status"] = {"variantCount": 1}
    content["metadata"] |= {
        "uid": "1", "resourceVersion": "2", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "ours": "1"},
    }  # fmt: skip
    refreshed = refresh(cli, directory, content)
    assert "status" not in refreshed
    assert refreshed["metadata"] == {
        "name": "shop",
        "labels": {"team": "edge"},
        "annotations": {"ours": "1"},
    }


def test_refreshing_twice_changes_nothing_more(directory: Path, cli: Cli) -> None:
    once = refresh(cli, directory, document(variant("fp32"), variant("int8")))
    assert refresh(cli, directory, once) == once


def test_options_change_what_they_name(directory: Path, cli: Cli) -> None:
    words = [
        "--storage-uri",
        "https://new.example",
        "--namespace",
        "shop",
        "--dataset",
        "d",
        "--metric",
        "f1",
    ]
    content = refresh(cli, directory, document(variant("fp32")), *words, "--description", "x")
    assert content["metadata"]["namespace"] == "shop"
    spec = {key: value for key, value in content["spec"].items() if key != "variants"}
    assert spec == {"storageUri": "https://new.example", "dataset": "d", "metric": "f1", "description": "x"}


def test_files_are_looked_for_where_the_root_is(
    directory: Path, tmp_path_factory: pytest.TempPathFactory, cli: Cli
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    content = document(variant("fp32", uri="http://other.example/path/fp32.onnx"))
    assert refresh(cli, elsewhere, content, "--root", directory)["spec"]["variants"][0]["precision"] == "fp32"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("variants/a.onnx", "/root/variants/a.onnx"),
        ("the%20files/a%23.onnx", "/root/the files/a#.onnx"),
        ("http://host/deep/a.onnx?version=1", "/root/a.onnx"),
        ("file:///models/a%20b.onnx", "/models/a b.onnx"),
    ],
)
def test_where_a_file_is_on_this_machine(uri: str, path: str) -> None:
    assert local_file(uri, Path("/root")) == Path(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must hold one object, of kind ModelSuite"),
        ("a: [", "is not YAML: while parsing"),
        ("kind: ConfigMap", "must hold one object, of kind ModelSuite"),
        ("kind: ModelSuite\n---\nkind: ModelSuite", "must hold one object, of kind ModelSuite"),
        ("kind: ModelSuite", "spec.variants must be a list with at least one variant"),
        (
            "{kind: ModelSuite, spec: {variants: []}}",
            "spec.variants must be a list with at least one variant",
        ),
        ("{kind: ModelSuite, spec: {variants: [a]}}", "spec.variants[0] has no name"),
        ("{kind: ModelSuite, spec: {variants: [{name: a}]}}", "spec.variants[0] has no uri"),
        ("{kind: ModelSuite, spec: {variants: [{name: a, uri: absent.onnx}]}}", "absent.onnx cannot be read"),
        (
            "{kind: ModelSuite, spec: {variants: [{name: a, uri: fp32.onnx}]}}",
            "the accuracy of a is missing: give it by --accuracy a=0.98, or in the file",
        ),
        (
            "{kind: ModelSuite, metadata: {name: s}, spec: {variants: [{name: a, uri: fp32.onnx, accuracy: 98}]}}",
            "spec.variants[0].accuracy: accuracy is a fraction: 98% is 0.98",
        ),
        (
            "{kind: ModelSuite, metadata: {name: s}, spec: {variants: [{name: a, uri: fp32.onnx, accuracy: 1}]}}",
            "a: a variant's uri is relative, which needs spec.storageUri",
        ),
        (
            "{kind: ModelSuite, metadata: x, spec: {variants: [{name: a, uri: fp32.onnx, accuracy: 1}]}}",
            "metadata must hold the suite's name",
        ),
    ],
)
def test_what_is_wrong_in_a_manifest_is_told(text: str, sentence: str, directory: Path, cli: Cli) -> None:
    source = directory / "suite.yaml"
    source.write_text(text, encoding="utf-8")
    result = cli("suite", "build", "--from", source)
    assert (result.status, result.output) == (2, "")
    assert sentence in result.errors
    assert result.errors.count("\n") == 1


def test_further_files_are_brought_up_to_date_and_stay_where_they_are_fetched(
    directory: Path, cli: Cli
) -> None:
    for name in ("fp32", "int8"):
        onnx.save_model(
            convolution([1, 3, 8, 8]),
            directory / f"{name}.onnx",
            save_as_external_data=True,
            location=f"{name}.bin",
            size_threshold=0,
        )
    old = {"name": "fp32.bin", "uri": "s3://elsewhere/w", "sha256": "0" * 64, "sizeBytes": 1}
    gone = {**old, "name": "gone.bin"}
    content = document(variant("fp32", files=[gone, old]), variant("int8", uri="deep/int8.onnx"))
    (directory / "deep").mkdir()
    for name in ("int8.onnx", "int8.bin"):
        (directory / name).rename(directory / "deep" / name)
    first, second = refresh(cli, directory, content)["spec"]["variants"]
    data = (directory / "fp32.bin").read_bytes()
    assert first["files"] == [{**old, "sha256": hashlib.sha256(data).hexdigest(), "sizeBytes": len(data)}]
    assert [(each["name"], each["uri"]) for each in second["files"]] == [("int8.bin", "deep/int8.bin")]
    write_model(built(Precision.FP32), directory / "fp32.onnx")
    first, _ = refresh(cli, directory, content)["spec"]["variants"]
    assert "files" not in first
