"""`HardwareClass`: nodes that count as alike, recognised by labels, capacity and extended resources."""

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from fleetfit_api.base import (
    ApiModel,
    Condition,
    Int64,
    KindNames,
    LabelRequirement,
    PrinterColumn,
    Quantity,
    Resource,
    cel,
    list_map,
    pattern_message,
)

ProviderName = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9]+ExecutionProvider$",
        max_length=64,
        json_schema_extra=pattern_message(
            "a provider is named as ONNX Runtime does, such as CPUExecutionProvider or CUDAExecutionProvider"
        ),
    ),
]


_RESERVED_VARIABLES = (
    "NODE_NAME",
    "POD_IP",
    "POD_NAME",
    "POD_NAMESPACE",
    "FLEETFIT_STORE_DIR",
    "FLEETFIT_HTTP_PORT",
    "FLEETFIT_GRPC_PORT",
    "FLEETFIT_HARDWARE_CLASS",
    "FLEETFIT_PROVIDERS",
    "FLEETFIT_INTRA_OP_THREADS",
    "FLEETFIT_CREDENTIALS_DIRS",
    "FLEETFIT_CLAIMS_DIR",
    "FLEETFIT_TRUSTED_KEYS_DIRS",
    "FLEETFIT_REQUIRE_SIGNATURES",
)
# What the kubelet takes as the name of a volume behind a short prefix.
ObjectName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        max_length=253,
        json_schema_extra=pattern_message(
            "the name of an object is lower-case letters, digits, '-' and '.', "
            "and begins and ends with a letter or digit"
        ),
    ),
]


class CapacityRequirement(ApiModel):
    """A lower bound on a node's capacity: cpu, memory or an extended resource."""

    resource: str = Field(
        min_length=1, max_length=317, description="Name of the resource, such as memory or nvidia.com/gpu."
    )
    at_least: Quantity = Field(
        default=1,
        description="Smallest capacity that matches, a Kubernetes quantity.",
    )


class MatchTerm(ApiModel):
    """Requirements that must all hold for the term to match."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "(has(self.labels) && size(self.labels) > 0) "
                "|| (has(self.capacity) && size(self.capacity) > 0)",
                "a match term needs at least one entry in labels or capacity; "
                "to match every node leave spec.match empty",
            )
        )
    )

    labels: list[LabelRequirement] = Field(
        default=[], max_length=32, description="Requirements on node labels."
    )
    capacity: list[CapacityRequirement] = Field(
        default=[],
        max_length=16,
        description="Lower bounds on capacity and extended resources.",
        json_schema_extra=list_map("resource"),
    )


class EnvVar(ApiModel):
    """An environment variable of the runtime."""

    name: str = Field(
        min_length=1,
        max_length=253,
        description="Name of the variable.",
        json_schema_extra=cel(
            (
                "self.matches('^[-._a-zA-Z][-._a-zA-Z0-9]*$')",
                "the name of an environment variable is letters, digits, '_', '-' and '.', "
                "and does not begin with a digit",
            ),
            (
                f"!(self in {list(_RESERVED_VARIABLES)})",
                f"the operator itself sets {', '.join(_RESERVED_VARIABLES)}; "
                "providers and intraOpThreads are fields of spec.runtime",
            ),
        ),
    )
    value: str = Field(default="", max_length=4096, description="Value of the variable.")


class ResourceRequirements(ApiModel):
    """Compute resources of the runtime's container."""

    requests: dict[str, Quantity] = Field(
        default={}, max_length=16, description="Minimum resources, Kubernetes quantities by name."
    )
    limits: dict[str, Quantity] = Field(
        default={}, max_length=16, description="Maximum resources, Kubernetes quantities by name."
    )


class Toleration(ApiModel):
    """A taint that the runtime tolerates, as in a pod."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "self.operator == 'Exists' || (has(self.key) && size(self.key) > 0)",
                "a toleration with operator Equal needs a key",
            ),
            (
                "self.operator == 'Equal' || !has(self.value) || size(self.value) == 0",
                "a toleration with operator Exists takes no value",
            ),
        )
    )

    key: str = Field(
        default="", max_length=317, description="Taint key; every taint when empty with operator Exists."
    )
    operator: str = Field(default="Equal", pattern="^(Equal|Exists)$", description="Equal or Exists.")
    value: str = Field(default="", max_length=63, description="Taint value.")
    effect: str = Field(
        default="",
        pattern="^(|NoSchedule|PreferNoSchedule|NoExecute)$",
        description="Taint effect; every effect when empty.",
    )


class RuntimeTemplate(ApiModel):
    """How the runtime runs on nodes of a class."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.requireSignatures) || !self.requireSignatures "
                "|| (has(self.trustedKeys) && size(self.trustedKeys) > 0)",
                "requireSignatures needs keys: name ConfigMaps with public keys in trustedKeys",
            )
        )
    )

    image: str = Field(
        min_length=1,
        max_length=512,
        description="Runtime image.",
        json_schema_extra=cel((r"!self.matches(r'\s')", "spec.runtime.image must not contain spaces")),
    )
    providers: list[ProviderName] = Field(
        min_length=1,
        max_length=8,
        description="ONNX Runtime execution providers in order of preference; "
        "the node proves which one it uses.",
        json_schema_extra=cel(
            (
                "self.all(p, self.exists_one(q, q == p))",
                "spec.runtime.providers must name a provider only once",
            )
        ),
    )
    intra_op_threads: int | None = Field(
        default=None, ge=1, le=1024, description="Threads of one inference; ONNX Runtime decides when absent."
    )
    resources: ResourceRequirements = Field(
        default=ResourceRequirements(), description="Compute resources of the container."
    )
    runtime_class_name: str | None = Field(
        default=None, max_length=253, description="RuntimeClass of the pod, such as nvidia."
    )
    env: list[EnvVar] = Field(
        default=[],
        max_length=64,
        description="Further environment variables.",
        json_schema_extra=list_map("name"),
    )
    tolerations: list[Toleration] = Field(
        default=[], max_length=16, description="Taints that the runtime tolerates."
    )
    credentials: list[ObjectName] = Field(
        default=[],
        max_length=16,
        description="Secrets in the namespace of the install with credentials of model sources. Keys are named like "
        "the variables of the clouds' tools (AWS_ACCESS_KEY_ID), .dockerconfigjson or HTTP_AUTHORIZATION; uriPrefix "
        "binds a Secret to the URIs that begin with it. A Secret may come, change and go under a running node.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    claims: list[ObjectName] = Field(
        default=[],
        max_length=16,
        description="PersistentVolumeClaims in the namespace of the install that pvc URIs name, mounted read-only. "
        "All nodes of the class must be able to mount them at once.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    trusted_keys: list[ObjectName] = Field(
        default=[],
        max_length=16,
        description="ConfigMaps in the namespace of the install with public keys: PEM files, ECDSA P-256, P-384, P-521 "
        "or Ed25519. A node with keys checks every signature that a variant has. A ConfigMap may come, change and go "
        "under a running node.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    require_signatures: bool = Field(
        default=False,
        description="Whether nodes of the class load only variants with a signature by one of these keys, whatever a "
        "deployment says.",
    )


class HardwareClassSpec(ApiModel):
    """Desired state of a hardware class."""

    description: str = Field(default="", max_length=1024, description="Which nodes these are.")
    priority: int = Field(
        default=0,
        ge=-1000,
        le=1000,
        description="Of the classes that match a node the one with the highest priority is taken, "
        "then the first by name.",
    )
    match: list[MatchTerm] = Field(
        default=[],
        max_length=32,
        description="Terms, one of which must match; an empty list matches every node.",
    )
    facts: dict[str, Annotated[str, Field(max_length=253)]] = Field(
        default={},
        description="Facts that nodes of the class share, such as accelerator: nvidia-jetson-orin.",
    )
    runtime: RuntimeTemplate = Field(description="How the runtime runs on nodes of the class.")


class HardwareClassStatus(ApiModel):
    """Observed state of a hardware class."""

    observed_generation: Int64 | None = Field(
        default=None, description="Generation that the status was computed from."
    )
    nodes: int = Field(default=0, description="Number of nodes in the class.")
    ready_nodes: int = Field(default=0, description="Number of nodes whose runtime reports.")
    conditions: list[Condition] = Field(
        default=[], description="Conditions: Ready.", json_schema_extra=list_map("type")
    )


class HardwareClass(Resource):
    """Nodes that count as alike: same runtime image, same providers, judged together in a rollout."""

    NAMES: ClassVar = KindNames("HardwareClass", "hardwareclasses", "hwc", namespaced=False)
    COLUMNS: ClassVar = (
        PrinterColumn("Priority", ".spec.priority", "integer"),
        PrinterColumn("Nodes", ".status.nodes", "integer"),
        PrinterColumn("Ready", ".status.readyNodes", "integer"),
        PrinterColumn("Provider", ".spec.runtime.providers[0]"),
        PrinterColumn("Image", ".spec.runtime.image", priority=1),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
    )

    RULES: ClassVar = (
        (
            "size(self.metadata.name) <= 63",
            "the name becomes the value of a node label, so it must not have more than 63 characters",
        ),
    )

    kind: str = "HardwareClass"
    spec: HardwareClassSpec
    status: HardwareClassStatus = HardwareClassStatus()
