"""Thin access to a Kubernetes API server over aiohttp: connection, client, list+watch reflector.

Shared by operator, runtime and localfleet. It knows how objects travel, not what they mean. Names are looked up at
their first use: aiohttp takes a tenth of a second to import, and who only needs a backoff should not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fleetfit_kube.client import ApiClient, WatchEvent
    from fleetfit_kube.config import Connection, discover, from_kubeconfig, in_cluster
    from fleetfit_kube.reflector import ObjectKey, Reflector, ReflectorOptions
    from fleetfit_kube.resources import ResourceType

__all__ = [
    "ApiClient",
    "Connection",
    "ObjectKey",
    "Reflector",
    "ReflectorOptions",
    "ResourceType",
    "WatchEvent",
    "discover",
    "from_kubeconfig",
    "in_cluster",
]

_MODULES: Final = {
    "ApiClient": "client",
    "Connection": "config",
    "ObjectKey": "reflector",
    "Reflector": "reflector",
    "ReflectorOptions": "reflector",
    "ResourceType": "resources",
    "WatchEvent": "client",
    "discover": "config",
    "from_kubeconfig": "config",
    "in_cluster": "config",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
