"""What the node knows after a power cut without network: its last spec, the highest leader epoch, and what worked.

One small file, replaced atomically on change. A damaged file is as good as none: the control plane has the truth, and a
node that cannot read its memory must still start.
"""

import logging
from pathlib import Path

from fleetfit_api.node_inference import Assignment, NodeInferenceSpec
from pydantic import BaseModel, ConfigDict, ValidationError

from fleetfit_runtime.agent.wanted_model import wanted_model
from fleetfit_runtime.store.atomic_file import write_atomically

logger = logging.getLogger(__name__)


class Remembered(BaseModel):
    """The content of the file.

    Args:
        uid: identity of the NodeInference that the spec came from.
        generation: its generation.
        epoch: highest leader epoch seen.
        spec: the last spec that was taken; None before the first.
        last_good: the last assignment that served, by `namespace/deployment`.
        earlier_good: the one that served before it; its files stay as long as the disk has room to spare.
    """

    model_config = ConfigDict(frozen=True)

    uid: str = ""
    generation: int | None = None
    epoch: int = 0
    spec: NodeInferenceSpec | None = None
    last_good: dict[str, Assignment] = {}
    earlier_good: dict[str, Assignment] = {}

    @property
    def assignments(self) -> list[Assignment]:
        """All assignments that are remembered."""
        wanted = self.spec.assignments if self.spec is not None else ()
        return [*wanted, *self.last_good.values(), *self.earlier_good.values()]

    @property
    def digests(self) -> set[str]:
        """Digests of the files that are needed to serve from this memory."""
        assignments = [*self.last_good.values(), *(self.spec.assignments if self.spec is not None else ())]
        return {digest for assignment in assignments for digest in wanted_model(assignment).digests}


class NodeMemory:
    """Reads and writes the file.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Remembered:
        """Return what is remembered, which is nothing on a new node."""
        try:
            return Remembered.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Remembered()
        except (OSError, ValidationError) as error:
            logger.warning("memory of the node is unreadable", extra={"error": str(error)})
            return Remembered()

    def write(self, remembered: Remembered) -> Remembered:
        """Remember, and return what a restart would find.

        A disk that refuses is logged, because the node serves on without. What is on the disk is looked at each time:
        the file may have vanished, or another disk been mounted, since it was written.
        """
        known = self.read()
        if remembered == known:
            return known
        try:
            write_atomically(self._path, remembered.model_dump_json(by_alias=True).encode())
        except OSError as error:
            logger.error("memory of the node cannot be written", extra={"error": str(error)})
            return known
        return remembered
