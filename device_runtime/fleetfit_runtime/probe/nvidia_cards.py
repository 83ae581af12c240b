"""NVIDIA's cards by its management library (NVML), where `nvidia-ml-py` is installed and the driver has cards.

Jetsons have the library too, but it knows neither their power nor their temperature; the kernel's files do.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from fleetfit_runtime.probe.power_reading import PowerReading

logger = logging.getLogger(__name__)

NVML: Final = "nvml"
_DRIVER: Final = "proc/driver/nvidia/version"
_UJ_PER_MJ: Final = 1000
_MW_PER_W: Final = 1000


@dataclass(frozen=True, slots=True)
class CardsReading:
    """The state of all cards.

    Attributes:
        power: What their meters show, None when one of them has none.
        celsius: Temperature of the hottest card.
        load: Load of the busiest card, 1 when it is busy.
    """

    power: PowerReading | None = None
    celsius: float | None = None
    load: float | None = None


class NvidiaCards:
    """Reads the cards.

    Args:
        library: the module `pynvml`, already initialised.
        count: how many cards there are.
    """

    def __init__(self, library: Any, count: int) -> None:
        self._nvml = library
        self._handles = [library.nvmlDeviceGetHandleByIndex(index) for index in range(count)]

    def read(self) -> CardsReading:
        """Return the state of the cards now; what a card does not tell is unknown."""
        celsius = [self._ask(self._celsius, handle) for handle in self._handles]
        loads = [self._ask(self._load, handle) for handle in self._handles]
        return CardsReading(
            power=self._power(),
            celsius=max((each for each in celsius if each is not None), default=None),
            load=max((each for each in loads if each is not None), default=None),
        )

    def _power(self) -> PowerReading | None:
        """Return counters where all cards have them (Volta and later), else the power now."""
        energies = [self._ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption, each) for each in self._handles]
        if all(energy is not None for energy in energies):
            counted = {
                f"{NVML}:{index}": int(energy) * _UJ_PER_MJ
                for index, energy in enumerate(energies)
                if energy is not None
            }
            return PowerReading(NVML, None, counted)
        powers = [self._ask(self._nvml.nvmlDeviceGetPowerUsage, handle) for handle in self._handles]
        known = [power for power in powers if power is not None]
        return PowerReading(NVML, sum(known) / _MW_PER_W) if len(known) == len(powers) else None

    def _celsius(self, handle: Any) -> float:
        return float(self._nvml.nvmlDeviceGetTemperature(handle, self._nvml.NVML_TEMPERATURE_GPU))

    def _load(self, handle: Any) -> float:
        return min(1.0, float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100)

    def _ask(self, question: Callable[[Any], float], handle: Any) -> float | None:
        try:
            return question(handle)
        except self._nvml.NVMLError:
            return None


FindCards = Callable[[Path], NvidiaCards | None]


def find_nvidia_cards(
    root: Path = Path("/"), load: Callable[[str], Any] = import_module
) -> NvidiaCards | None:
    """Return the node's cards, or None where there are none or nothing tells of them; may take seconds.

    Args:
        root: root of the file system.
        load: imports a module by name.
    """
    if not (root / _DRIVER).exists():
        return None
    try:
        library = load("pynvml")
    except ImportError:
        logger.info("cards have no telemetry: nvidia-ml-py is not installed")
        return None
    try:
        library.nvmlInit()
        count = library.nvmlDeviceGetCount()
        return NvidiaCards(library, count) if count else None
    except library.NVMLError as error:
        logger.warning("cards have no telemetry", extra={"error": str(error)})
        return None
