"""Starts the real runtime as a process with a few models, for clients that others wrote."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))

from fleetfit_api.node_inference import NodeInferenceSpec
from fleetfit_runtime.agent.node_memory import NodeMemory, Remembered
from onnx import TensorProto
from runtime_models import assignment, identity_model, saved, scale_model, two_input_model

MODELS = {
    "digits": scale_model(2.0),
    "spare": scale_model(3.0),
    "pair": two_input_model(),
    "words": identity_model(TensorProto.STRING),
    "halves": identity_model(TensorProto.FLOAT16),
    "brains": identity_model(TensorProto.BFLOAT16),
    "longs": identity_model(TensorProto.INT64),
    "flags": identity_model(TensorProto.BOOL),
}


@dataclass(frozen=True, slots=True)
class Served:
    """Addresses of a runtime, `host:port`."""

    http: str
    grpc: str


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("runtime")
    assignments = [
        assignment(saved(directory, name, model), deployment=name, model_name=name, suite=name)
        for name, model in MODELS.items()
    ]
    store = directory / "store"
    store.mkdir()
    spec = NodeInferenceSpec(leader_epoch=1, assignments=assignments)
    NodeMemory(store / "node_memory.json").write(Remembered(uid="u", generation=1, epoch=1, spec=spec))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "NODE_NAME": "n1",
        "FLEETFIT_HTTP_PORT": "0",
        "FLEETFIT_GRPC_PORT": "0",
        "FLEETFIT_STORE_DIR": str(store),
        "FLEETFIT_MODEL_CONTROL": "true",
        "FLEETFIT_DRAIN_DELAY_SECONDS": "0",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "fleetfit_runtime"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        yield _await_ready(process)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _await_ready(process: "subprocess.Popen[str]") -> Served:
    assert process.stdout is not None
    for line in process.stdout:
        entry = json.loads(line)
        if entry["message"] == "serving":
            served = Served(entry["address"], entry["grpc_address"])
            break
    else:
        raise AssertionError("the runtime did not start")
    for name in MODELS:
        _await_model(f"http://{served.http}/v2/models/{name}/ready")
    return served


def _await_model(url: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url):  # noqa: S310 - the address is this test's own
                return
        except urllib.error.HTTPError:
            time.sleep(0.05)  # the process tells nobody else when a model is ready
    raise AssertionError(f"{url} is not ready")
