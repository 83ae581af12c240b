"""Files on the node itself, and on volumes of persistent volume claims that its pod mounts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.source import Beginning, Stream, Wanted
from fleetfit_runtime.store.uri import split_uri

_CHUNK_BYTES = 1 << 18


class FileSource:
    """Reads `file:///path` and `pvc://CLAIM/path`; always from the start, since reading is cheaper than asking.

    Args:
        claims_dir: directory with one mounted volume for each claim, by name.
    """

    remote = False

    def __init__(self, claims_dir: Path) -> None:
        self._claims_dir = claims_dir

    @asynccontextmanager
    async def open(self, wanted: Wanted, beginning: Beginning) -> AsyncIterator[Stream]:
        """Open the file; see `Source`."""
        del beginning
        path = await asyncio.to_thread(self._path, wanted.uri)
        with _open(path) as file:
            yield Stream(0, "", _read(path, file))

    def _path(self, uri: str) -> Path:
        parts = split_uri(uri)
        if parts.scheme == "pvc":
            return self._claimed_path(uri, parts.netloc, unquote(parts.path))
        if parts.netloc not in ("", "localhost"):
            raise ModelFailure(
                Reason.UNSUPPORTED_URI,
                f"{uri!r} names the host {parts.netloc!r}; a file URI has three slashes, as in file:///models/a.onnx",
            )
        return Path(unquote(parts.path))

    def _claimed_path(self, uri: str, claim: str, path: str) -> Path:
        if not claim or claim.startswith("."):
            raise ModelFailure(Reason.UNSUPPORTED_URI, f"{uri!r} names no claim; use pvc://CLAIM/path")
        volume = (self._claims_dir / claim).resolve()
        if not volume.is_dir():
            raise ModelFailure(
                Reason.FILE_NOT_FOUND,
                f"the claim {claim!r} is not mounted on this node; name it in spec.runtime.claims of its HardwareClass",
            )
        file = volume.joinpath(*(part for part in path.split("/") if part)).resolve()
        if not file.is_relative_to(volume):
            raise ModelFailure(Reason.UNSUPPORTED_URI, f"{uri!r} leads out of the volume of the claim")
        return file


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFailure(Reason.FILE_NOT_FOUND, f"{path} does not exist on this node") from error
    except (PermissionError, IsADirectoryError) as error:
        raise ModelFailure(Reason.FILE_NOT_FOUND, f"{path} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise _unreadable(path, error) from error


async def _read(path: Path, file: BinaryIO) -> AsyncIterator[bytes]:
    while True:
        try:
            chunk = await asyncio.to_thread(file.read, _CHUNK_BYTES)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not chunk:
            return
        yield chunk


def _unreadable(path: Path, error: OSError) -> ModelFailure:
    message = f"{path} cannot be read: {error.strerror}"
    return ModelFailure(Reason.UNREACHABLE_SOURCE, message, transient=True)
