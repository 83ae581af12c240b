"""Header compression: the RFC's own examples, round trips, and what a hostile client may send."""

import pytest
from fleetfit_runtime.serve.http2.hpack import HeaderDecoder, HpackError, encode_headers
from fleetfit_runtime.serve.http2.huffman import HuffmanError, decode_huffman
from hypothesis import given
from hypothesis import strategies as st


def decoder(max_list_bytes: int = 4096) -> HeaderDecoder:
    return HeaderDecoder(max_list_bytes)


def test_the_examples_of_the_rfc_with_huffman_code_and_a_growing_table() -> None:
    # RFC 7541, C.4.1 to C.4.3.
    under_test = decoder()
    first = under_test.decode(bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"))
    assert first == (
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
    )
    second = under_test.decode(bytes.fromhex("828684be5886a8eb10649cbf"))
    assert second == (*first, (b"cache-control", b"no-cache"))
    third = under_test.decode(bytes.fromhex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"))
    assert third[3:] == ((b":authority", b"www.example.com"), (b"custom-key", b"custom-value"))


def test_a_block_that_is_known_by_its_bytes_is_read_anew_when_the_table_has_changed() -> None:
    under_test = decoder()
    under_test.decode(b"\x40\x01a\x01b")
    assert [under_test.decode(b"\xbe") for _ in range(2)] == [((b"a", b"b"),)] * 2
    under_test.decode(b"\x40\x01c\x01d")
    assert under_test.decode(b"\xbe") == ((b"c", b"d"),)


headers = st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=300)), max_size=5)


@given(headers)
def test_what_is_encoded_is_decoded(wanted: list[tuple[bytes, bytes]]) -> None:
    assert decoder(1 << 16).decode(encode_headers(wanted)) == tuple(wanted)


@given(st.binary(max_size=60))
def test_any_block_is_decoded_or_refused(block: bytes) -> None:
    try:
        found = decoder().decode(block)
    except HpackError:
        return
    assert sum(len(name) + len(value) + 32 for name, value in found) <= 4096


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # an entry that nobody made
        b"\x00\x05ab",  # a string that goes on
        b"\x82\x20",  # the table resized after a header
        b"\x3f\xff\xff\x03",  # and to more than allowed
        b"\xff\xff\xff\xff\xff\xff\xff\x01",  # an integer without end
    ],
)
def test_what_is_refused(block: bytes) -> None:
    with pytest.raises(HpackError):
        decoder().decode(block)


def test_small_references_to_a_large_entry_do_not_grow_without_bound() -> None:
    under_test = decoder(16 << 10)
    under_test.decode(b"\x40\x01a\x7f\x81\x17" + bytes(3072))
    with pytest.raises(HpackError, match="too large"):
        under_test.decode(b"\xbe" * 100)


def test_codes_that_end_within_a_word_or_hold_the_end_of_string() -> None:
    assert decode_huffman(bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")) == b"www.example.com"
    with pytest.raises(HuffmanError):
        decode_huffman(b"\xff\xff\xff\xff")
    with pytest.raises(HuffmanError):
        decode_huffman(b"\xf1\xe3\xc2\xff\xff")
