"""Power and battery from the meters of real boards, and means of them."""

from pathlib import Path

import pytest
from fleetfit_runtime.probe.battery import Battery, read_battery
from fleetfit_runtime.probe.power import read_power
from fleetfit_runtime.probe.power_reading import PowerReading, joined, joules_between
from fleetfit_runtime.probe.power_track import Power, PowerTrack
from fleetfit_runtime.probe.rapl import rapl_is_hidden
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.probe.kernel_trees import (
    AGX_ORIN_RAILS,
    JETSON_NANO,
    LAPTOP,
    ORIN_NANO,
    RASPBERRY_PI,
    SERVER,
    write_tree,
)

BATTERY = "sys/class/power_supply/BAT0"


@pytest.mark.parametrize(
    ("tree", "method", "watts"),
    [
        (ORIN_NANO, "ina3221", 5.972),
        (AGX_ORIN_RAILS, "ina3221", 9.0),
        (JETSON_NANO, "ina3221", 2.532),
        (LAPTOP, "battery", 13.68),
        (
            {
                "sys/class/hwmon/hwmon2/name": "power_meter",
                "sys/class/hwmon/hwmon2/power1_average": "182000000",
            },
            "hwmon",
            182,
        ),
        (
            {"sys/class/hwmon/hwmon2/name": "ina260", "sys/class/hwmon/hwmon2/power1_input": "4100000"},
            "hwmon",
            4.1,
        ),
    ],
    ids=["orin-nano", "agx-orin", "jetson-nano", "laptop", "acpi", "ina260"],
)
def test_meters_that_show_power(tmp_path: Path, tree: dict[str, str], method: str, watts: float) -> None:
    reading = read_power(write_tree(tmp_path, tree))
    assert reading is not None
    assert (reading.method, reading.watts) == (method, pytest.approx(watts, abs=0.01))


@pytest.mark.parametrize("tree", [RASPBERRY_PI, {}, {f"{BATTERY}/type": "Battery"}])
def test_boards_without_a_meter_have_no_power(tmp_path: Path, tree: dict[str, str]) -> None:
    assert read_power(write_tree(tmp_path, tree)) is None


def test_counters_of_all_packages_and_their_memory_give_the_mean(tmp_path: Path) -> None:
    before = read_power(write_tree(tmp_path, SERVER))
    # 20 J of the first package, 1 J of its memory, and 30 J of the second, whose counter has wrapped.
    wrapped = 262143000000 + 30_000_000 - 262143328850
    zones = {"intel-rapl:0": 21_000_000, "intel-rapl:0:1": 11_000_000, "intel-rapl:1": wrapped}
    write_tree(tmp_path, {f"sys/class/powercap/{name}/energy_uj": str(uj) for name, uj in zones.items()})
    after = read_power(tmp_path)
    assert before is not None
    assert after is not None
    assert (after.method, joules_between(before, after, 2.0)) == ("rapl", pytest.approx(51.0))


def test_the_platforms_counter_holds_all_others(tmp_path: Path) -> None:
    psys = {"sys/class/powercap/intel-rapl:2/name": "psys", "sys/class/powercap/intel-rapl:2/energy_uj": "5"}
    reading = read_power(write_tree(tmp_path, SERVER, psys))
    assert reading is not None
    assert dict(reading.energy_uj) == {"psys": 5}


@pytest.mark.parametrize(
    ("before", "after", "seconds"),
    [
        (PowerReading("rapl", None, {"a": 9}), PowerReading("rapl", None, {"a": 3}), 1.0),
        (PowerReading("rapl", None, {"a": 9}, {"a": 5}), PowerReading("rapl", None, {"a": 3}, {"a": 5}), 1.0),
        (PowerReading("rapl", None, {"a": 1}), PowerReading("rapl", None, {"a": 1, "b": 2}), 1.0),
        (PowerReading("rapl", None, {"a": 1}), PowerReading("rapl", None, {"a": 2}), 3600.0),
        (PowerReading("rapl", None, {"a": 1}), PowerReading("battery", 5.0), 1.0),
        (PowerReading("rapl+hwmon", 3.0, {"a": 1}), PowerReading("rapl+hwmon", None, {"a": 2}), 1.0),
    ],
    ids=["reset", "beyond-its-range", "another-counter", "long-ago", "another-method", "a-part-is-gone"],
)
def test_readings_that_do_not_tell_the_energy(
    before: PowerReading, after: PowerReading, seconds: float
) -> None:
    assert joules_between(before, after, seconds) is None
    track = PowerTrack(30)
    track.add(0.0, before)
    assert track.add(seconds, after) == 0.0


@given(watts=st.lists(st.floats(0.1, 500), min_size=2, max_size=50), step_s=st.floats(0.1, 20))
def test_the_mean_lies_between_what_was_read_and_counters_agree_with_it(
    watts: list[float], step_s: float
) -> None:
    shown, counted = PowerTrack(30), PowerTrack(30)
    energy_uj = 0.0
    for number, each in enumerate(watts):
        energy_uj += each * step_s * 1e6
        shown.add(number * step_s, PowerReading("hwmon", each))
        counted.add(number * step_s, PowerReading("rapl", None, {"a": int(energy_uj)}))
    for track in (shown, counted):
        power = track.mean()
        assert power is not None
        assert min(watts) * 0.999 <= power.watts <= max(watts) * 1.001


def test_another_meter_begins_anew_and_none_is_none() -> None:
    track = PowerTrack(30)
    assert track.mean() is None
    track.add(0, PowerReading("rapl", None, {"a": 1}))
    assert track.mean() is None
    track.add(1, PowerReading("battery", 7.0))
    assert track.mean() == Power(7.0, "battery")
    track.add(2, None)
    assert track.mean() is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Battery(63, True, pytest.approx(13.68))),
        ({f"{BATTERY}/power_now": "9000000"}, Battery(63, True, 9.0)),
        ({"sys/class/power_supply/AC/online": "1"}, Battery(63, False, None)),
        ({f"{BATTERY}/status": "Charging"}, Battery(63, False, None)),
        ({f"{BATTERY}/status": "Unknown"}, Battery(63, False, None)),
        ({f"{BATTERY}/capacity": "103"}, Battery(100, True, pytest.approx(13.68))),
        (
            {f"{BATTERY}/capacity": "", f"{BATTERY}/energy_now": "20", f"{BATTERY}/energy_full": "80"},
            Battery(25, True, pytest.approx(13.68)),
        ),
    ],
    ids=["discharging", "power", "on-mains", "charging", "unknown", "overfull", "energy"],
)
def test_battery(tmp_path: Path, change: dict[str, str], expected: Battery) -> None:
    assert read_battery(write_tree(tmp_path, LAPTOP, change)) == expected


def test_the_battery_of_a_mouse_is_none_of_the_nodes(tmp_path: Path) -> None:
    mouse = {name: text for name, text in LAPTOP.items() if "hidpp" in name}
    assert read_battery(write_tree(tmp_path, mouse)) is None


RAPL = "sys/class/powercap"


def zone(number: str, name: str, energy_uj: str = "", wrap_uj: str = "262143328850") -> dict[str, str]:
    base = f"{RAPL}/intel-rapl:{number}"
    files = {f"{base}/name": name, f"{base}/max_energy_range_uj": wrap_uj}
    return files | ({f"{base}/energy_uj": energy_uj} if energy_uj else {})


def chip(number: int, name: str, **files: str) -> dict[str, str]:
    return {f"sys/class/hwmon/hwmon{number}/{file}": text for file, text in {"name": name, **files}.items()}


# A Ryzen of the Zen family: a package with its cores, no memory.
RYZEN = zone("0", "package-0", "51000000", "65532610987") | zone("0:0", "core", "9000000", "65532610987")
# A Xeon with two dies in a package.
TWO_DIES = zone("0", "package-0-die-0", "10") | zone("1", "package-0-die-1", "20") | zone("1:0", "dram", "3")
# A desktop whose board does not move the platform's counter.
DESKTOP = (
    zone("0", "package-0", "700")
    | zone("0:0", "core", "100")
    | zone("0:1", "uncore", "50")
    | zone("1", "psys", "0")
)
# Graphics and processor in one (a Ryzen 7 7840U), and a Radeon of its own.
APU = chip(4, "amdgpu", in0_label="vddgfx", in1_label="vddnb", power1_label="PPT", power1_input="12072000")
RADEON = chip(5, "amdgpu", in0_label="vddgfx", fan1_input="0", power1_label="PPT", power1_average="31000000")
ARC = chip(6, "i915", energy1_input="8000000", power1_max="190000000") | chip(
    7, "i915_gt0", energy1_input="7000000"
)
BATTLEMAGE = chip(8, "xe", energy2_input="5000000", energy2_label="pkg", power2_cap="190000000")
THOR = chip(2, "ina3221", in1_label="VDD_GPU", in1_input="20000", curr1_input="300") | chip(
    3, "ina238", label="VIN", in1_input="19800", curr1_input="1500", power1_input="29700000"
)
# An AMD ZCU102: one chip for each supply, none for the whole.
ZCU102 = chip(1, "ina226", power1_input="1250000") | chip(2, "ina226", power1_input="750000")


@pytest.mark.parametrize(
    ("trees", "method", "watts", "counters"),
    [
        ([RYZEN], "rapl", None, {"intel-rapl:0": 51000000}),
        ([TWO_DIES], "rapl", None, {"intel-rapl:0": 10, "intel-rapl:1": 20, "intel-rapl:1:0": 3}),
        ([DESKTOP], "rapl", None, {"intel-rapl:0": 700}),
        ([DESKTOP, zone("1", "psys", "9000")], "rapl", None, {"psys": 9000}),
        ([RYZEN, APU], "rapl", None, {"intel-rapl:0": 51000000}),
        ([RYZEN, RADEON], "rapl+hwmon", 31.0, {"intel-rapl:0": 51000000}),
        ([APU], "hwmon", 12.072, {}),
        ([RYZEN, ARC], "rapl+hwmon", None, {"intel-rapl:0": 51000000, "hwmon:hwmon6": 8000000}),
        ([BATTLEMAGE], "hwmon", None, {"hwmon:hwmon8": 5000000}),
        ([DESKTOP, zone("1", "psys", "9000"), RADEON], "rapl", None, {"psys": 9000}),
        ([THOR], "hwmon", 29.7, {}),
        ([ZCU102], "hwmon", 2.0, {}),
    ],
    ids=[
        "ryzen", "two-dies", "platform-stuck", "platform", "apu-in-the-package", "radeon-beside", "apu-alone",
        "arc-without-its-parts", "battlemage", "radeon-in-the-platform", "jetson-thor", "zcu102",
    ],
)  # fmt: skip
def test_every_part_is_counted_once(
    tmp_path: Path, trees: list[dict[str, str]], method: str, watts: float | None, counters: dict[str, int]
) -> None:
    reading = read_power(write_tree(tmp_path, *trees))
    assert reading is not None
    assert (reading.method, reading.watts, dict(reading.energy_uj)) == (method, watts, counters)


def test_counters_that_only_root_may_read_are_told_and_the_battery_stands_in(tmp_path: Path) -> None:
    root = write_tree(tmp_path, LAPTOP, zone("0", "package-0"), zone("0:0", "core"))
    reading = read_power(root)
    assert reading is not None
    assert (reading.method, rapl_is_hidden(root)) == ("battery", True)
    assert not rapl_is_hidden(write_tree(tmp_path, RYZEN))


def test_a_sum_without_one_of_the_packages_is_none(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path, zone("0", "package-0", "10"), zone("1", "package-1"), zone("0:0", "dram", "1")
    )
    assert read_power(root) is None


@given(
    watts=st.lists(st.floats(1, 400), min_size=2, max_size=60),
    wrap_j=st.floats(1000, 70_000),
    start=st.floats(0, 1),
)
def test_energy_survives_any_number_of_wraps(watts: list[float], wrap_j: float, start: float) -> None:
    wrap_uj = int(wrap_j * 1e6)
    track, energy_uj, counted_j = PowerTrack(30), int(start * (wrap_uj - 1)), 0.0
    first_uj = energy_uj
    for number, each in enumerate([0.0, *watts]):
        energy_uj += int(each * 2 * 1e6)
        reading = PowerReading("rapl", None, {"a": energy_uj % wrap_uj}, {"a": wrap_uj})
        counted_j += track.add(number * 2.0, reading)
    assert counted_j == pytest.approx((energy_uj - first_uj) / 1e6)


def test_power_at_a_moment_and_counters_add_up() -> None:
    track = PowerTrack(30)
    cards = PowerReading("hwmon", 30.0)
    first = joined((PowerReading("rapl", None, {"a": 0}), None, cards))
    later = joined((PowerReading("rapl", None, {"a": 40_000_000}), PowerReading("hwmon", 50.0)))
    track.add(0.0, first)
    assert track.mean() is None
    assert track.add(2.0, later) == pytest.approx(40 + 80)
    assert track.mean() == Power(pytest.approx(60.0), "rapl+hwmon")


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (
            {
                f"{BATTERY}/energy_full": "23000000",
                "sys/class/power_supply/BAT1/type": "Battery",
                "sys/class/power_supply/BAT1/capacity": "20",
                "sys/class/power_supply/BAT1/energy_full": "69000000",
            },
            Battery(pytest.approx(30.75), True, pytest.approx(13.68)),
        ),
        (
            {
                "sys/class/power_supply/BAT1/type": "Battery",
                "sys/class/power_supply/BAT1/present": "0",
                "sys/class/power_supply/BAT1/capacity": "0",
            },
            Battery(63, True, pytest.approx(13.68)),
        ),
        (
            {
                "sys/class/power_supply/wacom_ac_0/type": "Mains",
                "sys/class/power_supply/wacom_ac_0/scope": "Device",
                "sys/class/power_supply/wacom_ac_0/online": "1",
            },
            Battery(63, True, pytest.approx(13.68)),
        ),
    ],
    ids=["by-size", "empty-bay", "tablets-mains"],
)
def test_several_supplies(tmp_path: Path, tree: dict[str, str], expected: Battery) -> None:
    assert read_battery(write_tree(tmp_path, LAPTOP, tree)) == expected
