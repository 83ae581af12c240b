from datetime import datetime

from fleetfit_api.names import NodeName
from fleetfit_operator.fleet.snapshot import DeploymentKey
from fleetfit_operator.select.conflicts import Claim, lost_nodes
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fleet_builders import later

OLD, NEW = DeploymentKey("z", "old"), DeploymentKey("a", "new")


def claim(key: DeploymentKey, nodes: str, created: datetime | None = None, model: str = "digits") -> Claim:
    return Claim(key, model, created, frozenset(NodeName(name) for name in nodes))


def test_the_older_deployment_keeps_the_nodes_that_both_want() -> None:
    claims = [claim(NEW, "bc", later(1)), claim(OLD, "ab", later(0))]
    assert lost_nodes(claims) == {NEW: {"b": OLD}}
    assert lost_nodes(reversed(claims)) == {NEW: {"b": OLD}}


def test_another_model_name_or_other_nodes_are_no_conflict() -> None:
    assert lost_nodes([claim(OLD, "a"), claim(NEW, "a", model="faces")]) == {}
    assert lost_nodes([claim(OLD, "a"), claim(NEW, "b")]) == {}


def test_the_same_age_is_decided_by_namespace_and_name() -> None:
    assert lost_nodes([claim(OLD, "a", later(0)), claim(NEW, "a", later(0))]) == {OLD: {"a": NEW}}


def test_a_deployment_without_a_time_is_the_youngest() -> None:
    assert lost_nodes([claim(NEW, "a"), claim(OLD, "a", later(0))]) == {NEW: {"a": OLD}}


CLAIMS = st.lists(
    st.builds(
        claim,
        st.builds(DeploymentKey, st.sampled_from("ab"), st.sampled_from("xyz")),
        st.text("nopq", max_size=4),
        st.one_of(st.none(), st.builds(later, st.integers(0, 3))),
        st.sampled_from(["m1", "m2"]),
    ),
    max_size=6,
    unique_by=lambda each: each.key,
)


@settings(deadline=None)
@given(CLAIMS, st.randoms(use_true_random=False))
def test_every_name_on_every_node_has_exactly_one_holder_in_any_order(
    claims: list[Claim], random: object
) -> None:
    lost = lost_nodes(claims)
    for model in ("m1", "m2"):
        for node in "nopq":
            wanting = [c.key for c in claims if c.model_name == model and node in c.nodes]
            holders = [key for key in wanting if node not in lost.get(key, {})]
            assert len(holders) == min(1, len(wanting))
            assert all(lost[key][NodeName(node)] == holders[0] for key in wanting if key not in holders)
    random.shuffle(claims)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert lost_nodes(claims) == lost
