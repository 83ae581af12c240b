"""Public devices: learn from nine, tune on four, report on six; read K networks of one, predict all others.

Protocol of HELP (Lee et al., NeurIPS 2021, table 3): 900 networks of each known device. Only generic graph features
and the K readings are used, and the K networks are the same for all devices and chosen on the known ones.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import lightgbm
import numpy as np
from fleetfit_operator.predict.device_model import DeviceModel
from fleetfit_operator.predict.graph_vector import graph_vectors
from fleetfit_operator.predict.kernel_groups import FloatArray, IntArray
from fleetfit_operator.predict.mixture import Columns
from fleetfit_operator.predict.physical_terms import written_terms
from fleetfit_training.evaluation import interval_factor
from fleetfit_training.nasbench201 import NasBench
from fleetfit_training.reference_choice import choose_references
from fleetfit_training.surrogate import Surrogate

TRAIN: Final = (
    "1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1",
    "samsung_s7",
)  # fmt: skip
TUNE: Final = ("titanx_1", "titanx_32", "titanx_256", "gold_6240")
UNSEEN: Final = ("titan_rtx_256", "gold_6226", "pixel2", "raspi4", "eyeriss", "fpga")
READINGS: Final = (10, 5, 3)
NETWORKS_PER_DEVICE: Final = 900
_FLOOR: Final = 0.01
_DECIMALS: Final = 9


@dataclass(frozen=True, slots=True)
class World:
    """What is known before an unseen device is looked at, for one seed.

    Attributes:
        data: All networks and devices.
        columns: Known devices and cost terms, for all networks.
        references: The networks to read, the most telling first.
        factors: Scale of intervals by number of readings, from the devices that were tuned on.
    """

    data: NasBench
    columns: Columns
    references: IntArray
    factors: Mapping[int, float]

    def readings(self, count: int) -> Columns:
        """Return the columns of the networks that are read."""
        return self.columns.rows(self.references[:count])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one device with some readings.

    Attributes:
        rows: The networks that were predicted.
        log_latency: Predicted logarithms of seconds, by method.
        log_sigma: Standard deviations of ours, calibrated.
        measured_s: What was measured.
    """

    rows: IntArray
    log_latency: Mapping[str, FloatArray]
    log_sigma: FloatArray
    measured_s: FloatArray


def learn(data: NasBench, vectors: FloatArray, seed: int) -> World:
    """Return what is known from the nine devices."""
    rng = np.random.default_rng(seed)
    seen = np.sort(rng.choice(len(vectors), NETWORKS_PER_DEVICE, replace=False))
    latency_s = np.column_stack([data.column(device) for device in TRAIN])
    log_devices = np.column_stack(
        [Surrogate.fit(vectors[seen], each[seen], seed).log_latency(vectors) for each in latency_s.T]
    )
    terms, optional = written_terms(data.graphs)
    columns = Columns(np.exp(log_devices), terms, optional, np.ones(len(TRAIN), dtype=bool))
    live = seen[~data.cut_off[seen]]
    written = terms[:, ~optional]
    references = live[choose_references(log_devices[live], written[live], max(READINGS))]
    factors = {count: _interval_factor(data, columns, references[:count], live) for count in READINGS}
    return World(data, columns, references, factors)


def vectors_of(data: NasBench) -> FloatArray:
    """Return the features of all networks, without those that are the same for all.

    Beside the features that every graph has stand the counts of each distinct kernel, as it runs and as it is written.
    Of features that are equal everywhere one is kept, so that none counts twice.
    """
    vectors = np.hstack([graph_vectors(data.graphs), data.graphs.run, data.graphs.written])
    vectors = vectors[:, vectors.std(axis=0) > 0]
    _, first = np.unique(vectors.T.round(_DECIMALS), axis=0, return_index=True)
    return np.asarray(vectors[:, np.sort(first)])


def _interval_factor(data: NasBench, columns: Columns, references: IntArray, judged: IntArray) -> float:
    """Return the scale that makes intervals hold on the devices that were tuned on, which nothing was learnt from."""
    rows = np.setdiff1d(judged, references)
    errors, spreads = [], []
    for device in TUNE:
        latency_s = data.column(device)
        model = DeviceModel.fit(columns.rows(references), latency_s[references])
        expected, spread = model.log_latency_and_spread(columns.rows(rows))
        errors.append(expected - np.log(latency_s[rows]))
        spreads.append(spread)
    return interval_factor(np.concatenate(errors), np.concatenate(spreads), _FLOOR)


def predict(world: World, device: str, count: int) -> Outcome:
    """Return predictions of all networks but those read, after so many readings."""
    measured_s = world.data.column(device)
    references = world.references[:count]
    rows = np.setdiff1d(np.arange(len(measured_s)), references)
    readings, others = world.readings(count), world.columns.rows(rows)
    model = DeviceModel.fit(readings, measured_s[references])
    expected, spread = model.log_latency_and_spread(others)
    methods = {
        name: method(world, measured_s[references], references, rows) for name, method in BASELINES.items()
    }
    return Outcome(
        rows,
        {"fleetfit": expected, **methods},
        world.factors[count] * np.hypot(spread, _FLOOR),
        measured_s[rows],
    )


Baseline = Callable[[World, FloatArray, IntArray, IntArray], FloatArray]


def _by_work(world: World, latency_s: FloatArray, references: IntArray, rows: IntArray) -> FloatArray:
    graphs = world.data.graphs
    work = graphs.written @ graphs.kernels.macs
    return np.asarray(np.log(work[rows] * np.median(latency_s / work[references])))


def _nearest_device(world: World, latency_s: FloatArray, references: IntArray, rows: IntArray) -> FloatArray:
    logs = np.log(world.columns.devices)
    offsets = np.log(latency_s)[:, None] - logs[references]
    nearest = int(np.argmin(offsets.std(axis=0)))
    return np.asarray(logs[rows, nearest] + offsets[:, nearest].mean())


def _average_device(world: World, latency_s: FloatArray, references: IntArray, rows: IntArray) -> FloatArray:
    mean = np.log(world.columns.devices).mean(axis=1)
    return np.asarray(mean[rows] + (np.log(latency_s) - mean[references]).mean())


def _ridge(world: World, latency_s: FloatArray, references: IntArray, rows: IntArray) -> FloatArray:
    logs = np.log(world.columns.devices)
    centre, target = logs[references].mean(axis=0), np.log(latency_s)
    design = logs[references] - centre
    equal = np.full(design.shape[1], 1.0 / design.shape[1])
    inner = design.T @ design + 0.1 * np.eye(design.shape[1])
    weights = equal + np.linalg.solve(inner, design.T @ (target - target.mean() - design @ equal))
    return np.asarray(target.mean() + (logs[rows] - centre) @ weights)


BASELINES: Final[Mapping[str, Baseline]] = {
    "multiply-accumulates": _by_work,
    "average device": _average_device,
    "nearest known device": _nearest_device,
    "ridge on known devices": _ridge,
}


@dataclass(frozen=True, slots=True)
class PairPredictor:
    """LightGBM alone: features of the network and the ten readings of the device, relative to their mean."""

    booster: lightgbm.Booster
    vectors: FloatArray

    @classmethod
    def fit(cls, data: NasBench, vectors: FloatArray, world: World, seed: int) -> "PairPredictor":
        """Learn from the nine known devices."""
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(len(vectors), NETWORKS_PER_DEVICE, replace=False))
        inputs, targets = [], []
        for device in TRAIN:
            latency_s = data.column(device)
            logs = np.log(latency_s[world.references])
            inputs.append(np.hstack([vectors[rows], np.tile(logs - logs.mean(), (len(rows), 1))]))
            targets.append(np.log(latency_s[rows]) - logs.mean())
        settings = {"num_leaves": 31, "learning_rate": 0.05, "num_threads": 1, "verbosity": -1, "seed": seed}
        booster = lightgbm.train(settings, lightgbm.Dataset(np.vstack(inputs), np.concatenate(targets)), 300)
        return cls(booster, vectors)

    def log_latency(self, latency_s: FloatArray, rows: IntArray) -> FloatArray:
        """Return predictions for a device from its ten readings."""
        logs = np.log(latency_s)
        inputs = np.hstack([self.vectors[rows], np.tile(logs - logs.mean(), (len(rows), 1))])
        return np.asarray(np.asarray(self.booster.predict(inputs, num_threads=1)) + logs.mean())


def worlds(data: NasBench, seeds: int) -> Iterator[tuple[int, World, PairPredictor]]:
    """Yield what is known, seed by seed."""
    vectors = vectors_of(data)
    for seed in range(seeds):
        world = learn(data, vectors, seed)
        yield seed, world, PairPredictor.fit(data, vectors, world, seed)
