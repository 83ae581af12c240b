"""What providers compile of models, kept on the disk so that the next load need not compile it again.

A directory for each model in the store, and in it one for each way of compiling: provider, versions, driver, options.
What was compiled under another driver is thrown away once a load under the new one has succeeded. Only what was there
when a load had succeeded is used again (see `SealedFolder`), and a provider that compiles anew what it should have
found keeps nothing more of the model: it would only wear the disk out. Whatever the disk refuses, the model is loaded
without: nothing here may cost a load.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import onnxruntime

from fleetfit_runtime.store.sealed_folder import SealedFolder

logger = logging.getLogger(__name__)

QNN: Final = "QNNExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"
OPENVINO: Final = "OpenVINOExecutionProvider"
COMPILING: Final = frozenset({QNN, TENSORRT, OPENVINO})
_CONTEXT_NAME: Final = "model_ctx.onnx"
_KEY_DIGITS: Final = 16


class CompiledStore(Protocol):
    """Where directories of compiled models are; `BlobStore` is one."""

    def compiled_path(self, model: str) -> Path:
        """Return the directory of a model."""

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether this much more may be written."""


@dataclass(frozen=True, slots=True)
class CompiledPlace:
    """Where one provider keeps what it compiled of one model.

    Attributes:
        provider: the provider.
        folder: the place.
    """

    provider: str
    folder: SealedFolder

    @property
    def provider_options(self) -> dict[str, str]:
        """What to tell the provider."""
        directory = str(self.folder.directory)
        if self.provider == TENSORRT:
            return {
                # ONNX Runtime's Python binding takes these two words only for what is true and false.
                "trt_engine_cache_enable": "True",
                "trt_engine_cache_path": directory,
                "trt_timing_cache_enable": "True",
                "trt_timing_cache_path": directory,
            }
        return {"cache_dir": directory} if self.provider == OPENVINO else {}

    @property
    def session_entries(self) -> dict[str, str]:
        """What to tell the session: to write the compiled model where there is none yet."""
        if self.provider != QNN or self.compiled_model is not None:
            return {}
        return {
            "ep.context_enable": "1",
            # A file of its own for the provider's part: a message of protobuf holds 2 GiB at most.
            "ep.context_embed_mode": "0",
            "ep.context_file_path": str(self.folder.directory / _CONTEXT_NAME),
        }

    @property
    def compiled_model(self) -> Path | None:
        """The model to load in the place of the original; None where the provider finds what it compiled by itself."""
        path = self.folder.directory / _CONTEXT_NAME
        return path if self.provider == QNN and path.is_file() else None

    def keep(self) -> None:
        """Let the next load use what is there now; if this one did not use what there was, none will."""
        try:
            if self.folder.rewritten:
                logger.info("provider does not use what it keeps", extra={"provider": self.provider})
                self.folder.retire()
            else:
                self.folder.seal()
            # Only now: a driver that is not there yet, early after a boot, must not cost what was compiled for it.
            _discard_others(self.folder.directory, self.provider)
        except OSError as error:
            logger.warning("compiled model cannot be kept", extra=self._log_values(error))

    def clear(self) -> None:
        """Throw away what is there."""
        try:
            self.folder.clear()
        except OSError as error:
            logger.warning("compiled model cannot be removed", extra=self._log_values(error))

    def _log_values(self, error: Exception) -> dict[str, str]:
        return {"provider": self.provider, "error": str(error)}


class CompiledModels:
    """The places of a node.

    Args:
        store: where they are.
        versions: of what compiles besides ONNX Runtime, such as plugin libraries.
        driver: tells the version of the accelerators' drivers.
    """

    def __init__(self, store: CompiledStore, versions: Sequence[str], driver: Callable[[], str]) -> None:
        self._store = store
        self._versions = (f"onnxruntime {onnxruntime.__version__}", *versions)
        self._driver = driver

    def place(
        self, model: str, provider: str, options: Mapping[str, str], size_bytes: int
    ) -> CompiledPlace | None:
        """Return the place for a model, ready for use; blocks.

        Args:
            model: digest of all its files.
            provider: who compiles.
            options: what the provider is told besides.
            size_bytes: size of the files, about which the compiled ones have.

        Returns:
            None for a provider that keeps nothing or keeps it in vain, and where the disk refuses.
        """
        if provider not in COMPILING:
            return None
        told = [provider, self._driver(), *self._versions, json.dumps(dict(options), sort_keys=True)]
        key = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:_KEY_DIGITS]
        directory = self._store.compiled_path(model) / f"{provider}-{key}"
        try:
            folder = SealedFolder(directory)
            if folder.retired:
                return None
            if not directory.is_dir() and not self._store.has_room(size_bytes):
                raise OSError(f"no room for {size_bytes} bytes")
            folder.open()
        except OSError as error:
            logger.warning(
                "compiled model is not kept",
                extra={"provider": provider, "directory": str(directory), "error": str(error)},
            )
            return None
        return CompiledPlace(provider, folder)


def _discard_others(directory: Path, provider: str) -> None:
    """Remove what the provider compiled of the model under other versions, drivers or options."""
    for path in directory.parent.glob(f"{provider}-*"):
        if path.is_dir() and path != directory:
            shutil.rmtree(path, ignore_errors=True)
        elif path.stem != directory.name:
            path.unlink(missing_ok=True)
