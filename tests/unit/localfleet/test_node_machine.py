"""CPU limits, log files, the proxy, processes and the janitor: the node's dealings with the machine."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localfleet.node import janitor
from localfleet.node.api_proxy import ApiProxy
from localfleet.node.child_process import ChildProcess, Launch
from localfleet.node.cpu_limit import CpuLimit, CpuQuota, limit_cpu
from localfleet.node.hooks import run_beside
from localfleet.node.log_files import ContainerLogs, last_lines, tail_offset

QUOTA = CpuQuota(cores=0.2, period_us=5_000)


def make_v1(root: Path) -> Path:
    """A hybrid hierarchy in which we live in /me, and its file of own cgroups."""
    (root / "cpu" / "me").mkdir(parents=True)
    own = root / "own"
    own.write_text("4:memory:/elsewhere\n1:cpu,cpuacct:/me\n0::/\n")
    return own


def test_a_v1_quota_is_set_below_our_own_cgroup(tmp_path: Path) -> None:
    limit = limit_cpu(tmp_path / "node", QUOTA, tmp_path, make_v1(tmp_path))
    assert limit.kind == "cgroup v1 quota"
    assert limit.cgroup is not None
    assert limit.cgroup.parent == tmp_path / "cpu" / "me"
    assert (limit.cgroup / "cpu.cfs_quota_us").read_text() == "1000"
    assert (limit.cgroup / "cpu.cfs_period_us").read_text() == "5000"


def test_a_v2_quota_is_set_where_an_ancestor_gives_cpu(tmp_path: Path) -> None:
    ours = tmp_path / "user.slice" / "session"
    ours.mkdir(parents=True)
    for cgroup, control in ((ours, ""), (ours.parent, "cpu memory"), (tmp_path, "cpu")):
        (cgroup / "cgroup.subtree_control").write_text(control)
        (cgroup / "cgroup.controllers").write_text(control)
    own = tmp_path / "own"
    own.write_text("0::/user.slice/session\n")
    limit = limit_cpu(tmp_path / "node", QUOTA, tmp_path, own)
    assert limit.kind == "cgroup v2 quota"
    assert limit.cgroup is not None
    assert limit.cgroup.parent == ours.parent
    assert (limit.cgroup / "cpu.max").read_text() == "1000 5000"


def test_without_cgroups_pods_are_polite_and_told_to_use_one_thread(tmp_path: Path) -> None:
    limit = limit_cpu(tmp_path / "node", QUOTA, tmp_path, tmp_path / "absent")
    assert limit.cgroup is None
    assert limit.nice > 0
    assert len(limit.cpus) == 1
    assert limit.environment["FLEETFIT_INTRA_OP_THREADS"] == "1"


def test_an_empty_cgroup_of_an_agent_that_has_gone_is_removed(tmp_path: Path) -> None:
    own = make_v1(tmp_path)
    first = limit_cpu(tmp_path / "node", QUOTA, tmp_path, own).cgroup
    assert first is not None
    for file in first.iterdir():
        file.unlink()  # the kernel's own files do not keep a cgroup from being removed
    stale = first.with_name(first.name + "0")
    first.rename(stale)
    assert limit_cpu(tmp_path / "node", QUOTA, tmp_path, own).cgroup == first
    assert not stale.exists()


@settings(max_examples=40)
@given(
    lines=st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), max_size=30),
    tail=st.integers(0, 35),
    ended=st.booleans(),
)
def test_the_tail_is_the_last_lines(
    lines: list[bytes], tail: int, ended: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = b"".join(line + b"\n" for line in lines)
    if not ended:
        content = content.removesuffix(b"\n")
    path = tmp_path_factory.mktemp("logs") / "0.log"
    path.write_bytes(content)
    *whole, rest = content.split(b"\n")
    kept = [line + b"\n" for line in whole] + ([rest] if rest else [])
    assert content[tail_offset(path, tail) :] == b"".join(kept[len(kept) - min(tail, len(kept)) :])


def test_a_tail_can_be_longer_than_one_chunk(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(b"%07d\n" % number for number in range(50_000)))
    assert path.read_bytes()[tail_offset(path, 20_000) :].splitlines()[0] == b"0030000"
    assert last_lines(path, 16) == "0049998\n0049999"


def test_the_newest_two_logs_are_kept(tmp_path: Path) -> None:
    logs = ContainerLogs(tmp_path, "main")
    assert logs.current() is None
    for _ in range(4):
        logs.new().touch()
    current, previous = logs.current(), logs.previous()
    assert current is not None
    assert previous is not None
    assert [current.name, previous.name] == ["3.log", "2.log"]
    assert sorted(path.name for path in current.parent.iterdir()) == ["2.log", "3.log"]


async def upper_server() -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


async def free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_the_proxy_forwards_until_it_is_cut_and_again_when_healed() -> None:
    async with asyncio.timeout(5):
        server = await upper_server()
        target, port = server.sockets[0].getsockname(), await free_port()
        proxy = ApiProxy(("127.0.0.1", port), (target[0], target[1]))
        await proxy.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"HELLO"

        await proxy.close()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.close()

        await proxy.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"again")
        assert await reader.readexactly(5) == b"AGAIN"
        writer.close()
        await proxy.close()
        server.close()
        await server.wait_closed()


async def test_the_proxy_delivers_all_that_the_server_said_before_it_closed() -> None:
    said = b"x" * 3_000_000

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    async with asyncio.timeout(10):
        server = await asyncio.start_server(say, "127.0.0.1", 0)
        target, port = server.sockets[0].getsockname(), await free_port()
        proxy = ApiProxy(("127.0.0.1", port), (target[0], target[1]))
        await proxy.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == said
        writer.close()
        await proxy.close()
        server.close()
        await server.wait_closed()


def launch(tmp_path: Path, *argv: str, **environment: str) -> Launch:
    variables = {"PATH": os.defpath, **environment}
    return Launch(argv, variables, tmp_path, tmp_path / "out.log", CpuLimit("none"))


async def test_a_process_writes_its_log_and_its_exit_code_is_known(tmp_path: Path) -> None:
    process = ChildProcess.start(launch(tmp_path, "/bin/sh", "-c", "echo $WORD; exit 7", WORD="hi"))
    async with asyncio.timeout(5):
        assert await process.wait() == 7
    assert (tmp_path / "out.log").read_text() == "hi\n"
    process.kill()  # nothing happens: it has ended


async def test_a_signal_counts_as_128_and_its_number(tmp_path: Path) -> None:
    process = ChildProcess.start(launch(tmp_path, "/bin/sleep", "100"))
    async with asyncio.timeout(5):
        assert await process.stop(grace_s=5) == 128 + signal.SIGTERM


async def test_what_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    child_id = tmp_path / "child"
    os.mkfifo(child_id)
    script = f"trap '' TERM; sleep 100 & echo $! > {child_id}; wait; wait"
    process = ChildProcess.start(launch(tmp_path, "/bin/sh", "-c", script))
    async with asyncio.timeout(5):
        child = await asyncio.to_thread(child_id.read_text)
        descriptor = os.pidfd_open(int(child))
        assert await process.stop(grace_s=0.01) == 128 + signal.SIGKILL
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, gone.set)
        await gone.wait()
        asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)


async def test_a_command_beside_the_container_has_its_environment_and_a_limit(tmp_path: Path) -> None:
    container = launch(tmp_path, "/bin/true", WORD="hi")
    assert await run_beside(["/bin/sh", "-c", 'test "$WORD" = hi'], container, 5) == 0
    assert await run_beside(["/no/such/command"], container, 5) == 127
    with pytest.raises(TimeoutError):
        await run_beside(["/bin/sleep", "100"], container, 0.01)


def test_the_janitor_kills_what_is_marked_when_its_pipe_closes(tmp_path: Path) -> None:
    mark = f"LOCALFLEET_TEST={tmp_path}"
    marked = subprocess.Popen(
        ["/bin/sleep", "100"], env={"LOCALFLEET_TEST": str(tmp_path)}, start_new_session=True
    )
    other = subprocess.Popen(["/bin/sleep", "100"], env={})
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(janitor.__file__)), mark], stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert marked.poll() is None
        process.stdin.close()
        assert process.wait(10) == 0
    assert marked.wait(10) == -signal.SIGKILL
    assert other.poll() is None
    other.kill()
    other.wait()


def test_the_janitor_removes_cgroups_that_are_empty(tmp_path: Path) -> None:
    (tmp_path / "cgroup").mkdir()
    janitor.remove_cgroups([tmp_path / "cgroup", tmp_path / "absent"], lambda: None)
    assert not (tmp_path / "cgroup").exists()
