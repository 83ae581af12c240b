"""Libraries with execution providers that are not part of this ONNX Runtime: found, registered, and what went wrong.

A library comes from a setting, or from an installed package that keeps to ONNX Runtime's advice for them: it is called
`onnxruntime-ep-…` (Qualcomm's older one `onnxruntime-qnn`) and has a function `get_library_path`. A library is native
code of somebody else: whatever it does not like here is said, and the node serves without it.
"""

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import onnxruntime

logger = logging.getLogger(__name__)

_PREFIX: Final = "onnxruntime-ep-"
_OTHERS: Final = frozenset({"onnxruntime-qnn"})

Distributions = Callable[[], Iterable[metadata.Distribution]]
Register = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class PluginLibrary:
    """A library.

    Attributes:
        name: under which it is registered; any will do.
        path: where it is.
        version: of its package, empty where unknown.
    """

    name: str
    path: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class PluginReport:
    """What became of the libraries.

    Attributes:
        registered: those that ONNX Runtime took.
        refusals: sentences about the others, by name.
    """

    registered: tuple[PluginLibrary, ...] = ()
    refusals: tuple[tuple[str, str], ...] = ()

    @property
    def library_versions(self) -> list[str]:
        """What tells one set of registered libraries from another."""
        return [_version(library) for library in self.registered]

    @property
    def sentences(self) -> list[str]:
        """What to tell people, a sentence for each refusal."""
        return [f"plugin library {name} was not registered: {why}" for name, why in self.refusals]


def configured_libraries(settings: Iterable[str]) -> list[PluginLibrary]:
    """Return the libraries of a setting, each `name=path` or a path."""
    libraries = []
    for entry in settings:
        name, equals, path = entry.partition("=")
        libraries.append(PluginLibrary(name, path) if equals else PluginLibrary(Path(entry).stem, entry))
    return libraries


def plugin_distributions(folders: Sequence[str] = ()) -> Iterator[metadata.Distribution]:
    """Yield the installed packages that are called like plugins.

    By the names of their folders: to read what each installed package says of itself takes a tenth of a second.

    Args:
        folders: where packages are; the interpreter's path when absent.
    """
    for folder in folders or sys.path:
        try:
            names = sorted(os.listdir(folder or "."))  # noqa: PTH208 - paths of a thousand names would take longer
        except OSError:
            continue  # An archive, or nothing at all.
        for name in names:
            if name.endswith(".dist-info") and _is_plugin(name.partition("-")[0]):
                yield metadata.Distribution.at(Path(folder, name))


def _is_plugin(name: str) -> bool:
    plain = name.lower().replace("_", "-")
    return plain.startswith(_PREFIX) or plain in _OTHERS


def installed_libraries(distributions: Distributions = plugin_distributions) -> Iterator[PluginLibrary]:
    """Yield the libraries of installed packages; one that cannot be imported is logged."""
    for distribution in distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if not _is_plugin(name):
            continue
        for module in _modules(distribution):
            try:
                path = importlib.import_module(module).get_library_path()
            except Exception as error:
                # Anything may go wrong in somebody else's package; the node serves without it.
                logger.warning("plugin package is of no use", extra={"package": name, "error": str(error)})
                continue
            yield PluginLibrary(name, str(path), distribution.version)


def _register(name: str, path: str) -> None:
    # Builds before 1.23 have no such function; that is then the reason.
    onnxruntime.register_execution_provider_library(name, path)


def register_libraries(libraries: Iterable[PluginLibrary], register: Register = _register) -> PluginReport:
    """Register libraries with this process's ONNX Runtime, each at most once."""
    registered: dict[str, PluginLibrary] = {}
    refusals: list[tuple[str, str]] = []
    for library in libraries:
        if library.name in registered:
            continue
        try:
            register(library.name, library.path)
        except Exception as error:
            if "already registered" not in str(error).lower():
                said = " ".join(str(error).split())
                refusals.append((library.name, said))
                logger.error(
                    "plugin library not registered",
                    extra={"library": library.name, "path": library.path, "error": said},
                )
                continue
        registered[library.name] = library
    return PluginReport(tuple(registered.values()), tuple(refusals))


def _version(library: PluginLibrary) -> str:
    if library.version:
        return f"{library.name} {library.version}"
    try:
        seen = Path(library.path).stat()
    except OSError:
        return library.name
    return f"{library.name} {seen.st_size} {seen.st_mtime_ns}"


def _modules(distribution: metadata.Distribution) -> list[str]:
    """Return the packages that a distribution brings, by its list of files."""
    files = distribution.files or []
    return sorted(
        {file.parts[0] for file in files if len(file.parts) == 2 and file.parts[1] == "__init__.py"}
    )
