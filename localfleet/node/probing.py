"""When a probe's results count: delays, periods and thresholds of the API. Pure."""

from dataclasses import dataclass

from localfleet.node.manifest import Manifest


@dataclass(frozen=True)
class ProbeTiming:
    """A probe's numbers, with the API's defaults."""

    initial_delay_s: float
    period_s: float
    timeout_s: float
    success_threshold: int
    failure_threshold: int

    @classmethod
    def of(cls, probe: Manifest) -> "ProbeTiming":
        """Return the timing of a probe in a container's manifest."""
        return cls(
            initial_delay_s=float(probe.get("initialDelaySeconds") or 0),
            period_s=float(probe.get("periodSeconds") or 10),
            timeout_s=float(probe.get("timeoutSeconds") or 1),
            success_threshold=int(probe.get("successThreshold") or 1),
            failure_threshold=int(probe.get("failureThreshold") or 3),
        )


class ProbeCounter:
    """Counts results in a row and says when they have reached a threshold."""

    def __init__(self, timing: ProbeTiming) -> None:
        self._timing = timing
        self._last: bool | None = None
        self._run = 0

    def observe(self, success: bool) -> bool | None:
        """Take one result; return True or False where the threshold for it is reached, None before."""
        self._run = self._run + 1 if success == self._last else 1
        self._last = success
        threshold = self._timing.success_threshold if success else self._timing.failure_threshold
        return success if self._run >= threshold else None
