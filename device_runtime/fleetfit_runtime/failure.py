"""The one exception that store and engine raise when a model cannot be served: a reason and a sentence for people.

It knows the shared vocabulary of reasons and nothing else; what to do about a failure is the agent's business.
"""

from fleetfit_api.reasons import Reason


class ModelFailure(Exception):  # noqa: N818 - an outcome that is reported, not a bug
    """A model cannot be fetched, verified or loaded.

    Args:
        reason: one word of the shared vocabulary, shown in status and events.
        message: what is wrong and, where possible, what to do; shown to people.
        transient: True when the same attempt may succeed later without a change of the spec.
    """

    def __init__(self, reason: Reason, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.transient = transient
