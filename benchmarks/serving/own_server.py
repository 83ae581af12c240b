"""The runtime of this project as a server to measure: it starts from its disk, without a cluster."""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from fleetfit_api.node_inference import Assignment, NodeInferenceSpec
from fleetfit_api.suite import Precision
from fleetfit_runtime.agent.node_memory import NodeMemory, Remembered

from benchmarks.serving.process import GRPC_PORTS_ABOVE, SERVER_CORE, ServerProcess, running

PORT: Final = 18480
_KEPT: Final = ("PATH", "PYTHONPATH", "HOME", "VIRTUAL_ENV")


def assignment(name: str, path: Path, variant: str = "v1") -> Assignment:
    """Return the assignment of a model file under a name."""
    content = path.read_bytes()
    return Assignment(
        namespace="bench",
        deployment=name,
        model_name=name,
        suite=name,
        variant=variant,
        precision=Precision.FP32,
        uri=path.resolve().as_uri(),
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )


def prepare_store(store: Path, models: Mapping[str, Path]) -> None:
    """Write a store whose node has been assigned these models."""
    store.mkdir(parents=True, exist_ok=True)
    spec = NodeInferenceSpec(
        leader_epoch=1, assignments=[assignment(name, path) for name, path in models.items()]
    )
    NodeMemory(store / "node_memory.json").write(Remembered(uid="bench", generation=1, epoch=1, spec=spec))


def own_server(
    store: Path, cores: Sequence[int] = (SERVER_CORE,), port: int = PORT, **settings: str
) -> AbstractContextManager[ServerProcess]:
    """Run the runtime on a prepared store.

    Args:
        store: Its disk.
        cores: Processor cores that it may use.
        port: Where it answers.
        **settings: Further environment variables.
    """
    environment = {
        **{name: os.environ[name] for name in _KEPT if name in os.environ},
        "NODE_NAME": "bench",
        "FLEETFIT_HTTP_PORT": str(port),
        "FLEETFIT_GRPC_PORT": str(port + GRPC_PORTS_ABOVE),
        "FLEETFIT_STORE_DIR": str(store),
        "FLEETFIT_INTRA_OP_THREADS": "1",
        "FLEETFIT_DRAIN_DELAY_SECONDS": "0",
        **settings,
    }
    return running(
        [sys.executable, "-m", "fleetfit_runtime"],
        environment,
        port,
        "/v2/health/ready",
        cores=cores,
        log=store / "log.jsonl",
    )
