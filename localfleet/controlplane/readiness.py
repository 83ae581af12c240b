"""When a control plane can be used, asked of the API server as its administrator."""

import asyncio
from typing import Final

from fleetfit_kube.client import ApiClient, ClientOptions
from fleetfit_kube.config import Connection
from fleetfit_kube.errors import ApiError
from fleetfit_kube.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, SERVICE_ACCOUNTS, ResourceType

from localfleet.controlplane.credentials import FEATURE_DISCOVERY_USER

_POLL_INTERVAL_S: Final = 0.05
_ONE_ATTEMPT: Final = ClientOptions(timeout_s=5.0, connect_timeout_s=2.0, attempts=1)
_FIELD_MANAGER: Final = "localfleet"
_FEATURE_DISCOVERY_RULES: Final = (
    {"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["get", "patch", "update"]},
)


async def wait_for_api(connection: Connection, path: str = "/readyz") -> None:
    """Return when a server says at this path that it is ready; the caller sets the time limit."""
    async with ApiClient(connection, options=_ONE_ATTEMPT) as client:
        while True:
            try:
                await client.get_text(path)
            except ApiError:
                await asyncio.sleep(_POLL_INTERVAL_S)
            else:
                return


async def wait_for_controllers(connection: Connection) -> None:
    """Return when pods can be made: the controllers have given the first namespace its service account."""
    async with ApiClient(connection, options=_ONE_ATTEMPT) as client:
        while True:
            try:
                await client.get(SERVICE_ACCOUNTS, "default", "default")
            except ApiError:
                await asyncio.sleep(_POLL_INTERVAL_S)
            else:
                return


async def grant_feature_discovery(connection: Connection) -> None:
    """Let the feature discovery identity label nodes; NodeRestriction keeps such labels from kubelets."""
    name = FEATURE_DISCOVERY_USER
    group = CLUSTER_ROLES.group
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": name}
    subject = {"apiGroup": group, "kind": "User", "name": name}
    async with ApiClient(connection) as client:
        await _apply(client, CLUSTER_ROLES, name, rules=list(_FEATURE_DISCOVERY_RULES))
        await _apply(client, CLUSTER_ROLE_BINDINGS, name, roleRef=reference, subjects=[subject])


async def _apply(client: ApiClient, resource: ResourceType, name: str, **content: object) -> None:
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        **content,
    }
    await client.apply(resource, body, field_manager=_FIELD_MANAGER)
