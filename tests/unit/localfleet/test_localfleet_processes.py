"""Children are bound to their parent, found wherever they hide, and their ends are told."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from localfleet.controlplane.lock import StateDirInUseError, StateDirLock, holder
from localfleet.process.child import Child, tail
from localfleet.process.tree import alive, descendants, kill_tree, marked

MARK = "FLEETFIT_TEST_MARK"


async def start(tmp_path: Path, *command: str, **env: str) -> Child:
    return await Child.start(
        "child", command, log_path=tmp_path / "log", env={"PATH": os.defpath, **env}, cwd=tmp_path
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what processes do has no event
            await asyncio.sleep(0.01)


async def test_output_and_exit_code_are_kept(tmp_path: Path) -> None:
    child = await start(tmp_path, "sh", "-c", "echo one; echo two >&2; exit 7")
    assert await child.wait() == 7
    assert not child.running
    assert "exited with code 7" in str(child.died())
    assert tail(child.log_path) == "    one\n    two\n"
    assert tail(child.log_path, lines=1) == "    two\n"
    assert "empty" in tail(tmp_path / "absent")


async def test_missing_program_is_told(tmp_path: Path) -> None:
    child = await start(tmp_path, "no-such-program")
    assert await child.wait() == 1
    assert "cannot start no-such-program" in str(child.died())


async def test_stop_is_gentle_first(tmp_path: Path) -> None:
    child = await start(tmp_path, "sleep", "1000")
    await child.stop(grace_s=10)
    assert child.exit_code == -signal.SIGTERM
    await child.stop(grace_s=10)
    await child.kill()


async def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    child = await start(tmp_path, "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done")
    await until(lambda: bool((tmp_path / "log").read_text()))
    await child.stop(grace_s=0.05)
    assert "killed by SIGKILL" in str(child.died())


async def test_child_dies_with_its_parent(tmp_path: Path) -> None:
    """A parent of its own starts a child through the wrapper and is killed."""
    script = (
        "import asyncio, os, pathlib\n"
        "from localfleet.process.child import Child\n"
        "COMMAND = ['sh', '-c', 'echo ready; exec sleep 1000']\n"
        "ENV = {'PATH': os.defpath}\n"
        "async def main():\n"
        "    here = pathlib.Path('.')\n"
        "    child = await Child.start('c', COMMAND, log_path=here / 'log', env=ENV, cwd=here)\n"
        "    print(child.pid, flush=True)\n"
        "    await child.wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    # Only now has the wrapper become the command; earlier it would notice the parent's death by itself.
    await until(lambda: (tmp_path / "log").read_text() == "ready\n")
    descriptor = os.pidfd_open(pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    try:
        parent.kill()
        await parent.communicate()
        async with asyncio.timeout(10):
            await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
    assert alive([pid]) == set()


async def test_orphans_are_found_by_their_mark(tmp_path: Path) -> None:
    mark = str(uuid.uuid4())
    # setsid --fork leaves the tree: its parent is gone and its session is another.
    child = await start(
        tmp_path, "sh", "-c", "setsid --fork sleep 1000; echo ready; sleep 1000", **{MARK: mark}
    )
    await until(lambda: len(marked(MARK, mark)) == 3)
    found = marked(MARK, mark)
    assert found - descendants([os.getpid()]), "nothing has left the tree, so nothing is tested"
    assert child.pid in found

    assert kill_tree([child.pid], MARK, mark) == found
    await child.wait()
    await until(lambda: not alive(found))
    assert marked(MARK, mark) == set()


def test_dead_root_is_no_error() -> None:
    assert kill_tree([2**22 + 1], MARK, str(uuid.uuid4())) == set()


def test_state_dir_has_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    assert holder(path) is None
    lock = StateDirLock(path).acquire()
    assert holder(path) == os.getpid()
    with pytest.raises(StateDirInUseError, match=str(os.getpid())):
        StateDirLock(path).acquire()
    lock.release()
    lock.release()
    assert holder(path) is None
    StateDirLock(path).acquire().release()
