"""Builds the Service through which a client on any node reaches the runtime of that node. Pure."""

from typing import Any

from fleetfit_api.names import RUNTIME_GRPC_PORT, RUNTIME_HTTP_PORT, RUNTIME_SERVICE_NAME

from fleetfit_operator.apply.daemon_set import MANAGED_BY_LABELS, RUNTIME_POD_LABELS, Install


def runtime_service(install: Install) -> dict[str, Any]:
    """Return the Service; internalTrafficPolicy Local keeps requests on the node that they come from."""
    return {
        "metadata": {
            "name": RUNTIME_SERVICE_NAME,
            "namespace": install.namespace,
            "labels": {
                **RUNTIME_POD_LABELS,
                **MANAGED_BY_LABELS,
                "app.kubernetes.io/component": "runtime",
            },
        },
        "spec": {
            "type": "ClusterIP",
            "internalTrafficPolicy": "Local",
            "selector": dict(RUNTIME_POD_LABELS),
            "ports": [
                {"name": "http", "port": RUNTIME_HTTP_PORT, "targetPort": "http", "protocol": "TCP"},
                {"name": "grpc", "port": RUNTIME_GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"},
            ],
        },
    }
