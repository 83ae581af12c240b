"""Commands and answers over a real unix socket."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from localfleet.control_socket import ControlError, NotListeningError, request, serve


async def answer(command: dict[str, Any]) -> Mapping[str, Any]:
    if command["command"] == "refuse":
        raise ControlError("not today")
    return {"echo": command}


async def test_command_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serve(path, answer):
        assert path.stat().st_mode & 0o777 == 0o600
        assert await request(path, {"command": "status"}) == {"echo": {"command": "status"}}
    assert not path.exists()


async def test_refusal_has_its_reason_and_the_server_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serve(path, answer):
        with pytest.raises(ControlError, match="not today"):
            await request(path, {"command": "refuse"})
        assert "echo" in await request(path, {"command": "status"})


async def test_long_state_directory_is_no_obstacle(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    async with serve(directory / "control.sock", answer):
        assert "echo" in await request(directory / "control.sock", {"command": "status"})


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(NotListeningError):
        await request(tmp_path / "control.sock", {"command": "status"})
    with pytest.raises(NotListeningError):
        await request(tmp_path / "absent" / "control.sock", {"command": "status"})


async def test_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.touch()
    async with serve(path, answer):
        assert "echo" in await request(path, {"command": "status"})


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n"])
async def test_nonsense_is_answered_with_an_error(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "control.sock"
    async with serve(path, answer):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line)
        assert b"error" in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_slow_answer_is_a_timeout(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def silent(_: dict[str, Any]) -> Mapping[str, Any]:
        await never.wait()
        return {}

    path = tmp_path / "control.sock"
    async with serve(path, silent):
        with pytest.raises(TimeoutError):
            await request(path, {"command": "status"}, timeout_s=0.01)
        never.set()
