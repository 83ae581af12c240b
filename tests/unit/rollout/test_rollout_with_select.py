"""Select and rollout together: what one decides the other carries out, over what the API keeps between the two."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fleetfit_api import InferenceDeployment, ModelSuite
from fleetfit_api.deployment import ClassStatus
from fleetfit_api.model_status import ModelPhase, ModelStatus
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.rollout.plan import plan_rollout
from fleetfit_operator.rollout.view import rollout_node
from fleetfit_operator.select.assignment import next_assignment, wanted_target
from fleetfit_operator.select.choose import choose
from fleetfit_operator.select.failures import failed_targets
from fleetfit_operator.select.policy import policy_of

from tests.unit.fleet_builders import (
    KEY,
    deployment,
    digest,
    fleet_node,
    latencies,
    later,
    report,
    suite,
    variant,
)

PREDICTED = latencies(good=1.0, plain=1.0)
BAD_FILE = digest("good")


class Fleet:
    """Nodes that run at once what they are told, unless the file is the bad one."""

    def __init__(self, count: int) -> None:
        self.nodes = {f"n{number}": fleet_node(f"n{number}") for number in range(count)}
        self.seconds = 0.0
        self.changes: list[str] = []

    def step(self, subject: InferenceDeployment, models: ModelSuite) -> ClassStatus:
        """Plan, tell the nodes that may move, let them report; returns how the class stands."""
        self.seconds += 10
        now, policy = later(self.seconds), policy_of(subject, models)
        choices = {name: choose(policy, node, PREDICTED, now) for name, node in self.nodes.items()}
        views = [
            rollout_node(node, KEY, wanted_target(choices[name]), failed_targets(policy, node), absent=False)
            for name, node in self.nodes.items()
        ]
        plan = plan_rollout(subject.spec.rollout, views, now)
        for name, node in self.nodes.items():
            may_move = node.name in plan.moves
            made = next_assignment(policy, node, choices[name], may_move, now)
            if may_move and made is not None:
                self.changes.append(f"{name}:{made.variant}")
            self.nodes[name] = told(node, made.to_json() if made else None)
        return plan.classes[0]

    def run(
        self, subject: InferenceDeployment, models: ModelSuite, until: Callable[[ClassStatus], bool]
    ) -> ClassStatus:
        """Step until the class stands as asked, and then some more, since it must stay so."""
        for _ in range(20):
            last = self.step(subject, models)
        assert until(last), last
        return last

    def serving(self) -> dict[str, str]:
        """Return what each node serves."""
        reports = {name: node.report(KEY) for name, node in self.nodes.items()}
        return {name: each.serving_variant for name, each in reports.items() if each is not None}


def told(node: FleetNode, assignment: dict[str, Any] | None) -> FleetNode:
    """Return the node after it has read its assignment, as JSON, and acted on it."""
    if assignment is None or node.inference is None:
        return node
    before = node.report(KEY)
    changed = node.inference.model_validate(
        {
            **node.inference.to_json(),
            "spec": {"assignments": [assignment]},
            "status": {"models": [act(assignment, before)]},
        }
    )
    return replace(node, inference=changed)


def act(assignment: dict[str, Any], before: ModelStatus | None) -> ModelStatus:
    """Return what the runtime reports: ready, or failed for good while it serves what it had."""
    if assignment["sha256"] != BAD_FILE:
        return report(assignment["variant"], sha256=assignment["sha256"])
    serving = before.serving_variant if before else ""
    return report("good", ModelPhase.FAILED, reason="CorruptModel", servingVariant=serving)


SUBJECT = deployment(rollout={"maxUnavailable": "100%"})
PLAIN = variant("plain", 0.80)


def test_a_corrupt_file_costs_one_node_and_heals_with_its_correction() -> None:
    fleet = Fleet(4)
    fleet.run(SUBJECT, suite(PLAIN), lambda each: each.phase == "Complete")
    fleet.changes.clear()

    stopped = fleet.run(SUBJECT, suite(PLAIN, variant("good", 0.95)), lambda each: each.phase == "Stopped")
    assert fleet.changes == ["n0:good", "n0:plain"], "one canary tried it, went back, and nobody flaps"
    assert fleet.serving() == dict.fromkeys(fleet.nodes, "plain")
    assert "n0 (failed before)" in stopped.message

    fleet.changes.clear()
    corrected = variant("good", 0.95, sha256=digest("corrected"))
    fleet.run(SUBJECT, suite(PLAIN, corrected), lambda each: each.phase == "Complete")
    assert fleet.changes == ["n0:good", "n1:good", "n2:good", "n3:good"]
    assert fleet.serving() == dict.fromkeys(fleet.nodes, "good")


def test_taking_the_corrupt_variant_out_of_the_suite_heals_as_well() -> None:
    fleet = Fleet(3)
    fleet.run(SUBJECT, suite(PLAIN, variant("good", 0.95)), lambda each: each.phase == "Stopped")
    fleet.run(SUBJECT, suite(PLAIN), lambda each: each.phase == "Complete")
    assert fleet.serving() == dict.fromkeys(fleet.nodes, "plain")


def test_a_suite_with_nothing_but_the_corrupt_file_stays_where_it_is() -> None:
    fleet = Fleet(3)
    fleet.run(SUBJECT, suite(variant("good", 0.95)), lambda each: each.phase == "Stopped")
    assert fleet.changes == ["n0:good"]


def test_an_edit_tries_the_file_again_on_a_canary_only() -> None:
    fleet = Fleet(4)
    models = suite(PLAIN, variant("good", 0.95))
    fleet.run(SUBJECT, suite(PLAIN), lambda each: each.phase == "Complete")
    fleet.run(SUBJECT, models, lambda each: each.phase == "Stopped")
    fleet.changes.clear()
    edited = deployment(rollout={"maxUnavailable": "100%"}, qoe={"latencyTargetMilliseconds": 50})
    fleet.run(edited, models, lambda each: each.phase == "Stopped")
    assert fleet.changes == ["n0:good", "n0:plain"]
