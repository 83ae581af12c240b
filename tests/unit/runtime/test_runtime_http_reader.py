"""Reading HTTP: however bytes are cut, and whether heads are known or not, the same requests come out."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from fleetfit_runtime.serve.http_head import HeadCache
from fleetfit_runtime.serve.http_limits import HttpLimits
from fleetfit_runtime.serve.http_message import HttpRequest
from fleetfit_runtime.serve.http_reader import HttpReader, ReadingSide, Refuse, take_all
from fleetfit_runtime.serve.response import Response
from hypothesis import given
from hypothesis import strategies as st

LARGE = bytes(range(256)) * 48


class Reader(HttpReader):
    """Keeps what was read."""

    def __init__(self, shared: ReadingSide) -> None:
        super().__init__(shared)
        self.read: list[tuple[bytes, bytes, bytes, bytes | None]] = []
        self.refusals: list[int] = []
        self.refused_at_head: list[bool] = []

    def _take_request(self, request: HttpRequest) -> None:
        head = request.head
        self.refused_at_head.append(request.refusal is not None)
        self.read.append((head.method, head.target, bytes(request.body), head.inference_header_length))

    def _take_refusal(self, response: Response) -> None:
        self.refusals.append(response.status)

    def _invite_body(self) -> None:
        """Nobody waits."""

    def _reply(self, request: HttpRequest, response: Response) -> None:
        """Nobody answers."""

    def _end_after_request(self) -> None:
        """Nothing to close."""

    def receive(self, data: bytes) -> None:
        while data:
            buffer = self.get_buffer(-1)
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            self.buffer_updated(count)
            data = data[count:]


def shared(refuse: Refuse = take_all) -> ReadingSide:
    return ReadingSide(HttpLimits(), lambda: 0.0, refuse, buffer_bytes=16 << 10)


def post(body: bytes, *lines: bytes) -> bytes:
    head = b"".join(line + b"\r\n" for line in (b"POST /infer HTTP/1.1", b"Host: a", *lines))
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


MESSAGES = [
    post(b"abc"),
    post(b"abcd\r\n\r\nef", b"Inference-Header-Content-Length: 2"),
    post(b""),
    post(LARGE, b"Inference-Header-Content-Length: 7"),
    b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nGET /live HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n",
]


@given(
    messages=st.lists(st.sampled_from(MESSAGES), max_size=6),
    cuts=st.lists(st.integers(0, 30_000), max_size=8),
)
def test_cuts_and_known_heads_change_nothing(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(messages)
    side = shared()
    fresh = Reader(shared())
    for byte in stream[:2000]:
        fresh.receive(bytes([byte]))
    fresh.receive(stream[2000:])
    for _ in range(3):
        reader = Reader(side)
        edges = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
        for begin, end in pairwise(edges):
            reader.receive(stream[begin:end])
        assert reader.read == fresh.read
        assert len(reader.read) == len(messages)
        assert reader.refusals == []


def overloaded(request: HttpRequest) -> Response | None:
    return Response(503, b"") if request.head.target in (b"/infer", b"/c") else None


@given(
    messages=st.lists(st.sampled_from(MESSAGES), max_size=6),
    cuts=st.lists(st.integers(0, 30_000), max_size=8),
)
def test_bodies_that_are_thrown_away_take_nothing_of_their_neighbours(
    messages: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(messages)
    side, plain = shared(overloaded), Reader(shared())
    for begin in range(0, len(stream), 5000):
        plain.receive(stream[begin : begin + 5000])
    for _ in range(3):
        reader = Reader(side)
        edges = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
        for begin, end in pairwise(edges):
            reader.receive(stream[begin:end])
        for (*head, body, length), whole, refused in zip(
            reader.read, plain.read, reader.refused_at_head, strict=True
        ):
            assert not (refused and body)
            assert (*head, length) == (*whole[:2], whole[3])
            assert refused or body == whole[2]
            assert not refused or whole[1] == b"/c" or whole[2] == LARGE


def test_a_large_body_that_is_refused_is_not_kept() -> None:
    side = shared(overloaded)
    reader = Reader(side)
    message = post(LARGE)
    for _ in range(3):
        reader.receive(message[:9000])
        reader.receive(message[9000:])
    assert reader.read == [(b"POST", b"/infer", b"", None)] * 3
    assert reader.refused_at_head == [True] * 3
    assert reader.refusals == []


def test_a_large_body_that_is_there_with_its_head_is_handed_over() -> None:
    reader = Reader(shared(overloaded))
    for _ in range(3):
        reader.receive(post(LARGE))
    # The first one's head was not known yet.
    assert reader.refused_at_head == [True, False, False]
    assert [body for _, _, body, _ in reader.read] == [b"", LARGE, LARGE]


def test_a_client_that_waits_to_be_told_is_refused_at_once() -> None:
    reader = Reader(shared(overloaded))
    head = b"POST /infer HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\nExpect: 100-continue\r\n\r\n"
    reader.receive(head + LARGE)
    assert (reader.read, reader.refusals) == ([], [503])


@given(
    st.lists(
        st.sampled_from([*MESSAGES, b"\r\n", b"\n", b"POST / HTTP/1.1\nContent-Length: 3\n\n"])
        | st.binary(max_size=12),
        max_size=6,
    )
)
def test_a_cache_of_heads_never_changes_what_bytes_mean(parts: Sequence[bytes]) -> None:
    stream = b"".join(parts)
    side = shared()
    first, second, alone = Reader(side), Reader(side), Reader(shared())
    for reader in (first, second):
        reader.receive(stream)
    for begin in range(0, len(stream), 5000):
        alone.receive(stream[begin : begin + 5000])
    assert second.read == first.read == alone.read
    assert second.refusals == first.refusals == alone.refusals


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 3 ",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Connection: close",
        b"Upgrade: h2c",
    ],
)
def test_heads_whose_body_is_not_plain_are_not_kept(line: bytes) -> None:
    side = shared()
    data = b"POST / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n"
    Reader(side).receive(data + b"0\r\n\r\n")
    assert side.heads.find(data) is None


def test_heads_that_always_differ_take_bounded_memory() -> None:
    side = shared()
    reader = Reader(side)
    for index in range(2000):
        reader.receive(b"GET /%d HTTP/1.1\r\n\r\n" % index)
    assert len(reader.read) == 2000
    assert isinstance(side.heads, HeadCache)
    assert len(side.heads) <= 256
