"""The processor's frequency: who governs it, and whether it runs slower than it is told to.

Knows the kernel's `cpufreq` files and nothing of Fleetfit.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fleetfit_runtime.probe.kernel_files import number_of, paths_of, some_of, text_of

_CPU: Final = "sys/devices/system/cpu"
_LONGEST: Final = 63
# A governor that holds the highest frequency; others lower it themselves when they see little work.
_FIXED_GOVERNOR: Final = "performance"
_SLOWED_SHARE: Final = 0.9


def governor(root: Path = Path("/")) -> str:
    """Return the frequency governor, all of them where clusters differ, empty where none is known."""
    names = {text_of(policy / "scaling_governor") for policy in _policies(root)}
    return ",".join(sorted(names - {""}))[:_LONGEST]


def runs_slowed(root: Path = Path("/")) -> bool:
    """Tell whether the processor runs below the frequency that its governor holds.

    Means something only while it works, and only under a governor that never lowers the frequency by itself. Turbo
    frequencies depend on how many cores work; where there is one, the base frequency is what counts.
    """
    if governor(root) != _FIXED_GOVERNOR:
        return False
    shares = list(_frequency_shares(_policies(root)))
    # The fastest policy: idle cores of others may show what they were parked at.
    return bool(shares) and max(shares) < _SLOWED_SHARE


def _frequency_shares(policies: Iterable[Path]) -> Iterable[float]:
    for policy in policies:
        current_khz = number_of(policy / "scaling_cur_freq")
        ceiling_khz = number_of(policy / "base_frequency") or _ceiling_khz(policy)
        if current_khz and ceiling_khz:
            yield current_khz / ceiling_khz


def _ceiling_khz(policy: Path) -> int | None:
    if policy.parents[1].joinpath("intel_pstate").is_dir() or number_of(policy.parent / "boost"):
        return None  # the highest frequency is a turbo frequency, and the base is not told
    return number_of(policy / "scaling_max_freq")


def _policies(root: Path) -> list[Path]:
    return some_of(paths_of(root / _CPU / "cpufreq", "policy*") or paths_of(root / _CPU, "cpu[0-9]*/cpufreq"))
