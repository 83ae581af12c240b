"""Reference runs of this node, timed once and kept on disk: a restart must not cost the seconds again.

A run is good for one provider chain, ONNX Runtime version, number of threads, processor quota, frequency governor,
driver and version of the reference set.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from fleetfit_api.node_telemetry import ReferenceRun
from pydantic import BaseModel, ConfigDict, ValidationError

from fleetfit_runtime.store.atomic_file import write_atomically

logger = logging.getLogger(__name__)

RunReferenceSet = Callable[[Sequence[str], int], list[ReferenceRun]]


class ReferenceKey(BaseModel):
    """What the times depend on."""

    model_config = ConfigDict(frozen=True)

    providers: tuple[str, ...]
    onnxruntime_version: str
    intra_op_threads: int
    set_version: str
    cpu_count: float
    driver_version: str
    governor: str


class _Stored(BaseModel):
    key: ReferenceKey
    runs: list[ReferenceRun]


class ReferenceCache:
    """Gives the runs, timing them where they are not known.

    Args:
        path: the file.
        run: times the reference set; blocks for seconds.
    """

    def __init__(self, path: Path, run: RunReferenceSet) -> None:
        self._path = path
        self._run = run

    def known(self, key: ReferenceKey) -> list[ReferenceRun] | None:
        """Return the stored runs if they are of this key; a file of an earlier version is as good as none."""
        try:
            stored = _Stored.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return None
        return stored.runs if stored.key == key and stored.runs else None

    def time(self, key: ReferenceKey) -> list[ReferenceRun]:
        """Time the reference set and store the runs; blocks. A node that cannot is reported without a fingerprint."""
        try:
            runs = self._run(key.providers, key.intra_op_threads)
        except Exception:
            logger.exception("reference set could not be timed")
            return []
        try:
            write_atomically(self._path, _Stored(key=key, runs=runs).model_dump_json(by_alias=True).encode())
        except OSError as error:
            logger.error("reference runs cannot be stored", extra={"error": str(error)})
        return runs
