"""What the shipped model is and rests on, as `metadata.json` says it."""

from datetime import date

import numpy as np
from pydantic import BaseModel, ConfigDict

from fleetfit_operator.predict.assumed_graph import AssumedGraph
from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_groups import FloatArray


class MemoryModel(BaseModel):
    """What loading a graph takes, in bytes: non-negative prices, fitted to processes that loaded one.

    Attributes:
        base_bytes: Whatever the graph.
        per_weight_byte: Bytes per byte of weights.
        per_peak_byte: Bytes per byte of intermediate tensors needed at the same time.
    """

    model_config = ConfigDict(frozen=True)

    base_bytes: float
    per_weight_byte: float
    per_peak_byte: float

    def bytes_of(self, table: GraphTable) -> FloatArray:
        """Return the expected bytes of each graph."""
        return np.asarray(
            self.base_bytes
            + self.per_weight_byte * table.weight_bytes
            + self.per_peak_byte * table.peak_bytes
        )


class IntervalScale(BaseModel):
    """By how much spreads were too small on devices that were held out, for a number of readings.

    Attributes:
        readings: Number of readings.
        factor: What a spread is multiplied by, so that 1.645 of it hold nine errors of ten.
        floor: Smallest spread of a logarithm.
    """

    model_config = ConfigDict(frozen=True)

    readings: int
    factor: float
    floor: float


class ModelMetadata(BaseModel):
    """What the model rests on.

    Attributes:
        data_digest: SHA-256 digest of the data that it was trained on.
        trained_on: Day of the training.
        set_version: Version of the reference set.
        tail_ratio: 95th percentile over mean on the usual device.
        intervals: Scale of intervals by number of readings, rising.
        memory: What loading a graph takes.
        assumed_graph: What is assumed of a variant without features.
        sources: Machines and settings that were learnt from, with their days and licences.
        scores: Errors on settings and families that were held out.
    """

    model_config = ConfigDict(frozen=True)

    data_digest: str
    trained_on: date
    set_version: str
    tail_ratio: float
    intervals: tuple[IntervalScale, ...]
    memory: MemoryModel
    assumed_graph: AssumedGraph
    sources: dict[str, str]
    scores: dict[str, dict[str, float]]

    def calibrated(self, spread: FloatArray, readings: int) -> FloatArray:
        """Return spreads as standard deviations whose interval holds."""
        scale = min(self.intervals, key=lambda each: abs(each.readings - readings))
        return np.asarray(scale.factor * np.hypot(spread, scale.floor))
