"""What a classifier chose, for ratings that tell whether it was right. Pure."""

from collections.abc import Sequence

from fleetfit_runtime.engine.model_session import Array


def predicted_class(arrays: Sequence[Array]) -> int | None:
    """Return the class that a classifier of one item has chosen; None where the outputs are something else."""
    if len(arrays) != 1:
        return None
    scores = arrays[0]
    if scores.ndim != 2 or scores.shape[0] != 1 or scores.shape[1] < 2 or scores.dtype.kind != "f":
        return None
    return int(scores.argmax())
