"""What is read of a node, from trees of real boards."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fleetfit_runtime.probe.drivers import driver_versions
from fleetfit_runtime.probe.load import LoadMeter, gpu_load
from fleetfit_runtime.probe.node_probe import THROTTLE_HOLD_S, NodeProbe, NodeReading
from fleetfit_runtime.probe.processor import governor, runs_slowed
from fleetfit_runtime.probe.thermal import Temperature, hottest
from fleetfit_runtime.probe.throttle import ThrottleSigns

from tests.unit.probe.kernel_trees import (
    CPU,
    JETSON_NANO,
    LAPTOP,
    ORIN_NANO,
    RASPBERRY_PI,
    SERVER,
    TREES,
    write_tree,
)

ZONE = "sys/class/thermal"
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (ORIN_NANO, ("schedutil", "tegra R36.4.3", Temperature(54.0, "thermal_zone"))),
        (JETSON_NANO, ("schedutil", "tegra R32.7.1", Temperature(41.0, "thermal_zone"))),
        (RASPBERRY_PI, ("ondemand", "", Temperature(48.686, "thermal_zone"))),
        (LAPTOP, ("powersave", "i915 6.8.0-45-generic; intel_vpu 1.0.0", Temperature(61.0, "thermal_zone"))),
        (SERVER, ("performance", "nvidia 550.54.14", Temperature(47.0, "hwmon"))),
        ({}, ("", "", None)),
    ],
    ids=[*TREES, "nothing"],
)
def test_governor_driver_and_temperature(
    tmp_path: Path, tree: dict[str, str], expected: tuple[str, str, Temperature | None]
) -> None:
    root = write_tree(tmp_path, tree)
    assert (governor(root), driver_versions(root), hottest(root)) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023",
            "nvidia 535.129.03",
        ),
        ("proc/driver/nvidia/version", "gibberish", ""),
        ("sys/module/nvidia/version", "560.35.05", "nvidia 560.35.05"),
        ("sys/bus/pci/drivers/amdgpu/0000:03:00.0/vendor", "0x1002", "amdgpu 6.1"),
        ("sys/module/amdgpu/parameters/aspm", "-1", ""),
    ],
    ids=["closed-modules", "unreadable", "proc-hidden", "built-in-and-bound", "built-in-and-idle"],
)
def test_driver_versions(tmp_path: Path, name: str, text: str, expected: str) -> None:
    root = write_tree(tmp_path, {name: text, "proc/sys/kernel/osrelease": "6.1"})
    assert driver_versions(root) == expected


def test_governors_of_unlike_clusters_are_both_told(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path,
        {
            f"{CPU}/cpufreq/policy0/scaling_governor": "schedutil",
            f"{CPU}/cpufreq/policy4/scaling_governor": "performance",
        },
    )
    assert governor(root) == "performance,schedutil"


def test_a_server_is_known_by_some_of_its_processors(tmp_path: Path) -> None:
    policies = {f"{CPU}/cpufreq/policy{number}/scaling_governor": "performance" for number in range(256)}
    counters = {f"{CPU}/cpu{number}/thermal_throttle/package_throttle_count": "1" for number in range(256)}
    root = write_tree(tmp_path, policies, counters)
    signs = ThrottleSigns(root, lambda: 0.0)
    write_tree(tmp_path, dict.fromkeys(counters, "2"))
    assert (governor(root), signs.seen()) == ("performance", True)


@pytest.mark.parametrize("name", list(TREES))
def test_boards_at_ease_are_not_throttled(tmp_path: Path, name: str) -> None:
    root = write_tree(tmp_path, TREES[name])
    assert not ThrottleSigns(root, lambda: 0.0).seen()
    assert not runs_slowed(root)


@pytest.mark.parametrize(
    ("tree", "change"),
    [
        (RASPBERRY_PI, {FIRMWARE: "50006"}),
        (RASPBERRY_PI, {FIRMWARE: "8"}),
        (ORIN_NANO, {f"{ZONE}/thermal_zone0/temp": "99500"}),
        (ORIN_NANO, {f"{ZONE}/cooling_device1/cur_state": "3"}),
        (LAPTOP, {f"{ZONE}/cooling_device2/cur_state": "20"}),
        (LAPTOP, {f"{CPU}/cpu0/thermal_throttle/package_throttle_total_time_ms": "900"}),
    ],
    ids=["pi-capped", "pi-soft-limit", "at-trip", "cpufreq-cooling", "powerclamp", "counter"],
)
def test_signs_of_throttling(tmp_path: Path, tree: dict[str, str], change: dict[str, str]) -> None:
    clock = iter([0.0, 5.0, 10.0]).__next__
    signs = ThrottleSigns(write_tree(tmp_path, tree), clock)
    write_tree(tmp_path, change)
    assert signs.seen()


@pytest.mark.parametrize(
    ("tree", "change"),
    [
        # Under-voltage alone, and what has been since the start, slow nothing now.
        (RASPBERRY_PI, {FIRMWARE: "50001"}),
        (LAPTOP, {f"{CPU}/cpu0/thermal_throttle/core_throttle_total_time_ms": "41"}),
        (RASPBERRY_PI, {FIRMWARE: "no number"}),
    ],
    ids=["pi-was-throttled", "a-millisecond", "garbage"],
)
def test_no_signs_of_throttling(tmp_path: Path, tree: dict[str, str], change: dict[str, str]) -> None:
    clock = iter([0.0, 5.0, 10.0]).__next__
    signs = ThrottleSigns(write_tree(tmp_path, tree), clock)
    write_tree(tmp_path, change)
    assert not signs.seen()


def test_a_counter_without_time_counts_when_it_rises_and_only_then(tmp_path: Path) -> None:
    count = f"{CPU}/cpu0/thermal_throttle/package_throttle_count"
    signs = ThrottleSigns(write_tree(tmp_path, {count: "3"}), lambda: 0.0)
    assert not signs.seen()
    write_tree(tmp_path, {count: "4"})
    assert [signs.seen(), signs.seen()] == [True, False]


@pytest.mark.parametrize(
    ("changes", "slowed"),
    [
        ({"scaling_cur_freq": "2000000"}, True),
        ({"scaling_cur_freq": "2400000"}, False),
        ({"scaling_cur_freq": "800000", "scaling_governor": "powersave"}, False),
        ({"scaling_cur_freq": "800000", "base_frequency": ""}, False),
    ],
    ids=["below-base", "at-base", "governor-may-lower", "turbo-without-base"],
)
def test_frequency_below_what_the_governor_holds(
    tmp_path: Path, changes: dict[str, str], slowed: bool
) -> None:
    policy = {f"{CPU}/cpufreq/policy0/{name}": text for name, text in changes.items()}
    assert runs_slowed(write_tree(tmp_path, SERVER, policy)) is slowed


def test_a_fixed_frequency_without_turbo_is_held_against_its_maximum(tmp_path: Path) -> None:
    policy = f"{CPU}/cpufreq/policy0/scaling_"
    fixed = {f"{policy}governor": "performance", f"{policy}cur_freq": "1000000"}
    assert runs_slowed(write_tree(tmp_path, RASPBERRY_PI, fixed))


def test_load_tells_others_from_the_process_itself(tmp_path: Path) -> None:
    own_s = [10.0]
    write_tree(tmp_path, {"proc/stat": "cpu  100 0 50 800 50 0 0 0 0 0"})
    meter = LoadMeter(tmp_path, lambda: own_s[0], ticks_per_s=100)
    assert meter.since_last() is None  # nothing has passed
    own_s[0] = 12.0
    # 1000 ticks more: 700 idle or waiting, 200 of the process, 100 of others, of which a hypervisor took 40.
    write_tree(tmp_path, {"proc/stat": "cpu  310 0 90 1400 150 5 5 40 0 0"})
    load = meter.since_last()
    assert load is not None
    assert (load.total, load.others) == pytest.approx((0.3, 0.1))
    write_tree(tmp_path, {"proc/stat": "garbage"})
    assert meter.since_last() is None


def test_load_of_a_gpu(tmp_path: Path) -> None:
    assert gpu_load(tmp_path) is None
    assert gpu_load(write_tree(tmp_path / "jetson", ORIN_NANO)) == pytest.approx(0.437)
    amd = {"sys/class/drm/card1/device/gpu_busy_percent": "31", "sys/class/drm/card0/device/vendor": "0x1a03"}
    assert gpu_load(write_tree(tmp_path / "amd", amd)) == pytest.approx(0.31)


@pytest.mark.parametrize("name", list(TREES))
def test_every_board_is_read_whole(tmp_path: Path, name: str) -> None:
    reading = NodeProbe(write_tree(tmp_path, TREES[name])).read()
    assert reading.governor
    assert reading.temperature is not None
    assert reading != NodeReading()


def test_a_sign_of_throttling_holds_for_a_while(tmp_path: Path) -> None:
    now_s = [0.0]
    probe = NodeProbe(write_tree(tmp_path, RASPBERRY_PI, {FIRMWARE: "e"}), lambda: now_s[0])
    assert probe.read().throttled
    write_tree(tmp_path, {FIRMWARE: "e0000"})
    now_s[0] = THROTTLE_HOLD_S - 1
    assert probe.read().throttled
    now_s[0] += 2
    assert not probe.read().throttled


def test_an_episode_tells_how_the_node_was_and_its_power_is_that_of_inference(tmp_path: Path) -> None:
    now_s = [0.0]
    probe = NodeProbe(write_tree(tmp_path, ORIN_NANO), lambda: now_s[0])
    episode = probe.begin()
    write_tree(
        tmp_path, {"sys/class/hwmon/hwmon1/curr1_input": "3000", f"{ZONE}/thermal_zone0/temp": "99000"}
    )
    now_s[0] = 1.0
    episode.look()
    write_tree(tmp_path, {f"{ZONE}/thermal_zone0/temp": "80000"})
    now_s[0] = 2.0
    conditions = episode.end()
    assert (conditions.throttled, conditions.governor) == (True, "schedutil")
    assert conditions.driver_version == "tegra R36.4.3"
    assert conditions.power is not None
    assert conditions.power.watts == pytest.approx((5.972 / 2 + 14.832 + 14.832 / 2) / 2, abs=0.01)
    assert probe.read().inference_power == conditions.power
    assert probe.read().throttled


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", list(TREES))
def test_files_that_may_not_be_read_are_unknown(tmp_path: Path, name: str) -> None:
    root = write_tree(tmp_path, TREES[name])
    for path in root.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0)
    assert NodeProbe(root).read() == NodeReading()


@pytest.mark.parametrize("name", list(TREES))
def test_directories_in_the_place_of_files_are_unknown(tmp_path: Path, name: str) -> None:
    """As good as a permission error, and true for root too."""
    for file in TREES[name]:
        (tmp_path / file).mkdir(parents=True)
    assert NodeProbe(tmp_path).read() == NodeReading()


@pytest.mark.parametrize("name", list(TREES))
@pytest.mark.parametrize("garbage", ["", "\x00\xff", "-", "99999999999999999999999999", "1e3 2 3"])
def test_garbage_never_raises(tmp_path: Path, name: str, garbage: str) -> None:
    root = write_tree(tmp_path, dict.fromkeys(TREES[name], garbage))
    reading = NodeProbe(root).read()
    assert replace(reading, governor="").load is None
