"""The profiles that come with the fleet, and what is refused in one's own."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fleetfit_api.quantity import parse_quantity

from localfleet.node.node_object import node_labels, node_status
from localfleet.node.profile import NodeProfile, ProfileError, load_fleet, load_profile, profile_names
from localfleet.node_config import NodeConfig

# A kubelet may set labels of these names or, outside of kubernetes.io and k8s.io, any (NodeRestriction).
KUBELET_LABELS = {
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
}


@pytest.fixture(params=profile_names())
def profile(request: pytest.FixtureRequest) -> NodeProfile:
    return load_profile(request.param)


def test_there_are_seven_makes_of_unlike_speed() -> None:
    profiles = [load_profile(name) for name in profile_names()]
    assert len(profiles) == 7
    assert len({profile.cpu_quota for profile in profiles}) == 7


def test_a_profile_is_sound(profile: NodeProfile) -> None:
    assert profile.name in profile_names()
    assert set(node_labels("n", profile)) <= KUBELET_LABELS
    assert not set(profile.feature_labels) & KUBELET_LABELS
    assert all(len(value) <= 63 and "+" not in value for value in profile.feature_labels.values())
    for resource, quantity in profile.allocatable.items():
        assert 0 < parse_quantity(quantity) <= parse_quantity(profile.capacity[resource])


def test_a_quota_has_a_period_that_is_short_and_that_the_kernel_takes(profile: NodeProfile) -> None:
    assert 5_000 <= profile.cpu_period_us <= 20_000
    assert profile.cpu_quota * profile.cpu_period_us >= 1_000


def test_the_demo_fleet_has_enough_nodes_of_enough_makes() -> None:
    fleet = load_fleet("demo")
    assert len(fleet.nodes) >= 6
    assert len({node.profile for node in fleet.nodes}) >= 5


def test_an_unknown_profile_is_named_with_those_there_are() -> None:
    with pytest.raises(ProfileError, match=r"no profile 'abacus'; there are .*arm-gateway.*x86-small"):
        load_profile("abacus")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is wrong"),
        ("name: x", "Field required"),
        ("{nodes: [{name: a, profile: x86-small}, {name: a, profile: x86-small}]}", "two nodes are named a"),
        ("{nodes: [{name: a, profile: abacus}]}", "no profile 'abacus'"),
    ],
)
def test_a_wrong_fleet_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=message):
        load_fleet(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="No such file"):
        load_profile(str(tmp_path / "absent.yaml"))


def test_a_node_says_what_its_profile_is(profile: NodeProfile, tmp_path: Path) -> None:
    config = NodeConfig(
        name="n",
        profile=profile.name,
        address="127.77.9.1",
        state_dir=tmp_path,
        api_host="127.0.0.1",
        api_port=1,
        kubeconfig=tmp_path,
        feature_kubeconfig=tmp_path,
        ca_cert=tmp_path,
        serving_cert=tmp_path,
        serving_key=tmp_path,
        images={},
    )
    first = node_status(config, profile, {}, datetime(2026, 1, 1, tzinfo=UTC))
    later = node_status(config, profile, first, datetime(2026, 1, 2, tzinfo=UTC))
    assert first["capacity"] == profile.capacity
    assert first["nodeInfo"]["architecture"] == profile.node_info.architecture
    ready = {condition["type"]: condition for condition in later["conditions"]}["Ready"]
    assert ready["status"] == "True"
    assert ready["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert ready["lastHeartbeatTime"] == "2026-01-02T00:00:00Z"
