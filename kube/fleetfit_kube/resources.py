"""Names and URL paths of the kinds that Fleetfit reads or writes."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from fleetfit_api import HardwareClass, InferenceDeployment, ModelSuite, NodeInference
from fleetfit_api.base import Resource
from fleetfit_api.names import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A kind and where its objects live.

    Attributes:
        group: API group, empty for the core group.
        version: API version.
        plural: Name in paths.
        kind: Name in objects.
        namespaced: Whether objects live in a namespace.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The apiVersion of objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of an object, of a collection (no name) or of a subresource.

        Raises:
            ValueError: an object of a namespaced kind is named without its namespace.
        """
        if self.namespaced and name and not namespace:
            raise ValueError(f"{self.kind} {name} needs a namespace")
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)


def resource_of(kind: type[Resource]) -> ResourceType:
    """Return the resource type of one of Fleetfit's own kinds."""
    names = kind.NAMES
    return ResourceType(GROUP, VERSION, names.plural, names.kind, names.namespaced)


NAMESPACES: Final = ResourceType("", "v1", "namespaces", "Namespace", namespaced=False)
NODES: Final = ResourceType("", "v1", "nodes", "Node", namespaced=False)
PODS: Final = ResourceType("", "v1", "pods", "Pod")
EVENTS: Final = ResourceType("", "v1", "events", "Event")
CONFIG_MAPS: Final = ResourceType("", "v1", "configmaps", "ConfigMap")
SECRETS: Final = ResourceType("", "v1", "secrets", "Secret")
SERVICES: Final = ResourceType("", "v1", "services", "Service")
SERVICE_ACCOUNTS: Final = ResourceType("", "v1", "serviceaccounts", "ServiceAccount")
DAEMON_SETS: Final = ResourceType("apps", "v1", "daemonsets", "DaemonSet")
DEPLOYMENTS: Final = ResourceType("apps", "v1", "deployments", "Deployment")
LEASES: Final = ResourceType("coordination.k8s.io", "v1", "leases", "Lease")
CUSTOM_RESOURCE_DEFINITIONS: Final = ResourceType(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
CLUSTER_ROLES: Final = ResourceType(
    "rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False
)
CLUSTER_ROLE_BINDINGS: Final = ResourceType(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
INFERENCE_DEPLOYMENTS: Final = resource_of(InferenceDeployment)
MODEL_SUITES: Final = resource_of(ModelSuite)
HARDWARE_CLASSES: Final = resource_of(HardwareClass)
NODE_INFERENCES: Final = resource_of(NodeInference)
