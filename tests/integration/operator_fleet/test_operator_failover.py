"""The operator killed, doubled, cut off and deposed while it has a fleet to look after."""

import asyncio
import random
from pathlib import Path

import pytest
import yaml
from api_link import api_link
from fleet_actor import FleetActor, eventually, until
from fleetfit_kube import ApiClient, ObjectKey
from fleetfit_kube.resources import LEASES, NODES
from operator_process import OperatorProcess, operator_process
from operator_world import SYSTEM, StatusView, add_nodes, apply, deployment, hardware_class, only, suite

from localfleet.controlplane.control_plane import ControlPlane

pytestmark = pytest.mark.timeout(180)


async def test_killed_at_random_points_it_resumes_and_never_exceeds_a_wave(
    client: ApiClient, fleet: FleetActor, kubeconfig: Path, tmp_path: Path, status: StatusView
) -> None:
    rng = random.Random(20)
    rollout = {"maxUnavailable": 2}
    await apply(client, hardware_class("plain"), suite(), deployment(rollout=rollout))
    await add_nodes(fleet, 8)
    fleet.load_s = 0.4
    async with operator_process(kubeconfig, tmp_path):
        await until(lambda: fleet.all_ready("digits", "exact"), "installed", timeout_s=60)
    fleet.most_in_flight.clear()
    fleet.history.clear()
    await apply(client, deployment(rollout=rollout, qoe=only("int8")))
    for told in sorted(rng.sample(range(1, 8), 3)):
        async with operator_process(kubeconfig, tmp_path) as operator:
            await until(lambda told=told: len(fleet.history) >= told, f"{told} nodes were told")
            await asyncio.sleep(rng.random() * 0.2)
            await operator.kill()
    async with operator_process(kubeconfig, tmp_path):
        await until(lambda: fleet.all_ready("digits", "small"), "converged", timeout_s=60)
        await status.until("Ready", "AllNodesReady")
    assert fleet.most_in_flight["plain"] <= 2
    assert len(fleet.history) == 8
    assert fleet.epochs == sorted(fleet.epochs) or max(fleet.epochs) >= 4


async def test_a_second_replica_stands_by_and_takes_over(
    client: ApiClient, fleet: FleetActor, kubeconfig: Path, tmp_path: Path
) -> None:
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 2)
    async with operator_process(kubeconfig, tmp_path, "operator-0") as first:
        await until(lambda: fleet.all_ready("digits", "exact"), "installed")
        async with operator_process(kubeconfig, tmp_path, "operator-1") as second:
            await second.until_ready()
            assert await first.is_leader()
            assert not await second.is_leader()
            await first.kill()
            await eventually(second.is_leader, "the second one leads")
            await apply(client, deployment(qoe=only("int8")))
            await until(lambda: fleet.all_ready("digits", "small"), "the second one acts")
            told = [each.spec.leader_epoch for each in fleet.inferences.items.values()]
            assert min(told) >= 1
            assert await second.stop() == 0
            lease = await client.get(LEASES, "fleetfit-operator", SYSTEM)
            assert not lease["spec"].get("holderIdentity")


def _point_to(kubeconfig: Path, server: str) -> None:
    config = yaml.safe_load(kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = server
    kubeconfig.write_text(yaml.safe_dump(config))


async def test_a_short_cut_from_the_api_server_is_outlived(
    client: ApiClient, fleet: FleetActor, kubeconfig: Path, own_control_plane: ControlPlane, tmp_path: Path
) -> None:
    patient = {"FLEETFIT_LEASE_DURATION_S": "30", "FLEETFIT_LEASE_DEADLINE_S": "25"}
    async with api_link(own_control_plane) as link:
        _point_to(kubeconfig, link.connection.server)
        await apply(client, hardware_class("plain"), suite(), deployment())
        await add_nodes(fleet, 2)
        async with operator_process(kubeconfig, tmp_path, **patient) as operator:
            await until(lambda: fleet.all_ready("digits", "exact"), "installed")
            await link.cut()
            # Everything changes while the operator is cut off, and a deletion passes unseen.
            await apply(client, deployment(qoe=only("int8")))
            fleet.up.pop("edge-0")
            await client.delete(NODES, "edge-0")

            async def lost_its_watches() -> bool:
                return "fleetfit_watch_restarts_total" in (await operator.get("/metrics"))[1]

            await eventually(lost_its_watches, "it has noticed")
            assert (await operator.get("/healthz"))[0] == 200
            await link.mend()
            await until(lambda: fleet.all_ready("digits", "small"), "it goes on")
            await until(
                lambda: set(fleet.inferences.items) == {ObjectKey("", "edge-1")}, "the node is forgotten"
            )
            assert operator.process.returncode is None
            assert len(set(fleet.epochs)) == 1


async def test_a_replica_that_loses_the_lease_ends(
    client: ApiClient, fleet: FleetActor, operator: OperatorProcess
) -> None:
    await apply(client, hardware_class("plain"))
    await add_nodes(fleet, 1)
    await until(lambda: fleet.label("edge-0") == "plain", "it leads")
    patch = {"spec": {"holderIdentity": "somebody-else"}}
    await client.merge_patch(LEASES, "fleetfit-operator", patch, SYSTEM)
    async with asyncio.timeout(15):
        assert await operator.process.wait() == 1
    assert "another process holds the Lease" in operator.log.read_text()
