"""Other Python model servers, each in its own environment under build/, serving the same models with one thread.

Environments are made by uv when the benchmark first runs; a server whose environment cannot be made is left out and
said so.
"""

import os
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.serving.bodies import Form
from benchmarks.serving.process import GRPC_PORTS_ABOVE, ServerProcess, running

_SCRIPTS: Final = Path(__file__).parent / "peer_servers"
_PYTHON: Final = "3.11"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server.

    Attributes:
        name: What it is called in tables.
        packages: What is installed, pinned.
        script: Program in `peer_servers`; its arguments are the port and the directory of models.
        ready_path: Path that answers 200 once it is ready.
        port: Where it answers.
        forms: How it takes tensors.
    """

    name: str
    packages: tuple[str, ...]
    script: str
    ready_path: str
    port: int
    forms: frozenset[Form]


_ONNX: Final = ("onnxruntime==1.23.2", "numpy")
PEERS: Final = (
    Peer(
        "fastapi",
        ("fastapi==0.115.12", "uvicorn[standard]==0.34.3", *_ONNX),
        "fastapi_server.py",
        "/ready",
        18491,
        frozenset({Form.JSON}),
    ),
    Peer(
        "kserve",
        ("kserve==0.15.2", *_ONNX),
        "kserve_server.py",
        "/v2/health/ready",
        18492,
        frozenset(Form),
    ),
    Peer(
        "mlserver",
        ("mlserver==1.7.1", "uvloop<0.22", *_ONNX),
        "mlserver_server.py",
        "/v2/health/ready",
        18493,
        frozenset({Form.JSON, Form.GRPC}),
    ),
)


def prepare(peer: Peer, directory: Path) -> Path | None:
    """Make a server's environment if it is missing, and return its Python; None where that is not possible."""
    environment = directory / f"peer-{peer.name}"
    python, stamp = environment / "bin" / "python", environment / ".packages"
    wanted = "\n".join(peer.packages)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    make = ["uv", "venv", "--quiet", "--clear", "--python", _PYTHON, str(environment)]
    install = ["uv", "pip", "install", "--quiet", "--python", str(python), *peer.packages]
    for command in (make, install):
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (uv)
        if done.returncode:
            print(f"{peer.name} is left out, its environment cannot be made: {done.stderr.strip()[-500:]}")
            return None
    stamp.write_text(wanted)
    return python


def serving(
    peer: Peer, python: Path, models: Path, names: Sequence[str]
) -> AbstractContextManager[ServerProcess]:
    """Run a server with some of the models."""
    environment = {
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/tmp"),  # noqa: S108 - only where there is no home
        "OMP_NUM_THREADS": "1",
        "BENCH_MODELS": ",".join(names),
        "BENCH_GRPC_PORT": str(peer.port + GRPC_PORTS_ABOVE),
    }
    return running(
        [str(python), str(_SCRIPTS / peer.script), str(peer.port), str(models)],
        environment,
        peer.port,
        peer.ready_path,
        log=models / f"{peer.name}.log",
    )
