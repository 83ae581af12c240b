import pytest
from fleetfit_operator.predict.label_accuracy import Labelled, local_accuracies
from hypothesis import given
from hypothesis import strategies as st

SUITE = {"big": 0.9, "small": 0.8}


def test_without_labels_the_suite_is_right() -> None:
    assert local_accuracies(SUITE, []) == SUITE
    assert local_accuracies(SUITE, [Labelled("big", 0.1, 0), Labelled("gone", 0.1, 500)]) == SUITE


def test_harder_data_is_harder_for_all_so_that_no_variant_is_left_for_it() -> None:
    local = local_accuracies(SUITE, [Labelled("big", 0.7, 2000)])
    assert local["big"] == pytest.approx(0.72, abs=0.03)
    assert local["small"] < 0.6 < local["big"]


def test_a_variant_that_is_worse_than_the_others_here_is_marked_down_itself() -> None:
    local = local_accuracies(SUITE, [Labelled("big", 0.6, 2000), Labelled("small", 0.85, 2000)])
    assert local["big"] < local["small"]


def test_few_labels_change_little() -> None:
    few = local_accuracies(SUITE, [Labelled("big", 0.5, 20)])["big"]
    many = local_accuracies(SUITE, [Labelled("big", 0.5, 400)])["big"]
    assert 0.85 < few < 0.9
    assert many < 0.7


@given(labels=st.integers(1, 192), right=st.floats(0, 1))
def test_one_source_alone_changes_nothing(labels: int, right: float) -> None:
    own = min(3, labels)
    others = (labels - own) / labels
    observed = others * 0.9 + (1 - others) * right
    assert local_accuracies({"big": 0.9}, [Labelled("big", observed, labels)])["big"] == pytest.approx(0.9)


@given(
    accuracies=st.lists(st.floats(0, 1), min_size=2, max_size=5),
    observed=st.floats(0, 1),
    labels=st.integers(0, 10_000),
)
def test_accuracies_stay_accuracies_and_unlabelled_variants_keep_their_order(
    accuracies: list[float], observed: float, labels: int
) -> None:
    suite = {f"v{index}": accuracy for index, accuracy in enumerate(sorted(accuracies))}
    local = local_accuracies({**suite, "labelled": 0.5}, [Labelled("labelled", observed, labels)])
    assert all(0 <= accuracy <= 1 for accuracy in local.values())
    ordered = [local[name] for name in suite]
    assert ordered == sorted(ordered)
