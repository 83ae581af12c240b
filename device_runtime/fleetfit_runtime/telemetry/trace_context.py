"""The caller's place in a trace, as W3C Trace Context's header `traceparent` and gRPC's metadata tell it. Pure."""

import re
from dataclasses import dataclass
from typing import Final

_HEADER: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_LONGEST: Final = 256
_SAMPLED: Final = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span of the caller.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        sampled: whether the caller records the trace.
    """

    trace_id: str
    span_id: str
    sampled: bool


def read_trace_context(header: bytes | None) -> TraceContext | None:
    """Return what a `traceparent` says, or None for none and for one that is not valid, which counts as none."""
    if header is None or len(header) > _LONGEST:
        return None
    match = _HEADER.fullmatch(header.strip())
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    # Later versions may add fields; version ff is forbidden and version 00 has none more.
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    if not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return TraceContext(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & _SAMPLED))
