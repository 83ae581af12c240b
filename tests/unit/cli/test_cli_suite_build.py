"""A suite from files is one that the API takes, and says what is in the files."""

import hashlib
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from fleetfit_api.suite import ModelSuite, Precision
from fleetfit_cli.suites.manifest import APPLY_LIMIT_BYTES, is_too_large_to_apply, read_suite, suite_document
from fleetfit_cli.suites.suite_faults import suite_faults
from fleetfit_operator.predict.graph_features import graph_features
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from examples.digits.catalogue import SUITE_FILE
from tests.unit.cli.onnx_files import VARIANTS, Cli, built, convolution, model_of, write_model

URI = "http://models.example/digits"


def suite_of(output: str) -> ModelSuite:
    return ModelSuite.model_validate(yaml.safe_load(output))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A file of each of three precisions."""
    precisions = (Precision.FP32, Precision.FP16, Precision.INT8)
    return {p.value: write_model(built(p), tmp_path / f"cnn-{p}.onnx") for p in precisions}


def test_the_suite_says_what_is_in_the_files(files: dict[str, Path], cli: Cli) -> None:
    words = [f"{path}:0.9{number}" for number, path in enumerate(files.values())]
    result = cli("suite", "build", "digits", "--storage-uri", URI, *words)
    assert (result.status, result.errors) == (0, "")

    suite = suite_of(result.output)
    assert suite.metadata.name == "digits"
    assert suite.spec.storage_uri == URI
    assert list(suite_faults(suite)) == []
    for number, (precision, path) in enumerate(files.items()):
        variant = suite.spec.variants[number]
        assert variant.name == f"cnn-{precision}"
        assert variant.uri == path.name
        assert variant.precision == precision
        assert variant.accuracy == pytest.approx(0.9 + number / 100)
        assert variant.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert variant.size_bytes == path.stat().st_size
        assert variant.features == graph_features(path)


def test_what_is_built_is_read_back_equal(files: dict[str, Path], tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "suite.yaml"
    words = ["suite", "build", "digits", "--storage-uri", URI, *(f"{path}:0.5" for path in files.values())]
    printed = cli(*words).output
    written = cli(*words, "--output", out)
    assert (written.status, written.output) == (0, "")
    assert f"wrote {out}" in written.errors
    assert out.read_text() == printed
    assert read_suite(out) == suite_of(printed)
    document = yaml.safe_load(printed)
    assert suite_document(suite_of(printed)) == document
    assert list(document) == ["apiVersion", "kind", "metadata", "spec"]


def test_the_example_could_be_built_by_the_command(cli: Cli) -> None:
    committed = read_suite(SUITE_FILE)
    words = [f"{SUITE_FILE.parent / v.uri}:{v.accuracy}" for v in committed.spec.variants]
    result = cli(
        "suite", "build", "digits", "--storage-uri", committed.spec.storage_uri, "--root", SUITE_FILE.parent,
        "--description", committed.spec.description, "--dataset", committed.spec.dataset, *words,
    )  # fmt: skip
    assert suite_of(result.output) == committed


def test_options_may_stand_between_the_files(files: dict[str, Path], cli: Cli) -> None:
    fp32, int8 = files["fp32"], files["int8"]
    result = cli(
        "suite", "build", "digits", f"small={int8}", "--metric", "top-1", fp32, "--accuracy", "small=0.7",
        "--accuracy", "cnn-fp32=0.8", "--namespace", "shop", "--storage-uri", URI,
    )  # fmt: skip
    suite = suite_of(result.output)
    assert {v.name: v.accuracy for v in suite.spec.variants} == {"small": 0.7, "cnn-fp32": 0.8}
    assert (suite.metadata.namespace, suite.spec.metric) == ("shop", "top-1")


def test_without_a_storage_uri_nodes_read_the_very_files(files: dict[str, Path], cli: Cli) -> None:
    result = cli("suite", "build", "digits", f"{files['fp32']}:0.9")
    suite = suite_of(result.output)
    assert suite.spec.variants[0].uri == files["fp32"].as_uri()
    assert "every node must have the files where this machine has them" in result.errors
    assert list(suite_faults(suite)) == []


def test_uris_are_relative_to_the_root_and_quoted(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "the files").mkdir()
    path = write_model(built(Precision.FP32), tmp_path / "the files" / "CNN #1 (v2).onnx")
    result = cli("suite", "build", "d", "--storage-uri", URI, "--root", tmp_path, f"{path}:1")
    variant = suite_of(result.output).spec.variants[0]
    assert variant.uri == "the%20files/CNN%20%231%20%28v2%29.onnx"
    assert variant.name == "cnn-1-v2"

    outside = cli("suite", "build", "d", "--storage-uri", URI, "--root", tmp_path / "x", f"{path}:1")
    assert outside.status == 2
    assert f"is not under {tmp_path / 'x'}" in outside.errors


def test_a_file_may_have_the_signs_of_the_notation_in_its_name(tmp_path: Path, cli: Cli) -> None:
    path = write_model(built(Precision.FP32), tmp_path / "a=b:0.5")
    result = cli("suite", "build", "d", "--storage-uri", URI, path, "--accuracy", "a-b-0.5=0.25")
    assert [(v.name, v.accuracy) for v in suite_of(result.output).spec.variants] == [("a-b-0.5", 0.25)]


def test_the_precision_can_be_said(files: dict[str, Path], tmp_path: Path, cli: Cli) -> None:
    words = ["suite", "build", "d", "--storage-uri", URI]
    result = cli(*words, f"a={files['fp32']}:1", "--precision", "a=bf16")
    assert suite_of(result.output).spec.variants[0].precision is Precision.BF16

    weight = helper.make_tensor("w", TensorProto.DOUBLE, [4, 4], [1.0] * 16)
    model = model_of(
        [helper.make_node("MatMul", ["data", "w"], ["result"])], {}, element_type=TensorProto.DOUBLE
    )
    model.graph.initializer.append(weight)
    double = write_model(model, tmp_path / "double.onnx")
    result = cli(*words, f"{double}:1")
    assert result.status == 2
    assert "its weights are fp64, a suite has fp32, fp16, bf16, int8, int4" in result.errors
    assert cli(*words, f"{double}:1", "--precision", "double=fp32").status == 0


def test_features_are_those_of_the_sizes_that_are_given(tmp_path: Path, cli: Cli) -> None:
    path = write_model(convolution(["N", 3, "h", "w"]), tmp_path / "a.onnx")
    words = ["suite", "build", "d", "--storage-uri", URI, f"{path}:1"]
    assert "--shape data=1,3,H,W" in cli(*words).errors
    variant = suite_of(cli(*words, "--shape", "data=1,3,12,12").output).spec.variants[0]
    assert variant.features is not None
    assert variant.features.multiply_accumulates == 4 * 10 * 10 * 27


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["d", "{fp32}"],
            "the accuracy of cnn-fp32 is missing: measure it on held-out data and give it beside",
        ),
        (["d", "{fp32}", "{int8}"], "the accuracy of cnn-fp32, cnn-int8 is missing"),
        (["d", "{fp32}"], ":0.98, or by --accuracy cnn-fp32=0.98"),
        (
            ["d", "{fp32}:1", "{fp32}:1"],
            "2 variants are called cnn-fp32: give another name, as in cnn-fp32-2=",
        ),
        (["d", "{fp32}:1", "--accuracy", "x=1"], "there is no variant 'x'; variants are cnn-fp32"),
        (["d", "{fp32}:1", "--precision", "x=int8"], "there is no variant 'x'; variants are cnn-fp32"),
        (["D", "{fp32}:1"], "'D' is no name of an object: it is lower-case letters"),
        (["d", "--namespace", "a.b", "{fp32}:1"], "'a.b' is no name of a namespace"),
        (
            ["d", "--storage-uri", "ftp://models", "{fp32}:1"],
            "spec.storageUri must begin with http://, https://",
        ),
        (["d", "--storage-uri", "models", "{fp32}:1"], "spec.storageUri must begin with http://, https://"),
        (["d", "--storage-uri", "http:///x", "{fp32}:1"], "needs a host"),
        (["d", "--storage-uri", "https://me:pw@h", "{fp32}:1"], "credentials in a uri are not supported"),
        (["d", "--storage-uri", "file://models/x", "{fp32}:1"], "needs three slashes"),
        (["d", "x" * 64 + "={fp32}:1"], "is too long: a variant's name has at most 63"),
        (["d", "--description", "x" * 1025, "{fp32}:1"], "spec.description: String should have at most 1024"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_missing_or_wrong_is_told(
    words: list[str], sentence: str, files: dict[str, Path], cli: Cli
) -> None:
    result = cli("suite", "build", *(word.format(**files) for word in words))
    assert (result.status, result.output) == (2, "")
    assert sentence in result.errors
    assert result.errors.count("\n") == 1


def test_a_place_that_cannot_be_written_is_told(files: dict[str, Path], tmp_path: Path, cli: Cli) -> None:
    words = ["suite", "build", "d", "--storage-uri", URI, f"{files['fp32']}:1"]
    result = cli(*words, "--output", tmp_path / "absent" / "suite.yaml")
    assert result.status == 1
    assert "cannot be written: No such file or directory" in result.errors


def test_a_manifest_too_large_for_kubectl_apply_is_told(
    files: dict[str, Path], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["suite", "build", "d", "--storage-uri", URI, f"{files['fp32']}:1"]
    assert "--server-side" not in cli(*words).errors
    monkeypatch.setattr("fleetfit_cli.suites.manifest.APPLY_LIMIT_BYTES", 100)
    assert "apply it with `kubectl apply --server-side`" in cli(*words).errors


@given(size=st.integers(APPLY_LIMIT_BYTES - 40, APPLY_LIMIT_BYTES + 40))
def test_the_limit_is_that_of_the_copy_in_json(size: int) -> None:
    document: dict[str, Any] = {"a": "x" * (size - len('{"a":""}'))}
    assert is_too_large_to_apply(document) == (size > APPLY_LIMIT_BYTES)


@pytest.mark.parametrize("path", sorted(VARIANTS.glob("*.onnx")), ids=lambda path: path.stem)
def test_the_same_file_gives_the_same_manifest(path: Path, cli: Cli) -> None:
    words = ["suite", "build", "d", "--storage-uri", URI, f"{path}:0.5"]
    assert cli(*words) == cli(*words)
    assert onnx.load(path).graph.node  # the file is left as it is


@pytest.mark.parametrize(
    ("words", "uris"),
    [
        (["--storage-uri", URI], ["large.onnx", "part/large.bin"]),
        (["--storage-uri", URI, "--root", ".."], ["m/large.onnx", "m/part/large.bin"]),
        ([], []),
    ],
    ids=["beside", "from a root", "the very files"],
)
def test_external_data_is_written_as_further_files(
    words: list[str], uris: list[str], tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "m" / "part").mkdir(parents=True)
    path, data = tmp_path / "m" / "large.onnx", tmp_path / "m" / "part" / "large.bin"
    onnx.save_model(
        convolution([1, 3, 8, 8]),
        path,
        save_as_external_data=True,
        location="part/large.bin",
        size_threshold=0,
    )
    words = [str(tmp_path) if word == ".." else word for word in words]
    result = cli("suite", "build", "d", *words, f"{path}:1")
    assert result.status == 0, result.errors
    variant = suite_of(result.output).spec.variants[0]
    assert [variant.uri, *(file.uri for file in variant.files)] == (uris or [path.as_uri(), data.as_uri()])
    (file,) = variant.files
    assert (file.name, file.size_bytes) == ("part/large.bin", data.stat().st_size)
    assert file.sha256 == hashlib.sha256(data.read_bytes()).hexdigest()
    assert variant.total_bytes == path.stat().st_size + data.stat().st_size
