"""The status of a node, from the state of its keepers. Pure: times and earlier status come in as values."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from fleetfit_api.base import Condition, ConditionStatus
from fleetfit_api.model_status import (
    Measured,
    MeasurementSource,
    ModelPhase,
    ModelStatus,
    ProviderNodes,
    RatingSummary,
)
from fleetfit_api.node_inference import NodeInferenceStatus
from fleetfit_api.node_telemetry import NodeTelemetry, ReferenceRun
from fleetfit_api.reasons import ConditionType, Reason

from fleetfit_runtime.agent.model_keeper import ModelKeeper
from fleetfit_runtime.engine.providers import ProviderProof
from fleetfit_runtime.ratings.summary import ratings_moved

_RELATIVE_MOVE = 0.05
# Telemetry that changes by itself; whatever else changes in it is told at once.
_WANDERING = ("cpu_load", "gpu_load", "temperature_celsius", "power_watts", "battery_percent")
_LONGEST_MESSAGE = 2048
_LONGEST_NAME = 253
_LONGEST_SUMMARY = 250


@dataclass(frozen=True, slots=True)
class NodeState:
    """What the status is made of besides the keepers.

    Attributes:
        generation: generation of the spec that is worked on.
        epoch: highest leader epoch seen.
        stale_epoch: epoch of a spec that was refused, None when none was.
        endpoint: base address of the server.
        reference_runs: times of the reference set.
        telemetry: facts of the node.
        others_load: load of the processors by everything but the runtime, coarse.
        ratings: what users say, by model name.
    """

    generation: int | None
    epoch: int
    stale_epoch: int | None
    endpoint: str
    reference_runs: tuple[ReferenceRun, ...]
    telemetry: NodeTelemetry
    others_load: float = 0.0
    ratings: Mapping[str, Sequence[RatingSummary]] = field(default_factory=dict)


def build_status(
    state: NodeState, keepers: Sequence[ModelKeeper], previous: NodeInferenceStatus, now: datetime
) -> NodeInferenceStatus:
    """Return the status; a condition keeps its transition time while its status stays."""
    found = [model_status(keeper, state.ratings) for keeper in keepers]
    models = [_under_conditions(status, state) for status in found if status is not None]
    ready = sum(model.phase is ModelPhase.READY for model in models)
    serving = [f"{model.model_name}={model.serving_variant or '-'}" for model in models]
    return NodeInferenceStatus(
        observed_generation=state.generation,
        observed_epoch=state.epoch,
        endpoint=state.endpoint,
        ready_summary=f"{ready}/{len(models)}",
        models_summary=",".join(serving)[:_LONGEST_SUMMARY],
        models=models,
        reference_runs=list(state.reference_runs),
        telemetry=state.telemetry,
        conditions=[_ready_condition(state, models, previous, now)],
    )


def model_status(keeper: ModelKeeper, ratings: Mapping[str, Sequence[RatingSummary]]) -> ModelStatus | None:
    """Return the status of one model."""
    assignment, served = keeper.assignment, keeper.served
    if assignment is None:
        return None
    proof = None if served is None else served.model.proof
    return ModelStatus(
        namespace=assignment.namespace,
        deployment=assignment.deployment,
        model_name=assignment.model_name,
        variant=assignment.variant,
        sha256=assignment.sha256,
        phase=keeper.phase,
        reason=str(keeper.reason),
        message=keeper.message[:_LONGEST_MESSAGE],
        serving_variant="" if served is None else served.variant,
        provider="" if proof is None else proof.provider,
        provider_fallback=proof is not None and proof.fallback,
        provider_message="" if proof is None else proof.message[:_LONGEST_MESSAGE],
        provider_nodes=[] if proof is None else _provider_nodes(proof),
        measured=None if served is None else served.measured,
        warm_up=None if served is None else served.warm_up,
        memory_bytes=0 if served is None else served.memory_bytes,
        ratings=list(ratings.get(assignment.model_name, ())),
    )


def _provider_nodes(proof: ProviderProof) -> list[ProviderNodes]:
    return [
        ProviderNodes(provider=name[:_LONGEST_NAME], nodes=count)
        for name, count in sorted(proof.graph_nodes.items())
        if count
    ]


def _under_conditions(model: ModelStatus, state: NodeState) -> ModelStatus:
    """Return the status with how the node is now in figures of requests; those of the warm-up have their own."""
    if model.measured is None or model.measured.source is not MeasurementSource.LIVE:
        return model
    conditions = {"throttled": state.telemetry.throttled, "cpu_load": state.others_load}
    return model.model_copy(update={"measured": model.measured.model_copy(update=conditions)})


def _ready_condition(
    state: NodeState, models: Sequence[ModelStatus], previous: NodeInferenceStatus, now: datetime
) -> Condition:
    status, reason, message = _readiness(state, models)
    before = next((each for each in previous.conditions if each.type == ConditionType.READY), None)
    same = before is not None and before.status == status
    return Condition(
        type=ConditionType.READY,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=before.last_transition_time if before is not None and same else now,
        observed_generation=state.generation,
    )


def _readiness(state: NodeState, models: Sequence[ModelStatus]) -> tuple[ConditionStatus, str, str]:
    if state.stale_epoch is not None:
        message = (
            f"the spec was written by an operator of leader epoch {state.stale_epoch}, "
            f"but epoch {state.epoch} has been seen; the earlier spec stays in force"
        )
        return ConditionStatus.FALSE, Reason.STALE_EPOCH, message
    for phase in (ModelPhase.FAILED, ModelPhase.LOADING, ModelPhase.DOWNLOADING, ModelPhase.PENDING):
        for model in models:
            if model.phase is phase:
                detail = f": {model.message}" if model.message else ""
                return (
                    ConditionStatus.FALSE,
                    model.reason or Reason.PENDING,
                    f"{model.model_name} {model.variant} is {phase.value}{detail}"[:_LONGEST_MESSAGE],
                )
    if not models:
        return ConditionStatus.TRUE, Reason.HEALTHY, "no model is assigned to this node"
    return ConditionStatus.TRUE, Reason.SERVING, f"{len(models)} of {len(models)} models serve"


def damp_measured(
    new: NodeInferenceStatus, written: NodeInferenceStatus, *, may_move: bool, may_flip: bool = True
) -> NodeInferenceStatus:
    """Return the new status with measured figures and ratings as last written, unless they say something new.

    Figures wander with every request; writing each would make the API server the busiest part of the fleet.

    Args:
        new: the status of this moment.
        written: the status that was written last.
        may_move: whether enough time has passed for a move of the same figures to be written.
        may_flip: whether it may be written that they are now of a throttled node, or no longer.
    """
    before = {(model.namespace, model.deployment): model for model in written.models}
    models = []
    for model in new.models:
        old = before.get((model.namespace, model.deployment))
        keep = old is not None and old.serving_variant == model.serving_variant
        if (
            keep
            and old is not None
            and not _moved(old.measured, model.measured, may_move=may_move, may_flip=may_flip)
        ):
            model = model.model_copy(update={"measured": old.measured})
        if old is not None and not (may_move and ratings_moved(old.ratings, model.ratings)):
            model = model.model_copy(update={"ratings": old.ratings})
        models.append(model)
    return new.model_copy(update={"models": models})


def damp_telemetry(
    new: NodeInferenceStatus,
    written: NodeInferenceStatus,
    *,
    may_move: bool,
    held: Set[str] = frozenset(),
) -> NodeInferenceStatus:
    """Return the new status with wandering telemetry as last written, unless something else of it changed.

    Args:
        new: the status of this moment.
        written: the status that was written last.
        may_move: whether enough time has passed for a move of the same figures to be written.
        held: what else must not be written again yet.
    """
    wandered, facts = moved_telemetry(new.telemetry, written.telemetry)
    if facts - held or (may_move and wandered):
        return new
    return new.model_copy(update={"telemetry": written.telemetry})


def moved_telemetry(new: NodeTelemetry, written: NodeTelemetry) -> tuple[frozenset[str], frozenset[str]]:
    """Return which wandering figures differ, and which other facts."""
    changed = {name for name in type(new).model_fields if getattr(new, name) != getattr(written, name)}
    return frozenset(changed.intersection(_WANDERING)), frozenset(changed.difference(_WANDERING))


def _moved(old: Measured | None, new: Measured | None, *, may_move: bool, may_flip: bool) -> bool:
    if old is None or new is None:
        return old is not new
    if old.source != new.source:
        return True  # the first figures of requests
    if old.throttled != new.throttled and may_flip:
        return True
    if not may_move:
        return False
    if new.samples >= 2 * old.samples or old.cpu_load != new.cpu_load:
        return True
    pairs = (
        (old.latency_p50_seconds, new.latency_p50_seconds),
        (old.latency_p95_seconds, new.latency_p95_seconds),
    )
    return any(abs(after - before) > _RELATIVE_MOVE * before for before, after in pairs)
