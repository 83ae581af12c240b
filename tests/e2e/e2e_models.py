"""Model files for the end-to-end tests: good ones from the digits example, and files that are broken on purpose."""

import hashlib
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


def variant_entry(path: Path, name: str, **overrides: Any) -> dict[str, Any]:
    """Return a ModelSuite variant for a file that is served under its own name."""
    content = path.read_bytes()
    entry: dict[str, Any] = {
        "name": name,
        "uri": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "sizeBytes": len(content),
        "precision": "fp32",
        "accuracy": 0.9,
    }
    return {**entry, **overrides}


def suite(name: str, namespace: str, storage_uri: str, variants: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "fleetfit.io/v1alpha1",
        "kind": "ModelSuite",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"storageUri": storage_uri, "variants": variants},
    }


def deployment(name: str, namespace: str, suite_name: str, nodes: list[str], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "fleetfit.io/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "suiteRef": {"name": suite_name},
            "nodeAffinity": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}
                        ]
                    }
                ]
            },
            **spec,
        },
    }


def write_corrupt_model(path: Path) -> None:
    """A file that begins like a model and ends in the middle."""
    good = (DIGITS / "variants" / "cnn-small-fp32.onnx").read_bytes()
    path.write_bytes(good[: len(good) // 2])


def write_unsupported_model(path: Path) -> None:
    """A valid ONNX file with an operator that no ONNX Runtime knows."""
    node = helper.make_node("QuantumConv", ["image"], ["logits"], domain="com.example.tomorrow")
    graph = helper.make_graph(
        [node],
        "tomorrow",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example.tomorrow", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
