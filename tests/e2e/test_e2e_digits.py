"""The demo's path with assertions: choice per node, proof of the provider, accuracy, change under load, a cut node."""

import pytest
from e2e_world import DIGITS_NAMESPACE, World

from localfleet.demo.live_change import change_under_load
from localfleet.demo.traffic import Tally


@pytest.mark.timeout(300)  # a node that other work disturbs times its model again, ever more rarely
async def test_unlike_nodes_get_unlike_variants_with_a_reason(world: World) -> None:
    await world.deploy_digits()
    for node in world.nodes:
        await world.wait_for_evidence(node, DIGITS_NAMESPACE, "digits", {"ReferenceRun", "Measured"})
    assignments = {node: await world.assignment(node, DIGITS_NAMESPACE, "digits") for node in world.nodes}

    assert len({await world.hardware_class(node) for node in world.nodes}) >= 4
    assert len({assignment["variant"] for assignment in assignments.values()}) >= 3
    for node, assignment in assignments.items():
        assert assignment["variant"] in assignment["reason"], node
        assert assignment["predicted"]["evidence"] in {"ReferenceRun", "Measured"}
        is_held = (
            "keeps" in assignment["reason"]
        )  # by hysteresis or dwell, after a measurement changed the figures
        assert is_held or assignment["runnerUp"]["qoe"] <= assignment["predicted"]["qoe"], node


async def test_a_missing_accelerator_is_visible_and_the_node_serves_on_the_cpu(world: World) -> None:
    await world.deploy_digits()
    (jetson,) = world.nodes_of_class("nvidia-jetson-orin")

    model = await world.model(jetson, DIGITS_NAMESPACE, "digits")

    assert model["provider"] == "CPUExecutionProvider"
    assert model["providerFallback"] is True
    assert "ExecutionProvider" in model["providerMessage"]


async def test_every_node_answers_as_accurately_as_the_suite_says(world: World) -> None:
    await world.deploy_digits()
    tallies = await world.classify(DIGITS_NAMESPACE, "digits", world.nodes, images=300)

    for node, tally in tallies.items():
        assignment = await world.assignment(node, DIGITS_NAMESPACE, "digits")
        assert (tally.requests, tally.failed) == (300, 0), (node, tally.errors)
        # The suite's figure is of all held-out digits, this one of the first 300 of them.
        assert abs(tally.accuracy - assignment["accuracy"]) < 0.02, node


async def test_a_tightened_target_switches_nodes_without_a_lost_request(world: World) -> None:
    await world.deploy_digits()
    before = await world.serving_variants(DIGITS_NAMESPACE, "digits")
    endpoints = [await world.endpoint(node, DIGITS_NAMESPACE, "digits") for node in world.nodes]

    async def tighten() -> None:
        await world.patch_target(DIGITS_NAMESPACE, "digits", 0.1)
        await world.wait_until_ready(DIGITS_NAMESPACE, "digits")

    tallies = await change_under_load(world.traffic, endpoints, world.digits, tighten)

    after = await world.serving_variants(DIGITS_NAMESPACE, "digits")
    assert before != after, "some node switched"
    assert _failures(tallies) == []
    await world.patch_target(DIGITS_NAMESPACE, "digits", None)


async def test_a_cut_node_serves_on_and_reports_again_when_it_is_healed(world: World) -> None:
    await world.deploy_digits()
    node = world.nodes_of_class("arm64-raspberry-pi")[0]
    await world.cut(node)
    try:
        await world.wait_for_node(node, ready=False)
        tallies = await world.classify(DIGITS_NAMESPACE, "digits", [node], images=30)
        assert tallies[node].failed == 0
        await world.wait_for_absent(DIGITS_NAMESPACE, "digits", 1)
    finally:
        await world.heal(node)
    await world.wait_for_node(node, ready=True)
    await world.wait_for_absent(DIGITS_NAMESPACE, "digits", 0)


def _failures(tallies: dict[str, Tally]) -> list[str]:
    return [f"{node}: {error}" for node, tally in tallies.items() for error in tally.errors]
