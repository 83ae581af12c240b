"""What a person sees while Go compiles: a live display on a terminal, a few plain lines anywhere else."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

_PLAIN_INTERVAL_S: Final = 15.0


class BuildProgress(Protocol):
    """Hears how a build goes."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to show."""
        ...

    def waiting(self) -> None:
        """Another process builds the same."""

    def started(self, program: str) -> None:
        """A program is being built."""

    def compiled(self, packages: int) -> None:
        """So many packages of it have been compiled."""

    def finished(self) -> None:
        """It has been built."""


class PlainProgress:
    """Lines for logs: one at the start and end of each program and one from time to time."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._program = ""
        self._packages = 0
        self._started_at_s = 0.0
        self._shown_at_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def waiting(self) -> None:
        """Say that another process builds."""
        self._line("waiting for another build of the same programs")

    def started(self, program: str) -> None:
        """Say which program is being built."""
        self._program, self._packages = program, 0
        self._started_at_s = self._shown_at_s = self._clock()
        self._line(f"building {program}")

    def compiled(self, packages: int) -> None:
        """Say how far it is, not too often."""
        self._packages = packages
        if self._clock() - self._shown_at_s >= _PLAIN_INTERVAL_S:
            self._shown_at_s = self._clock()
            self._line(f"building {self._program}: {packages} packages compiled, {self._elapsed_s:.0f} s")

    def finished(self) -> None:
        """Say that it is built."""
        self._line(f"built {self._program}: {self._packages} packages compiled, {self._elapsed_s:.0f} s")

    @property
    def _elapsed_s(self) -> float:
        return self._clock() - self._started_at_s

    def _line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


class LiveProgress:
    """A live line for each program."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<24}"),
            TextColumn("{task.fields[packages]:>5} packages compiled"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def waiting(self) -> None:
        """Say that another process builds."""
        self._progress.console.print("Waiting for another build of the same programs")

    def started(self, program: str) -> None:
        """Add a line for the program."""
        self._task = self._progress.add_task(program, total=None, packages=0)

    def compiled(self, packages: int) -> None:
        """Count."""
        if self._task is not None:
            self._progress.update(self._task, packages=packages)

    def finished(self) -> None:
        """Tick the program off."""
        if self._task is not None:
            self._progress.update(self._task, total=1, completed=1)


def make_progress(console: Console) -> BuildProgress:
    """Choose the display that fits the console."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
