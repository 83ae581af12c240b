"""One command and one answer as JSON lines over a unix socket: CLI to supervisor, supervisor to node agent.

It knows nothing of what the commands mean. Paths go through an open directory, so a deep state directory does not
run into the 107 bytes that a unix socket address may have.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

Answer = Mapping[str, Any]
Handler = Callable[[dict[str, Any]], Awaitable[Answer]]

_LINE_LIMIT_BYTES: Final = 1 << 20


class ControlError(RuntimeError):
    """The other side answered that it could not do what was asked."""


class NotListeningError(ControlError):
    """Nobody listens at the socket."""


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _listen(path: Path) -> socket.socket:
    _remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short_path(path) as short:
        listener.bind(short)
    path.chmod(0o600)
    return listener


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def request(path: Path, command: Mapping[str, Any], timeout_s: float = 30.0) -> dict[str, Any]:
    """Send one command and give the answer.

    Raises:
        NotListeningError: there is no socket, or nobody behind it.
        ControlError: the other side refused, failed, or hung up without an answer.
        TimeoutError: no answer in time.
    """
    async with asyncio.timeout(timeout_s):
        try:
            with _short_path(path) as short:
                reader, writer = await asyncio.open_unix_connection(short, limit=_LINE_LIMIT_BYTES)
        except OSError as error:
            raise NotListeningError(f"nobody listens at {path}") from error
        try:
            writer.write(json.dumps(command).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
        except ConnectionError as error:
            raise ControlError(f"{path} hung up") from error
        finally:
            writer.close()
    if not line:
        raise ControlError(f"{path} hung up without an answer")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer


@contextlib.asynccontextmanager
async def serve(path: Path, handler: Handler) -> AsyncIterator[None]:
    """Serve commands at the path for the time of the context; only this user may connect.

    A handler says no with `ControlError`; the caller gets its message as one.
    """
    listener = _listen(path)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(line, handler)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the caller has gone, or its line is longer than any command
        finally:
            writer.close()

    server = await asyncio.start_unix_server(connected, sock=listener, limit=_LINE_LIMIT_BYTES)
    try:
        yield
    finally:
        server.close()
        _remove(path)


async def _answer(line: bytes, handler: Handler) -> Answer:
    try:
        command = json.loads(line)
    except ValueError:
        return {"error": "a command is one line of JSON"}
    if not isinstance(command, dict):
        return {"error": "a command is a JSON object"}
    try:
        return await handler(command)
    except ControlError as error:
        return {"error": str(error)}
