"""`ModelSuite`: the compressed variants of one model, what each costs and how good it is."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from fleetfit_api.base import (
    ApiModel,
    Condition,
    Int64,
    KindNames,
    PrinterColumn,
    Resource,
    cel,
    list_map,
    maximum_message,
    pattern_message,
)


def _uri_rules(whose: str, *further: tuple[str, str]) -> dict[str, Any]:
    """Schema extension of a URI: what a runtime could not fetch is refused here."""
    return cel(
        (
            "!self.startsWith('file:') || self.matches('^file://(localhost)?/')",
            f"{whose} with file: needs three slashes and an absolute path, as in file:///models/digits.onnx",
        ),
        (
            r"!self.matches('^https?:') || self.matches('^https?://[^/?#:]')",
            f"{whose} with http: or https: needs a host, as in https://models.example/digits.onnx",
        ),
        (
            "!self.matches('^[a-z]+://[^/?#]*@')",
            f"{whose} must not contain '@' before the path: credentials in a uri are not supported",
        ),
        *further,
    )


class Precision(StrEnum):
    """Number format of a variant's weights and activations."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT4 = "int4"


class OperatorCost(ApiModel):
    """How often one ONNX operator occurs in a graph, and its share of the work."""

    name: str = Field(min_length=1, max_length=128, description="ONNX operator type, such as Conv.")
    count: int = Field(ge=1, description="Number of nodes of this type.")
    multiply_accumulates: Int64 = Field(
        default=0, ge=0, description="Multiply-accumulates of one inference in them."
    )


class GraphFeatures(ApiModel):
    """Cost features of a variant's graph for a batch of one, the input of latency prediction."""

    multiply_accumulates: Int64 = Field(ge=0, description="Multiply-accumulates of one inference.")
    parameters: Int64 = Field(ge=0, description="Number of trained weights.")
    weight_bytes: Int64 = Field(ge=0, description="Bytes of the weights as stored in the graph.")
    activation_bytes: Int64 = Field(ge=0, description="Bytes of all intermediate tensors of one inference.")
    operator_count: int = Field(ge=1, description="Number of nodes in the graph.")
    depth: int = Field(ge=1, description="Nodes on the longest path from an input to an output.")
    operators: list[OperatorCost] = Field(
        default=[], max_length=256, description="Cost by operator type.", json_schema_extra=list_map("name")
    )


class VariantRequirements(ApiModel):
    """What a node must have to run a variant."""

    memory_bytes: Int64 | None = Field(
        default=None,
        ge=0,
        description="Memory that the loaded variant needs; estimated from its size when absent.",
    )
    providers: list[Annotated[str, Field(max_length=64)]] = Field(
        default=[],
        max_length=16,
        description="ONNX Runtime execution providers, at least one of which the node's class must offer; "
        "any when empty.",
    )


class Variant(ApiModel):
    """One ONNX file of a suite."""

    name: str = Field(
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        max_length=63,
        description="Name of the variant, unique in the suite.",
        json_schema_extra=pattern_message(
            "a variant's name must be lower-case letters, digits, '-' and '.', and begin and end with a letter or digit"
        ),
    )
    uri: str = Field(
        min_length=1,
        max_length=2048,
        description="Where the ONNX file is: an http, https or file URI, "
        "or a path relative to the suite's storageUri.",
        json_schema_extra=_uri_rules(
            "a variant's uri",
            (
                r"!self.matches(r'(?i)(^|/)(\.|%2e){2}([/?#]|$)')",
                "a variant's uri must not contain '..' as a part of its path",
            ),
        ),
    )
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        max_length=64,
        description="SHA-256 digest of the file, lower-case hexadecimal.",
        json_schema_extra=pattern_message("sha256 must be 64 lower-case hexadecimal digits"),
    )
    size_bytes: Int64 = Field(ge=1, description="Size of the file in bytes.")
    precision: Precision = Field(description="Number format of the variant.")
    accuracy: float = Field(
        ge=0,
        le=1,
        description="Quality on held-out data in the suite's metric, 0 to 1.",
        json_schema_extra=maximum_message("accuracy is a fraction: 98% is 0.98"),
    )
    features: GraphFeatures | None = Field(
        default=None,
        description="Cost features of the graph; without them the latency is predicted from the size alone.",
    )
    requirements: VariantRequirements = Field(
        default=VariantRequirements(), description="What a node must have to run the variant."
    )


class ModelFormat(ApiModel):
    """Format of the files."""

    name: str = Field(
        default="onnx",
        pattern="^onnx$",
        max_length=32,
        description="Name of the format; onnx is the only one.",
        json_schema_extra=pattern_message("the only model format is onnx"),
    )
    version: str | None = Field(default=None, max_length=32, description="Version of the format.")


class ModelSuiteSpec(ApiModel):
    """Desired state of a suite."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.storageUri) || self.variants.all(v, v.uri.matches('^(http|https|file)://'))",
                "variants with a relative uri need spec.storageUri",
            ),
            (
                "!has(self.storageUri) || self.storageUri.matches('^(http|https|file)://')",
                "spec.storageUri must begin with http://, https:// or file://",
            ),
            (
                "self.variants.all(v, !v.uri.contains('://') || v.uri.matches('^(http|https|file)://'))",
                "a variant's uri must begin with http://, https:// or file://, "
                "or be relative to spec.storageUri",
            ),
        )
    )

    description: str = Field(default="", max_length=1024, description="What the model does.")
    model_format: ModelFormat = Field(default=ModelFormat(), description="Format of the files.")
    storage_uri: str | None = Field(
        default=None,
        max_length=2048,
        description="Base of the variants' relative URIs: http, https or file.",
        json_schema_extra=_uri_rules("spec.storageUri"),
    )
    metric: str = Field(default="accuracy", max_length=63, description="Name of the quality metric.")
    dataset: str = Field(
        default="", max_length=253, description="Held-out data that the quality was measured on."
    )
    variants: list[Variant] = Field(
        min_length=1, max_length=64, description="The variants.", json_schema_extra=list_map("name")
    )


class ModelSuiteStatus(ApiModel):
    """Observed state of a suite."""

    observed_generation: Int64 | None = Field(
        default=None, description="Generation that the status was computed from."
    )
    variant_count: int = Field(default=0, description="Number of variants.")
    used_by: list[str] = Field(
        default=[], max_length=1024, description="Names of the InferenceDeployments that use the suite."
    )
    conditions: list[Condition] = Field(
        default=[], description="Conditions: Ready.", json_schema_extra=list_map("type")
    )


class ModelSuite(Resource):
    """The compressed variants of one model: what each costs and how good it is."""

    NAMES: ClassVar = KindNames("ModelSuite", "modelsuites", "msuite", namespaced=True)
    COLUMNS: ClassVar = (
        PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn("Variants", ".status.variantCount", "integer"),
        PrinterColumn("Metric", ".spec.metric", priority=1),
        PrinterColumn("Storage", ".spec.storageUri", priority=1),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
    )

    kind: str = "ModelSuite"
    spec: ModelSuiteSpec
    status: ModelSuiteStatus = ModelSuiteStatus()

    def variant(self, name: str) -> Variant | None:
        """Return the variant of that name, or None."""
        return next((variant for variant in self.spec.variants if variant.name == name), None)
