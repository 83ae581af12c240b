"""What a node should fetch ahead: the next changes of all deployments on it, joined into one short list. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import AssignedFile, UpcomingModel

from fleetfit_operator.fleet.progress import UpcomingChange
from fleetfit_operator.fleet.snapshot import FleetNode

_MOST_MODELS: Final = 4


def upcoming_models(
    node: FleetNode, changes: Iterable[Mapping[NodeName, UpcomingChange]]
) -> list[UpcomingModel]:
    """Return what the node should fetch ahead, the nearest first.

    A node that does not answer reads nothing, so what it was told stays: it may be back before its turn.

    Args:
        node: The node.
        changes: Changes that are near, by node; one mapping for each deployment, in order of the deployments.
    """
    if not node.node.ready and node.inference is not None:
        return list(node.inference.spec.upcoming)
    near = sorted((each[node.name] for each in changes if node.name in each), key=lambda each: each.waves)
    models: dict[tuple[str, tuple[AssignedFile, ...]], UpcomingModel] = {}
    for each in near:
        # Two deployments of one suite may be about to bring the same files.
        models.setdefault((each.model.sha256, tuple(each.model.files)), each.model)
    return list(models.values())[:_MOST_MODELS]
