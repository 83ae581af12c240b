"""All files of one model: the graph, and the external data that it names, side by side as ONNX Runtime wants them.

A model of one file is loaded from the store as it is. One with further files gets a directory of hard links to them,
looked at before each use, so that what lies there is what was just verified, and equal files are still one on the disk.
"""

import asyncio
import contextlib
import errno
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.fetch import Fetcher
from fleetfit_runtime.store.signatures import Signatures, SignatureTerms
from fleetfit_runtime.store.signed_files import ModelDigests
from fleetfit_runtime.store.source import Wanted

# No part may begin with a dot, so that no name leads out of its directory; the API refuses others as well.
_NAME: Final = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$")
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.EACCES)


@dataclass(frozen=True, slots=True)
class DataFile:
    """A further file of a model.

    Attributes:
        name: how the graph calls it, relative to itself.
        wanted: the file.
    """

    name: str
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class WantedModel:
    """A model with all its files.

    Attributes:
        graph: the ONNX file.
        data: its external data.
        signature: what is asked of its signature.
    """

    graph: Wanted
    data: tuple[DataFile, ...] = ()
    signature: SignatureTerms = field(default_factory=SignatureTerms)

    @property
    def files(self) -> tuple[Wanted, ...]:
        """All files, the graph first."""
        return (self.graph, *(each.wanted for each in self.data))

    @property
    def digests(self) -> frozenset[str]:
        """What must stay for the model: the digests of its files, the names of their directory and its signature."""
        names = {self.set_name, self.signature.file_name(self.graph.sha256)}
        return frozenset({*(each.sha256 for each in self.files), *names}) - {""}

    @property
    def set_name(self) -> str:
        """Name of the directory of a model with further files: a digest of which files have which names; else empty."""
        if not self.data:
            return ""
        names = sorted((each.name, each.wanted.sha256) for each in self.data)
        return hashlib.sha256(json.dumps([self.graph.sha256, names]).encode()).hexdigest()


class ModelFiles:
    """Brings the files of models into the store, and says where to load them from.

    Args:
        store: the files.
        fetcher: brings them.
        signatures: checks who has signed them; without it none are looked at.
    """

    def __init__(self, store: BlobStore, fetcher: Fetcher, signatures: Signatures | None = None) -> None:
        self._store = store
        self._fetcher = fetcher
        self._signatures = signatures

    def has(self, model: WantedModel) -> bool:
        """Tell whether all files are there; their bytes may have rotted since."""
        return all(self._store.has(each.sha256) for each in model.files)

    async def ensure(self, model: WantedModel) -> Path:
        """Return where to load the model from, fetching what is not there.

        Raises:
            ModelFailure: a file could not be fetched, is not the one declared, has a name that is not allowed, or is
                not signed as it should be.
        """
        paths = await self.fetch(model)
        try:
            return await asyncio.to_thread(self._together, model, paths)
        except OSError as error:
            message = f"the files of the model cannot be laid side by side in the store: {error}"
            raise ModelFailure(Reason.INTERNAL_ERROR, message, transient=True) from error

    async def fetch(self, model: WantedModel) -> list[Path]:
        """Bring the files into the store, the graph first, check their signature, and return where each is.

        Nothing keeps them there yet.

        Raises:
            ModelFailure: as `ensure`.
        """
        _check_names(model.data)
        paths = [await self._fetcher.ensure(each) for each in model.files]
        if self._signatures is not None:
            data = tuple((each.name, each.wanted.sha256) for each in model.data)
            await self._signatures.check(ModelDigests(model.graph.sha256, data), model.signature)
        return paths

    def verified(self, model: WantedModel) -> Path | None:
        """Return where to load the model from if all its files are good; blocks.

        Raises:
            OSError: the disk refuses, which says nothing about the bytes.
        """
        paths = [self._store.verified_path(each.sha256) for each in model.files]
        good = [path for path in paths if path is not None]
        return self._together(model, good) if len(good) == len(paths) else None

    def _together(self, model: WantedModel, paths: Sequence[Path]) -> Path:
        if not model.data:
            return paths[0]
        directory = self._store.set_path(model.set_name)
        graph = directory / paths[0].name
        for name, path in zip((graph.name, *(each.name for each in model.data)), paths, strict=True):
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(path, target)
        return graph


def _check_names(data: Sequence[DataFile]) -> None:
    for each in data:
        if not _NAME.match(each.name):
            message = (
                f"a further file of the model is called {each.name!r}, which is not a path below the model"
            )
            raise ModelFailure(Reason.UNSUPPORTED_URI, message)


def _place(path: Path, target: Path) -> None:
    """Give a file a second name; another thread may do the same, and a session may have the old file open."""
    with contextlib.suppress(FileNotFoundError):
        if target.samefile(path):
            return
    temporary = target.with_name(f".{target.name}.{threading.get_ident()}")
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without links, as on some SD cards: the bytes are there twice.
        shutil.copyfile(path, temporary)
    temporary.replace(target)
    temporary.unlink(missing_ok=True)  # Two names of one file are not replaced, but both stay.
