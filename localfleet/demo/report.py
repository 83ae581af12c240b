"""The demo's result as JSON and as a table that a person understands. Pure: takes facts, knows no cluster."""

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.table import Table


@dataclass(frozen=True, slots=True)
class VariantOutlook:
    """What the operator's predictor expects of one variant on one node."""

    variant: str
    predicted_p95_s: float
    qoe: float


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What one node was given and what it did with it.

    Attributes:
        node: Name of the node.
        hardware_class: Its class.
        variant: The variant it serves.
        provider: The execution provider that runs it, as proven.
        provider_message: Why the class's first provider is not used; empty when it is.
        predicted_p95_s: p95 latency predicted from the reference run, before the node ran the variant, seconds.
        measured_p95_s: p95 latency that the runtime timed on the node, back to back, as predictions are meant, seconds.
        live_p95_s: p95 latency of inference under the demo's requests, which leave the node time between them, seconds.
        suite_accuracy: Accuracy of the variant in the suite.
        measured_accuracy: Accuracy of the answers to the held-out images.
        requests: Requests sent.
        failed_requests: Requests without an answer.
        qoe: Quality of experience at the measured latency.
        reason: Why the operator chose the variant.
        outlook: What was expected of every variant of the suite.
    """

    node: str
    hardware_class: str
    variant: str
    provider: str
    provider_message: str
    predicted_p95_s: float
    measured_p95_s: float
    live_p95_s: float
    suite_accuracy: float
    measured_accuracy: float
    requests: int
    failed_requests: int
    qoe: float
    reason: str
    outlook: list[VariantOutlook] = field(default_factory=list)

    @property
    def prediction_error(self) -> float:
        """Distance of predicted from measured p95 latency, relative to the measured one."""
        return abs(self.predicted_p95_s - self.measured_p95_s) / self.measured_p95_s


@dataclass(frozen=True, slots=True)
class LiveChange:
    """What happened while the latency target was tightened under load.

    Attributes:
        target_before_ms: Latency target before, milliseconds.
        target_after_ms: Latency target after, milliseconds.
        requests: Requests sent during the change.
        failed_requests: Requests without an answer.
        nodes_switched: Nodes that serve another variant afterwards.
        switches: The switches by node, "before -> after".
    """

    target_before_ms: float
    target_after_ms: float
    requests: int
    failed_requests: int
    nodes_switched: int
    switches: dict[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """All that the demo found."""

    nodes: list[NodeResult]
    live_change: LiveChange
    seconds_to_result: float
    latency_target_ms: float

    def to_json(self) -> dict[str, Any]:
        """Return the content of report.json."""
        return {
            "nodes": [asdict(node) for node in self.nodes],
            "live_change": asdict(self.live_change),
            "summary": {
                "nodes": len(self.nodes),
                "hardware_classes": len({node.hardware_class for node in self.nodes}),
                "variants": len({node.variant for node in self.nodes}),
                "failed_requests": sum(node.failed_requests for node in self.nodes),
                "max_accuracy_difference": max(
                    abs(node.measured_accuracy - node.suite_accuracy) for node in self.nodes
                ),
                "median_prediction_error": statistics.median(node.prediction_error for node in self.nodes),
                "latency_target_ms": self.latency_target_ms,
                "seconds_to_result": round(self.seconds_to_result, 1),
            },
        }


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def render_table(nodes: list[NodeResult], latency_target_ms: float) -> Table:
    """Return the table of nodes, one row each, with the reason below the figures."""
    table = Table(
        title=f"What runs where, and why (latency target p95 {latency_target_ms:g} ms)",
        box=box.SIMPLE_HEAD,
        show_lines=False,
        title_justify="left",
    )
    for header, justify in (
        ("Node", "left"),
        ("Class", "left"),
        ("Variant", "left"),
        ("Provider", "left"),
        ("Predicted p95", "right"),
        ("Measured p95", "right"),
        ("On requests", "right"),
        ("Accuracy", "right"),
        ("Answered", "right"),
        ("QoE", "right"),
    ):
        table.add_column(header, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # rich types the literal
    for node in nodes:
        fallback = " (fallback)" if node.provider_message else ""
        table.add_row(
            node.node,
            node.hardware_class,
            f"[bold]{node.variant}[/bold]",
            node.provider.removesuffix("ExecutionProvider") + fallback,
            _milliseconds(node.predicted_p95_s),
            _milliseconds(node.measured_p95_s),
            _milliseconds(node.live_p95_s),
            f"{node.measured_accuracy:.3f}",
            f"{node.requests - node.failed_requests}/{node.requests}",
            f"{node.qoe:.2f}",
        )
    return table


def render_reasons(nodes: list[NodeResult]) -> Table:
    """Return the table of reasons."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column("node", style="bold", no_wrap=True)
    table.add_column("reason")
    for node in nodes:
        text = node.reason + (f" Provider: {node.provider_message}" if node.provider_message else "")
        table.add_row(node.node, text)
    return table
