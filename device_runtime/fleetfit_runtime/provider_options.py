"""What each execution provider must be told besides its name, so that all keep to the node's number of threads.

Shared by the engine and the reference run: a fingerprint is worth something only if it is taken as models will run.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

_OPENVINO: Final = "OpenVINOExecutionProvider"


def options_of(provider: str, intra_op_threads: int) -> dict[str, str]:
    """Return what to tell one provider; 0 threads leave the number to it."""
    if provider == _OPENVINO and intra_op_threads > 0:
        # OpenVINO has threads of its own and takes every processor it sees, quota or not.
        config = {"CPU": {"INFERENCE_NUM_THREADS": str(intra_op_threads)}}
        return {"load_config": json.dumps(config)}
    return {}


def with_options(
    chain: Sequence[str], intra_op_threads: int, further: Mapping[str, Mapping[str, str]] | None = None
) -> list[str | tuple[str, dict[str, str]]]:
    """Return the providers as ONNX Runtime takes them.

    Args:
        chain: the providers in order.
        intra_op_threads: threads of one inference; 0 leaves the number to each provider.
        further: more options, by provider.
    """
    told = {
        provider: options_of(provider, intra_op_threads) | dict((further or {}).get(provider, {}))
        for provider in chain
    }
    return [(provider, told[provider]) if told[provider] else provider for provider in chain]
