"""What one HTTP client may take of the server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one client may take.

    Args:
        max_body_bytes: largest body, as sent and after decompression.
        max_head_bytes: largest request line with headers.
        head_timeout_s: a request's head must be complete this long after its first byte.
        body_grace_s: a body may lag behind 64 KiB/s by this long.
        idle_timeout_s: a connection without a request is closed after this long.
        write_timeout_s: a client must take some of a response within this long.
        linger_s: how long to discard what a refused client still sends, so that it can read the refusal.
    """

    max_body_bytes: int = 64 << 20
    max_head_bytes: int = 32 << 10
    head_timeout_s: float = 15.0
    body_grace_s: float = 30.0
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 30.0
    linger_s: float = 2.0
