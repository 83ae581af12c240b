"""What a fleet has taught on top of the shipped model: the logarithm of measured over predicted latency.

A small LightGBM model of generic features of graph and node, after an offset that all share. `fleetfit retrain` makes
it; it travels as one JSON text, small enough for a ConfigMap. What is read back is checked, and a text that is broken,
was cut off or belongs to another shipped model is refused with a sentence, because the shipped model alone is better
than a correction of something else. Knows nothing of clusters and of how it came to be.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from typing import Annotated, Final, Literal, Self

import lightgbm
import numpy as np
from fleetfit_api.base import ApiModel
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.suite import GraphFeatures
from pydantic import Field, FiniteFloat, ValidationError

from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.graph_vector import SIZE_BINS, graph_vectors
from fleetfit_operator.predict.kernel_groups import FloatArray, Group

LARGEST_LIMIT: Final = 1.5
"""Largest absolute logarithm of a correction, a factor of 4.5: further off, measurements must speak for themselves."""
MOST_CHARACTERS: Final = 900 * 1024
"""Longest text; an object of the API may have 1 MiB."""
_FORMAT: Final = 1
_SMALLEST: Final = 1e-12
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class UnusableCorrectionError(Exception):
    """The text is no fleet correction that can be used; the message says why."""


def _graph_names() -> tuple[str, ...]:
    per_group = (*(f"size_{size}" for size in range(SIZE_BINS)), "macs", "traffic")
    names: list[str] = []
    for counts in ("run", "written"):
        names.extend(f"{counts}_{group.name.lower()}_{name}" for group, name in product(Group, per_group))
        names.extend(f"{counts}_all_{name}" for name in ("kernels", "macs", "traffic"))
    return (*names, "depth")


FEATURE_NAMES: Final = (*_graph_names(), "share_integer", "share_half", "log_latency", "speed")
"""Columns of the rows, in order."""


class CorrectionFacts(ApiModel):
    """What a fleet correction is and rests on."""

    shipped_model: _Digest = Field(description="Digest of the shipped model that it corrects.")
    trained_on: date = Field(description="Day of the training.")
    data_digest: _Digest = Field(description="Digest of the timings that it was trained on.")
    nodes: int = Field(ge=1, description="Nodes that it was trained on.")
    held_out_nodes: int = Field(ge=0, description="Nodes that it was judged by.")
    error: FiniteFloat = Field(ge=0, description="Mean absolute logarithm of its error on held-out nodes.")
    error_without: FiniteFloat = Field(
        ge=0, description="Mean absolute logarithm of the shipped model's error on the same nodes."
    )


class _Document(ApiModel):
    format: Literal[1]
    facts: CorrectionFacts
    offset: FiniteFloat
    limit: FiniteFloat = Field(ge=0, le=LARGEST_LIMIT)
    feature_names: tuple[str, ...]
    model: str
    model_digest: _Digest


@dataclass(frozen=True, slots=True, eq=False)
class FleetCorrection:
    """A trained correction.

    Attributes:
        facts: What it rests on.
        booster: The LightGBM model.
        offset: Logarithm that is added for every graph and node.
        limit: Largest absolute logarithm that it answers.
    """

    facts: CorrectionFacts
    booster: lightgbm.Booster
    offset: float
    limit: float

    def log_ratio(self, rows: FloatArray) -> FloatArray:
        """Return the logarithm of measured over predicted latency, row by row.

        Args:
            rows: What `correction_rows` gives.
        """
        if not len(rows):
            return np.zeros(0)
        # One thread: the rows are few, and the sum of the trees is then the same everywhere.
        learnt = np.asarray(self.booster.predict(rows, num_threads=1), dtype=np.float64)
        return np.clip(self.offset + learnt, -self.limit, self.limit)

    @property
    def digest(self) -> str:
        """Digest of the text."""
        return hashlib.sha256(self.dump().encode()).hexdigest()

    def dump(self) -> str:
        """Return it as a JSON text.

        Raises:
            ValueError: it is too long for a ConfigMap.
        """
        model = str(self.booster.model_to_string())
        document = _Document(
            format=_FORMAT,
            facts=self.facts,
            offset=self.offset,
            limit=self.limit,
            feature_names=FEATURE_NAMES,
            model=model,
            model_digest=_digest(model),
        )
        text = json.dumps(document.to_json(), separators=(",", ":"))
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"the correction has {len(text)} characters, {MOST_CHARACTERS} are the most")
        return text

    @classmethod
    def parse(cls, text: str, shipped_model: str) -> Self:
        """Return what `dump` wrote.

        Args:
            text: The JSON text.
            shipped_model: Digest of the model that is to be corrected.

        Raises:
            UnusableCorrectionError: it is broken, of another version or for another model.
        """
        try:
            document = _Document.model_validate_json(text)
        except ValidationError as error:
            raise UnusableCorrectionError(f"it is no fleet correction: {_first_problem(error)}") from error
        # Before LightGBM sees the text: it does not survive every text that is cut off.
        if _digest(document.model) != document.model_digest:
            raise UnusableCorrectionError("its model is not the one that was written: the digest differs")
        if document.feature_names != FEATURE_NAMES:
            raise UnusableCorrectionError("it was trained on other features than this version computes")
        if document.facts.shipped_model != shipped_model:
            raise UnusableCorrectionError("it corrects another shipped model than that of this version")
        return cls(document.facts, _booster(document.model), document.offset, document.limit)


def correction_rows(features: Sequence[GraphFeatures], log_latency: FloatArray, speed: float) -> FloatArray:
    """Return one row of features per graph on one node, in the order of FEATURE_NAMES.

    Args:
        features: The graphs.
        log_latency: Logarithm of the seconds that the shipped model predicts for each.
        speed: What `node_speed` says of the node.

    Raises:
        ValueError: a kernel is not in the notation.
    """
    table = GraphTable.of(features)
    macs = table.run @ table.kernels.macs
    shares = [
        (table.run @ (table.kernels.macs * of_kind)) / np.maximum(macs, 1.0)
        for of_kind in (table.kernels.integer, table.kernels.half)
    ]
    of_node = np.full(len(features), speed)
    return np.column_stack([graph_vectors(table), *shares, log_latency, of_node])


def node_speed(run: ReferenceRun | None) -> float:
    """Return the mean logarithm of a run's medians in seconds; not a number without one, which trees can tell apart."""
    if run is None or not run.times:
        return float("nan")
    return float(np.mean([np.log(max(each.latency_p50_seconds, _SMALLEST)) for each in run.times]))


def _booster(model: str) -> lightgbm.Booster:
    try:
        booster = lightgbm.Booster(model_str=model)
        known = booster.num_feature()
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise UnusableCorrectionError(f"LightGBM cannot read its model: {error}") from error
    if known != len(FEATURE_NAMES):
        raise UnusableCorrectionError(f"its model has {known} features instead of {len(FEATURE_NAMES)}")
    return booster


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
