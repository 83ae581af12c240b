"""What the other servers run: the benchmark's models as ONNX Runtime sessions with one thread.

These programs run in environments of their own, which have nothing of this project.
"""

import os
from pathlib import Path
from typing import Any

import onnxruntime


def sessions(directory: str) -> dict[str, Any]:
    """Return the sessions of the models that are wanted, by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return {
        name: onnxruntime.InferenceSession(str(Path(directory, f"{name}.onnx")), options)
        for name in os.environ["BENCH_MODELS"].split(",")
    }
