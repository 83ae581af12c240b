"""What an API server would refuse is told before."""

import pytest
from fleetfit_api.suite import ModelSuite
from fleetfit_cli.suites.suite_faults import suite_faults, validation_sentences
from pydantic import ValidationError

from tests.unit.cli.suite_cases import BAD, GOOD, suite_with


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_good_suites_have_no_fault(changes: dict[str, str | None]) -> None:
    assert list(suite_faults(ModelSuite.model_validate(suite_with(**changes)))) == []


@pytest.mark.parametrize(("changes", "sentence"), BAD, ids=str)
def test_bad_suites_are_told(changes: dict[str, str | None], sentence: str) -> None:
    faults = list(suite_faults(ModelSuite.model_validate(suite_with(**changes))))
    assert any(sentence in fault for fault in faults)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "A b"}, "spec.variants[0].name: a variant's name must be lower-case letters, digits"),
        ({"sha256": "1"}, "spec.variants[0].sha256: sha256 must be 64 lower-case hexadecimal digits"),
        ({"uri": ""}, "spec.variants[0].uri: String should have at least 1 character"),
        ({"accuracy": 98}, "spec.variants[0].accuracy: accuracy is a fraction: 98% is 0.98"),
        ({"precision": "fp8"}, "spec.variants[0].precision: Input should be 'fp32', 'fp16'"),
        ({"sizeBytes": None}, "spec.variants[0].sizeBytes: Input should be a valid integer"),
        (
            {"features": {"kernels": ["bad"]}},
            "spec.variants[0].features.kernels[0]: a kernel is written by `fleetfit suite build`, as in 5/7 Conv",
        ),
    ],
    ids=str,
)
def test_fields_are_refused_in_the_words_of_the_crd(changes: dict[str, object], sentence: str) -> None:
    document = suite_with()
    document["spec"]["variants"][0] |= changes
    with pytest.raises(ValidationError) as refused:
        ModelSuite.model_validate(document)
    assert any(found.startswith(sentence) for found in validation_sentences(refused.value))
