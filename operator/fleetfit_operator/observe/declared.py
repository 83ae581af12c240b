"""Reads what users declare: InferenceDeployments, ModelSuites and HardwareClasses.

They are few, so they are listed whenever one of them has changed, which kopf tells, and at every resync. That costs
three requests and cannot miss a deletion.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fleetfit_api import HardwareClass, InferenceDeployment, ModelSuite
from fleetfit_api.base import Resource
from fleetfit_kube import ApiClient
from fleetfit_kube.resources import resource_of

from fleetfit_operator.fleet.snapshot import DeploymentKey

R = TypeVar("R", bound=Resource)
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Declared:
    """What users declare at one moment; objects that are being deleted are left out.

    Attributes:
        deployments: InferenceDeployments.
        suites: ModelSuites by (namespace, name).
        classes: HardwareClasses by name.
    """

    deployments: Mapping[DeploymentKey, InferenceDeployment] = field(default_factory=dict)
    suites: Mapping[tuple[str, str], ModelSuite] = field(default_factory=dict)
    classes: tuple[HardwareClass, ...] = ()


async def read_declared(client: ApiClient, previous: Declared) -> Declared:
    """Return what is declared now; objects that have not changed are those of `previous`.

    Raises:
        ApiError: a kind could not be listed.
    """
    deployments, suites, classes = await asyncio.gather(
        _read(client, InferenceDeployment, list(previous.deployments.values())),
        _read(client, ModelSuite, list(previous.suites.values())),
        _read(client, HardwareClass, list(previous.classes)),
    )
    return Declared(
        {DeploymentKey(each.metadata.namespace, each.metadata.name): each for each in deployments},
        {(each.metadata.namespace, each.metadata.name): each for each in suites},
        tuple(sorted(classes, key=lambda each: each.metadata.name)),
    )


async def _read(client: ApiClient, kind: type[R], previous: list[R]) -> list[R]:
    listed = await client.list(resource_of(kind))
    known = {(each.metadata.uid, each.metadata.resource_version): each for each in previous}
    objects = []
    for document in listed.items:
        metadata = document["metadata"]
        if metadata.get("deletionTimestamp"):
            continue
        same = known.get((metadata["uid"], metadata["resourceVersion"]))
        decoded = same or _decode(kind, document)
        if decoded is not None:
            objects.append(decoded)
    return objects


def _decode(kind: type[R], document: dict[str, Any]) -> R | None:
    """Return the object; None, with a log entry, for one from before a rule of the schema."""
    try:
        return kind.model_validate(document)
    except ValueError as error:
        logger.warning(
            "object cannot be decoded",
            extra={
                "kind": kind.NAMES.kind,
                "object": f"{document['metadata'].get('namespace', '')}/{document['metadata']['name']}",
                "error": str(error)[:500],
            },
        )
        return None
