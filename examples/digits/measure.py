"""Accuracy and time of an ONNX file with ONNX Runtime on one thread. Knows no training and no manifests."""

from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime

from examples.digits.heldout import Digits
from examples.digits.networks import INPUT_NAME, OUTPUT_NAME

_RUNS = 200


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Return a session that runs the file on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def accuracy(path: Path, digits: Digits) -> float:
    """Return the share of the digits that the file classifies correctly."""
    (logits,) = open_session(path).run([OUTPUT_NAME], {INPUT_NAME: digits.images})
    return float(np.mean(np.argmax(logits, axis=1) == digits.labels))


def latency_ms(path: Path, digits: Digits) -> float:
    """Return the median time of one image in milliseconds."""
    session = open_session(path)
    times_s = []
    for run in range(_RUNS):
        feed = {INPUT_NAME: digits.images[run % len(digits)][None]}
        begin_s = perf_counter()
        session.run([OUTPUT_NAME], feed)
        times_s.append(perf_counter() - begin_s)
    return float(np.median(times_s) * 1e3)
