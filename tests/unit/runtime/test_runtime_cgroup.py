"""Quotas from cgroup trees as the kernel shows them."""

from pathlib import Path

import pytest
from fleetfit_runtime.probe.cgroup import CgroupFacts, threads_for


def tree(root: Path, files: dict[str, str]) -> CgroupFacts:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return CgroupFacts(root, affinity_count=lambda: 8)


MEMORY = {"proc/meminfo": "MemTotal:        1000 kB\nMemFree: 1 kB\n"}


def test_no_limits_give_the_machine(tmp_path: Path) -> None:
    facts = tree(tmp_path, MEMORY | {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert (facts.processors(), facts.memory_bytes()) == (8.0, 1_024_000)


def test_v2_takes_the_tightest_of_the_ancestors(tmp_path: Path) -> None:
    facts = tree(
        tmp_path,
        MEMORY
        | {
            "proc/self/cgroup": "0::/pods/a\n",
            "sys/fs/cgroup/pods/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/pods/a/cpu.max": "200000 100000\n",
            "sys/fs/cgroup/pods/a/memory.max": "4096\n",
        },
    )
    assert (facts.processors(), facts.memory_bytes()) == (0.5, 4096)


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_v1_and_hybrid(tmp_path: Path, mount: str) -> None:
    facts = tree(
        tmp_path,
        MEMORY
        | {
            "proc/self/cgroup": "5:memory:/m\n4:cpu,cpuacct:/node\n0::/unified\n",
            f"sys/fs/cgroup/{mount}/node/cpu.cfs_quota_us": "1000\n",
            f"sys/fs/cgroup/{mount}/node/cpu.cfs_period_us": "10000\n",
            f"sys/fs/cgroup/{mount}/cpu.cfs_quota_us": "-1\n",
            f"sys/fs/cgroup/{mount}/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/m/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert (facts.processors(), facts.memory_bytes()) == (0.1, 1_024_000)


def test_path_of_the_host_falls_back_to_the_mount(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/kubepods/pod1/x\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}
    assert tree(tmp_path, files).processors() == 1.5


def test_no_files_at_all(tmp_path: Path) -> None:
    facts = tree(tmp_path, {})
    assert (facts.processors(), facts.memory_bytes()) == (8.0, 0)


@pytest.mark.parametrize(("processors", "threads"), [(0.1, 1), (1.0, 1), (1.9, 1), (2.0, 2), (7.5, 7)])
def test_threads(processors: float, threads: int) -> None:
    assert threads_for(processors) == threads
