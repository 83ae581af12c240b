"""HTTP/1.1 on raw sockets: pipelining, chunks, Expect, limits, slow clients, drain, and arbitrary bytes."""

import asyncio
import gzip
import threading
from pathlib import Path

import orjson
import pytest
from fleetfit_api.model_status import ModelPhase
from fleetfit_runtime.serve.http_limits import HttpLimits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runtime_models import assignment, powers_model, saved, scale_model, slow_model
from runtime_node import MakeNode, Node, no_collector, requests_alive

BODY = orjson.dumps({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]})
INFER = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\n"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n"
# An answer that takes this long is none; on a machine whose disk and processors are busy, seconds mean nothing.
HANG_S = 40


async def talk(node: Node, *parts: bytes, timeout_s: float = 10.0) -> bytes:
    """Send parts and return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
    try:
        async with asyncio.timeout(timeout_s):
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await reader.read()
    finally:
        writer.close()


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.fixture
async def serving(node: Node, tmp_path: Path) -> Node:
    node.assign(assignment(saved(tmp_path, "a", scale_model(2.0))))
    await node.until_phase(ModelPhase.READY)
    return node


async def test_pipelined_requests_are_answered_in_order(node: Node, tmp_path: Path) -> None:
    path = saved(tmp_path, "slow", slow_model(2.0, size=300, repeats=2))
    node.assign(assignment(path))
    await node.until_phase(ModelPhase.READY)
    requests = b""
    for index in range(40):
        document = {**orjson.loads(BODY), "id": str(index)}
        body = orjson.dumps(document)
        requests += INFER + b"Content-Length: %d\r\n\r\n" % len(body) + body
    answer = await talk(node, requests + LIVE + b"Connection: close\r\n\r\n", timeout_s=30)
    assert statuses(answer) == [200] * 41
    ids = [part.split(b'"')[0] for part in answer.split(b'"id":"')[1:]]
    assert ids == [str(index).encode() for index in range(40)]
    assert answer.endswith(b'{"live":true}')


async def test_chunked_body_in_single_bytes(serving: Node) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    head = INFER + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = await talk(serving, *[bytes([byte]) for byte in head[:30]], head[30:], chunks)
    assert statuses(answer) == [200]


async def test_client_that_expects_continue_is_told_to(serving: Node) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", serving.server.port)
    head = INFER + b"Content-Length: %d\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n" % len(BODY)
    writer.write(head)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(BODY)
    assert statuses(await reader.read()) == [200]
    writer.close()


async def test_a_model_without_room_refuses_large_requests_and_the_connection_goes_on(
    make_node: MakeNode, tmp_path: Path
) -> None:
    node = await make_node(max_waiting=1)
    node.assign(assignment(saved(tmp_path, "slow", slow_model(2.0, size=300, repeats=8))))
    await node.until_phase(ModelPhase.READY)
    served, gate = node.keeper.served, threading.Event()
    assert served is not None
    held = served.lane.submit(gate.wait)
    body = orjson.dumps({**orjson.loads(BODY), "parameters": {"pad": "x" * 300_000}})
    packed = gzip.compress(body, 0)
    plain = INFER + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:70_000], body[70_000:], b""))
    chunked = INFER + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    zipped = INFER + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    expecting = INFER + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body)
    # Heads are parsed the first time, and known by their bytes the second time.
    answer = await talk(node, *[plain, chunked, zipped, LIVE + b"\r\n"] * 2, expecting)
    assert statuses(answer) == [503, 503, 503, 200] * 2 + [503]
    assert answer.count(b"Retry-After: 1\r\n") == 7
    assert dict(node.counts.models())["digits"].failures == {"overloaded": 7}
    gate.set()
    await held
    answer = await talk(node, plain, chunked, zipped, LIVE + b"Connection: close\r\n\r\n")
    assert statuses(answer) == [200] * 4


async def test_http_1_0_closes(serving: Node) -> None:
    answer = await talk(serving, b"GET /v2/health/live HTTP/1.0\r\n\r\n")
    assert statuses(answer) == [200]
    assert b"Connection: close" in answer


async def test_upgrade_is_answered_as_plain_http(serving: Node) -> None:
    answer = await talk(serving, LIVE + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert statuses(answer) == [200]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"this is not http\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (INFER + b"Content-Length: abc\r\n\r\n", 400),
        (INFER + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (INFER + b"Content-Length: 99999999\r\n\r\n", 413),
        (INFER + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n", 413),
        (INFER + b"Transfer-Encoding: chunked\r\n\r\n" + b"fff\r\n" + b"x" * 4095 + b"\r\n", 413),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", 431),
        (LIVE + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 100) for i in range(100)), 431),
    ],
    ids=[
        "garbage",
        "version",
        "length",
        "smuggling",
        "large",
        "large-expect",
        "large-chunked",
        "url",
        "head",
    ],
)
async def test_unacceptable_request_is_refused_and_the_connection_ends(
    make_node: MakeNode, request_bytes: bytes, status: int
) -> None:
    node = await make_node(HttpLimits(max_body_bytes=2048, max_head_bytes=8192, linger_s=0.1))
    answer = await talk(node, request_bytes)
    assert statuses(answer) == [status]
    assert b"Connection: close" in answer
    assert b'{"error":"' in answer


async def test_refusal_comes_after_the_answers_before_it(serving: Node) -> None:
    answer = await talk(serving, LIVE + b"\r\n" + LIVE + b"\r\n" + b"garbage\r\n\r\n")
    assert statuses(answer) == [200, 200, 400]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(b"", []), (b"GET /v2/hea", [408]), (INFER + b"Content-Length: 100\r\n\r\nabc", [408])],
    ids=["silent", "slow-head", "slow-body"],
)
async def test_slow_client_is_let_go(make_node: MakeNode, sent: bytes, expected: list[int]) -> None:
    limits = HttpLimits(head_timeout_s=0.2, body_grace_s=0.2, idle_timeout_s=0.2, linger_s=0.1)
    node = await make_node(limits)
    try:
        answer = await talk(node, sent)
    except ConnectionResetError:
        answer = b""
    assert statuses(answer) == expected


async def test_connections_beyond_the_limit_are_closed(serving: Node) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", serving.server.port) for _ in range(64)]
    reader, writer = await asyncio.open_connection("127.0.0.1", serving.server.port)
    assert await reader.read() == b""
    writer.close()
    for _, each in opened:
        each.close()


async def test_health_is_answered_while_a_batch_of_a_quick_model_runs(node: Node, tmp_path: Path) -> None:
    node.assign(assignment(saved(tmp_path, "quick", powers_model(width=128, repeats=200))))
    await node.until_phase(ModelPhase.READY)
    served = node.keeper.served
    assert served is not None
    # A machine that is busy may find one item slow; what is under test is the batch of a model found quick.
    served.warm_up = served.warm_up.model_copy(update={"latency_p50_seconds": 0.0005})
    rows = 8000
    tensor = {"name": "x", "shape": [rows], "datatype": "FP32", "data": [0] * rows}
    body = orjson.dumps({"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]})
    assert len(body) < 64 << 10
    answered: list[str] = []

    async def ask(name: str, request: bytes) -> None:
        assert statuses(await talk(node, request, timeout_s=30)) == [200]
        answered.append(name)

    close = b"Connection: close\r\n"
    batch = asyncio.create_task(
        ask("batch", INFER + close + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    )
    # The lane has no event; this yields until the batch runs.
    while served.lane.waiting == 0 and not batch.done():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0)
    await ask("live", LIVE + close + b"\r\n")
    await batch
    assert answered == ["live", "batch"]
    one = orjson.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [0]}]})
    answer = await talk(node, INFER + close + b"Content-Length: %d\r\n\r\n" % len(one) + one)
    assert statuses(answer) == [200]


async def test_drain_answers_what_is_asked_and_refuses_new_connections(node: Node, tmp_path: Path) -> None:
    node.assign(assignment(saved(tmp_path, "slow", slow_model(2.0, size=400, repeats=12))))
    await node.until_phase(ModelPhase.READY)
    request = INFER + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", node.server.port)
    calls = [asyncio.create_task(talk(node, request)) for _ in range(3)]
    served = node.keeper.served
    assert served is not None
    port = node.server.port
    # The lane has no event; this yields until the requests are in.
    while served.lane.waiting < 3:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0)
    assert await node.server.drain(20.0)
    answers = await asyncio.gather(*calls)
    assert [statuses(answer) for answer in answers] == [[200]] * 3
    assert all(b"Connection: close" in answer for answer in answers)
    assert await idle_reader.read() == b""
    idle_writer.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_announced_end_sends_clients_away_without_losing_a_request(serving: Node) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", serving.server.port)
    writer.write(LIVE + b"\r\n")
    first = await reader.readuntil(b"}")
    serving.server.announce_end()
    writer.write(LIVE + b"\r\n")
    second = await reader.read()
    writer.close()
    third = await talk(serving, LIVE + b"\r\n")
    assert [statuses(answer) for answer in (first, second, third)] == [[200]] * 3
    assert [b"Connection: close" in answer for answer in (first, second, third)] == [False, True, True]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["name", "shape", "datatype", "data", "inputs", "outputs", "parameters", "x", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries(
    {"name": st.just("x")},
    optional={
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
        "datatype": st.sampled_from(["FP32", "INT8", "BYTES"]) | JSON,
        "data": st.lists(st.floats() | st.integers(), max_size=12) | JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 20) | JSON}),
    },
)
DOCUMENT = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=3) | JSON},
    optional={"outputs": JSON, "parameters": JSON, "id": JSON},
)


async def test_arbitrary_documents_and_bytes_never_break_the_server(serving: Node) -> None:
    loop_node = serving

    async def try_document(document: object, tail: bytes, header: int | None) -> None:
        try:
            head = orjson.dumps(document)
        except orjson.JSONEncodeError:
            return  # an integer that JSON libraries do not write
        headers = {} if header is None else {"Inference-Header-Content-Length": str(len(head) + header)}
        async with loop_node.client.post(
            loop_node.url("/v2/models/digits/infer"), data=head + tail, headers=headers
        ) as response:
            assert response.status in (200, 400)
            await response.read()

    async def try_bytes(data: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", loop_node.server.port)
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(HANG_S):
            assert b" 500 " not in await reader.read()
        writer.close()

    loop = asyncio.get_running_loop()
    quick = settings(
        max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )

    @quick
    @given(document=DOCUMENT | JSON, tail=st.binary(max_size=20), header=st.none() | st.integers(-5, 5))
    def documents(document: object, tail: bytes, header: int | None) -> None:
        asyncio.run_coroutine_threadsafe(try_document(document, tail, header), loop).result(HANG_S)

    pieces = st.sampled_from(
        [
            INFER,
            LIVE,
            b"Content-Length: 3\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"\r\n",
            b"3\r\nabc\r\n",
            BODY,
        ]
    )

    @quick
    @given(parts=st.lists(pieces | st.binary(max_size=20), max_size=8))
    def sockets(parts: list[bytes]) -> None:
        asyncio.run_coroutine_threadsafe(try_bytes(b"".join(parts)), loop).result(HANG_S)

    await asyncio.to_thread(documents)
    await asyncio.to_thread(sockets)
    assert (await serving.infer([1.0, 2.0, 3.0]))[0] == 200


async def test_a_request_and_its_body_are_gone_once_it_is_answered(serving: Node) -> None:
    request = INFER + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    wrong = INFER + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
    with no_collector():
        assert statuses(await talk(serving, request * 3, wrong)) == [200, 200, 200, 400]
        assert requests_alive() == []
