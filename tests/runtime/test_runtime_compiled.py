"""Models that their provider compiles: the next load finds what was compiled, and nothing about that can fail a load.

QNN is a stand-in here that does with files as QNN does. OpenVINO is the real one, in the environment of its own build.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fleetfit_runtime.engine.compiled_models import OPENVINO, QNN, CompiledModels
from fleetfit_runtime.engine.engine import Engine, LoadOrder
from fleetfit_runtime.engine.session import OnnxRuntime
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.blobs import BlobStore, digest_of
from runtime_models import saved, scale_model

CPU = "CPUExecutionProvider"
RealSession = onnxruntime.InferenceSession


class Qnn:
    """Makes sessions that write and read contexts, and fail as they are told to.

    Attributes:
        loaded: names of the files of sessions, in order.
        fails: told the file's name and whether a context is to be written; what it raises, the session raises.
        runs: told the file's name before each run.
    """

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.fails: Callable[[str, bool], None] = lambda _name, _writes: None
        self.runs: Callable[[str], None] = lambda _name: None

    def session(self, path: str, options: Any, providers: Sequence[str], enable_fallback: int) -> Any:
        assert providers[-1] == CPU
        context = self._context(options)
        name = Path(path).name
        if QNN in providers:
            self.fails(name, context is not None)
            self.loaded.append(name)
        if context is not None:
            assert not Path(context).exists(), "ONNX Runtime refuses to write over a context"
            shutil.copy(path, context)
        plain = onnxruntime.SessionOptions()
        real = RealSession(path, plain, providers=[CPU], enable_fallback=enable_fallback)
        return QnnSession(real, list(providers), lambda: self.runs(name))

    @staticmethod
    def _context(options: Any) -> str | None:
        try:
            assert options.get_session_config_entry("ep.context_enable") == "1"
        except RuntimeError:
            return None
        path: str = options.get_session_config_entry("ep.context_file_path")
        return path


class QnnSession:
    def __init__(self, real: Any, providers: list[str], before_run: Callable[[], None]) -> None:
        self._real, self._providers, self._before_run = real, providers, before_run

    def get_providers(self) -> list[str]:
        return self._providers

    def get_inputs(self) -> Any:
        return self._real.get_inputs()

    def get_outputs(self) -> Any:
        return self._real.get_outputs()

    def run(self, names: Sequence[str], inputs: Mapping[str, Any], options: Any = None) -> Any:
        self._before_run()
        return self._real.run(names, inputs, options)


@pytest.fixture
def qnn(monkeypatch: pytest.MonkeyPatch) -> Qnn:
    made = Qnn()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [QNN, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", made.session)
    return made


@pytest.fixture
def order(tmp_path: Path) -> LoadOrder:
    path = saved(tmp_path, "two", scale_model(2.0))
    digest = digest_of(path)
    return LoadOrder("m", "two", digest, path, digest, digest, path.stat().st_size)


async def load(order: LoadOrder, store: Path) -> str:
    """Load and run a model as a process of its own would, and return its provider."""
    blobs = BlobStore(store)
    engine = Engine(OnnxRuntime([QNN, CPU], 1, compiled=CompiledModels(blobs, (), str)), 8)
    try:
        served = await engine.load(order)
        outputs = served.model.run(["y"], {"x": np.ones((1, 3), np.float32)})
        assert outputs[0].tolist() == [[2.0, 2.0, 2.0]]
        return served.provider
    finally:
        engine.close()


async def test_second_load_takes_what_the_first_compiled(qnn: Qnn, order: LoadOrder, tmp_path: Path) -> None:
    for _ in range(3):
        assert await load(order, tmp_path / "store") == QNN
    assert qnn.loaded == [order.path.name, "model_ctx.onnx", "model_ctx.onnx"]


async def test_compiled_model_that_does_not_load_is_compiled_anew(
    qnn: Qnn, order: LoadOrder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await load(order, tmp_path / "store")

    def refuse_contexts(name: str, _writes: bool) -> None:
        if name == "model_ctx.onnx":
            raise RuntimeError("context of another version")

    qnn.fails = refuse_contexts
    assert await load(order, tmp_path / "store") == QNN
    assert caplog.messages.count("model does not load with a place for compiled ones, trying without") == 1
    qnn.fails = lambda _name, _writes: None
    qnn.loaded.clear()
    for _ in range(2):
        await load(order, tmp_path / "store")
    assert qnn.loaded == [order.path.name, "model_ctx.onnx"]


async def test_disk_that_takes_no_compiled_model_costs_no_load(
    qnn: Qnn, order: LoadOrder, tmp_path: Path
) -> None:
    def refuse_to_write(_name: str, writes: bool) -> None:
        if writes:
            raise RuntimeError("No space left on device")

    qnn.fails = refuse_to_write
    assert await load(order, tmp_path / "store") == QNN
    assert not [path for path in (tmp_path / "store" / "compiled").rglob("*") if path.is_file()]


async def test_compiled_model_that_does_not_run_is_compiled_anew(
    qnn: Qnn, order: LoadOrder, tmp_path: Path
) -> None:
    await load(order, tmp_path / "store")

    def refuse_contexts(name: str) -> None:
        if name == "model_ctx.onnx":
            raise RuntimeError("graph execution failed")

    qnn.runs = refuse_contexts
    assert await load(order, tmp_path / "store") == QNN
    assert qnn.loaded == [order.path.name, "model_ctx.onnx", order.path.name]


async def test_model_that_fails_by_itself_fails_and_leaves_nothing_to_trust(
    qnn: Qnn, order: LoadOrder, tmp_path: Path
) -> None:
    def refuse(_name: str) -> None:
        raise RuntimeError("graph execution failed")

    qnn.runs = refuse
    with pytest.raises(ModelFailure):
        await load(order, tmp_path / "store")
    assert qnn.loaded == [order.path.name]
    qnn.runs = lambda _name: None
    await load(order, tmp_path / "store")
    assert qnn.loaded == [order.path.name] * 2


async def test_provider_that_refuses_the_model_leaves_it_to_the_next_and_no_place(
    qnn: Qnn, order: LoadOrder, tmp_path: Path
) -> None:
    def refuse(_name: str, _writes: bool) -> None:
        raise RuntimeError("no such operator")

    qnn.fails = refuse
    assert await load(order, tmp_path / "store") == CPU
    assert not [path for path in (tmp_path / "store" / "compiled").rglob("*") if path.is_file()]


ROOT = Path(__file__).parents[2]
OPENVINO_PYTHON = Path(
    os.environ.get("FLEETFIT_OPENVINO_PYTHON") or ROOT / ".venv-openvino" / "bin" / "python"
)
_LOAD = f"""
import json, sys
from pathlib import Path
import numpy as np
from fleetfit_runtime.engine.compiled_models import CompiledModels
from fleetfit_runtime.engine.session import OnnxRuntime
from fleetfit_runtime.store.blobs import BlobStore
path, store, driver = Path(sys.argv[1]), BlobStore(Path(sys.argv[2])), sys.argv[3]
compiled = CompiledModels(store, ("1",), lambda: driver)
runtime = OnnxRuntime(["{OPENVINO}", "{CPU}"], 1, compiled=compiled)
model = runtime.load(path, "a" * 64, path.stat().st_size)
outputs = [model.run(["y"], {{"x": np.ones((rows, 3), np.float32)}})[0].tolist() for rows in (1, 4)]
whole = model.compiled and model.compiled.folder.was_whole
if model.compiled:
    model.compiled.keep()
print(json.dumps([model.proof.provider, whole, outputs]))
"""


def openvino_load(model: Path, store: Path, driver: str = "1") -> tuple[str, bool | None, list[Any]]:
    """Return the provider, whether something compiled was there (None: none is kept), and outputs."""
    words = [str(OPENVINO_PYTHON), "-c", _LOAD, str(model), str(store), driver]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    provider, whole, outputs = json.loads(done.stdout.splitlines()[-1])
    return provider, whole, outputs


needs_openvino = pytest.mark.skipif(
    not OPENVINO_PYTHON.exists(), reason="needs the environment with OpenVINO's build"
)
RIGHT = [[[2.0] * 3], [[2.0] * 3] * 4]


def blobs_in(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (store / "compiled").rglob("*.blob")}


@needs_openvino
def test_openvino_keeps_what_it_compiles_unless_it_cannot_read_it(tmp_path: Path) -> None:
    model, store = saved(tmp_path, "two", scale_model(2.0)), tmp_path / "store"
    assert openvino_load(model, store) == (OPENVINO, False, RIGHT)
    written = blobs_in(store)
    assert written
    assert openvino_load(model, store) == (OPENVINO, True, RIGHT)
    # The processor's plugin keeps a model in OpenVINO's own format, which packages without its reader cannot load.
    kept = blobs_in(store)
    assert kept in (written, {})
    assert openvino_load(model, store) == (OPENVINO, True if kept else None, RIGHT)
    assert blobs_in(store) == kept


@needs_openvino
def test_openvino_begins_anew_with_another_driver_and_without_the_rest_of_a_file(tmp_path: Path) -> None:
    model, store = saved(tmp_path, "two", scale_model(2.0)), tmp_path / "store"
    assert openvino_load(model, store) == (OPENVINO, False, RIGHT)
    (blob,) = blobs_in(store)
    blob.write_bytes(blob.read_bytes()[: blob.stat().st_size // 2])
    assert openvino_load(model, store) == (OPENVINO, False, RIGHT)
    (blob,) = blobs_in(store)
    assert openvino_load(model, store, driver="2") == (OPENVINO, False, RIGHT)
    assert not blob.exists()
