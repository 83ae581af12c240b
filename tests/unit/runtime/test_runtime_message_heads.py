"""Heads of gRPC messages that are known again: whatever was sent before, a message says what it says alone."""

import string

from fleetfit_runtime.serve.grpc.infer_request import InferMessage, read_infer_message
from fleetfit_runtime.serve.grpc.message_heads import MessageHeads
from fleetfit_runtime.serve.grpc.wire import WireError, bytes_field, text_field
from hypothesis import given
from hypothesis import strategies as st

names = st.text(string.ascii_lowercase, max_size=3)
heads_of_fields = (
    st.builds(lambda name: text_field(1, name), names)
    | st.builds(lambda name: text_field(3, name), names)
    | st.builds(lambda name: bytes_field(5, text_field(1, name)), names)
    | st.builds(lambda name: bytes_field(6, text_field(1, name)), names)
)
raw = st.builds(lambda data: bytes_field(7, data), st.binary(max_size=4))
heads_alone = st.lists(heads_of_fields, min_size=1, max_size=3).map(b"".join)
# Also tensors where no client would put them: followed by what belongs before them.
ends = st.lists(raw | raw | heads_of_fields, max_size=4).map(b"".join)


def said(data: bytes, heads: MessageHeads | None = None) -> InferMessage | None:
    view = memoryview(data)
    try:
        return heads.read(view)[0] if heads else read_infer_message(view)
    except WireError:
        return None


@given(heads_alone, st.lists(ends | st.binary(max_size=12), max_size=8))
def test_what_was_sent_before_changes_nothing(head: bytes, tails: list[bytes]) -> None:
    heads = MessageHeads()
    for data in [head + tail for tail in (*tails, *tails)]:
        assert said(data, heads) == said(data)


def test_other_values_after_a_head_find_it_again() -> None:
    heads = MessageHeads()
    start = text_field(1, "digits") + bytes_field(5, text_field(1, "x"))
    _, first = heads.read(memoryview(start + bytes_field(7, b"1111")))
    message, second = heads.read(memoryview(start + bytes_field(7, b"22222222")))
    assert first is second is not None
    assert [bytes(part) for part in message.raw] == [b"22222222"]


def test_typed_contents_have_no_head() -> None:
    assert MessageHeads().read(memoryview(text_field(1, "digits")))[1] is None


def test_heads_that_differ_every_time_take_no_memory_for_long() -> None:
    heads = MessageHeads()
    for number in range(1000):
        heads.read(memoryview(text_field(3, str(number)) + bytes_field(7, b"1111")))
    assert len(heads._heads) <= 64
