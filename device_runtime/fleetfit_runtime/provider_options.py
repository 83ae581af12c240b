"""What each execution provider must be told besides its name, so that all keep to the node's number of threads.

Shared by the engine and the reference run: a fingerprint is worth something only if it is taken as models will run.
"""

import json
from collections.abc import Sequence
from typing import Final

_OPENVINO: Final = "OpenVINOExecutionProvider"


def with_options(chain: Sequence[str], intra_op_threads: int) -> list[str | tuple[str, dict[str, str]]]:
    """Return the providers as ONNX Runtime takes them; 0 threads leave the number to each provider."""
    return [_with_options(provider, intra_op_threads) for provider in chain]


def _with_options(provider: str, intra_op_threads: int) -> str | tuple[str, dict[str, str]]:
    if provider == _OPENVINO and intra_op_threads > 0:
        # OpenVINO has threads of its own and takes every processor it sees, quota or not.
        config = {"CPU": {"INFERENCE_NUM_THREADS": str(intra_op_threads)}}
        return (provider, {"load_config": json.dumps(config)})
    return provider
