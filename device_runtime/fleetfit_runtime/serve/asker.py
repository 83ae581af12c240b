"""Who asks, as metrics and traces see it, whatever the protocol."""

from typing import Protocol


class Asker(Protocol):
    """A request over REST or a call over gRPC."""

    @property
    def peer(self) -> str:
        """Address that it came from, empty when it is not known."""

    @property
    def trace_parent(self) -> bytes | None:
        """The caller's place in a trace (W3C Trace Context), as it was sent."""

    @property
    def method(self) -> str:
        """HTTP method; empty for a gRPC call."""

    @property
    def path(self) -> str:
        """Path with query, or the full name of the gRPC method."""
