"""What a user sees of a file."""

import json
from pathlib import Path

import pytest
import yaml
from fleetfit_api.suite import GraphFeatures, OperatorCost, Precision
from fleetfit_cli.suites.description import document, scaled, table
from fleetfit_cli.suites.variant_file import VariantFile, read_variant_file
from fleetfit_cli.suites.weight_formats import WeightFormats
from fleetfit_operator.predict.graph_features import graph_features
from onnx import helper

from tests.unit.cli.onnx_files import VARIANTS, Cli, built, convolution, model_of, write_model

INT8 = VARIANTS / "residual-wide-int8.onnx"
KERNELS = [
    "5/7 Conv fp32 1024x576x64 g1 w9 s1 262144+147456>262144",
    "1/1 QLinearConv int8 1024x576x192 g1 w9 s1 65536+36864>65536",
    "2/2 Relu fp32 4096x0x0 g1 w1 s1 16384+0>16384",
]


def features(**changes: object) -> GraphFeatures:
    values: dict[str, object] = {
        "multiply_accumulates": 302_000_000, "parameters": 36_864, "weight_bytes": 147_456, "operator_count": 10,
        "activation_bytes": 1_000_000, "depth": 8, "width": 64, "resolution_stages": 3,
        "memory_traffic_bytes": 5_000_000,
        "peak_activation_bytes": 500_000, "kernels": KERNELS, "unknown_operators": ["acme.Fancy"],
        "operators": [
            OperatorCost(name="Relu", count=9),
            OperatorCost(name="Conv", count=5, multiply_accumulates=302_000_000),
            OperatorCost(name="acme.Fancy", count=3),
        ],
    }  # fmt: skip
    return GraphFeatures.model_validate(values | changes)


def file(**changes: object) -> VariantFile:
    formats = WeightFormats({"int8": 3, "fp32": 1})
    return VariantFile(Path("dir/a.onnx"), 150_000, "ab" * 32, formats, features(**changes), ())


def rows(text: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines()]
    return {name.strip(): value.strip() for name, _, value in (line.partition("  ") for line in lines)}


def test_the_table_has_every_figure() -> None:
    assert rows(table(file(), kernels=False)) | {
        "OPERATOR": "",
        "Relu": "",
        "Conv": "",
        "acme.Fancy": "",
    } == {
        "dir/a.onnx": "",
        "precision": "int8 (weights: int8 75%, fp32 25%)",
        "size": "150 kB",
        "multiply-accumulates": "302 M",
        "by precision": "fp32 62%, int8 38%",
        "parameters": "36.9 k",
        "weights": "147 kB",
        "activations": "1 MB, 500 kB at the same time",
        "memory traffic": "5 MB",
        "operators": "10, depth 8, width 64",
        "resolution stages": "3",
        "unknown operators": "acme.Fancy x3",
        "": "",
        "OPERATOR": "",
        "Relu": "",
        "Conv": "",
        "acme.Fancy": "",
    }


def test_operators_come_with_the_most_work_first() -> None:
    lines = table(file(), kernels=False).splitlines()
    start = next(number for number, line in enumerate(lines) if "OPERATOR" in line)
    assert [line.split() for line in lines[start:]] == [
        ["OPERATOR", "COUNT", "MACS", "SHARE"],
        ["Conv", "5", "302", "M", "100.0%"],
        ["Relu", "9", "-", "-"],
        ["acme.Fancy", "3", "-", "-"],
    ]


def test_kernels_are_listed_when_they_are_wanted() -> None:
    assert not any(kernel in table(file(), kernels=False) for kernel in KERNELS)
    assert all(f"  {kernel}\n" in table(file(), kernels=True) for kernel in KERNELS)


def test_what_is_not_known_is_said() -> None:
    bare = file(
        memory_traffic_bytes=0,
        width=0,
        resolution_stages=0,
        peak_activation_bytes=0,
        kernels=[],
        unknown_operators=[],
    )
    found = rows(table(bare, kernels=False))
    assert found["memory traffic"] == "unknown"
    assert found["operators"] == "10, depth 8, width unknown"
    assert found["resolution stages"] == "unknown"
    assert found["activations"] == "1 MB"
    assert found["unknown operators"] == "none"
    assert "by precision" not in found


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 "), (999, "999 "), (1000, "1 k"), (90_482_688, "90.5 M"), (4.1e9, "4.1 G"), (7.25e12, "7.25 T")],
)
def test_numbers_have_three_digits_and_a_unit(number: float, text: str) -> None:
    assert scaled(number) == text


def test_a_real_file(cli: Cli) -> None:
    result = cli("suite", "describe", INT8)
    assert (result.status, result.errors) == (0, "")
    found = rows(result.output)
    assert found[str(INT8)] == ""
    assert found["precision"].startswith("int8 (weights: int8 9")
    assert found["multiply-accumulates"] == "90.5 M"
    assert found["unknown operators"] == "none"
    assert "unknown" not in {found["memory traffic"], found["resolution stages"]}
    assert "QLinearConv" in found
    kernels = graph_features(INT8).kernels
    assert kernels
    assert all(
        f"  {kernel}\n" in cli("suite", "describe", "--kernels", INT8).output for kernel in kernels[:3]
    )


@pytest.mark.parametrize(("output", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_programs_get_the_features_of_all_files(output: str, load: object, cli: Cli) -> None:
    paths = [INT8, VARIANTS / "mlp-fp32.onnx"]
    result = cli("suite", "describe", "--output", output, *paths)
    assert callable(load)
    described = load(result.output)
    assert described == [document(read_variant_file(path)) for path in paths]
    assert [GraphFeatures.model_validate(each["features"]) for each in described] == [
        graph_features(path) for path in paths
    ]
    assert [each["precision"] for each in described] == ["int8", "fp32"]


def test_open_sizes_are_told_beside_the_result(tmp_path: Path, cli: Cli) -> None:
    path = write_model(convolution(["N", 3, "height", "width"]), tmp_path / "a.onnx")
    open_ = cli("suite", "describe", path)
    assert open_.status == 0
    assert (
        "open dimensions count as 1; give the sizes in use, as in --shape data=1,3,HEIGHT,WIDTH"
        in open_.errors
    )

    fixed = cli("suite", "describe", "--shape", "data=1,3,224,224", path)
    assert fixed.errors == ""
    assert rows(fixed.output)["multiply-accumulates"] == scaled(4 * 222 * 222 * 27).strip()


def test_operators_of_other_domains_are_named_and_counted(tmp_path: Path, cli: Cli) -> None:
    nodes = [
        helper.make_node("Fancy", ["data"], ["middle"], domain="acme"),
        helper.make_node("Fancy", ["middle"], ["result"], domain="acme"),
    ]
    result = cli("suite", "describe", write_model(model_of(nodes, {}), tmp_path / "a.onnx"))
    assert result.status == 0
    assert rows(result.output)["acme.Fancy"].split()[0] == "2"
    assert rows(result.output)["unknown operators"] == "acme.Fancy x2"
    assert "the cost of acme.Fancy is not known" in result.errors


def test_a_file_without_weights_says_what_it_computes_in(tmp_path: Path, cli: Cli) -> None:
    model = model_of([helper.make_node("Relu", ["data"], ["result"])], {})
    result = cli("suite", "describe", write_model(model, tmp_path / "a.onnx"))
    assert rows(result.output)["precision"].startswith("fp32")


def test_one_bad_file_spoils_the_lot(tmp_path: Path, cli: Cli) -> None:
    good = write_model(built(Precision.FP32), tmp_path / "a.onnx")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\x00")
    result = cli("suite", "describe", good, bad)
    assert (result.status, result.output) == (2, "")
    assert "bad.onnx: not an ONNX file, or cut off" in result.errors
