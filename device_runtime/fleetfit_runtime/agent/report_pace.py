"""How often a node's status may be written: what matters at once, what only wanders at most once a minute. Pure."""

from fleetfit_api.node_inference import NodeInferenceStatus

from fleetfit_runtime.agent.status import damp_measured, damp_telemetry, moved_telemetry


class ReportPace:
    """Decides what of a new status is worth a write.

    Phases, conditions and the first figures of a variant always are. Measured figures, ratings, temperature, load,
    power and charge are at most once in an interval, all of them together. What else of the telemetry changes, such
    as that the node is throttled, is at once, but not the same fact again within the interval: a node at the edge of
    being throttled must not write with every degree.

    Args:
        interval_s: the interval.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._moved_at_s = float("-inf")
        self._facts_at_s: dict[str, float] = {}

    def begin_anew(self) -> None:
        """Forget what was written: there is another object to report to."""
        self._moved_at_s = float("-inf")
        self._facts_at_s.clear()

    def damped(
        self, new: NodeInferenceStatus, written: NodeInferenceStatus, now_s: float
    ) -> NodeInferenceStatus:
        """Return the new status with what must wait as it was last written."""
        may_move = now_s - self._moved_at_s >= self._interval_s
        held = self._held(now_s)
        status = damp_measured(new, written, may_move=may_move, may_flip="throttled" not in held)
        return damp_telemetry(status, written, may_move=may_move, held=held)

    def note(self, status: NodeInferenceStatus, before: NodeInferenceStatus, now_s: float) -> None:
        """Note that a status was written after another one."""
        wandered, facts = moved_telemetry(status.telemetry, before.telemetry)
        if wandered or damp_measured(status, before, may_move=False, may_flip=False) != status:
            self._moved_at_s = now_s
        self._facts_at_s = {
            **{fact: at_s for fact, at_s in self._facts_at_s.items() if fact in self._held(now_s)},
            **dict.fromkeys(facts, now_s),
        }

    def _held(self, now_s: float) -> frozenset[str]:
        return frozenset(fact for fact, at_s in self._facts_at_s.items() if now_s - at_s < self._interval_s)
