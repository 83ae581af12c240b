"""Draws the demo's report: predicted against measured latency, and the chosen variant against all others, per node."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from localfleet.demo.report import NodeResult

CHOSEN_COLOUR = "#0b6e4f"
OTHER_COLOUR = "#b8c4cc"
LINE_COLOUR = "#444444"


def _draw_latency(axes: Axes, nodes: list[NodeResult]) -> None:
    measured = [node.measured_p95_s * 1e3 for node in nodes]
    predicted = [node.predicted_p95_s * 1e3 for node in nodes]
    low, high = min(measured + predicted) * 0.6, max(measured + predicted) * 1.7
    axes.plot([low, high], [low, high], color=LINE_COLOUR, linewidth=1, label="exact")
    axes.fill_between(
        [low, high],
        [low / 1.25, high / 1.25],
        [low * 1.25, high * 1.25],
        color=OTHER_COLOUR,
        alpha=0.35,
        label="±25 %",
    )
    axes.scatter(measured, predicted, color=CHOSEN_COLOUR, zorder=3)
    for node, x, y in zip(nodes, measured, predicted, strict=True):
        axes.annotate(node.node, (x, y), xytext=(6, 3), textcoords="offset points", fontsize=8)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(low, high),
        ylim=(low, high),
        xlabel="measured p95 (ms)",
        ylabel="predicted p95 (ms)",
        title="Latency of the chosen variant: predicted against measured",
    )
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(visible=True, which="major", alpha=0.3)


def _draw_qoe(axes: Axes, nodes: list[NodeResult]) -> None:
    for row, node in enumerate(nodes):
        others = [outlook for outlook in node.outlook if outlook.variant != node.variant]
        expected = [outlook for outlook in node.outlook if outlook.variant == node.variant]
        axes.scatter(
            [o.qoe for o in others], [row] * len(others), color=OTHER_COLOUR, edgecolors=LINE_COLOUR, s=36
        )
        axes.scatter([o.qoe for o in expected], [row] * len(expected), color=CHOSEN_COLOUR, s=64, zorder=3)
        axes.scatter([node.qoe], [row], marker="|", color="black", s=220, zorder=4)
    axes.scatter([], [], color=CHOSEN_COLOUR, label="chosen variant, predicted")
    axes.scatter([], [], color=OTHER_COLOUR, edgecolors=LINE_COLOUR, label="every other variant, predicted")
    axes.scatter([], [], marker="|", color="black", s=120, label="chosen variant, at the measured latency")
    axes.set_yticks(range(len(nodes)), [f"{node.node}\n{node.variant}" for node in nodes], fontsize=8)
    axes.invert_yaxis()
    axes.set(
        xlabel="quality of experience", xlim=(0, 1.03), title="The chosen variant against every other one"
    )
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=3, frameon=False)
    axes.grid(visible=True, axis="x", alpha=0.3)


def draw_report(nodes: list[NodeResult], path: Path) -> None:
    """Write the picture as PNG."""
    figure = Figure(figsize=(14, 2.5 + 0.55 * len(nodes)), layout="constrained")
    FigureCanvasAgg(figure)
    latency_axes, qoe_axes = figure.subplots(1, 2)
    _draw_latency(latency_axes, nodes)
    _draw_qoe(qoe_axes, nodes)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
