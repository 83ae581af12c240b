"""Which accelerator drivers the node runs, in which version: with another one a reference run is no longer true."""

import re
from pathlib import Path
from typing import Final

from fleetfit_runtime.probe.kernel_files import paths_of, text_of

_LONGEST: Final = 128
# NVIDIA's line names its product before the version and builder, compiler and date after it.
_NVIDIA_VERSION: Final = re.compile(r"\s(\d+\.\d+(?:\.\d+)?)\s")
_TEGRA_RELEASE: Final = re.compile(r"#\s*(R\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")
# Kernel modules of processors' GPUs and NPUs, and of cards that runtimes use.
_MODULES: Final = (
    "amdgpu",
    "xe",
    "i915",
    "intel_vpu",
    "amdxdna",
    "rknpu",
    "rocket",
    "hailo_pci",
    "qaic",
    "gasket",
)


def driver_versions(root: Path = Path("/")) -> str:
    """Return the drivers with their versions, such as `nvidia 550.54.14`; empty where none is loaded.

    A driver that is a part of the kernel has the kernel's release as its version.
    """
    found = {"nvidia": _nvidia(root), "tegra": _tegra(root)}
    found |= {module: _module(root, module) for module in _MODULES}
    return "; ".join(f"{name} {version}" for name, version in found.items() if version)[:_LONGEST]


def _nvidia(root: Path) -> str:
    first_line = text_of(root / "proc/driver/nvidia/version").partition("\n")[0]
    match = _NVIDIA_VERSION.search(f"{first_line} ")
    return match[1] if match else text_of(root / "sys/module/nvidia/version")


def _tegra(root: Path) -> str:
    match = _TEGRA_RELEASE.search(text_of(root / "etc/nv_tegra_release"))
    return f"{match[1]}.{match[2]}" if match else ""


def _module(root: Path, module: str) -> str:
    directory = root / "sys/module" / module
    # A module that is built into the kernel has a directory in any case; it drives something where devices are bound.
    is_loaded = bool(text_of(directory / "initstate"))
    if not is_loaded and not paths_of(root / "sys/bus/pci/drivers" / module, "0*:*"):
        return ""
    return text_of(directory / "version") or text_of(root / "proc/sys/kernel/osrelease")
