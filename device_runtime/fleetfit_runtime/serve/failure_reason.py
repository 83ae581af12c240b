"""Why infer requests fail, in the few words that metrics and traces count them by."""

from enum import StrEnum
from typing import Final


class FailureReason(StrEnum):
    """Why a request was not answered with outputs."""

    INVALID = "invalid"
    """The request does not fit the protocol or the model."""
    NOT_FOUND = "not_found"
    """No such model, or not this version of it."""
    NOT_READY = "not_ready"
    """The model is assigned, but does not answer yet."""
    OVERLOADED = "overloaded"
    """Too many requests wait."""
    DEADLINE = "deadline"
    """The client's time was up before the run."""
    CANCELLED = "cancelled"
    """The client went away."""
    UNAVAILABLE = "unavailable"
    """The model could not answer at this moment."""
    FAILED = "failed"
    """The model or the server failed."""


_BY_STATUS: Final = {
    404: FailureReason.NOT_FOUND,
    429: FailureReason.OVERLOADED,
    503: FailureReason.UNAVAILABLE,
    504: FailureReason.DEADLINE,
}


def reason_of(status: int) -> FailureReason:
    """Return the reason that an HTTP status stands for where nothing else is known."""
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    return FailureReason.INVALID if 400 <= status < 500 else FailureReason.FAILED
