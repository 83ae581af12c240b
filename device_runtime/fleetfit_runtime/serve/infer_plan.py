"""What the JSON header of a binary request means, kept by its exact bytes, since clients send the same one again.

A request with a known header needs no JSON at all: views of its bytes are the inputs, and as long as the outputs have
the same shapes the answer's head is the same too. Pure.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.serve.body import Body
from fleetfit_runtime.serve.http_message import head_bytes
from fleetfit_runtime.serve.infer_request import InferRequest
from fleetfit_runtime.serve.response import Response

_MOST_PLANS: Final = 64
_LONGEST_HEADER: Final = 4096
BatchKey = tuple[object, ...]


def batch_key(asked: InferRequest) -> BatchKey:
    """Return what requests must have in common to run together: outputs, and inputs but for the number of items."""
    inputs = tuple((name, array.dtype.str, array.shape[1:]) for name, array in asked.inputs.items())
    return (*(spec.name for spec, _ in asked.outputs), *inputs)


def items_of(asked: InferRequest) -> int:
    """Return the number of items along the first dimension; 0 where inputs differ in it and cannot be joined."""
    counts = {array.shape[0] if array.ndim else 0 for array in asked.inputs.values()}
    return counts.pop() if len(counts) == 1 else 0


class InferPlan:
    """A binary request without its bytes.

    Args:
        asked: the request as it was read in full; its arrays only tell shapes.
        raw_bytes: bytes of all its tensors.
    """

    __slots__ = (
        "_reply",
        "_shapes",
        "_tensors",
        "asked",
        "elements",
        "items",
        "key",
        "output_names",
        "raw_bytes",
    )

    def __init__(self, asked: InferRequest, raw_bytes: int) -> None:
        self.raw_bytes = raw_bytes
        self.output_names = asked.output_names
        self.key = batch_key(asked)
        self.items = items_of(asked)
        self.elements = sum(array.size for array in asked.inputs.values())
        self._tensors: list[tuple[str, np.dtype[np.generic], int, tuple[int, ...]]] = []
        offset = 0
        for name, array in asked.inputs.items():
            self._tensors.append((name, array.dtype, offset, array.shape))
            offset += array.nbytes
        self.asked = InferRequest(asked.id, {}, asked.outputs, asked.may_ask, asked.timeout_s)
        self._shapes: list[tuple[int, ...]] = []
        self._reply: Response | None = None

    def inputs(self, body: Body, begin: int) -> dict[str, Array]:
        """Return views of the tensors in a body whose header ends at `begin`."""
        return {
            name: np.ndarray(shape, dtype, body, begin + offset)
            for name, dtype, offset, shape in self._tensors
        }

    def inputs_of(self, parts: Sequence[memoryview]) -> dict[str, Array]:
        """Return views of tensors of the right sizes that each lie for themselves."""
        return {
            name: np.frombuffer(part, dtype).reshape(shape)
            for (name, dtype, _, shape), part in zip(self._tensors, parts, strict=True)
        }

    def reply(self, arrays: Sequence[Array]) -> Response | None:
        """Return the answer, if one with outputs of the same shapes was made before."""
        before = self._reply
        if before is None:
            return None
        body = before.body
        for array, shape in zip(arrays, self._shapes, strict=True):
            if array.shape != shape:
                return None
            body += array.tobytes()
        return Response(200, body, before.content_type, before.extra_headers, before.head)

    def learn_reply(self, arrays: Sequence[Array], response: Response) -> None:
        """Keep what does not change of an answer whose outputs are all binary and of a fixed size."""
        raw_bytes = sum(array.nbytes for array in arrays)
        if not all(
            binary and array.dtype.kind != "O"
            for (_, binary), array in zip(self.asked.outputs, arrays, strict=True)
        ):
            return
        self._shapes = [array.shape for array in arrays]
        constant = response.body[: len(response.body) - raw_bytes]
        self._reply = Response(
            200, constant, response.content_type, response.extra_headers, head_bytes(response)
        )


def plan_for(asked: InferRequest, raw_bytes: int) -> InferPlan | None:
    """Return a plan for requests like one that was read in full; None where its bytes alone do not say everything."""
    if asked.id is not None or asked.may_ask is not None:
        return None
    arrays = asked.inputs.values()
    # Strings carry their lengths, and bools must be looked at.
    if (
        any(array.dtype.kind in "Ob" for array in arrays)
        or sum(array.nbytes for array in arrays) != raw_bytes
    ):
        return None
    return InferPlan(asked, raw_bytes)


class PlanCache:
    """Plans of one loaded model by header."""

    def __init__(self) -> None:
        self._plans: dict[bytes, InferPlan] = {}

    def find(self, body: Body, header_length: int) -> InferPlan | None:
        """Return the plan of a body, if its header is known and its length fits."""
        plan = self._plans.get(bytes(body[:header_length]))
        return plan if plan is not None and len(body) == header_length + plan.raw_bytes else None

    def add(self, header: bytes, plan: InferPlan) -> None:
        """Keep a plan."""
        if len(header) > _LONGEST_HEADER:
            return
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()  # Headers that differ every time gain nothing here and must not take memory.
        self._plans[header] = plan
