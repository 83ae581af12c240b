"""Building all programs once and publishing them in the cache, whole or not at all.

Two builders do not collide: the second waits for the first and finds its work done.
"""

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from localfleet.binaries import PROGRAMS, Binaries
from localfleet.build.progress import BuildProgress
from localfleet.build.recipe import (
    BUILD_ENV,
    BUILD_FLAGS,
    MODULES,
    STORAGE_MODULES,
    GoModule,
    digest,
    required_go,
)
from localfleet.build.toolchain import find_go

_KEPT_OUTPUT_LINES: Final = 40


class BuildError(RuntimeError):
    """Go could not build a program; the message has the end of what it said."""


def default_cache(env: Mapping[str, str]) -> Path:
    """Give the cache directory, where XDG wants it."""
    base = env.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "fleetfit"


def cached_binaries(cache: Path) -> Binaries | None:
    """Give the programs if they have been built."""
    directory = cache / "bin" / digest(_platform())
    return Binaries(directory) if directory.is_dir() else None


def ensure_binaries(cache: Path, progress: BuildProgress) -> Binaries:
    """Give the programs, building them if that has not been done yet (minutes).

    Raises:
        NoGoError: there is no Go.
        BuildError: Go failed.
    """
    directory = _ensure(cache, MODULES, progress)
    missing = [program for program in PROGRAMS if not (directory / program).is_file()]
    if missing:
        raise BuildError(f"no module builds {', '.join(missing)}")
    return Binaries(directory)


def ensure_storage_servers(cache: Path, progress: BuildProgress) -> Path:
    """Give the directory with the servers of storage that tests fetch from, building them likewise.

    Raises:
        NoGoError: there is no Go.
        BuildError: Go failed.
    """
    return _ensure(cache, STORAGE_MODULES, progress)


def _ensure(cache: Path, modules: tuple[GoModule, ...], progress: BuildProgress) -> Path:
    published = cache / "bin" / digest(_platform(), modules)
    if published.is_dir():
        return published
    published.parent.mkdir(parents=True, exist_ok=True)
    with progress, _locked(published.with_suffix(".lock"), progress):
        if not published.is_dir():
            # The name is ours alone while we hold the lock, so what lies there is from a build that died.
            partial = published.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            _build_all(modules, find_go(required_go(modules), cache), partial, progress)
            partial.rename(published)
    return published


def _build_all(modules: tuple[GoModule, ...], go: Path, directory: Path, progress: BuildProgress) -> None:
    for module in modules:
        for program, package in module.programs:
            progress.started(program)
            _build(go, module, package, directory / program, progress)
            progress.finished()


def _build(go: Path, module: GoModule, package: str, output: Path, progress: BuildProgress) -> None:
    command = [
        str(go),
        "build",
        "-v",
        *BUILD_FLAGS,
        "-ldflags",
        module.link_flags,
        "-o",
        str(output),
        package,
    ]
    said: deque[str] = deque(maxlen=_KEPT_OUTPUT_LINES)
    packages = 0
    with subprocess.Popen(  # noqa: S603 - Go with arguments from the recipe
        command,
        cwd=module.directory,
        env={**os.environ, **BUILD_ENV},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as build:
        for line in build.stdout or ():
            said.append(line)
            # With -v Go names each package that it compiles, one a line; downloads and errors have spaces.
            if " " not in line:
                packages += 1
                progress.compiled(packages)
    if build.returncode != 0:
        raise BuildError(f"building {output.name} failed with code {build.returncode}:\n{''.join(said)}")


@contextlib.contextmanager
def _locked(path: Path, progress: BuildProgress) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _platform() -> str:
    return f"{platform.system()}-{platform.machine()}".lower()
