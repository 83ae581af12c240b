"""What is remembered of answered requests, so that a rating needs to name its request only. Pure.

Only requests that carry an id are remembered, and the oldest are forgotten.
"""

from collections import OrderedDict
from typing import NamedTuple

_MOST_REQUESTS = 4096
# The id is the client's; a longer one cannot be rated either.
LONGEST_ID = 128


class AnsweredRequest(NamedTuple):
    """What a request got.

    Args:
        variant: name of the variant that answered.
        sha256: digest of its file.
        at_s: wall clock of the answer in seconds.
        latency_s: seconds from the parsed request to its answer.
        predicted_class: index of the largest output; None where the model is no classifier of one item.
    """

    variant: str
    sha256: str
    at_s: float
    latency_s: float
    predicted_class: int | None


class RecentRequests:
    """Answered requests of all models by model name and id; an id used again stands for the later request."""

    def __init__(self, most: int = _MOST_REQUESTS) -> None:
        self._most = most
        self._answered: OrderedDict[tuple[str, str], AnsweredRequest] = OrderedDict()

    def note(self, model: str, request_id: str, answered: AnsweredRequest) -> None:
        """Remember an answer."""
        if len(request_id) > LONGEST_ID:
            return
        key = (model, request_id)
        self._answered[key] = answered
        self._answered.move_to_end(key)
        if len(self._answered) > self._most:
            self._answered.popitem(last=False)

    def find(self, model: str, request_id: str) -> AnsweredRequest | None:
        """Return what a request got."""
        return self._answered.get((model, request_id))
