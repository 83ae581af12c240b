"""How well the predictor does on settings and families of graphs that it was not trained on.

`unseen_setting`: of the setting only the reference networks are read; other settings of the machine have timed all
graphs. `unseen_family`: besides, no setting of the machine has timed any graph of the family that is predicted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from fleetfit_operator.fleet.choice import HALF_WIDTH
from fleetfit_operator.predict.device_model import DeviceModel
from fleetfit_operator.predict.kernel_costs import KernelCosts
from fleetfit_operator.predict.kernel_groups import BoolArray, FloatArray, IntArray
from fleetfit_operator.predict.known_devices import KnownDevices
from fleetfit_operator.predict.predictor import RUN_RIDGES

from fleetfit_training.kernel_fit import fit_kernel_costs, usual_term_prices
from fleetfit_training.network_families import NETWORK_FAMILIES
from fleetfit_training.training_data import TimedDevice, TrainingData

LARGEST_NOISE: Final = 0.05
"""A setting is judged where a repetition would change half of its figures by less than this, and so is a graph."""
_READING_NOISE: Final = 0.02


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What was predicted of graphs in a setting that was held out.

    Attributes:
        device: Name of the setting.
        family: Family of the graphs.
        predicted_log: Logarithms of the predicted seconds.
        measured_log: Logarithms of the measured seconds.
        spread: Uncalibrated spread of each prediction.
        by_work: Seconds in proportion to multiply-accumulates, as a baseline.
    """

    device: str
    family: str
    predicted_log: FloatArray
    measured_log: FloatArray
    spread: FloatArray
    by_work: FloatArray


def judged_devices(data: TrainingData) -> list[TimedDevice]:
    """Return the settings that repeat well enough to be judged, of those that a runtime would use.

    Basic optimisation is only learnt from: no runtime holds back ONNX Runtime, but some processors have few fast
    kernels, and a device that is unlike the others helps to mix those.
    """
    networks = np.isin(data.families, list(NETWORK_FAMILIES))
    return [
        device
        for device in data.devices
        if "-basic-" not in device.name and np.nanmedian(device.noise[networks]) < LARGEST_NOISE
    ]


def judged_graphs(device: TimedDevice) -> BoolArray:
    """Return the graphs that are judged in a setting: those that repeat well."""
    return np.asarray(device.timed & (device.noise < LARGEST_NOISE))


Costs = Mapping[str, KernelCosts]
"""What kernels cost, by setting."""


def learn_costs(data: TrainingData, unseen_family: str = "") -> Costs:
    """Return what kernels cost in each setting, learnt from all graphs but those of a family."""
    seen = data.families != unseen_family
    return {device.name: _costs(data, device, seen) for device in data.devices}


def learn_costs_by_family(data: TrainingData) -> dict[str, Costs]:
    """Return, for each family of networks, what kernels cost as learnt without it."""
    return {family: learn_costs(data, family) for family in NETWORK_FAMILIES}


def hold_out(data: TrainingData, references: IntArray, costs: Mapping[str, Costs]) -> Iterator[HeldOut]:
    """Yield predictions for every judged setting and family of networks.

    Args:
        data: Graphs and times.
        references: Rows of the reference networks, the only readings of a held-out setting.
        costs: What kernels cost where each family is predicted: learnt without it, or from everything.
    """
    for family in NETWORK_FAMILIES:
        for device in judged_devices(data):
            yield _predict(data, device, data.families == family, references, costs[family])


def _costs(data: TrainingData, device: TimedDevice, seen: BoolArray) -> KernelCosts:
    rows = np.flatnonzero(seen & device.timed)
    return fit_kernel_costs(data.table.rows(rows), device.mean_s[rows], device.counting)


def _predict(
    data: TrainingData,
    device: TimedDevice,
    of_family: BoolArray,
    references: IntArray,
    costs: Costs,
) -> HeldOut:
    others = [name for name in costs if name != device.name]
    known = known_devices(data, {name: costs[name] for name in others})
    rows = np.flatnonzero(of_family & judged_graphs(device))
    columns = known.columns(data.table.rows(np.concatenate([references, rows])))
    readings, graphs = columns.rows(slice(None, len(references))), columns.rows(slice(len(references), None))
    noise = np.full(len(references), _READING_NOISE**2)
    model = DeviceModel.fit(readings, device.mean_s[references], RUN_RIDGES, noise)
    predicted, spread = model.log_latency_and_spread(graphs)
    work = data.table.run @ data.table.kernels.macs
    per_work = np.median(device.mean_s[references] / np.maximum(1.0, work[references]))
    return HeldOut(
        device.name,
        str(data.families[rows[0]]),
        predicted,
        np.log(device.mean_s[rows]),
        spread,
        np.maximum(1.0, work[rows]) * per_work,
    )


def known_devices(data: TrainingData, costs: Costs) -> KnownDevices:
    """Return known devices that all timed the graph set."""
    chains = np.flatnonzero(~np.isin(data.families, list(NETWORK_FAMILIES)))
    table = data.table.rows(chains)
    usual = np.exp(np.mean([each.log_latency(table) for each in costs.values()], axis=0))
    return KnownDevices(
        tuple(costs), tuple(costs.values()), np.ones(len(costs), dtype=bool), usual_term_prices(table, usual)
    )


def scores(results: Sequence[HeldOut]) -> dict[str, float]:
    """Return mean rank correlation over settings, and relative errors over all graphs."""
    devices = sorted({each.device for each in results})
    errors = np.concatenate([np.abs(np.expm1(each.predicted_log - each.measured_log)) for each in results])
    correlations = []
    for device in devices:
        own = [each for each in results if each.device == device]
        predicted = np.concatenate([each.predicted_log for each in own])
        measured = np.concatenate([each.measured_log for each in own])
        correlations.append(rank_correlation(predicted, measured))
    figures = {
        "rank_correlation": np.mean(correlations),
        "mean_error": errors.mean(),
        "median_error": np.median(errors),
        "within_20_percent": np.mean(errors <= 0.2),
    }
    return {name: round(float(figure), 4) for name, figure in figures.items()}


def rank_correlation(left: FloatArray, right: FloatArray) -> float:
    """Return Spearman's rank correlation."""
    ranks = [np.argsort(np.argsort(values)) for values in (left, right)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def interval_factor(log_errors: FloatArray, spreads: FloatArray, floor: float) -> float:
    """Return by what spreads must be multiplied so that 1.645 of them hold nine errors of ten."""
    return float(np.quantile(np.abs(log_errors) / np.hypot(spreads, floor), 0.9) / HALF_WIDTH)
