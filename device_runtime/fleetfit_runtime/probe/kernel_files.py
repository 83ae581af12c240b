"""Reads the small files in which the kernel tells facts. Whatever cannot be read is unknown, never an error.

A node may lack a file, a container may hide it, the user may not read it, and a sensor that is asleep refuses: all of
them look alike from here.
"""

from pathlib import Path


def text_of(path: Path) -> str:
    """Return the stripped text of a file, empty when it cannot be read."""
    try:
        return path.read_text(errors="replace").strip("\0 \t\r\n")
    except OSError:
        return ""


def number_of(path: Path) -> int | None:
    """Return the whole number in a file, or None."""
    try:
        return int(text_of(path))
    except ValueError:
        return None


def paths_of(directory: Path, pattern: str) -> list[Path]:
    """Return what matches a pattern below a directory, sorted; nothing when it cannot be listed."""
    try:
        return sorted(directory.glob(pattern))
    except OSError:
        return []


def some_of(paths: list[Path], most: int = 32) -> list[Path]:
    """Return at most so many of the paths, evenly spread: the hundreds of processors of a server are alike."""
    return paths if len(paths) <= most else [paths[index * len(paths) // most] for index in range(most)]
