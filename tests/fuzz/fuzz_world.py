"""A node with real models whose connections are fed bytes without sockets, for the fuzz targets.

What must hold for any bytes: nothing is raised, neither here nor on the loop; what is written is well-formed; and the
server still answers the next client rightly.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))

from fleetfit_api.node_inference import Assignment
from fleetfit_runtime.serve.grpc.call import BodyBudget, CallRules
from fleetfit_runtime.serve.grpc.services import GrpcParts, grpc_dispatcher
from fleetfit_runtime.serve.http2.connection import Http2Limits
from fleetfit_runtime.serve.http2.server import Http2Server
from fleetfit_runtime.serve.http_limits import HttpLimits
from fleetfit_runtime.serve.service import ServiceTerms
from fleetfit_runtime.store.disk_budget import DiskBudget
from onnx import TensorProto
from runtime_models import assignment, identity_model, saved, scale_model, two_input_model
from runtime_node import CPU, start_node

MAX_BODY_BYTES = 64 << 10
_MOST_TURNS = 10_000


class FuzzTransport:
    """Takes what a connection writes; it closes like a real one, a turn of the loop later."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.written = bytearray()
        self.protocol: Any = None
        self.closed = False
        self._loop = loop

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: Sequence[bytes]) -> None:
        for part in parts:
            self.write(part)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.call_soon(self.protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name == "peername" else default


class FuzzWorld:
    """The node, and how bytes get to it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self._faults: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _loop, context: self._faults.append(context))
        self._directory = tempfile.TemporaryDirectory()
        self.loop.run_until_complete(self._start(Path(self._directory.name)))

    async def _start(self, directory: Path) -> None:
        limits = HttpLimits(max_body_bytes=MAX_BODY_BYTES)
        self._node = node = await start_node(directory / "store", limits, DiskBudget(), 128, (CPU,))
        assignments: list[Assignment] = []
        for name, model in (
            ("digits", scale_model(2.0)),
            ("words", identity_model(TensorProto.STRING)),
            ("bytes", identity_model(TensorProto.INT8)),
            ("flags", identity_model(TensorProto.BOOL)),
            ("pair", two_input_model()),
        ):
            path = saved(directory, name, model)
            assignments.append(assignment(path, deployment=name, model_name=name, suite=name))
        node.assign(*assignments)
        await node.until(lambda: len(node.table) == len(assignments))
        terms = ServiceTerms("test", MAX_BODY_BYTES)
        parts = GrpcParts(node.table, node.agent, node.desk, node.counts, terms)
        rules = CallRules(MAX_BODY_BYTES, BodyBudget(4 * MAX_BODY_BYTES), self.loop)
        grpc = Http2Server(grpc_dispatcher(parts, rules).open, Http2Limits(), 64)
        self.new_http: Callable[[], Any] = node.server.protocol_factory(self.loop.time)
        self.new_grpc: Callable[[], Any] = grpc.protocol_factory(self.loop.time)

    def close(self) -> None:
        """Stop the node."""
        self.loop.run_until_complete(self._node.stop())
        self.loop.close()
        self._directory.cleanup()

    def talk(self, protocol: Any, pieces: Sequence[bytes], done: Callable[[bytes], bool]) -> bytes:
        """Feed a new connection, then close it as a client would; return what it wrote.

        Args:
            protocol: the connection.
            pieces: what it receives, piece by piece.
            done: whether what is written answers all that was asked; the client then waits no more.
        """
        transport = FuzzTransport(self.loop)
        transport.protocol = protocol
        self.loop.run_until_complete(self._talk(transport, pieces, done))
        if self._faults:
            fault = self._faults.pop()
            raise AssertionError(f"something was raised on the loop: {fault}") from fault.get("exception")
        return bytes(transport.written)

    async def _talk(
        self, transport: FuzzTransport, pieces: Sequence[bytes], done: Callable[[bytes], bool]
    ) -> None:
        protocol = transport.protocol
        protocol.connection_made(transport)
        for piece in pieces:
            if transport.closed:
                break
            _feed(protocol, piece)
        await self._settle(transport, done)
        if not transport.closed:
            if not protocol.eof_received():
                transport.close()
            await _turns(3)
            transport.close()
        await _turns(3)

    async def _settle(self, transport: FuzzTransport, done: Callable[[bytes], bool]) -> None:
        for turn in range(_MOST_TURNS):
            if transport.closed or done(bytes(transport.written)):
                return
            # The first turns suffice for quick models; others run in a thread.
            await asyncio.sleep(0 if turn < 8 else 0.001)
        raise AssertionError("a whole request was not answered")


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _feed(protocol: Any, data: bytes) -> None:
    if not isinstance(protocol, asyncio.BufferedProtocol):
        protocol.data_received(data)
        return
    at = 0
    while at < len(data):
        room = memoryview(protocol.get_buffer(len(data) - at)).cast("B")
        taken = min(len(room), len(data) - at)
        room[:taken] = data[at : at + taken]
        protocol.buffer_updated(taken)
        at += taken


def split(data: bytes, step: int) -> list[bytes]:
    """Return bytes in pieces of a size; 0 for one piece."""
    if step == 0 or not data:
        return [data]
    return [data[at : at + step] for at in range(0, len(data), step)]
