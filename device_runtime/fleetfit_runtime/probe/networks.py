"""The reference set: ten small fixed networks whose times are a node's fingerprint.

Each stresses what another kind of model is bound by: the overhead of a call, memory bandwidth, dense and depthwise
convolutions, int8 and fp16 kernels. The files are a few hundred bytes (weights are made when a session is created)
and come from `python -m training.reference_networks`; the operator knows the features of the same networks.
"""

from pathlib import Path
from typing import Final

SET_VERSION: Final = "1"
REFERENCE_SET_DIR: Final = Path(__file__).parent / "reference_set"
REFERENCE_NETWORKS: Final = (
    "mlp_tiny",
    "gemm_wide",
    "conv_fine",
    "conv_deep",
    "depthwise",
    "pointwise",
    "elementwise",
    "conv_int8",
    "gemm_int8",
    "conv_fp16",
)


def network_bytes(name: str) -> bytes:
    """Return the ONNX file of a reference network."""
    return (REFERENCE_SET_DIR / f"{name}.onnx").read_bytes()
