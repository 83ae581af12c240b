"""`ModelSuite`: the compressed variants of one model, what each costs and how good it is."""

from functools import cached_property
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
from fleetfit_api.kernels import KERNEL_PATTERN, Kernel
from fleetfit_api.precision import Precision as Precision

SCHEMES = "http|https|file|s3|gs|azure|oci|pvc"
SCHEMES_TEXT = "http://, https://, s3://, gs://, azure://, oci://, pvc:// or file://"
# No part of a relative path begins with a dot, so that none leads out of the suite's storage.
_FILE_URI = (
    r"^((https?|s3|gs|azure|oci|pvc)://[^/?#@:\s][^/?#@\s]*(/\S*)?|file://(localhost)?/\S*"
    r"|[^/:@%.\s][^/:@\s]*(/[^/:@%.\s][^/:@\s]*)*)$"
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
            "!self.matches('^(s3|gs|azure|oci|pvc):') || self.matches('^[a-z0-9]+://[^/?#:]')",
            f"{whose} with s3:, gs:, azure:, oci: or pvc: needs a bucket, container, registry or claim, "
            "as in s3://models/digits.onnx",
        ),
        (
            "!self.matches('^[a-z0-9]+://[^/?#]*@')",
            f"{whose} must not contain '@' before the path: credentials in a uri are not supported",
        ),
        *further,
    )


class OperatorCost(ApiModel):
    """How often one ONNX operator occurs in a graph, and its share of the work."""

    name: str = Field(min_length=1, max_length=128, description="ONNX operator type, such as Conv.")
    count: int = Field(ge=1, description="Number of nodes of this type.")
    multiply_accumulates: Int64 = Field(
        default=0, ge=0, description="Multiply-accumulates of one inference in them."
    )


KernelText = Annotated[
    str,
    Field(
        max_length=192,
        # For all kernels of all variants a regular expression is over CEL's budget. So the schema's own pattern
        # refuses, and the rule, which only counts words, says what to do about a kernel that was written by hand.
        pattern=KERNEL_PATTERN,
        json_schema_extra=cel(
            (
                "self.split(' ').size() == 8",
                "a kernel is written by `fleetfit suite build`, as in 5/7 Conv fp32 1024x576x64 g1 w9 s1 4096+960>4096",
            )
        ),
    ),
]


class GraphFeatures(ApiModel):
    """Cost features of a variant's graph for a batch of one, the input of latency prediction."""

    multiply_accumulates: Int64 = Field(ge=0, description="Multiply-accumulates of one inference.")
    parameters: Int64 = Field(ge=0, description="Number of trained weights.")
    weight_bytes: Int64 = Field(ge=0, description="Bytes of the weights as stored in the graph.")
    activation_bytes: Int64 = Field(ge=0, description="Bytes of all intermediate tensors of one inference.")
    operator_count: int = Field(ge=1, description="Number of nodes in the graph.")
    depth: int = Field(ge=1, description="Nodes on the longest path from an input to an output.")
    width: int = Field(default=0, ge=0, description="Largest number of channels of a tensor; 0 when unknown.")
    resolution_stages: int = Field(
        default=0, ge=0, description="Number of different spatial sizes of the tensors; 0 when unknown."
    )
    memory_traffic_bytes: Int64 = Field(
        default=0, ge=0, description="Bytes that the kernels of one inference read and write; 0 when unknown."
    )
    peak_activation_bytes: Int64 = Field(
        default=0,
        ge=0,
        description="Bytes of the intermediate tensors that are needed at the same time, at most; 0 when unknown.",
    )
    operators: list[OperatorCost] = Field(
        default=[], max_length=256, description="Cost by operator type.", json_schema_extra=list_map("name")
    )
    kernels: list[KernelText] = Field(
        default=[],
        max_length=512,
        description="Distinct kernels with their sizes and how often each runs, in a short notation: "
        "RUNS/WRITTEN[/LAUNCHED/COMPILED] "
        "OPERATOR PRECISION ROWSxDEPTHxCOLUMNS gGROUPS wWINDOW sSTRIDE READ+WEIGHTS>WRITTEN_BYTES.",
    )
    unknown_operators: list[Annotated[str, Field(max_length=128)]] = Field(
        default=[],
        max_length=64,
        description="Operators whose cost is not known, such as those of other domains; a prediction says so.",
    )

    @cached_property
    def parsed_kernels(self) -> tuple[Kernel, ...]:
        """The kernels as values.

        Raises:
            ValueError: one is not in the notation.
        """
        return tuple(Kernel.parse(text) for text in self.kernels)


class VariantRequirements(ApiModel):
    """What a node must have to run a variant."""

    memory_bytes: Int64 | None = Field(
        default=None,
        ge=0,
        description="Memory that the loaded variant needs; predicted from its graph and size when absent.",
    )
    providers: list[Annotated[str, Field(max_length=64)]] = Field(
        default=[],
        max_length=16,
        description="ONNX Runtime execution providers, at least one of which the node's class must offer; "
        "any when empty.",
    )


class VariantFile(ApiModel):
    """A further file of a variant: external data that the graph names."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$",
        max_length=253,
        description="Path of the file as the graph names it, relative to the graph.",
        json_schema_extra=pattern_message(
            "the name of a further file is a path below the graph, as in weights.data or part/weights.data"
        ),
    )
    uri: str = Field(
        min_length=1,
        max_length=512,
        pattern=_FILE_URI,
        description="Where the file is: a URI, or a path relative to the suite's storageUri.",
        json_schema_extra=pattern_message(
            f"the uri of a further file must begin with {SCHEMES_TEXT}, or be relative to spec.storageUri"
        ),
    )
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        max_length=64,
        description="SHA-256 digest of the file, lower-case hexadecimal.",
        json_schema_extra=pattern_message("sha256 must be 64 lower-case hexadecimal digits"),
    )
    size_bytes: Int64 = Field(ge=1, description="Size of the file in bytes.")


class Variant(ApiModel):
    """One ONNX model of a suite."""

    # What is learnt of a variant, and which nodes may change when, goes by its name and its graph's digest.
    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "self.sha256 != oldSelf.sha256 || (!has(self.files) && !has(oldSelf.files)) || "
                "(has(self.files) && has(oldSelf.files) && self.files.size() == oldSelf.files.size() && "
                "self.files.all(f, oldSelf.files.exists(g, g.name == f.name && g.sha256 == f.sha256)))",
                "the further files of a variant change only with its graph: give the new variant another name",
            )
        )
    )

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
        description="Where the ONNX file is: an http, https, s3, gs, azure, oci, pvc or file URI, "
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
    files: list[VariantFile] = Field(
        default=[],
        max_length=8,
        description="Further files that the graph needs, such as external data; they lie beside it under their names.",
        json_schema_extra=list_map("name"),
    )
    signature_uri: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        pattern=_FILE_URI,
        description="Where the signature of the files is, a sigstore bundle as model-signing writes it: a URI, or a "
        "path relative to the suite's storageUri. Nodes that trust keys load nothing that it does not fit.",
        json_schema_extra=pattern_message(
            f"signatureUri must begin with {SCHEMES_TEXT}, or be relative to spec.storageUri"
        ),
    )
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

    @property
    def total_bytes(self) -> int:
        """Size of all files in bytes."""
        return self.size_bytes + sum(file.size_bytes for file in self.files)


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
                f"has(self.storageUri) || self.variants.all(v, v.uri.matches('^({SCHEMES})://'))",
                "variants with a relative uri need spec.storageUri",
            ),
            (
                f"!has(self.storageUri) || self.storageUri.matches('^({SCHEMES})://')",
                f"spec.storageUri must begin with {SCHEMES_TEXT}",
            ),
            (
                f"self.variants.all(v, !v.uri.contains('://') || v.uri.matches('^({SCHEMES})://'))",
                f"a variant's uri must begin with {SCHEMES_TEXT}, or be relative to spec.storageUri",
            ),
            (
                "has(self.storageUri) || self.variants.all(v, !has(v.files) || v.files.all(f, f.uri.contains('://')))",
                "files of a variant with a relative uri need spec.storageUri",
            ),
            (
                "has(self.storageUri) || self.variants.all(v, !has(v.signatureUri) || v.signatureUri.contains('://'))",
                "a relative signatureUri needs spec.storageUri",
            ),
        )
    )

    description: str = Field(default="", max_length=1024, description="What the model does.")
    model_format: ModelFormat = Field(default=ModelFormat(), description="Format of the files.")
    storage_uri: str | None = Field(
        default=None,
        max_length=2048,
        description="Base of the variants' relative URIs: http, https, s3, gs, azure, oci, pvc or file.",
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
