"""Two deployments that want the same model name on the same node: the older one wins.

A node serves one model per name. Which deployment wins must not depend on the order of events, so it is the one that
was created first, then the first by namespace and name.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from fleetfit_api.names import NodeName

from fleetfit_operator.fleet.snapshot import DeploymentKey

_NOT_CREATED_YET = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a deployment wants to serve, and where.

    Attributes:
        key: Identity of the deployment.
        model_name: Name under which it wants to serve.
        created_at: When the deployment was created; None sorts last.
        nodes: Nodes that it selects.
    """

    key: DeploymentKey
    model_name: str
    created_at: datetime | None
    nodes: frozenset[NodeName]


def lost_nodes(claims: Iterable[Claim]) -> Mapping[DeploymentKey, Mapping[NodeName, DeploymentKey]]:
    """Return, for each deployment that loses nodes, these nodes and the deployment that serves the name there."""
    lost: dict[DeploymentKey, dict[NodeName, DeploymentKey]] = defaultdict(dict)
    holders: dict[tuple[str, NodeName], DeploymentKey] = {}
    for claim in sorted(claims, key=_seniority):
        for node in claim.nodes:
            holder = holders.setdefault((claim.model_name, node), claim.key)
            if holder != claim.key:
                lost[claim.key][node] = holder
    return dict(lost)


def _seniority(claim: Claim) -> tuple[datetime, str, str]:
    return (claim.created_at or _NOT_CREATED_YET, claim.key.namespace, claim.key.name)
