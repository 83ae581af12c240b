"""What loading a graph takes: measured in processes of their own, and a model of it.

`python -m fleetfit_training.memory GRAPHS` loads some graphs, each in a fresh process, and writes how much the private
memory of the process grew from before the session to after some runs.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
from fleetfit_operator.predict.model_metadata import MemoryModel
from scipy.optimize import nnls

from fleetfit_training.measurements import DATA_DIR, INDEX_FILE
from fleetfit_training.training_data import TrainingData

MEMORY_FILE: Final = "memory/loaded_bytes.csv"
_EVERY: Final = 6
_CHILD: Final = """
import sys, numpy as np, onnxruntime as ort
def private():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Dirty", "Private_Clean")))
options = ort.SessionOptions(); options.intra_op_num_threads = 1; options.log_severity_level = 4
before = private()
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
types = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
inputs = {each.name: np.full(each.shape, 0.5, types[each.type]) for each in session.get_inputs()}
for _ in range(3):
    session.run(None, inputs)
print(private() - before)
"""


def measure_memory(graphs: Path, output: Path) -> None:
    """Load every sixth graph of a graph set and write what each took."""
    names = [entry["name"] for entry in json.loads((graphs / INDEX_FILE).read_text())][::_EVERY]
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["graph", "loaded_bytes"])
        for name in names:
            command = [sys.executable, "-c", _CHILD, str(graphs / f"{name}.onnx")]
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - own code
            writer.writerow([name, int(done.stdout)])


def fit_memory(data: TrainingData, directory: Path) -> MemoryModel:
    """Return the prices with the smallest relative error; of the shipped data where a directory has none."""
    path = directory / MEMORY_FILE
    with (path if path.exists() else DATA_DIR / MEMORY_FILE).open(newline="") as file:
        measured = {row["graph"]: float(row["loaded_bytes"]) for row in csv.DictReader(file)}
    names = [name for name in measured if name in data.names and measured[name] > 0]
    rows = data.rows(tuple(names))
    loaded = np.array([measured[name] for name in names])
    design = np.column_stack([np.ones(len(rows)), data.table.weight_bytes[rows], data.table.peak_bytes[rows]])
    prices, _ = nnls(design / loaded[:, None], np.ones(len(rows)))
    base_bytes, per_weight_byte, per_peak_byte = map(float, prices)
    return MemoryModel(base_bytes=base_bytes, per_weight_byte=per_weight_byte, per_peak_byte=per_peak_byte)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m fleetfit_training.memory", description=__doc__)
    parser.add_argument("graphs", type=Path, help="directory that `fleetfit graphs` wrote")
    measure_memory(parser.parse_args().graphs, DATA_DIR / MEMORY_FILE)


if __name__ == "__main__":
    main()
