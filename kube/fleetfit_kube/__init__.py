"""Thin access to a Kubernetes API server over aiohttp: connection, client, list+watch reflector.

Shared by operator, runtime and localfleet. It knows how objects travel, not what they mean.
"""

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
