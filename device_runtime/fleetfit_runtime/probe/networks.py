"""The reference set: ten small fixed networks whose times are a node's fingerprint.

They are the graphs of the training set whose times tell the most about all others: dense, pointwise and pooling
kernels, random companies of them on images and on rows of tokens, in float and int8. The files are small (weights are
made when a session is created) and come from `python -m fleetfit_training.reference_networks`; the operator knows the
features of the same networks.
"""

from pathlib import Path
from typing import Final

SET_VERSION: Final = "2"
REFERENCE_SET_DIR: Final = Path(__file__).parent / "reference_set"
REFERENCE_NETWORKS: Final = (
    "random-images-fp32-80",
    "random-tokens-fp32-60",
    "random-tokens-fp32-116",
    "random-images-int8-50",
    "pooling-int8-6",
    "conv5-fp32-2",
    "projection-int8-2",
    "conv1-fp32-4",
    "pooling-fp32-3",
    "random-tokens-fp32-92",
)


def network_bytes(name: str) -> bytes:
    """Return the ONNX file of a reference network."""
    return (REFERENCE_SET_DIR / f"{name}.onnx").read_bytes()
