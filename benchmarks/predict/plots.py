"""Plots of the benchmark, drawn without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from fleetfit_operator.predict.kernel_groups import FloatArray
from fleetfit_training.evaluation import HeldOut
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_INK: Final = "#0b6e4f"
_MOST_POINTS: Final = 3000


def draw_devices(points: Mapping[str, tuple[FloatArray, FloatArray]], path: Path) -> None:
    """Draw predicted against measured milliseconds, a panel per device."""
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    panels = figure.subplots(2, -(-len(points) // 2)).ravel()
    for axes, (device, (predicted_s, measured_s)) in zip(panels, points.items(), strict=False):
        step = max(1, len(predicted_s) // _MOST_POINTS)
        _scatter(axes, 1e3 * measured_s[::step], 1e3 * predicted_s[::step], device)
    for axes in panels[len(points) :]:
        axes.set_axis_off()
    figure.suptitle("Unseen devices after ten readings: predicted against measured, ms")
    figure.savefig(path, dpi=110)


def draw_local(results: Sequence[HeldOut], path: Path) -> None:
    """Draw predicted against measured microseconds, a panel per setting, a colour per family."""
    devices = sorted({each.device for each in results})
    figure = Figure(figsize=(4 * len(devices), 4.4), layout="constrained")
    for axes, device in zip(np.atleast_1d(figure.subplots(1, len(devices))), devices, strict=True):
        for each in results:
            if each.device == device:
                axes.scatter(
                    1e6 * np.exp(each.measured_log), 1e6 * np.exp(each.predicted_log), s=9, label=each.family
                )
        _diagonal(axes)
        axes.set_title(device.rpartition("/")[2])
        axes.set_xlabel("measured, us")
    axes.legend(frameon=False, fontsize=8)
    figure.suptitle("Settings of one machine, each unseen, each family unseen on the machine")
    figure.savefig(path, dpi=110)


def draw_ratios(ratios: Mapping[str, FloatArray], path: Path) -> None:
    """Draw the distribution of QoE over the oracle's, a line per method."""
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    for method, values in ratios.items():
        ordered = np.sort(values)
        style = {"color": _INK, "linewidth": 2.2} if method == "fleetfit" else {"linewidth": 1.0}
        axes.plot(ordered, np.linspace(0, 1, len(ordered)), label=method, **style)
    axes.set_xlim(0.6, 1.005)
    axes.set_xlabel("true QoE of the choice / QoE of the oracle")
    axes.set_ylabel("share of choices below")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def _scatter(axes: Axes, measured: FloatArray, predicted: FloatArray, title: str) -> None:
    axes.scatter(measured, predicted, s=2, alpha=0.25, color=_INK, linewidths=0)
    _diagonal(axes)
    axes.set_title(title)


def _diagonal(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], color="#999999", linewidth=0.8)
