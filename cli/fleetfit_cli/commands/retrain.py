"""`fleetfit retrain`: what a cluster's nodes have timed, on top of the shipped predictor."""

import argparse
import asyncio
import os
from datetime import UTC, datetime
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleetfit_cli.console import note, write
from fleetfit_cli.errors import FailedError

if TYPE_CHECKING:
    from fleetfit_kube import ApiClient
    from fleetfit_operator.predict.fleet_correction import FleetCorrection
    from fleetfit_operator.predict.shipped_model import ShippedModel
    from fleetfit_training.fleet_timings import NodeRecord
    from fleetfit_training.retrain import RetrainReport

    from fleetfit_cli.fleet.model_store import ModelStore

DESCRIPTION: Final = """\
Train a correction of the shipped predictor on what the nodes of a cluster have timed, and write it to a ConfigMap that
the operator reads. Three nodes of ten are held out: the correction is promoted only if it is better on them than what
is in use, beyond what chance explains. Otherwise everything stays as it is; that is no failure, and the reason is told
here and in the ConfigMap's annotation fleetfit.io/last-retraining.
"""
EXAMPLES: Final = """\
  fleetfit retrain
  fleetfit retrain --kubeconfig ~/.kube/edge --dry-run
  fleetfit retrain --namespace fleetfit-system --config-map fleetfit-model
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which words the command takes."""
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="cluster (default: the pod's, else that of KUBECONFIG)",
    )
    parser.add_argument(
        "--namespace",
        default="fleetfit-system",
        metavar="NAME",
        help="namespace of the operator (default: %(default)s)",
    )
    parser.add_argument(
        "--config-map",
        default="fleetfit-model",
        metavar="NAME",
        help="ConfigMap that the operator reads (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


def run(arguments: argparse.Namespace) -> None:
    """Train, judge, and write what is promoted."""
    from fleetfit_kube.errors import ApiError

    try:
        asyncio.run(_retrain(arguments))
    except ApiError as error:
        raise FailedError(f"the cluster does not let it: {error}") from error


async def _retrain(arguments: argparse.Namespace) -> None:
    from fleetfit_kube import ApiClient
    from fleetfit_operator.predict.shipped_model import ShippedModel
    from fleetfit_training.retrain import retrain

    from fleetfit_cli.fleet.connection import connection
    from fleetfit_cli.fleet.model_store import ModelStore

    shipped = ShippedModel.load()
    async with ApiClient(connection(arguments.kubeconfig, os.environ)) as client:
        store = ModelStore(client, arguments.namespace, arguments.config_map)
        records = await _records(client)
        text = await store.correction()
        in_use = _correction(text, shipped)
        now = datetime.now(UTC)
        report = retrain(records, in_use, shipped.digest, now.date())
        write(report_text(report))
        if not arguments.dry_run:
            await _store(report, store, text if in_use else "", now)


async def _records(client: "ApiClient") -> "list[NodeRecord]":
    from fleetfit_api import ModelSuite, NodeInference
    from fleetfit_kube.resources import MODEL_SUITES, NODE_INFERENCES
    from fleetfit_operator.predict.predictor import LatencyPredictor
    from fleetfit_training.fleet_timings import fleet_records

    inferences = [NodeInference.model_validate(each) for each in (await client.list(NODE_INFERENCES)).items]
    suites = [ModelSuite.model_validate(each) for each in (await client.list(MODEL_SUITES)).items]
    return fleet_records(inferences, suites, LatencyPredictor.load())


def _correction(text: str, shipped: "ShippedModel") -> "FleetCorrection | None":
    """Return the correction in use; one that the operator cannot use either counts as none."""
    from fleetfit_operator.predict.fleet_correction import FleetCorrection, UnusableCorrectionError

    if not text:
        return None
    try:
        return FleetCorrection.parse(text, shipped.digest)
    except UnusableCorrectionError as error:
        note(f"what is in the ConfigMap is not in use: {error}")
        return None


async def _store(report: "RetrainReport", store: "ModelStore", in_use: str, now: datetime) -> None:
    from fleetfit_training.retrain import Outcome

    texts = {Outcome.WITHDRAWN: ""}
    if report.outcome is Outcome.PROMOTED and report.correction is not None:
        texts[Outcome.PROMOTED] = report.correction.dump()
    told = f"{now:%Y-%m-%dT%H:%M:%SZ} {report.outcome}: {report.reason}"
    await store.write(texts.get(report.outcome, in_use), told)


def report_text(report: "RetrainReport") -> str:
    """Return what people read: the data, a table of errors and the verdict.

    Errors are shown as factors: 1.25 means that the timings are a factor of 1.25 off, on geometric average.
    """
    lines = [
        f"nodes with timings that count: {report.nodes}, {report.held_out_nodes} of them held out; "
        f"timings: {report.timings}"
    ]
    if report.errors:
        lines.append(f"{'on held-out nodes':20}{'mean |log error|':>18}{'factor':>10}")
    for name, error in report.errors.items():
        lines.append(f"{name:20}{error:18.3f}{exp(error):10.3f}")
    lines.append(f"{report.outcome}: {report.reason}")
    return "\n".join(lines) + "\n"
