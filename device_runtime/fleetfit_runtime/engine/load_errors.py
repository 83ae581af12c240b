"""What ONNX Runtime's error texts mean to a user. Pure: it sees class names and texts, not the library."""

import re

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure

_STATUS_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_UNKNOWN_OPERATOR = re.compile(
    r"is not a registered function/op|No Op registered for|Could not find an implementation for"
    r"|Opset \d+ is under development|Unsupported model IR version",
)
_OUT_OF_MEMORY = re.compile(
    r"bad_alloc|[Ff]ailed to allocate memory|[Oo]ut of memory|cudaErrorMemoryAllocation"
    r"|CUDA_ERROR_OUT_OF_MEMORY|BFCArena::AllocateRawInternal",
)
_CORRUPT_CLASSES = frozenset({"InvalidProtobuf", "InvalidGraph", "NoModel", "InvalidArgument"})
_LONGEST_MESSAGE = 1500


def plain_message(error: BaseException) -> str:
    """Return ONNX Runtime's own sentence without its status prefix, on one line."""
    text = _STATUS_PREFIX.sub("", str(error)) or type(error).__name__
    return " ".join(text.split())[:_LONGEST_MESSAGE]


def classify_load_error(error: BaseException) -> ModelFailure:
    """Return the failure that a load error amounts to."""
    text = plain_message(error)
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
        return ModelFailure(
            Reason.INSUFFICIENT_MEMORY, f"the node has not enough memory to load the model: {text}"
        )
    if _UNKNOWN_OPERATOR.search(text) or type(error).__name__ == "NotImplemented":
        return ModelFailure(
            Reason.UNSUPPORTED_OPERATOR,
            f"this node's ONNX Runtime cannot run an operator of the model: {text}",
        )
    if type(error).__name__ in _CORRUPT_CLASSES:
        return ModelFailure(Reason.CORRUPT_MODEL, f"the file is not a valid ONNX model: {text}")
    return ModelFailure(Reason.INTERNAL_ERROR, f"ONNX Runtime could not load the model: {text}")


def classify_warm_up_error(error: BaseException) -> ModelFailure:
    """Return the failure that an error in the first runs amounts to."""
    text = plain_message(error)
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
        return ModelFailure(
            Reason.INSUFFICIENT_MEMORY, f"the node has not enough memory to run the model: {text}"
        )
    return ModelFailure(Reason.WARM_UP_FAILED, f"the model loads, but its first run fails: {text}")
