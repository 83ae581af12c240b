"""A reference run for nodes that have none yet: the middle of the runs of nodes with the same hardware.

A node that joined a minute ago is most likely like others of the fleet, and what those have timed says more than what
is usual among all known devices. It says less than a run of its own: boards of one kind differ by their cooling, their
memory and their load, so how far the lenders lie apart is handed on.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import log, sqrt
from statistics import median, median_high, median_low
from typing import Final

from fleetfit_api.node_inference import NodeHardware
from fleetfit_api.node_telemetry import ReferenceRun, ReferenceTime

from fleetfit_operator.fleet.snapshot import FleetNode

_LENDERS_WHERE_LITTLE_IS_KNOWN: Final = 3
"""Nodes of which only class, architecture and cores are known may be as unlike as an Atom and a Xeon; with three of
them the distance between them at least shows."""
_MAD_TO_SIGMA: Final = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True, slots=True)
class BorrowedRun:
    """A reference run that stands in for one of the node's own.

    Attributes:
        run: The middle of the lenders' runs; `spread` is the median of theirs, how noisy each is in itself.
        lenders: Number of nodes that it is the middle of.
        log_sigma: How far the lenders lie apart: standard deviation of the logarithm of a lender's speed around the
            middle; 0 with one lender, which tells nothing.
    """

    run: ReferenceRun
    lenders: int
    log_sigma: float


class AlikeRuns:
    """The reference runs of a fleet by hardware. Indexed once, O(nodes); each group's middle is computed when asked.

    Args:
        nodes: The nodes of one snapshot.
    """

    def __init__(self, nodes: Iterable[FleetNode]) -> None:
        self._runs: dict[Hashable, list[ReferenceRun]] = {}
        self._borrowed: dict[Hashable, BorrowedRun | None] = {}
        for node in nodes:
            run = node.reference_run()
            if run is not None and run.times:
                self._runs.setdefault(hardware_key(node), []).append(run)

    def run_for(self, node: FleetNode) -> BorrowedRun | None:
        """Return what a node without a reference run may borrow; None where no node is like it."""
        key = hardware_key(node)
        if key not in self._borrowed:
            needed = 1 if tells_speed(node.hardware) else _LENDERS_WHERE_LITTLE_IS_KNOWN
            runs = _comparable(self._runs.get(key, []))
            self._borrowed[key] = middle_run(runs) if len(runs) >= needed else None
        return self._borrowed[key]


def hardware_key(node: FleetNode) -> Hashable:
    """Return what two nodes must share to count as alike: the class and all facts that change the time of an inference.

    Memory and the number of accelerators are left out, since one inference uses one accelerator and fits or does not;
    so is the driver, since a run of the last driver is nearer than none.
    """
    hardware = node.hardware
    return (
        node.class_name,
        hardware.architecture,
        hardware.processor,
        tuple(hardware.instruction_sets),
        hardware.cpu_cores,
        hardware.board,
        hardware.accelerator_vendor,
        hardware.accelerator_kind,
        hardware.accelerator_product,
        hardware.accelerator_memory_bytes,
        hardware.compute_capability,
    )


def tells_speed(hardware: NodeHardware) -> bool:
    """Return whether the facts name a processor, board or accelerator, and not only an architecture."""
    return bool(hardware.processor or hardware.board or hardware.accelerator_product)


def middle_run(runs: list[ReferenceRun]) -> BorrowedRun | None:
    """Return the run whose times are the medians, by logarithm, over comparable runs; None without common networks.

    A network counts when more than half of the runs have timed it, so that one odd run takes none away.
    """
    times: dict[str, list[ReferenceTime]] = {}
    for run in runs:
        for time in run.times:
            times.setdefault(time.name, []).append(time)
    common = {name: found for name, found in times.items() if 2 * len(found) > len(runs)}
    if not common:
        return None
    middles = {name: _middle_time(name, found) for name, found in common.items()}
    first = runs[0]
    run = ReferenceRun(
        provider=first.provider,
        set_version=first.set_version,
        intra_op_threads=first.intra_op_threads,
        spread=median(run.spread for run in runs),
        times=[middles[name] for name in sorted(middles)],
    )
    return BorrowedRun(run, len(runs), _distance(runs, middles))


def _comparable(runs: list[ReferenceRun]) -> list[ReferenceRun]:
    """Return the largest group of runs that timed the same in the same way, without those of slowed processors.

    Slowed ones count when there are no others.
    """
    free = [run for run in runs if not run.throttled] or runs
    sizes = Counter(map(_way, free))
    chosen = max(sizes, key=lambda way: (sizes[way], way), default=None)
    return [run for run in free if _way(run) == chosen]


def _way(run: ReferenceRun) -> tuple[str, str, int]:
    return run.provider, run.set_version, run.intra_op_threads


def _middle_time(name: str, times: list[ReferenceTime]) -> ReferenceTime:
    means = [time.latency_mean_seconds for time in times if time.latency_mean_seconds > 0]
    return ReferenceTime(
        name=name,
        latency_p50_seconds=_log_median([time.latency_p50_seconds for time in times]),
        latency_p95_seconds=_log_median([time.latency_p95_seconds for time in times]),
        latency_mean_seconds=_log_median(means) if means else 0.0,
    )


def _log_median(values: list[float]) -> float:
    """Return the median by logarithm, the scale on which times are compared: between two it is their geometric mean."""
    low, high = median_low(values), median_high(values)
    return low if low == high else sqrt(low) * sqrt(high)


def _distance(runs: list[ReferenceRun], middles: dict[str, ReferenceTime]) -> float:
    """Return how far the runs lie from their middle: each by the median over its networks, all by their deviation."""
    speeds = [
        median(
            log(time.latency_p50_seconds / middles[time.name].latency_p50_seconds)
            for time in run.times
            if time.name in middles
        )
        for run in runs
        if any(time.name in middles for time in run.times)
    ]
    return _MAD_TO_SIGMA * median(map(abs, speeds))
