"""How the operator moves a fleet from one variant to another; nodes and runtimes are played."""

import pytest
from fleet_actor import FleetActor, until
from fleetfit_kube import ApiClient
from fleetfit_kube.resources import EVENTS
from operator_world import APPS, StatusView, add_nodes, apply, deployment, hardware_class, only, suite

pytestmark = pytest.mark.timeout(180)


@pytest.mark.usefixtures("operator")
async def test_a_change_goes_to_the_canary_first_and_in_waves(
    client: ApiClient, fleet: FleetActor, status: StatusView
) -> None:
    rollout = {"maxUnavailable": 2, "canary": {"nodesPerClass": 1}}
    await apply(client, hardware_class("plain"), suite(), deployment(rollout=rollout))
    await add_nodes(fleet, 6)
    await until(lambda: fleet.all_ready("digits", "exact"), "installed")
    fleet.history.clear()
    fleet.most_in_flight.clear()
    fleet.load_s = 0.3
    await apply(client, deployment(rollout=rollout, qoe=only("int8")))
    await until(lambda: len(fleet.history) == 1, "the canary is told")
    canary = fleet.history[0][0]
    assert sorted(fleet.variants("digits").values()).count("small") == 1
    await until(lambda: len(fleet.history) > 1, "the others follow")
    assert fleet.ready(canary, "digits")
    await until(lambda: fleet.all_ready("digits", "small"), "all changed")
    assert fleet.most_in_flight["plain"] <= 2
    assert len(fleet.history) == 6
    await status.until("Progressing", "RolloutComplete")


@pytest.mark.usefixtures("operator")
async def test_nodes_of_later_waves_are_told_ahead_what_they_will_run(
    client: ApiClient, fleet: FleetActor, status: StatusView
) -> None:
    rollout = {"maxUnavailable": 1, "canary": {"nodesPerClass": 1}}
    await apply(client, hardware_class("plain"), suite(), deployment(rollout=rollout))
    await add_nodes(fleet, 5)
    await until(lambda: fleet.all_ready("digits", "exact"), "installed")
    assert fleet.upcoming() == {}
    fleet.outcomes["small"] = "hang"
    await apply(client, deployment(rollout=rollout, qoe=only("int8")))
    await until(lambda: len(fleet.upcoming()) == 2, "the two nodes after the canary are told")
    assert fleet.upcoming() == {
        name: ["https://models.example/digits/small.onnx"] for name in ("edge-1", "edge-2")
    }
    assert [fleet.variant(name, "digits") for name in ("edge-0", "edge-1")] == ["small", "exact"]
    del fleet.outcomes["small"]
    fleet.look_again("edge-0")
    await until(lambda: fleet.all_ready("digits", "small"), "all changed")
    await status.until("Progressing", "RolloutComplete")
    assert fleet.upcoming() == {}


@pytest.mark.usefixtures("operator")
async def test_failures_stop_the_class_and_nodes_go_on_with_what_they_had(
    client: ApiClient, fleet: FleetActor, status: StatusView
) -> None:
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 4)
    await until(lambda: fleet.all_ready("digits", "exact"), "installed")
    fleet.outcomes["small"] = "DigestMismatch"
    await apply(client, deployment(qoe=only("int8")))
    await status.until("Ready", "RolloutStopped")
    assert sorted(str(variant) for variant in fleet.variants("digits").values()) == ["exact"] * 3 + ["small"]
    degraded = await status.condition("Degraded")
    assert degraded["status"] == "True"
    warnings = [e for e in (await client.list(EVENTS, APPS)).items if e["type"] == "Warning"]
    assert "RolloutStopped" in {event["reason"] for event in warnings}
    await apply(client, deployment(qoe=only("fp16")))
    await until(lambda: fleet.all_ready("digits", "half"), "a new target moves again")


@pytest.mark.usefixtures("operator")
async def test_paused_moves_nothing_until_it_is_resumed(
    client: ApiClient, fleet: FleetActor, status: StatusView
) -> None:
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 2)
    await until(lambda: fleet.all_ready("digits", "exact"), "installed")
    await apply(client, deployment(rollout={"paused": True}, qoe=only("int8")))
    await status.until("Ready", "RolloutPaused")
    assert set(fleet.variants("digits").values()) == {"exact"}
    await apply(client, deployment(rollout={"paused": False}, qoe=only("int8")))
    await until(lambda: fleet.all_ready("digits", "small"), "resumed")


@pytest.mark.usefixtures("operator")
async def test_an_absent_node_does_not_hold_up_the_others_and_follows_when_it_is_back(
    client: ApiClient, fleet: FleetActor, status: StatusView
) -> None:
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 3)
    await until(lambda: fleet.all_ready("digits", "exact"), "installed")
    await fleet.lose("edge-0")
    await apply(client, deployment(qoe=only("int8")))
    present = ("edge-1", "edge-2")
    await until(lambda: all(fleet.variant(n, "digits") == "small" for n in present), "the others change")
    assert fleet.variant("edge-0", "digits") == "exact"
    await status.until("Degraded", "NodesAbsent")
    await fleet.bring_back("edge-0")
    await until(lambda: fleet.all_ready("digits", "small"), "the absent node follows")
