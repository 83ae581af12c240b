"""What a fleet has timed, beside what the shipped model predicts for it: the data that a fleet teaches.

Made from the API's objects alone. A timing counts when nothing disturbed it, when the suite still has that very file,
and when the node's reference run is still the one that was known at the timing: otherwise error and fingerprint do not
belong together.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
import numpy.typing as npt
from fleetfit_api import ModelSuite, NodeInference
from fleetfit_api.node_inference import Assignment, MeasuredVariant
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.suite import Variant
from fleetfit_operator.fleet.measurements import reference_run_digest
from fleetfit_operator.predict.corrected_predictor import ShippedPredictor
from fleetfit_operator.predict.fleet_correction import correction_rows, node_speed

FloatArray = npt.NDArray[np.float64]
# One absurd figure must not outweigh a fleet: a factor of 20.
_LARGEST_LOG_ERROR = 3.0


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What one node has timed.

    Attributes:
        node: Name of the node.
        hardware_class: Name of its class; empty when it has none.
        variants: Namespace, suite and variant of each timing.
        rows: Features of each timing.
        log_error: Logarithm of the measured over the predicted p95 of each timing.
    """

    node: str
    hardware_class: str
    variants: tuple[tuple[str, str, str], ...]
    rows: FloatArray
    log_error: FloatArray


@dataclass(frozen=True, slots=True)
class _Timed:
    """A timing that counts."""

    place: tuple[str, str, str]
    variant: Variant
    run: ReferenceRun | None
    p95_s: float


def fleet_records(
    inferences: Iterable[NodeInference], suites: Iterable[ModelSuite], shipped: ShippedPredictor
) -> list[NodeRecord]:
    """Return what each node with timings that count has timed, by name of node.

    Args:
        inferences: The nodes.
        suites: The suites.
        shipped: Predicts without any correction that a fleet taught.
    """
    variants = {
        (suite.metadata.namespace, suite.metadata.name, variant.name): variant
        for suite in suites
        for variant in suite.spec.variants
        if variant.features is not None
    }
    found = []
    for inference in sorted(inferences, key=lambda each: each.metadata.name):
        timed = list(_timed(inference, variants))
        if timed:
            found.append(_record(inference, timed, shipped))
    return found


def records_digest(records: Sequence[NodeRecord]) -> str:
    """Return the SHA-256 digest of the timings."""
    content = hashlib.sha256()
    for record in records:
        content.update(repr((record.node, record.variants)).encode())
        content.update(record.rows.tobytes())
        content.update(record.log_error.tobytes())
    return content.hexdigest()


def _timed(inference: NodeInference, variants: Mapping[tuple[str, str, str], Variant]) -> Iterator[_Timed]:
    runs = {reference_run_digest(run): run for run in inference.status.reference_runs}
    for assignment in inference.spec.assignments:
        for measured in assignment.measured_variants:
            variant = variants.get(_place(assignment, measured))
            is_blind = not measured.reference_run and not runs
            has_figures = measured.latency_p95_seconds > 0 and measured.samples > 0
            if (
                variant is not None
                and variant.sha256 == measured.sha256
                and has_figures
                and (is_blind or measured.reference_run in runs)
            ):
                run = runs.get(measured.reference_run)
                yield _Timed(_place(assignment, measured), variant, run, measured.latency_p95_seconds)


def _place(assignment: Assignment, measured: MeasuredVariant) -> tuple[str, str, str]:
    return assignment.namespace, assignment.suite, measured.variant


def _record(inference: NodeInference, timed: Sequence[_Timed], shipped: ShippedPredictor) -> NodeRecord:
    rows, errors = [], []
    for each in timed:
        predicted_s = shipped.predict(each.run, [each.variant])[each.variant.name].latency_p95_s
        log_predicted = log(max(predicted_s, exp(-30.0)))
        features = [each.variant.features] if each.variant.features is not None else []
        rows.append(correction_rows(features, np.array([log_predicted]), node_speed(each.run))[0])
        errors.append(log(each.p95_s) - log_predicted)
    return NodeRecord(
        node=inference.metadata.name,
        hardware_class=inference.spec.hardware_class,
        variants=tuple(each.place for each in timed),
        rows=np.array(rows),
        log_error=np.clip(errors, -_LARGEST_LOG_ERROR, _LARGEST_LOG_ERROR),
    )
