"""The commands that make the predictor hand the right things to the training, and write what they say."""

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleetfit_training import graph_set
from fleetfit_training.graph_set import TrainingGraph, training_graphs
from fleetfit_training.measurements import DATA_DIR, INDEX_FILE, read_times

from tests.unit.cli.onnx_files import Cli


@pytest.fixture
def two_graphs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the set small enough to be timed in a test; gives the names."""

    def few(share: float = 1.0) -> Iterator[TrainingGraph]:
        return itertools.islice(training_graphs(share=share), 2)

    monkeypatch.setattr(graph_set, "training_graphs", few)
    return [graph.name for graph in few()]


def measure(cli: Cli, data: Path, *words: object) -> tuple[int, str]:
    result = cli("measure", "--machine", "board", "--data", data, "--budget-s", "0.01", *words)
    assert result.output == ""
    return result.status, result.errors


def test_graphs_are_written_with_their_index(tmp_path: Path, cli: Cli) -> None:
    result = cli("graphs", "--share", "0.01", tmp_path / "graphs")
    names = [entry["name"] for entry in json.loads((tmp_path / "graphs" / INDEX_FILE).read_text())]
    assert (result.status, result.output) == (0, "")
    assert f"wrote {len(names)} graphs to" in result.errors
    assert {path.stem for path in (tmp_path / "graphs").glob("*.onnx")} == set(names)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "file").touch()
    result = cli("graphs", "--share", "0.01", tmp_path / "file")
    assert result.status == 1
    assert "cannot be written: File exists" in result.errors


def test_every_setting_gets_its_table(two_graphs: list[str], tmp_path: Path, cli: Cli) -> None:
    cli("graphs", tmp_path / "graphs")
    status, progress = measure(
        cli, tmp_path / "data", "--graphs", tmp_path / "graphs", "cpu-t1", "cpu-basic-t1"
    )
    assert status == 0
    assert "cpu-t1: 1 passes" in progress
    for setting in ("cpu-t1", "cpu-basic-t1"):
        times = read_times(tmp_path / "data" / "board" / f"{setting}.csv")
        assert list(times) == two_graphs
        assert all(each.p50_us > 0 for each in times.values())


def test_graphs_are_timed_in_parts_and_none_is_lost(
    two_graphs: list[str], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetfit_training.measure._PART", 1)

    _, progress = measure(cli, tmp_path / "data", "cpu-t1")

    assert "part 2 of 2" in progress
    assert sorted(read_times(tmp_path / "data" / "board" / "cpu-t1.csv")) == sorted(two_graphs)


def test_without_a_directory_the_graphs_are_made_for_the_occasion(
    two_graphs: list[str], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert measure(cli, tmp_path / "data", "cpu-t1")[0] == 0
    assert list(read_times(tmp_path / "data" / "board" / "cpu-t1.csv")) == two_graphs
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["cpu"], "'cpu' is no setting: write PROVIDER-tTHREADS, such as cpu-t1"),
        (["abacus-t1"], "providers are cpu, openvino, cuda"),
        (["cpu-t1", "--graphs", "absent"], "absent holds no graphs: write them by `fleetfit graphs absent`"),
        (["cpu-t1", "--machine", "../up"], "'../up' is no name for a machine"),
        (["cpu-t1", "--budget-s", "-1"], "'-1' is no number above 0"),
    ],
)
def test_wrong_words_are_told(words: list[str], sentence: str, tmp_path: Path, cli: Cli) -> None:
    status, errors = measure(cli, tmp_path, *words)
    assert status == 2
    assert sentence in errors
    assert errors.count("\n") == 1


def test_a_quota_without_the_right_to_it_is_told(
    two_graphs: list[str], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/sys/fs/cgroup/fleetfit-measure")

    monkeypatch.setattr("fleetfit_training.cpu_quota.CpuQuota.__enter__", refused)
    status, errors = measure(cli, tmp_path, "cpu-t1-q0.5")
    assert two_graphs
    assert status == 1
    assert "Permission denied; a CPU quota, -q in a setting, needs root" in errors


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_a_provider_that_is_not_there_is_told(two_graphs: list[str], tmp_path: Path, cli: Cli) -> None:
    status, errors = measure(cli, tmp_path, "qnn-t1")
    assert status == 1
    assert f"QNNExecutionProvider does not run {two_graphs[0]} here" in errors
    assert not (tmp_path / "board").exists()


def test_a_graph_that_is_broken_is_told(two_graphs: list[str], tmp_path: Path, cli: Cli) -> None:
    cli("graphs", tmp_path / "graphs")
    (tmp_path / "graphs" / f"{two_graphs[1]}.onnx").write_bytes(b"broken")
    status, errors = measure(cli, tmp_path / "data", "--graphs", tmp_path / "graphs", "cpu-t1")
    assert status == 1
    assert "measure: ONNX Runtime says" in errors


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[argparse.Namespace]:
    """What the training was called with, instead of minutes of it."""
    calls: list[argparse.Namespace] = []
    monkeypatch.setattr("fleetfit_training.train.run", calls.append)
    return calls


def test_training_goes_where_it_is_told(trained: list[argparse.Namespace], tmp_path: Path, cli: Cli) -> None:
    assert cli("train", "--data", tmp_path, "--output", tmp_path / "model").status == 0
    assert (trained[0].data, trained[0].output) == (tmp_path, tmp_path / "model")


def test_training_has_its_usual_places(trained: list[argparse.Namespace], cli: Cli) -> None:
    assert cli("train").status == 0
    assert trained[0].data == DATA_DIR
    assert (trained[0].output / "metadata.json").is_file()
    assert trained[0].output.parent.name == "predict"


@pytest.mark.parametrize(
    ("module", "without"),
    [("measure", ("onnx", "lightgbm")), ("train", ("onnxruntime",)), ("graph_set", ("onnxruntime",))],
)
def test_a_command_needs_no_more_than_its_extra(module: str, without: tuple[str, ...]) -> None:
    # A board measures without onnx; training needs no ONNX Runtime.
    program = f"import sys\nsys.modules.update(dict.fromkeys({without!r}))\nimport fleetfit_training.{module}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stderr == ""
