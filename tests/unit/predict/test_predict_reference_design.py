"""The networks that a node times are those that tell the most, whatever the set they come from."""

from itertools import pairwise

import numpy as np
import pytest
from fleetfit_operator.predict.graph_features import model_features
from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_costs import kernel_terms
from fleetfit_training.graph_set import TrainingGraph, training_graphs
from fleetfit_training.network_families import NETWORK_FAMILIES
from fleetfit_training.reference_design import ReferenceDesign, UsualCosts
from hypothesis import given, settings
from hypothesis import strategies as st

COUNT = 6


@pytest.fixture(scope="module")
def graphs() -> list[TrainingGraph]:
    return list(training_graphs(seed=5, share=0.08))


@pytest.fixture(scope="module")
def table(graphs: list[TrainingGraph]) -> GraphTable:
    return GraphTable.of([model_features(graph.model, graph.name) for graph in graphs])


@pytest.fixture(scope="module")
def usual(table: GraphTable) -> UsualCosts:
    terms = kernel_terms(table.kernels)
    prices = 1e-6 / np.maximum(terms.max(axis=0), 1.0)
    return UsualCosts(5e-6 + table.run @ (terms @ prices), prices, 5e-6)


@pytest.fixture(scope="module")
def design(graphs: list[TrainingGraph], table: GraphTable, usual: UsualCosts) -> ReferenceDesign:
    return ReferenceDesign(graphs, table, usual)


def test_the_same_data_gives_the_same_networks_all_different(
    design: ReferenceDesign, graphs: list[TrainingGraph], table: GraphTable, usual: UsualCosts
) -> None:
    chosen = design.choose(COUNT, np.inf)
    assert len(set(chosen)) == COUNT
    assert ReferenceDesign(graphs, table, usual).choose(COUNT, np.inf) == chosen


def test_a_larger_set_begins_with_the_smaller(design: ReferenceDesign) -> None:
    assert design.choose(COUNT, np.inf)[:3] == design.choose(3, np.inf)


def test_each_is_the_one_that_leaves_the_least_beside_those_before(design: ReferenceDesign) -> None:
    chosen = design.choose(3, np.inf)
    for count in range(3):
        least = min(design.left_unknown([*chosen[:count], each]) for each in design.candidates(np.inf))
        assert design.left_unknown(chosen[: count + 1]) == pytest.approx(least)


def test_networks_that_are_tested_on_are_not_read(
    design: ReferenceDesign, graphs: list[TrainingGraph]
) -> None:
    families = {graph.name: graph.family for graph in graphs}
    assert {families[name] for name in design.choose(COUNT, np.inf)}.isdisjoint(NETWORK_FAMILIES)


def test_none_is_longer_than_allowed(
    design: ReferenceDesign, graphs: list[TrainingGraph], usual: UsualCosts
) -> None:
    latency_s = dict(zip([graph.name for graph in graphs], usual.latency_s, strict=True))
    longest_s = float(np.median(usual.latency_s))
    assert max(latency_s[name] for name in design.choose(COUNT, longest_s)) <= longest_s
    with pytest.raises(ValueError, match="only 0 graphs take at most"):
        design.choose(COUNT, float(usual.latency_s.min()) / 2)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_reading_more_never_tells_less_and_the_order_does_not_matter(
    data: st.DataObject, design: ReferenceDesign, graphs: list[TrainingGraph]
) -> None:
    names = data.draw(st.lists(st.sampled_from([graph.name for graph in graphs]), max_size=8))
    left = [design.left_unknown(names[:count]) for count in range(len(names) + 1)]
    assert left[0] == 1
    assert all(after <= before + 1e-12 for before, after in pairwise(left))
    assert left[-1] >= 0
    assert design.left_unknown(names[::-1]) == pytest.approx(left[-1])


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_what_is_chosen_tells_more_than_what_is_drawn_by_lot(
    data: st.DataObject, design: ReferenceDesign, graphs: list[TrainingGraph]
) -> None:
    names = st.lists(st.sampled_from([graph.name for graph in graphs]), min_size=3, max_size=3, unique=True)
    assert design.left_unknown(design.choose(COUNT, np.inf)) < design.left_unknown(data.draw(names))
