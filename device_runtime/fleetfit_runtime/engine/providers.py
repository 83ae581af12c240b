"""Execution providers: which of the wanted ones this ONNX Runtime has, and the proof of which one really runs a model.

ONNX Runtime falls back to the processor in silence; that is the top complaint of its users. So nothing is believed
here but what the finished session says about itself. Pure: the facts come in as values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

CPU_PROVIDER: Final = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class ProviderProof:
    """What runs a loaded model.

    Args:
        provider: the execution provider that runs it.
        fallback: True when it is not the first of the chain.
        message: why the first could not be used, or which nodes it left to others; empty where it runs all.
        graph_nodes: nodes of the optimised graph by provider; empty where ONNX Runtime does not tell.
    """

    provider: str
    fallback: bool
    message: str
    graph_nodes: Mapping[str, int]


def usable_chain(wanted: Sequence[str], available: Sequence[str]) -> list[str]:
    """Return the wanted providers that this build has, in order, the processor last."""
    chain = [provider for provider in dict.fromkeys(wanted) if provider in available]
    return [*(provider for provider in chain if provider != CPU_PROVIDER), CPU_PROVIDER]


def prove_provider(
    wanted: Sequence[str],
    available: Sequence[str],
    session_providers: Sequence[str],
    graph_nodes: Mapping[str, int],
    log_lines: Sequence[str],
) -> ProviderProof:
    """Return what runs a session.

    A provider that is registered but was given no node of the graph runs nothing, so where the counts are known the
    first registered provider with a node counts.

    Args:
        wanted: the class's chain.
        available: what this ONNX Runtime offers.
        session_providers: what the session says it uses.
        graph_nodes: nodes by provider, empty when unknown.
        log_lines: what ONNX Runtime logged while it loaded the model.
    """
    running = [name for name in session_providers if not graph_nodes or graph_nodes.get(name)]
    provider = running[0] if running else CPU_PROVIDER
    first = wanted[0]
    if provider == first:
        return ProviderProof(
            provider, fallback=False, message=_left_over(first, graph_nodes), graph_nodes=graph_nodes
        )
    message = _why_not(first, available, session_providers, log_lines)
    return ProviderProof(provider, fallback=True, message=message, graph_nodes=graph_nodes)


def _left_over(first: str, graph_nodes: Mapping[str, int]) -> str:
    """Say which part of a graph its provider leaves to others; every crossing costs a copy."""
    others = {name: count for name, count in graph_nodes.items() if name != first and count}
    if not others:
        return ""
    shares = ", ".join(f"{count} on {name}" for name, count in sorted(others.items()))
    return f"{first} runs {graph_nodes[first]} of {sum(graph_nodes.values())} nodes of the graph, {shares}"


def _why_not(
    first: str, available: Sequence[str], session_providers: Sequence[str], log_lines: Sequence[str]
) -> str:
    if first not in available:
        offered = ", ".join(available)
        return f"{first} is not part of this ONNX Runtime build (available: {offered})"
    said = _relevant(first, log_lines)
    if first not in session_providers:
        return f"{first} did not start on this node{said}"
    return f"{first} took no operator of this model{said}"


def _relevant(provider: str, log_lines: Sequence[str]) -> str:
    stem = provider.removesuffix("ExecutionProvider").lower()
    lines = [line for line in log_lines if stem in line.lower()]
    return f": {' | '.join(lines)[:1200]}" if lines else ""
