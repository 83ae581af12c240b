"""What a server asks the node about its models."""

from dataclasses import dataclass
from typing import Protocol

from fleetfit_runtime.serve.repository_calls import ModelControl


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the server should get traffic, and why not."""

    ready: bool
    message: str = ""


class NodeSide(ModelControl, Protocol):
    """What the node knows of its models; called at requests."""

    def readiness(self) -> Readiness:
        """Tell whether the server should get traffic."""

    def pending_reason(self, model_name: str) -> str | None:
        """Say why an assigned model does not answer yet; None for a name that is not assigned."""

    def ask_share(self, model_name: str) -> float:
        """Return the share of replies in which to ask for a rating; called from any thread."""
