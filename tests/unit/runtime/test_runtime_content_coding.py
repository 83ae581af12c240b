"""Compressed bodies: what was compressed comes back, and nothing grows beyond its limit."""

import gzip
import tracemalloc
import zlib

import pytest
from fleetfit_runtime.serve.content_coding import compressed, inflate, wanted_coding
from fleetfit_runtime.serve.errors import RequestError
from hypothesis import given
from hypothesis import strategies as st


def bare(body: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(body) + machine.flush()


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "bare", "identity", "two"]))
def test_what_was_compressed_comes_back(body: bytes, form: str) -> None:
    sent = {
        "gzip": (gzip.compress(body), b"GZip"),
        "deflate": (zlib.compress(body), b"deflate"),
        "bare": (bare(body), b"deflate"),
        "identity": (body, b"identity"),
        "two": (gzip.compress(body[:9]) + gzip.compress(body[9:]), b"gzip"),
    }[form]
    assert bytes(inflate(*sent, 300)) == body


@given(st.binary(max_size=60), st.sampled_from([b"gzip", b"deflate", b"br", b""]))
def test_arbitrary_bytes_are_a_body_or_an_error(body: bytes, coding: bytes) -> None:
    status = 200
    try:
        inflate(body, coding, 1000)
    except RequestError as error:
        status = error.status
    assert status in (200, 400, 413, 415)


def test_a_bomb_is_refused_without_being_held() -> None:
    bomb = gzip.compress(b"\0" * (64 << 20))
    tracemalloc.start()
    with pytest.raises(RequestError) as refused:
        inflate(bomb, b"gzip", 1 << 20)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.status == 413
    assert peak_bytes < 4 << 20


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_a_body_that_ends_too_early_is_refused(cut: int) -> None:
    with pytest.raises(RequestError) as refused:
        inflate(gzip.compress(b"x" * 100)[:-cut], b"gzip", 1000)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        (b"gzip, deflate, br", b"gzip"),
        (b"deflate", b"deflate"),
        (b"gzip;q=0, deflate", b"deflate"),
        (b"*", b"gzip"),
        (b"gzip;q=0.000, *", b"deflate"),
        (b"br", None),
        (b"identity", None),
        (b"", None),
        (b"GZIP; q=0.5", b"gzip"),
    ],
)
def test_the_coding_that_a_client_takes(accepts: bytes, coding: bytes | None) -> None:
    assert wanted_coding(accepts) == coding
    if coding is not None:
        body = b"y" * 5000
        assert bytes(inflate(compressed(body, coding), coding, 5000)) == body
