"""Training graphs run, and measurements survive being written."""

import math
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from fleetfit_api.suite import Precision
from fleetfit_operator.predict.graph_features import model_features
from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_costs import kernel_terms
from fleetfit_training.graph_set import TrainingGraph, training_graphs
from fleetfit_training.kernel_chains import KERNEL_CHAINS
from fleetfit_training.kernel_fit import fit_kernel_costs
from fleetfit_training.measure import median_sweep
from fleetfit_training.measurements import Setting, Times, read_times, write_times
from fleetfit_training.nasbench201 import describe, is_cut_off, operations_of, read_nasbench
from fleetfit_training.network_families import NETWORK_FAMILIES
from fleetfit_training.random_networks import RANDOM_FAMILIES
from fleetfit_training.training_data import data_digest


@pytest.fixture(scope="module")
def some_graphs() -> list[TrainingGraph]:
    return list(training_graphs(seed=3, share=0.1))


def test_there_are_graphs_of_every_family_and_precision(some_graphs: list[TrainingGraph]) -> None:
    kinds = {(graph.family, graph.precision) for graph in some_graphs}
    assert {(family, Precision.INT8) for family in NETWORK_FAMILIES | KERNEL_CHAINS | RANDOM_FAMILIES} < kinds
    assert ("random-images", Precision.FP16) in kinds
    assert len({graph.name for graph in some_graphs}) == len(some_graphs)


def test_the_same_seed_gives_the_same_graphs(some_graphs: list[TrainingGraph]) -> None:
    once = [graph.model.SerializeToString() for graph in some_graphs]
    again, other = (
        [graph.model.SerializeToString() for graph in training_graphs(seed, share=0.1)] for seed in (3, 4)
    )

    assert once == again
    assert once != other


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.INT8])
def test_graphs_run(precision: Precision, some_graphs: list[TrainingGraph]) -> None:
    for graph in some_graphs:
        if graph.precision is not precision:
            continue
        options = ort.SessionOptions()
        options.log_severity_level = 4
        session = ort.InferenceSession(
            graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        inputs = {
            data.name: np.full(data.shape, 0.5, np.float16 if data.type == "tensor(float16)" else np.float32)
            for data in session.get_inputs()
        }
        (result,) = session.run(None, inputs)
        assert np.all(np.isfinite(result))


def test_measurements_survive_being_written_and_read(tmp_path: Path) -> None:
    setting = Setting.parse("cpu-t2-q0.5")
    times = {"a": Times(1.5, 1.6, 2.5, 0.01), "b": Times(10.0, 11.0, 12.0, 0.0)}

    write_times(tmp_path, setting, times, {"date": "2026-01-01"})

    assert read_times(tmp_path / "cpu-t2-q0.5.csv") == times


def test_of_several_sweeps_the_middle_one_counts_and_the_others_show_the_noise() -> None:
    sweeps = [Times(9.0, 12.0, 15.0, 0.001), Times(8.0, 10.0, 11.0, 0.002), Times(9.0, 20.0, 30.0, 0.003)]

    middle = median_sweep(sweeps)

    assert (middle.p50_us, middle.mean_us, middle.p95_us) == (9.0, 12.0, 15.0)
    assert middle.noise == pytest.approx(math.log(20 / 12))
    assert median_sweep(sweeps[:1]) == sweeps[0]


@pytest.mark.parametrize("name", ["cpu-t1", "cpu-basic-t2", "openvino-t4-q1.5"])
def test_a_setting_has_one_name(name: str) -> None:
    assert Setting.parse(name).name == name


@pytest.mark.parametrize("name", ["", "t1", "cpu", "gpu-t1", "cpu-t", "cpu-t1-q"])
def test_what_is_no_setting_is_refused_with_what_one_looks_like(name: str) -> None:
    with pytest.raises(ValueError, match=r"cpu-t2-q1\.5"):
        Setting.parse(name)


def test_another_measurement_has_another_digest(tmp_path: Path) -> None:
    for speed in (1.0, 2.0):
        write_times(
            tmp_path / f"{speed}" / "board", Setting.parse("cpu-t1"), {"a": Times(speed, 1, 1, 0)}, {}
        )

    assert data_digest(tmp_path / "1.0") != data_digest(tmp_path / "2.0")


def test_what_kernels_cost_is_found_from_whole_graphs() -> None:
    graphs = list(training_graphs(seed=11, share=0.3))
    table = GraphTable.of([model_features(graph.model, graph.name) for graph in graphs])
    prices = np.full(kernel_terms(table.kernels).shape[1], 1e-10)
    prices[0] = 2e-6
    latency_s = 5e-6 + table.run @ (kernel_terms(table.kernels) @ prices)
    train, test = np.arange(0, len(graphs), 2), np.arange(1, len(graphs), 2)

    costs = fit_kernel_costs(table.rows(train), latency_s[train])

    errors = np.abs(np.exp(costs.log_latency(table.rows(test))) / latency_s[test] - 1)
    assert np.median(errors) < 0.05


def test_the_operations_of_a_cell_are_read_from_its_name() -> None:
    name = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"

    assert operations_of(name) == [
        "nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "none",
    ]  # fmt: skip
    assert not is_cut_off(name)
    assert is_cut_off("|none~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|")


def test_the_table_of_public_networks_is_what_their_graphs_say() -> None:
    public = read_nasbench()
    name = public.architectures[1234]

    features = describe(name)

    table = GraphTable.of([features])
    assert public.graphs.run[1234].sum() == table.run.sum()
    assert public.graphs.run[1234] @ public.graphs.kernels.macs == table.run[0] @ table.kernels.macs
    assert public.graphs.written[1234] @ public.graphs.kernels.traffic_bytes == pytest.approx(
        table.written[0] @ table.kernels.traffic_bytes
    )
    assert public.graphs.depth[1234] == features.depth
    assert len(public.devices) == 27
