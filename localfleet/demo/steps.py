"""Progress that people can follow: what is being done, how far it is, how long it took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

Say = Callable[[str], None]
LINE_INTERVAL_S = 5.0


class Steps:
    """Prints steps: a live line on a terminal, one line now and then elsewhere.

    Args:
        console: Where to print.
        began_s: When the command began, on the monotonic clock.
    """

    def __init__(self, console: Console, began_s: float) -> None:
        self._console = console
        self._began_s = began_s

    @contextmanager
    def step(self, title: str) -> Iterator[Say]:
        """Announce a step, give a function that tells how far it is, and say how long it took."""
        began_s = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(escape(title)) as status:
                yield lambda detail: status.update(f"{escape(title)}  [dim]{escape(detail)}[/dim]")
        else:
            self._console.print(f"==> {escape(title)}", highlight=False)
            yield self._occasionally()
        now_s = time.monotonic()
        took = f"{now_s - began_s:.1f} s"
        at = f"{now_s - self._began_s:.0f} s"
        self._console.print(
            f"[green]✓[/green] {escape(title)}  [dim]{took}, at {at}[/dim]", highlight=False, soft_wrap=True
        )

    def _occasionally(self) -> Say:
        last_s = time.monotonic()

        def say(detail: str) -> None:
            nonlocal last_s
            now_s = time.monotonic()
            if now_s - last_s >= LINE_INTERVAL_S:
                last_s = now_s
                self._console.print(f"    {escape(detail)}", highlight=False)

        return say
