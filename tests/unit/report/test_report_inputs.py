"""Statuses of what users give: suites and hardware classes."""

from typing import Any

import pytest
from fleetfit_operator.report.class_status import class_status
from fleetfit_operator.report.suite_status import suite_status

from tests.unit.fleet_builders import hardware_class, later, suite, variant

FEATURES = {
    "multiplyAccumulates": 1,
    "parameters": 1,
    "weightBytes": 1,
    "activationBytes": 1,
    "operatorCount": 1,
    "depth": 1,
}


def test_a_suite_says_how_many_variants_it_has_and_who_uses_it() -> None:
    result = suite_status(suite(variant("a", features=FEATURES)), ["z", "y"], later(0))
    assert (result.variant_count, result.used_by, result.observed_generation) == (1, ["y", "z"], 3)
    assert [(c.type, c.status, c.reason, c.message) for c in result.conditions] == [
        ("Ready", "True", "Accepted", "1 variant")
    ]


def test_a_suite_without_features_says_what_that_costs() -> None:
    result = suite_status(suite(variant("a"), variant("b", features=FEATURES)), [], later(0))
    assert result.conditions[0].message == (
        "2 variants; without features, latency predicted from the size alone: a"
    )


def test_a_relative_uri_without_a_base_is_invalid() -> None:
    result = suite_status(suite(variant("a"), storage_uri=None), [], later(0))
    assert (result.conditions[0].status, result.conditions[0].reason) == ("False", "InvalidSpec")
    assert result.conditions[0].message == "the uri of a is relative: set spec.storageUri or give a full URI"


def test_a_class_whose_runtimes_all_report_is_ready() -> None:
    result = class_status(hardware_class(), 3, 3, later(0))
    assert (result.nodes, result.ready_nodes, result.observed_generation) == (3, 3, 2)
    assert (result.conditions[0].status, result.conditions[0].reason) == ("True", "Accepted")
    assert result.conditions[0].message == "3 nodes in the class"
    assert class_status(hardware_class(), 1, 1, later(0)).conditions[0].message == "1 node in the class"


def test_a_class_with_silent_runtimes_is_not() -> None:
    result = class_status(hardware_class(), 3, 1, later(0))
    assert (result.conditions[0].status, result.conditions[0].reason) == ("False", "AwaitingRuntime")
    assert result.conditions[0].message.startswith("the runtime of 2 of 3 nodes does not report")


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        (
            {"match": [{"capacity": [{"resource": "memory", "atLeast": "much"}]}]},
            "spec.match capacity memory",
        ),
        (
            {
                "runtime": {
                    "image": "i",
                    "providers": ["CPUExecutionProvider"],
                    "resources": {"limits": {"cpu": "two"}},
                }
            },
            "spec.runtime.resources.limits.cpu",
        ),
    ],
)
def test_a_quantity_that_cannot_be_read_is_named(spec: dict[str, Any], place: str) -> None:
    base = hardware_class().model_dump(by_alias=True)
    invalid = type(hardware_class()).model_validate({**base, "spec": {**base["spec"], **spec}})
    result = class_status(invalid, 0, 0, later(0))
    assert result.conditions[0].reason == "InvalidSpec"
    assert result.conditions[0].message.startswith(f"{place}: ")
    assert "is not a Kubernetes quantity" in result.conditions[0].message
