"""The loop: take a snapshot, plan, write the differences, come again when something changes.

One pass at a time, over the whole fleet; so no two decisions can contradict each other. Answers to own writes are in
the local copy before the next pass, which therefore never plans on what it has already changed.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from fleetfit_api import HardwareClass, InferenceDeployment, ModelSuite
from fleetfit_kube import ApiClient
from fleetfit_kube.errors import ApiError
from fleetfit_kube.resources import HARDWARE_CLASSES, INFERENCE_DEPLOYMENTS, MODEL_SUITES

from fleetfit_operator.apply.daemon_set import Install, daemon_set_name, runtime_daemon_set
from fleetfit_operator.apply.events import EventRecorder, Happening
from fleetfit_operator.apply.fleet_writer import FleetWriter
from fleetfit_operator.apply.service import runtime_service
from fleetfit_operator.apply.writes import Write, WriteResult, execute_writes
from fleetfit_operator.control.deployment_plan import DeploymentPlan, PlanTerms
from fleetfit_operator.control.fleet_model import FleetModel
from fleetfit_operator.control.happenings import happenings_of, refused_classes, summary_of_moves
from fleetfit_operator.control.plan import FleetPlan, plan_fleet
from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.control.queue import DebouncedQueue
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetSnapshot
from fleetfit_operator.observe.declared import Declared, read_declared
from fleetfit_operator.observe.fleet_cache import FleetCache
from fleetfit_operator.telemetry.metrics import Metrics
from fleetfit_operator.telemetry.prediction_metrics import DeploymentPredictions

logger = logging.getLogger(__name__)

# A deadline is looked at just after it has passed, and never in a tight loop.
_AFTER_DEADLINE_S: Final = 0.05
_SOONEST_CHECK_S: Final = 0.2


class Work(StrEnum):
    """Why a pass is made."""

    FLEET = "Fleet"
    DECLARED = "Declared"
    RESYNC = "Resync"


@dataclass(frozen=True, slots=True)
class PassTerms:
    """How passes are made.

    Attributes:
        plan: What plans have in common.
        install: Where the runtimes live.
        write_concurrency: Largest number of simultaneous writes.
        resync_s: Everything is compared anew this often.
    """

    plan: PlanTerms
    install: Install
    write_concurrency: int
    resync_s: float


@dataclass(slots=True)
class Reconciler:
    """Makes passes for as long as this process is the leader.

    Attributes:
        client: API access, for what users declare.
        cache: What is known of nodes.
        queue: When to make a pass.
        predictions: Latencies of variants on nodes.
        fleet_model: Which predictor they are by.
        writer: Writes decisions.
        recorder: Writes events.
        metrics: Shows passes and the fleet.
        terms: How passes are made.
        now: The time, UTC.
        declared: What users declared when it was last read, with the statuses written since.
    """

    client: ApiClient
    cache: FleetCache
    queue: DebouncedQueue[Work]
    predictions: FleetPredictions
    fleet_model: FleetModel
    writer: FleetWriter
    recorder: EventRecorder
    metrics: Metrics
    terms: PassTerms
    now: Callable[[], datetime]
    declared: Declared = field(default_factory=Declared)

    async def run(self, epoch: int) -> None:
        """Make passes until cancelled, as the leader of an epoch."""
        self.queue.add(Work.RESYNC, urgent=True)
        while True:
            work = await self.queue.take()
            began_s = time.perf_counter()
            outcome = await self._guarded_pass(work, epoch)
            self.metrics.reconciles.labels(outcome).inc()
            self.metrics.reconcile_duration_s.observe(time.perf_counter() - began_s)

    async def _guarded_pass(self, work: frozenset[Work], epoch: int) -> str:
        """Make a pass; whatever goes wrong in it is logged once and tried again later."""
        try:
            complete = await self.make_pass(work, epoch)
        except ApiError as error:
            logger.warning("pass broken off", extra={"error": str(error)})
            complete = False
        except Exception:  # the worker loop's edge: one bad object must not end the operator
            logger.exception("pass failed")
            complete = False
        for key in work:
            if complete:
                self.queue.succeeded(key)
            else:
                self.queue.retry(key)
        return "success" if complete else "error"

    async def make_pass(self, work: frozenset[Work], epoch: int) -> bool:
        """Make one pass; return whether everything that it wanted was written.

        Raises:
            ApiError: something could not be read.
        """
        if work & {Work.DECLARED, Work.RESYNC}:
            self.declared = await read_declared(self.client, self.declared)
        if Work.RESYNC in work:
            self.queue.add_after(Work.RESYNC, self.terms.resync_s)
            await self.fleet_model.refresh()
        snapshot = self.cache.snapshot(self.declared, self.now())
        plan = await self._plan(snapshot, epoch)
        results = [
            await self._execute(await self._workloads(snapshot, compare=Work.RESYNC in work)),
            await self._execute(self._node_writes(plan)),
            await self._execute(self._statuses(plan)),
        ]
        happenings = self._happenings(snapshot, plan) + refused_classes(snapshot.classes, results[0])
        await self._execute(self.recorder.writes(happenings))
        if results[-1].complete:
            self.declared = _with_statuses(self.declared, plan)
        self.metrics.show_fleet(plan.class_sizes, plan.deployment_statuses.items())
        self.metrics.predictions.show((key, _predictions(each)) for key, each in plan.deployments.items())
        if plan.next_check_s is not None:
            self.queue.add_after(Work.FLEET, max(_SOONEST_CHECK_S, plan.next_check_s + _AFTER_DEADLINE_S))
        return all(result.complete for result in results)

    async def _plan(self, snapshot: FleetSnapshot, epoch: int) -> FleetPlan:
        began_s = time.perf_counter()
        # Off the loop, so that watches and probes are answered while thousands of nodes are thought about.
        plan = await asyncio.to_thread(plan_fleet, snapshot, self.predictions, self.terms.plan, epoch)
        self.metrics.plan_duration_s.observe(time.perf_counter() - began_s)
        if plan.specs:
            logger.info(
                "fleet planned",
                extra={
                    "nodes": len(snapshot.nodes),
                    "writes": len(plan.specs),
                    "moves": {str(key): len(each.moved) for key, each in plan.deployments.items()},
                    "epoch": epoch,
                },
            )
        return plan

    async def _workloads(self, snapshot: FleetSnapshot, *, compare: bool) -> list[Write]:
        install = self.terms.install
        daemon_sets = {
            daemon_set_name(each.metadata.name): runtime_daemon_set(each, install)
            for each in snapshot.classes
        }
        return await self.writer.workload_writes(daemon_sets, runtime_service(install), compare=compare)

    def _node_writes(self, plan: FleetPlan) -> list[Write]:
        return [
            *(self.writer.node_label(node, class_name) for node, class_name in plan.labels.items()),
            *(self.writer.node_inference(node, spec) for node, spec in plan.specs.items()),
            *(self.writer.remove_node_inference(node) for node in self.cache.orphans()),
        ]

    def _statuses(self, plan: FleetPlan) -> list[Write]:
        """Return the writes of statuses that differ from those that the objects have."""
        writes = []
        for key, status in plan.deployment_statuses.items():
            if self.declared.deployments[key].status != status:
                writes.append(self.writer.status(INFERENCE_DEPLOYMENTS, key.name, key.namespace, status))
        for (namespace, name), suite_status in plan.suite_statuses.items():
            if self.declared.suites[namespace, name].status != suite_status:
                writes.append(self.writer.status(MODEL_SUITES, name, namespace, suite_status))
        for each in self.declared.classes:
            class_status = plan.class_statuses[each.metadata.name]
            if each.status != class_status:
                writes.append(self.writer.status(HARDWARE_CLASSES, each.metadata.name, "", class_status))
        return writes

    def _happenings(self, snapshot: FleetSnapshot, plan: FleetPlan) -> list[Happening]:
        happenings: list[Happening] = []
        for key, each in plan.deployments.items():
            deployment = snapshot.deployments[key]
            happenings += happenings_of(deployment, deployment.status.conditions, each.status.conditions)
            happenings += summary_of_moves(deployment, _moves_by_class(snapshot, each))
        return happenings

    async def _execute(self, writes: Iterable[Write]) -> WriteResult:
        return await execute_writes(writes, self.terms.write_concurrency, self._count)

    def _count(self, kind: str, outcome: str) -> None:
        self.metrics.writes.labels(kind, outcome).inc()


def _predictions(plan: DeploymentPlan) -> DeploymentPredictions:
    predicted = (each.predicted for each in plan.assignments.values())
    return DeploymentPredictions(
        errors=plan.prediction_errors,
        drifting=frozenset(
            (each.name, variant) for each in plan.status.classes for variant in each.drifting_variants
        ),
        evidence=Counter(each.evidence for each in predicted if each is not None),
        slowed=plan.slowed_nodes,
    )


def _moves_by_class(snapshot: FleetSnapshot, plan: DeploymentPlan) -> Counter[tuple[str, str]]:
    return Counter(
        (snapshot.nodes[name].class_name, plan.assignments[name].variant)
        for name in plan.moved
        if name in plan.assignments
    )


def _with_statuses(declared: Declared, plan: FleetPlan) -> Declared:
    """Return what is declared with the statuses of the plan, as if it had been read again."""
    deployments: dict[DeploymentKey, InferenceDeployment] = {
        key: each.model_copy(update={"status": plan.deployment_statuses[key]})
        for key, each in declared.deployments.items()
    }
    suites: dict[tuple[str, str], ModelSuite] = {
        place: each.model_copy(update={"status": plan.suite_statuses[place]})
        for place, each in declared.suites.items()
    }
    classes: tuple[HardwareClass, ...] = tuple(
        each.model_copy(update={"status": plan.class_statuses[each.metadata.name]})
        for each in declared.classes
    )
    return Declared(deployments, suites, classes)
