"""Writes the reference set: the ONNX files of the runtime and the features of the same networks for the predictor.

Whoever changes a network changes SET_VERSION in `fleetfit_runtime.probe.networks` as well, since runs of two
versions do not compare, and measures and trains anew.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import onnx
from fleetfit_api.suite import Precision
from fleetfit_operator.predict.graph_features import model_features
from fleetfit_runtime.probe.networks import REFERENCE_NETWORKS, REFERENCE_SET_DIR, SET_VERSION

from training.graph_builder import ConvShape, GraphBuilder

FEATURES_PATH = Path("operator/fleetfit_operator/predict/model/reference_set.json")


def _mlp_tiny() -> onnx.ModelProto:
    graph = GraphBuilder("mlp_tiny", Precision.FP32)
    data = graph.input(1, 32)
    for _ in range(4):
        data = graph.dense(data, 32)
    return graph.build(data)


def _gemm_wide(name: str, precision: Precision, *, rows: int, units: int) -> onnx.ModelProto:
    graph = GraphBuilder(name, precision)
    data = graph.input(rows, units)
    for _ in range(2):
        data = graph.dense(data, units)
    return graph.build(data)


def _conv_pair(name: str, precision: Precision, *, edge: int, conv: ConvShape) -> onnx.ModelProto:
    graph = GraphBuilder(name, precision)
    data = graph.input(1, conv.channels, edge, edge)
    for _ in range(2):
        data = graph.conv(data, conv)
    return graph.build(data)


def _elementwise() -> onnx.ModelProto:
    graph = GraphBuilder("elementwise", Precision.FP32)
    data = graph.input(1, 16, 48, 48)
    large = graph.upsample(data)
    return graph.build(graph.add(graph.unary("Sigmoid", large), large))


BUILDERS: dict[str, Callable[[], onnx.ModelProto]] = {
    "mlp_tiny": _mlp_tiny,
    "gemm_wide": lambda: _gemm_wide("gemm_wide", Precision.FP32, rows=1, units=1024),
    "conv_fine": lambda: _conv_pair("conv_fine", Precision.FP32, edge=48, conv=ConvShape(16)),
    "conv_deep": lambda: _conv_pair("conv_deep", Precision.FP32, edge=8, conv=ConvShape(96)),
    "depthwise": lambda: _conv_pair("depthwise", Precision.FP32, edge=32, conv=ConvShape(64, groups=0)),
    "pointwise": lambda: _conv_pair("pointwise", Precision.FP32, edge=24, conv=ConvShape(96, kernel=1)),
    "elementwise": _elementwise,
    "conv_int8": lambda: _conv_pair("conv_int8", Precision.INT8, edge=24, conv=ConvShape(32)),
    "gemm_int8": lambda: _gemm_wide("gemm_int8", Precision.INT8, rows=1, units=1024),
    "conv_fp16": lambda: _conv_pair("conv_fp16", Precision.FP16, edge=24, conv=ConvShape(32)),
}


def write_reference_set(directory: Path, features_path: Path) -> None:
    """Write the ONNX files and the JSON with their features."""
    networks = []
    for network in REFERENCE_NETWORKS:
        model = BUILDERS[network]()
        content = model.SerializeToString(deterministic=True)
        (directory / f"{network}.onnx").write_bytes(content)
        precision = next((p for p in (Precision.INT8, Precision.FP16) if network.endswith(p)), Precision.FP32)
        networks.append(
            {
                "name": network,
                "sha256": hashlib.sha256(content).hexdigest(),
                "precision": precision.value,
                "features": model_features(model, network).to_json(),
            }
        )
    features_path.write_text(json.dumps({"setVersion": SET_VERSION, "networks": networks}, indent=1) + "\n")


if __name__ == "__main__":
    write_reference_set(REFERENCE_SET_DIR, FEATURES_PATH)
