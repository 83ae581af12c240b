"""Builds the DaemonSet that runs the runtime on the nodes of a hardware class. Pure: values in, a manifest out."""

from dataclasses import dataclass
from typing import Any, Final

from fleetfit_api import HardwareClass
from fleetfit_api.hardware_class import RuntimeTemplate, Toleration
from fleetfit_api.names import HARDWARE_CLASS_LABEL, RUNTIME_GRPC_PORT, RUNTIME_HTTP_PORT

from fleetfit_operator.apply.source_volumes import source_variables, source_volumes

RUNTIME_APP_NAME: Final = "fleetfit-runtime"
RUNTIME_POD_LABELS: Final = {"app.kubernetes.io/name": RUNTIME_APP_NAME}
RUNTIME_POD_SELECTOR: Final = f"app.kubernetes.io/name={RUNTIME_APP_NAME}"
MANAGED_BY_LABELS: Final = {
    "app.kubernetes.io/part-of": "fleetfit",
    "app.kubernetes.io/managed-by": "fleetfit-operator",
}
MANAGED_BY_SELECTOR: Final = ",".join(f"{key}={value}" for key, value in MANAGED_BY_LABELS.items())

_STORE_VOLUME: Final = "store"
# A node at the edge may be away for days; its runtime must not be evicted meanwhile.
_EDGE_TOLERATIONS: Final = tuple(
    Toleration(key=f"node.kubernetes.io/{condition}", operator="Exists", effect="NoExecute")
    for condition in ("not-ready", "unreachable")
)


@dataclass(frozen=True, slots=True)
class Install:
    """What the runtimes of one install have in common.

    Attributes:
        namespace: Namespace of the install.
        service_account: Service account of the runtimes.
        store_dir: Directory of the node that holds models.
    """

    namespace: str
    service_account: str = RUNTIME_APP_NAME
    store_dir: str = "/var/lib/fleetfit"


def daemon_set_name(class_name: str) -> str:
    """Return the name of the DaemonSet of a hardware class."""
    return f"{RUNTIME_APP_NAME}-{class_name}"


def runtime_daemon_set(hardware_class: HardwareClass, install: Install) -> dict[str, Any]:
    """Return the DaemonSet of a hardware class.

    The class owns it, so that it goes with its class even while no operator runs.
    """
    class_name = hardware_class.metadata.name
    selector = {**RUNTIME_POD_LABELS, HARDWARE_CLASS_LABEL: class_name}
    labels = {**selector, **MANAGED_BY_LABELS, "app.kubernetes.io/component": "runtime"}
    return {
        "metadata": {
            "name": daemon_set_name(class_name),
            "namespace": install.namespace,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": hardware_class.api_version,
                    "kind": hardware_class.kind,
                    "name": class_name,
                    "uid": hardware_class.metadata.uid,
                }
            ],
        },
        "spec": {
            "selector": {"matchLabels": selector},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod_spec(hardware_class, install),
            },
        },
    }


def _pod_spec(hardware_class: HardwareClass, install: Install) -> dict[str, Any]:
    runtime = hardware_class.spec.runtime
    pod: dict[str, Any] = {
        "serviceAccountName": install.service_account,
        "nodeSelector": {HARDWARE_CLASS_LABEL: hardware_class.metadata.name},
        "tolerations": [_toleration(each) for each in (*_EDGE_TOLERATIONS, *runtime.tolerations)],
        "terminationGracePeriodSeconds": 30,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(hardware_class, install)],
        "volumes": [
            {
                "name": _STORE_VOLUME,
                "hostPath": {"path": install.store_dir, "type": "DirectoryOrCreate"},
            },
            *(each.volume for each in source_volumes(runtime)),
        ],
    }
    if runtime.runtime_class_name:
        pod["runtimeClassName"] = runtime.runtime_class_name
    return pod


def _container(hardware_class: HardwareClass, install: Install) -> dict[str, Any]:
    runtime = hardware_class.spec.runtime
    ready = {"httpGet": {"path": "/v2/health/ready", "port": "http"}, "timeoutSeconds": 5}
    live = {"httpGet": {"path": "/v2/health/live", "port": "http"}, "timeoutSeconds": 5}
    return {
        "name": "runtime",
        "image": runtime.image,
        "env": _environment(hardware_class, install),
        "ports": [
            {"name": "http", "containerPort": RUNTIME_HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": RUNTIME_GRPC_PORT, "protocol": "TCP"},
        ],
        # The first start loads models over whatever line the node has: a quarter of an hour.
        "startupProbe": {**ready, "periodSeconds": 2, "failureThreshold": 450},
        "readinessProbe": {**ready, "periodSeconds": 5},
        "livenessProbe": {**live, "periodSeconds": 20, "failureThreshold": 3},
        "resources": runtime.resources.to_json(),
        "volumeMounts": [
            {"name": _STORE_VOLUME, "mountPath": install.store_dir},
            *(each.mount for each in source_volumes(runtime)),
        ],
        # Root without any capability: the kubelet makes the directory of the host for root, and the owner of the
        # files is all that is needed.
        "securityContext": {
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _environment(hardware_class: HardwareClass, install: Install) -> list[dict[str, Any]]:
    """Return the variables; what the runtime rests on cannot be overridden by the class."""
    own = [
        _from_field("NODE_NAME", "spec.nodeName"),
        _from_field("POD_IP", "status.podIP"),
        _from_field("POD_NAME", "metadata.name"),
        _from_field("POD_NAMESPACE", "metadata.namespace"),
        {"name": "FLEETFIT_STORE_DIR", "value": install.store_dir},
        {"name": "FLEETFIT_HTTP_PORT", "value": str(RUNTIME_HTTP_PORT)},
        {"name": "FLEETFIT_GRPC_PORT", "value": str(RUNTIME_GRPC_PORT)},
        {"name": "FLEETFIT_HARDWARE_CLASS", "value": hardware_class.metadata.name},
        *_inference_variables(hardware_class.spec.runtime),
        *source_variables(hardware_class.spec.runtime),
    ]
    taken = {variable["name"] for variable in own}
    further = [each.to_json() for each in hardware_class.spec.runtime.env if each.name not in taken]
    return [*own, *further]


def _inference_variables(runtime: RuntimeTemplate) -> list[dict[str, Any]]:
    variables = [{"name": "FLEETFIT_PROVIDERS", "value": ",".join(runtime.providers)}]
    if runtime.intra_op_threads is not None:
        variables.append({"name": "FLEETFIT_INTRA_OP_THREADS", "value": str(runtime.intra_op_threads)})
    return variables


def _from_field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _toleration(toleration: Toleration) -> dict[str, str]:
    return {key: value for key, value in toleration.to_json().items() if value}
