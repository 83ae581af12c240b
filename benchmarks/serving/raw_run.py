"""Bare `session.run` in a process of its own on the server's core: what no server can be faster than.

`RawRun` starts it and asks for slices of measurement; as a program it reads a number of seconds a line and answers with
runs a second.
"""

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from benchmarks.serving.process import SERVER_CORE


class RawRun:
    """A process that runs a model without a server.

    Args:
        model: The model's file.
        shape: Shape of its input.
    """

    def __init__(self, model: Path, shape: tuple[int, ...]) -> None:
        command = [
            "taskset",
            "-c",
            str(SERVER_CORE),
            sys.executable,
            "-m",
            "benchmarks.serving.raw_run",
            str(model),
        ]
        self._process = subprocess.Popen(  # noqa: S603 (this very module)
            [*command, *map(str, shape)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "RawRun":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def runs_per_s(self, seconds: float) -> float:
        """Measure for so long."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has no pipes")
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def _main(model: str, shape: tuple[int, ...]) -> None:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    inputs = {"input": np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    for line in sys.stdin:
        session.run(["output"], inputs)
        runs, begun_s = 0, time.perf_counter()
        end_s = begun_s + float(line)
        while (now_s := time.perf_counter()) < end_s:
            session.run(["output"], inputs)
            runs += 1
        print(runs / (now_s - begun_s), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], tuple(map(int, sys.argv[2:])))
