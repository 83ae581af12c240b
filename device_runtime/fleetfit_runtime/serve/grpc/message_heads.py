"""What a ModelInferRequest says before its raw tensors, kept by its exact bytes, since clients send the same one again.

A message with a known head is not read field by field: views of its bytes are the inputs, and as long as the outputs
have the same shapes the answer begins as the last one did. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np

from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.serve.grpc.infer_request import InferMessage, read_infer_message
from fleetfit_runtime.serve.grpc.wire import BYTES, WireError, bytes_field, read_fields, varint
from fleetfit_runtime.serve.infer_plan import InferPlan, plan_for
from fleetfit_runtime.serve.infer_request import InferRequest

_RAW_INPUT: Final = 7
_RAW_OUTPUT: Final = 6
_MOST_HEADS: Final = 64
_MOST_LENGTHS: Final = 4
_LONGEST_HEAD: Final = 4096
_MOST_TENSORS: Final = 256


class MessagePlan:
    """What a head means to one loaded model.

    Args:
        plan: the request without its bytes.
        sizes: bytes of each raw tensor, in the order of the message.
    """

    __slots__ = ("_reply", "_shapes", "_sizes", "plan")

    def __init__(self, plan: InferPlan, sizes: list[int]) -> None:
        self.plan = plan
        self._sizes = sizes
        self._shapes: list[tuple[int, ...]] = []
        self._reply: bytes | None = None

    def inputs(self, raw: Sequence[memoryview]) -> dict[str, Array] | None:
        """Return views of the tensors; None where their sizes are not those of the plan."""
        if [len(part) for part in raw] != self._sizes:
            return None
        return self.plan.inputs_of(raw)

    def reply(self, arrays: Sequence[Array]) -> bytes | None:
        """Return the answer, if one with outputs of the same shapes was made before."""
        if self._reply is None or [array.shape for array in arrays] != self._shapes:
            return None
        return b"".join((self._reply, *_raw_fields(arrays)))

    def learn_reply(self, arrays: Sequence[Array], answer: bytes) -> None:
        """Keep what does not change of an answer whose outputs are all raw and of a fixed size."""
        if any(array.dtype.kind == "O" for array in arrays):
            return
        tail = b"".join(_raw_fields(arrays))
        if answer.endswith(tail):
            self._shapes = [array.shape for array in arrays]
            self._reply = answer[: len(answer) - len(tail)]


def _raw_fields(arrays: Sequence[Array]) -> list[bytes]:
    return [bytes_field(_RAW_OUTPUT, np.ascontiguousarray(array).tobytes()) for array in arrays]


@dataclass(eq=False, slots=True)
class MessageHead:
    """A head that was read once.

    Args:
        message: what it says; without tensors.
        plans: what it means to each model that it was asked of; a plan goes with its model.
    """

    message: InferMessage
    plans: WeakKeyDictionary[ServedModel, MessagePlan] = field(default_factory=WeakKeyDictionary)

    def learn(self, model: ServedModel, asked: InferRequest, raw: Sequence[memoryview]) -> MessagePlan | None:
        """Return a plan for messages like one that was read in full; None where its bytes do not say everything."""
        sizes = [len(part) for part in raw]
        plan = plan_for(asked, sum(sizes))
        if plan is None:
            return None
        found = self.plans[model] = MessagePlan(plan, sizes)
        return found


class MessageHeads:
    """The heads that clients have sent."""

    def __init__(self) -> None:
        self._heads: dict[bytes, MessageHead] = {}
        self._lengths: list[int] = []

    def read(self, data: memoryview) -> tuple[InferMessage, MessageHead | None]:
        """Return what a ModelInferRequest says, and its head where its tensors are raw.

        Raises:
            WireError: it is none.
        """
        for length in self._lengths:
            head = self._heads.get(bytes(data[:length]))
            raw = None if head is None else _raw_inputs(data[length:])
            if head is not None and raw is not None:
                return replace(head.message, raw=raw), head
        message = read_infer_message(data)
        return message, self._keep(data, message) if message.raw else None

    def _keep(self, data: memoryview, message: InferMessage) -> MessageHead | None:
        length = len(data) - sum(1 + len(varint(len(part))) + len(part) for part in message.raw)
        if not 0 < length <= _LONGEST_HEAD or _raw_inputs(data[length:]) != message.raw:
            return None  # The tensors are not all at the end.
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()  # Heads that differ every time gain nothing here and must not take memory.
        head = self._heads[bytes(data[:length])] = MessageHead(replace(message, raw=[]))
        if length not in self._lengths:
            self._lengths = [length, *self._lengths][:_MOST_LENGTHS]
        return head


def _raw_inputs(data: memoryview) -> list[memoryview] | None:
    """Return the tensors of the end of a message; None if it holds anything else."""
    raw: list[memoryview] = []
    try:
        for number, kind, _, value in read_fields(data, _MOST_TENSORS):
            if number != _RAW_INPUT or kind != BYTES:
                return None
            raw.append(value)
    except WireError:
        return None
    return raw or None
