"""Plots of the benchmark, drawn without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Canvas

from benchmarks.select.devices import FloatArray
from benchmarks.select.flips import MOST, Flips
from benchmarks.select.regret import OWN, T

_COLOURS: Final = {
    OWN: "#0b6e4f",
    "linucb": "#d1495b",
    "epsilon_greedy": "#edae49",
    "nearest_device": "#30638e",
    "best_single": "#8d99ae",
    "prior_only": "#3d3d3d",
}


def draw_regret(curves: Mapping[str, Sequence[FloatArray]], path: Path) -> None:
    """Draw cumulative regret by ratings: the mean over seeds, and each seed of the project's own, faintly."""
    canvas, (whole, near) = _panels(2)
    for axes in (whole, near):
        for name, each in curves.items():
            mean = np.mean(each, axis=0)
            axes.plot(np.arange(1, len(mean) + 1), mean, color=_COLOURS[name], label=name)
        for curve in curves[OWN]:
            axes.plot(np.arange(1, len(curve) + 1), curve, color=_COLOURS[OWN], alpha=0.25, linewidth=0.8)
        axes.axvline(T, color="#bbbbbb", linewidth=0.8)
        axes.set_xlabel("ratings of the fleet")
        axes.set_ylabel("cumulative regret (QoE)")
    near.set_ylim(0.0, 1.6 * max(float(np.mean(curves[name], axis=0)[-1]) for name in (OWN, "linucb")))
    whole.legend(frameon=False)
    whole.set_title("All")
    near.set_title("The best, nearer")
    _save(canvas, path)


def draw_qoe(names: Sequence[str], qoe: Mapping[str, FloatArray], path: Path) -> None:
    """Draw the true mean QoE of each device's choice at the end against its oracle's, best first."""
    canvas, (axes,) = _panels(1)
    order = np.argsort(-qoe["oracle"])
    places = np.arange(len(names))
    axes.plot(places, qoe["oracle"][order], "_", color="black", markersize=14, label="oracle")
    for name, marker in ((OWN, "o"), ("prior_only", "x"), ("best_single", "+")):
        axes.plot(
            places, qoe[name][order], marker, color=_COLOURS[name], label=name, alpha=0.9, linestyle="none"
        )
    axes.set_xticks(places, [names[index] for index in order], rotation=60, ha="right", fontsize=8)
    axes.set_ylabel("true mean QoE (mean over seeds)")
    axes.legend(frameon=False)
    _save(canvas, path)


def draw_flips(flips: Sequence[Flips], path: Path) -> None:
    """Draw which share of the nodes has changed after how many of their ratings since the flip."""
    canvas, (axes,) = _panels(1)
    counts = np.arange(MOST)
    for name, colour, values in (
        ("accuracy lovers become speed lovers", _COLOURS[OWN], [c for f in flips for c in f.to_speed]),
        (
            "speed lovers become accuracy lovers",
            _COLOURS["linucb"],
            [c for f in flips for c in f.to_accuracy],
        ),
        ("a deployment of one node", _COLOURS["nearest_device"], [c for f in flips for c in f.alone]),
    ):
        if values:
            share = [np.mean(np.array(values) <= count) for count in counts]
            axes.step(counts, share, where="post", color=colour, label=f"{name} ({len(values)} nodes)")
    axes.axvline(30, color="#bbbbbb", linewidth=0.8)
    axes.set_xlabel("ratings of the node since the flip")
    axes.set_ylabel("share of nodes that changed for the better")
    axes.set_ylim(0.0, 1.02)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    _save(canvas, path)


def _panels(count: int) -> tuple[Canvas, Sequence[mpl.axes.Axes]]:
    canvas = Canvas(figsize=(7.5 * count, 4.8), layout="constrained")
    panels = canvas.subplots(1, count, squeeze=False)[0]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return canvas, panels


def _save(canvas: Canvas, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=110)
