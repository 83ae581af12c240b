"""Over time a node settles, however wrong its predictions are and whatever its requests take."""

from itertools import pairwise

from fleetfit_api.node_inference import Assignment, Evidence, ModelStatus
from fleetfit_api.suite import Variant
from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.select.assignment import next_assignment
from fleetfit_operator.select.choose import choose
from fleetfit_operator.select.policy import policy_of
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fleet_builders import KEY, deployment, fleet_node, later, report, suite, variant

NAMES = ("a", "b", "c", "d")
LATENCY_S = st.floats(1e-5, 1.0)


class FixedPredictor:
    """Predicts what it is told, whatever the node."""

    def __init__(self, latencies_s: dict[str, float]) -> None:
        self._latencies_s = latencies_s

    def predict(self, _run: object, variants: list[Variant]) -> dict[str, LatencyPrediction]:
        return {
            v.name: LatencyPrediction(self._latencies_s[v.name], Evidence.REFERENCE_RUN) for v in variants
        }


def serving(assignment: Assignment, warm_up_s: float, load_factor: float) -> ModelStatus:
    """What the node reports once it serves: what it timed itself, and what requests take under load."""

    def figures(p95_s: float, source: str) -> dict[str, object]:
        return {"latencyP50Seconds": p95_s, "latencyP95Seconds": p95_s, "samples": 200, "source": source}

    return report(
        assignment.variant,
        warmUp=figures(warm_up_s, "WarmUp"),
        measured=figures(warm_up_s * load_factor, "Live"),
    )


@given(
    predicted_s=st.tuples(*[LATENCY_S] * len(NAMES)),
    true_s=st.tuples(*[LATENCY_S] * len(NAMES)),
    load_factor=st.floats(1.0, 20.0),
)
def test_a_node_tries_each_variant_at_most_once_and_then_stays(
    predicted_s: tuple[float, ...], true_s: tuple[float, ...], load_factor: float
) -> None:
    models = suite(
        *(variant(name, accuracy) for name, accuracy in zip(NAMES, (0.9, 0.93, 0.96, 0.99), strict=True))
    )
    wanted = deployment(
        qoe={"latencyTargetMilliseconds": 1.0}, selection={"minimumDwellSeconds": 10, "hysteresis": 0.02}
    )
    policy = policy_of(wanted, models)
    predictions = FleetPredictions(FixedPredictor(dict(zip(NAMES, predicted_s, strict=True))))
    truth_s = dict(zip(NAMES, true_s, strict=True))
    assignment: Assignment | None = None
    state: ModelStatus | None = None
    history: list[str] = []
    for step in range(24):
        node = fleet_node(assignment=assignment, report=state)
        choice = choose(policy, node, predictions.of(node, models, KEY), later(20.0 * step))
        assignment = next_assignment(policy, node, choice, may_move=True, now=later(20.0 * step))
        assert assignment is not None
        state = serving(assignment, truth_s[assignment.variant], load_factor)
        history.append(assignment.variant)
    switches = sum(before != after for before, after in pairwise(history))
    # It may come back to one that it has left: once all that tempt are known, to the best of them.
    assert switches <= len(NAMES)
    assert len(set(history[-12:])) == 1, history
