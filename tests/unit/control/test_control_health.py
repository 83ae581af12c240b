from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from fleetfit_api.deployment import InferenceDeploymentStatus, NodeCounts, VariantStatus
from fleetfit_kube import ApiClient, Connection, Reflector
from fleetfit_kube.resources import NODES
from fleetfit_operator.fleet.snapshot import DeploymentKey
from fleetfit_operator.telemetry.health import Health, HealthServer
from fleetfit_operator.telemetry.metrics import Metrics
from prometheus_client import CollectorRegistry


class Clock:
    def __init__(self) -> None:
        self.now_s = 5000.0

    def __call__(self) -> float:
        return self.now_s


class Rig:
    """A health server with one reflector whose state tests set."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics(CollectorRegistry())
        client = ApiClient(Connection("http://127.0.0.1:1"))
        self.reflector: Reflector[dict[str, Any]] = Reflector(client, NODES, dict)
        self.health = Health(self.metrics, [self.reflector], self.clock)
        self.server = HealthServer(self.health, "127.0.0.1", 0)

    async def get(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.server.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.server.start()
    yield made
    await made.server.stop()


async def test_not_ready_until_the_fleet_is_known_and_says_why(rig: Rig) -> None:
    rig.reflector.stats.last_error = "403 Forbidden: no"
    status, text = await rig.get("/readyz")
    assert (status, text) == (503, "nodes are not listed yet: 403 Forbidden: no")
    assert (await rig.get("/healthz"))[0] == 200
    rig.reflector.synced.set()
    assert await rig.get("/readyz") == (200, "ok")


async def test_unhealthy_when_a_watch_is_dead_but_not_when_the_server_is_away(rig: Rig) -> None:
    rig.reflector.stats.last_event_s = rig.clock.now_s
    rig.clock.now_s += 1000.0
    status, text = await rig.get("/healthz")
    assert status == 503
    assert "nodes is silent for 1000 s" in text
    rig.reflector.stats.last_error = "no answer"
    assert (await rig.get("/healthz"))[0] == 200


async def test_restarts_of_watches_are_counted_once(rig: Rig) -> None:
    rig.reflector.stats.restarts["Expired"] += 2
    for _ in range(2):
        page = (await rig.get("/metrics"))[1]
    assert 'fleetfit_watch_restarts_total{kind="Node",reason="Expired"} 2.0' in page
    assert "_created" not in page


async def test_what_is_gone_disappears_from_the_metrics(rig: Rig) -> None:
    status = InferenceDeploymentStatus(
        nodes=NodeCounts(matched=3, failed=1), variants=[VariantStatus(name="small", ready=2)]
    )
    rig.metrics.show_fleet({"plain": 3}, [(DeploymentKey("apps", "digits"), status)])
    page = (await rig.get("/metrics"))[1]
    assert 'fleetfit_deployment_nodes{name="digits",namespace="apps",state="failed"} 1.0' in page
    assert 'fleetfit_deployment_variant_nodes{name="digits",namespace="apps",variant="small"} 2.0' in page
    rig.metrics.show_fleet({}, [])
    page = (await rig.get("/metrics"))[1]
    assert "digits" not in page
    assert "plain" not in page


async def test_no_metric_has_a_label_per_node(rig: Rig) -> None:
    page = (await rig.get("/metrics"))[1]
    assert "node=" not in page
    assert 'fleetfit_build_info{version="' in page
