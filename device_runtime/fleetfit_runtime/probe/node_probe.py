"""Looks at the node as a whole: once for the status and the metrics, or over a while in which something is timed.

It only reads small files of the kernel, in a few milliseconds; a slow sensor may take longer, so call it off the event
loop.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fleetfit_runtime.probe.battery import Battery, read_battery
from fleetfit_runtime.probe.drivers import driver_versions
from fleetfit_runtime.probe.load import Load, LoadMeter, gpu_load
from fleetfit_runtime.probe.nvidia_cards import NVML, CardsReading, FindCards, NvidiaCards, find_nvidia_cards
from fleetfit_runtime.probe.power import read_power
from fleetfit_runtime.probe.power_reading import PowerReading
from fleetfit_runtime.probe.power_track import Power, PowerTrack
from fleetfit_runtime.probe.processor import governor, runs_slowed
from fleetfit_runtime.probe.rapl import RAPL, rapl_is_hidden
from fleetfit_runtime.probe.thermal import Temperature, hottest
from fleetfit_runtime.probe.throttle import ThrottleSigns

Clock = Callable[[], float]

# A sign of throttling comes and goes with every degree; one that was seen holds for this long.
THROTTLE_HOLD_S: Final = 30.0
POWER_WINDOW_S: Final = 30.0
# Time in which the load that is told follows a change by two thirds: bursts of single requests are no load.
LOAD_TIME_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class NodeReading:
    """The state of the node as it was read; what is unknown is None, empty or False.

    Attributes:
        governor: Frequency governor.
        driver_version: Drivers of accelerators.
        throttled: Whether the processor is slowed by heat or power.
        load: Load of the processors over about the last half minute.
        gpu_load: Load of the GPU, 1 when it is busy.
        temperature: Temperature of the hottest zone.
        power: Mean power over the last half minute.
        inference_power: Mean power while the node last timed inferences back to back.
        battery: State of the batteries.
        energy_joules: Energy since the probe began, by the method by which it is known.
        hidden_meters: Methods of meters that this process may not read.
    """

    governor: str = ""
    driver_version: str = ""
    throttled: bool = False
    load: Load | None = None
    gpu_load: float | None = None
    temperature: Temperature | None = None
    power: Power | None = None
    inference_power: Power | None = None
    battery: Battery | None = None
    energy_joules: Mapping[str, float] = field(default_factory=dict)
    hidden_meters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the node was while something was timed.

    Attributes:
        governor: Frequency governor at the end.
        driver_version: Drivers of accelerators.
        throttled: Whether anything showed that the processor was slowed.
        others_load: Load by everything but this process, 1 when it took all processors; 0 when unknown.
        power: Mean power, None when unknown.
    """

    governor: str = ""
    driver_version: str = ""
    throttled: bool = False
    others_load: float = 0.0
    power: Power | None = None


class Episode:
    """Watches the node while something is timed.

    Args:
        root: root of the file system.
        clock: seconds.
        power: reads the meters.
        ended: told the conditions at the end.
    """

    def __init__(
        self,
        root: Path,
        clock: Clock,
        power: Callable[[], PowerReading | None],
        ended: Callable[[Conditions], None],
    ) -> None:
        self._root = root
        self._clock = clock
        self._read_power = power
        self._ended = ended
        self._signs = ThrottleSigns(root, clock)
        self._load = LoadMeter(root)
        self._power = PowerTrack(window_s=float("inf"))
        self._throttled = False
        self._power.add(clock(), power())

    def look(self) -> None:
        """Look at the node between two timed rounds, while the processor still runs as it did in them."""
        self._throttled |= runs_slowed(self._root) or self._signs.seen()
        self._power.add(self._clock(), self._read_power())

    def end(self) -> Conditions:
        """Return how it was."""
        self.look()
        load = self._load.since_last()
        conditions = Conditions(
            governor=governor(self._root),
            driver_version=driver_versions(self._root),
            throttled=self._throttled,
            others_load=load.others if load else 0.0,
            power=self._power.mean(),
        )
        self._ended(conditions)
        return conditions


class NodeProbe:
    """Reads the state of the node.

    Args:
        root: root of the file system that holds `proc` and `sys`.
        clock: seconds.
        find_cards: finds NVIDIA's cards, at the first look at the node.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        clock: Clock = time.monotonic,
        find_cards: FindCards = find_nvidia_cards,
    ) -> None:
        self._root = root
        self._clock = clock
        self._find_cards: FindCards | None = find_cards
        self._cards: NvidiaCards | None = None
        self._energy_j: dict[str, float] = {}
        self._signs = ThrottleSigns(root, clock)
        self._load_meter = LoadMeter(root)
        self._load: Load | None = None
        self._load_at_s = clock()
        self._power = PowerTrack(POWER_WINDOW_S)
        self._throttled_until_s = float("-inf")
        self._inference_power: Power | None = None

    def begin(self) -> Episode:
        """Begin to watch the node while something is timed; from any thread."""
        return Episode(self._root, self._clock, self._power_now, self._note)

    def governor(self) -> str:
        """Return the frequency governor now."""
        return governor(self._root)

    def driver_version(self) -> str:
        """Return the drivers of accelerators now."""
        return driver_versions(self._root)

    def read(self) -> NodeReading:
        """Return the state of the node now; from one thread at a time."""
        now_s = self._clock()
        if self._signs.seen():
            self._throttled_until_s = now_s + THROTTLE_HOLD_S
        cards = self._cards_now()
        self._count_energy(now_s, read_power(self._root, cards.power))
        load = gpu_load(self._root)
        return NodeReading(
            governor=governor(self._root),
            driver_version=driver_versions(self._root),
            throttled=now_s < self._throttled_until_s,
            load=self._smoothed_load(now_s),
            gpu_load=cards.load if load is None else load,
            temperature=_hotter(hottest(self._root), cards.celsius),
            power=self._power.mean(),
            inference_power=self._inference_power,
            battery=read_battery(self._root),
            energy_joules=dict(self._energy_j),
            hidden_meters=(RAPL,) if rapl_is_hidden(self._root) else (),
        )

    def _power_now(self) -> PowerReading | None:
        return read_power(self._root, self._cards_now().power)

    def _cards_now(self) -> CardsReading:
        find, self._find_cards = self._find_cards, None
        if find is not None:
            self._cards = find(self._root)
        return CardsReading() if self._cards is None else self._cards.read()

    def _count_energy(self, now_s: float, reading: PowerReading | None) -> None:
        joules = self._power.add(now_s, reading)
        if reading is not None:
            self._energy_j[reading.method] = self._energy_j.get(reading.method, 0.0) + joules

    def _smoothed_load(self, now_s: float) -> Load | None:
        latest = self._load_meter.since_last()
        if latest is None:
            return self._load
        if self._load is None:
            self._load = latest
        else:
            weight = 1 - math.exp(-(now_s - self._load_at_s) / LOAD_TIME_S)
            self._load = Load(
                total=self._load.total + weight * (latest.total - self._load.total),
                others=self._load.others + weight * (latest.others - self._load.others),
            )
        self._load_at_s = now_s
        return self._load

    def _note(self, conditions: Conditions) -> None:
        if conditions.power is not None:
            self._inference_power = conditions.power
        if conditions.throttled:
            self._throttled_until_s = self._clock() + THROTTLE_HOLD_S


def _hotter(temperature: Temperature | None, card_celsius: float | None) -> Temperature | None:
    if card_celsius is None or (temperature is not None and temperature.celsius >= card_celsius):
        return temperature
    return Temperature(card_celsius, NVML)
