"""The head of an HTTP request as far as it matters here, and the heads that were seen before by their exact bytes.

A client on a keep-alive connection sends the same head with every request, so it need not be parsed again: equal bytes
mean the same. Pure.
"""

from typing import Final

_END: Final = b"\r\n\r\n"
_MOST_HEADS: Final = 256
LONGEST_HEAD: Final = 2048
NO_NUMBER: Final = -1
_MOST_DIGITS: Final = 15
# Values of these headers are kept, under these attributes.
_KEPT: Final = {
    b"content-encoding": "content_encoding",
    b"accept": "accept",
    b"accept-encoding": "accept_encoding",
    b"fleetfit-timeout-ms": "timeout_ms",
    b"traceparent": "trace_parent",
}


class HttpHead:
    """Request line and headers; filled while they are parsed, then not changed any more.

    Attributes:
        method: such as POST.
        target: path with query.
        keep_alive: whether the connection goes on after the answer.
        content_length: length of the body; None where the head does not say.
        expects_continue: whether the client waits for a word before it sends the body.
        plain: whether the body is exactly `content_length` bytes that follow at once.
        inference_header_length: length of the JSON before binary tensors; None without, `NO_NUMBER` where that is none.
        content_encoding: how the body is compressed, as it was sent.
        accept: which forms of an answer the client understands, as it was sent; only the metrics have several.
        accept_encoding: how the answer may be compressed, as it was sent.
        timeout_ms: how long the client waits for the answer, as it was sent.
        trace_parent: the caller's place in a trace (W3C Trace Context), as it was sent.
    """

    __slots__ = (
        "accept",
        "accept_encoding",
        "content_encoding",
        "content_length",
        "expects_continue",
        "inference_header_length",
        "keep_alive",
        "method",
        "plain",
        "target",
        "timeout_ms",
        "trace_parent",
    )

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.keep_alive = True
        self.content_length: int | None = None
        self.expects_continue = False
        self.plain = True
        self.inference_header_length: int | None = None
        self.content_encoding: bytes | None = None
        self.accept: bytes | None = None
        self.accept_encoding: bytes | None = None
        self.timeout_ms: bytes | None = None
        self.trace_parent: bytes | None = None

    def take(self, name: bytes, value: bytes) -> None:
        """Take a header; those that do not matter here are left out."""
        lower = name.lower()
        kept = _KEPT.get(lower)
        if kept is not None:
            setattr(self, kept, value)
        elif lower == b"inference-header-content-length":
            is_number = value.isdigit() and len(value) <= _MOST_DIGITS
            self.inference_header_length = int(value) if is_number else NO_NUMBER
        elif lower == b"content-length":
            # httptools refuses what is not a number; this only keeps int() from seeing it first.
            if value.isdigit():
                self.content_length = int(value[:20])
            else:
                self.plain = False
        elif lower == b"expect":
            self.plain = False
            self.expects_continue = value.lower() == b"100-continue"
        elif lower in (b"transfer-encoding", b"upgrade"):
            self.plain = False


class HeadCache:
    """Heads by their bytes. Only heads that a parser has read to their end, and no further, are put in."""

    def __init__(self) -> None:
        self._heads: dict[bytes, HttpHead] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def find(self, data: bytes) -> tuple[HttpHead, int] | None:
        """Return the head with which data begins and where its body begins; None for one that is not known."""
        end = data.find(_END, 0, LONGEST_HEAD)
        head = self._heads.get(data[:end]) if end > 0 else None
        return None if head is None else (head, end + len(_END))

    def end_of_head(self, data: bytes) -> int:
        """Return where the body begins in data that begins with a head; 0 when that cannot be told."""
        end = data.find(_END, 0, LONGEST_HEAD)
        return end + len(_END) if end > 0 else 0

    def add(self, data: bytes, head: HttpHead) -> None:
        """Remember a head.

        Args:
            data: its bytes with the empty line at the end.
            head: what a parser made of them.
        """
        if not (head.plain and head.keep_alive):
            return
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()  # Clients whose heads differ every time gain nothing here and must not take memory.
        self._heads[data[: -len(_END)]] = head
