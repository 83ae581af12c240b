"""Training graphs run, and measurements survive being written."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from fleetfit_api.suite import Precision

from training.dataset import data_digest, read_machines, write_machine
from training.random_graphs import FAMILIES, PRECISIONS, training_graphs


def test_there_are_graphs_of_every_family_and_precision() -> None:
    graphs = list(training_graphs(2, seed=3))

    assert {(graph.family, graph.precision) for graph in graphs} == {
        (family, precision) for family in FAMILIES for precision in PRECISIONS
    }
    assert len({graph.name for graph in graphs}) == len(graphs) == 30


def test_the_same_seed_gives_the_same_graphs() -> None:
    once, again, other = (
        [g.model.SerializeToString() for g in training_graphs(1, seed)] for seed in (3, 3, 4)
    )

    assert once == again
    assert once != other


@pytest.mark.parametrize("precision", PRECISIONS)
def test_graphs_run(precision: Precision) -> None:
    for graph in training_graphs(1, seed=5):
        if graph.precision is not precision:
            continue
        options = ort.SessionOptions()
        options.log_severity_level = 4
        session = ort.InferenceSession(
            graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        data = session.get_inputs()[0]
        element_type = np.float16 if data.type == "tensor(float16)" else np.float32
        (result,) = session.run(None, {data.name: np.full(data.shape, 0.5, element_type)})
        assert np.all(np.isfinite(result))


def test_measurements_survive_being_written_and_read(tmp_path: Path) -> None:
    (machine, *_) = read_machines()

    write_machine(tmp_path / machine.machine, machine, {"note": "a copy"})

    assert data_digest(tmp_path) == data_digest()
    (copy,) = read_machines(tmp_path)
    assert copy.graphs == machine.graphs
    assert copy.times == machine.times


def test_another_measurement_has_another_digest(tmp_path: Path) -> None:
    (machine, *_) = read_machines()
    write_machine(tmp_path / machine.machine, machine, {})
    path = tmp_path / machine.machine / "measurements.csv"
    path.write_text(path.read_text().replace("1", "2", 1))

    assert data_digest(tmp_path) != data_digest()
