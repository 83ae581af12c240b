"""Writes the reference set: the ONNX files of the runtime and the features of the same networks.

How it is chosen is in `reference_design`; `fleetfit references` shows what that gives on the measurements of today.
Whoever changes a network changes SET_VERSION in `fleetfit_runtime.probe.networks` as well, since runs of two versions
do not compare, and trains anew.
"""

import hashlib
import json
from pathlib import Path
from typing import Final

from fleetfit_api.suite import Precision
from fleetfit_operator.predict.graph_features import model_features
from fleetfit_operator.predict.reference_set import REFERENCE_SET_FILE
from fleetfit_runtime.probe.networks import REFERENCE_NETWORKS, REFERENCE_SET_DIR, SET_VERSION

from fleetfit_training.graph_set import training_graphs

FEATURES_PATH: Final = Path("operator/fleetfit_operator/predict/model") / REFERENCE_SET_FILE


def write_reference_set(directory: Path, features_path: Path) -> None:
    """Write the ONNX files and the JSON with their features."""
    by_name = {graph.name: graph for graph in training_graphs()}
    networks = []
    for name in REFERENCE_NETWORKS:
        model = by_name[name].model
        content = model.SerializeToString(deterministic=True)
        (directory / f"{name}.onnx").write_bytes(content)
        networks.append(
            {
                "name": name,
                "sha256": hashlib.sha256(content).hexdigest(),
                "precision": Precision(by_name[name].precision).value,
                "features": model_features(model, name).to_json(),
            }
        )
    features_path.write_text(json.dumps({"setVersion": SET_VERSION, "networks": networks}, indent=1) + "\n")


if __name__ == "__main__":
    write_reference_set(REFERENCE_SET_DIR, FEATURES_PATH)
