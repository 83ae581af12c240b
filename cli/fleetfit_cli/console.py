"""Where text goes: results to standard output, what goes on meanwhile to standard error."""

import sys


def write(text: str) -> None:
    """Write a result."""
    sys.stdout.write(text)


def note(text: str) -> None:
    """Write a line on what is being done, or what to look at."""
    sys.stderr.write(f"fleetfit: {text}\n")
    sys.stderr.flush()
