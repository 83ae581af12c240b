"""Building blocks shared by all kinds: strict camelCase models, metadata, conditions, selectors."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from fleetfit_api.names import API_VERSION

Int64 = Annotated[int, Field(json_schema_extra={"format": "int64"})]
PATTERN_MESSAGE_KEY = "x-fleetfit-pattern-message"


def list_map(*keys: str) -> dict[str, Any]:
    """Schema extension of a list with items identified by `keys`: server-side apply merges it by item."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """Schema extension with CEL rules, each a pair of (expression, message a user understands)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def pattern_message(message: str) -> dict[str, Any]:
    """Schema extension of a field with a pattern: what the API server says instead of the regular expression."""
    return {PATTERN_MESSAGE_KEY: message}


def maximum_message(message: str) -> Callable[[dict[str, Any]], None]:
    """Schema extension of a number with `le`: what the API server says instead of the bound."""

    def replace(schema: dict[str, Any]) -> None:
        # The bound of `X | None` is in a branch of it.
        bounded = next(part for part in (schema, *schema.get("anyOf", [])) if "maximum" in part)
        schema.update(cel((f"self <= {float(bounded.pop('maximum'))}", message)))

    return replace


Quantity = Annotated[
    int | str,
    Field(
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "maxLength": 64,
            **cel(
                (
                    "type(self) == int || self.matches("
                    r"r'^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$')",
                    "must be a Kubernetes quantity such as 2, 500m or 4Gi",
                )
            ),
        }
    ),
]


class ApiModel(BaseModel):
    """A part of an API object: immutable, camelCase in JSON; unknown fields are ignored, as the API prunes them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def __deepcopy__(self, _memo: dict[int, Any] | None = None) -> Self:
        """Return itself: nobody changes a value, and pydantic copies every default that is one at each reading."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that is sent to the API server: camelCase, absent where None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ObjectMeta(ApiModel):
    """The part of metav1.ObjectMeta that Fleetfit reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []


class ConditionStatus(StrEnum):
    """Status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """One observation of the state of an object, in the shape of metav1.Condition."""

    type: str = Field(min_length=1, max_length=316, description="Type of the condition, CamelCase.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: str = Field(min_length=1, max_length=1024, description="Why, one CamelCase word for programs.")
    message: str = Field(
        default="", max_length=32768, description="Why, a sentence for people, and what to do."
    )
    last_transition_time: datetime = Field(description="When the status last changed.")
    observed_generation: Int64 | None = Field(
        default=None, ge=0, description="Generation of the object that the condition was computed from."
    )


class ObjectReference(ApiModel):
    """Reference to an object of a known kind in the same namespace."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    name: str = Field(
        min_length=1,
        max_length=253,
        description="Name of the object.",
        json_schema_extra=cel(
            (
                r"self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
                "the name of an object is lower-case letters, digits, '-' and '.', "
                "and begins and ends with a letter or digit",
            )
        ),
    )


class SelectorOperator(StrEnum):
    """How a label is compared, as in Kubernetes node selectors."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


class LabelRequirement(ApiModel):
    """One requirement on a node label, as in Kubernetes node selectors."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : true",
                "operator In and NotIn need at least one entry in values",
            ),
            (
                "self.operator in ['Exists', 'DoesNotExist'] "
                "? !has(self.values) || size(self.values) == 0 : true",
                "operator Exists and DoesNotExist take no values",
            ),
            (
                "self.operator in ['Gt', 'Lt'] ? has(self.values) && size(self.values) == 1 "
                "&& self.values[0].matches('^-?[0-9]+$') : true",
                "operator Gt and Lt take exactly one whole number in values",
            ),
        )
    )

    key: str = Field(min_length=1, max_length=317, description="Key of the node label.")
    operator: SelectorOperator = Field(description="How the label's value is compared with values.")
    values: list[Annotated[str, Field(max_length=63)]] = Field(
        default=[], max_length=64, description="Values to compare with; one whole number for Gt and Lt."
    )


class PrinterColumn(NamedTuple):
    """A column of `kubectl get`."""

    name: str
    json_path: str
    type: Literal["string", "integer", "number", "boolean", "date"] = "string"
    priority: int = 0
    description: str = ""


class KindNames(NamedTuple):
    """How a kind is spelled and where its objects live."""

    kind: str
    plural: str
    short: str
    namespaced: bool

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{API_VERSION.split('/')[0]}"


class Resource(ApiModel):
    """Base of the four kinds."""

    NAMES: ClassVar[KindNames]
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]]
    RULES: ClassVar[tuple[tuple[str, str], ...]] = ()

    api_version: str = API_VERSION
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
