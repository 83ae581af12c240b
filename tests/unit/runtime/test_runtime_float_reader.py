"""The C library reads a number to the very float that a general parser gives, or leaves it to that one."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from fleetfit_runtime.serve.float_reader import FloatReader, load_float_reader
from hypothesis import given
from hypothesis import strategies as st


def nearest(numbers: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with np.errstate(over="ignore"):
        return np.array([float(number) for number in numbers]).astype(np.float32)


def bits(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[int]:
    return [int(value) for value in values.view(np.uint32)]


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
USUAL = st.floats(-1e3, 1e3).map(repr)


LONG_FRACTIONS = st.from_regex(r"-?[0-9]\.[0-9]{12,25}", fullmatch=True).filter(str.isascii)

NUMBERS = st.one_of(
    USUAL,
    FLOATS.map(repr),
    DOUBLES.map(repr),
    DOUBLES.map(lambda value: f"{value:.6g}"),
    DOUBLES.map(lambda value: f"{value:.25e}"),
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.6f}"),
    st.integers(-(2**70), 2**70).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).filter(
        lambda text: text.isascii()
    ),
    LONG_FRACTIONS,
)
SPACES = st.text(alphabet=" \t\r\n", max_size=2)


@given(st.lists(NUMBERS, max_size=30), SPACES, SPACES)
def test_what_is_read_is_the_nearest_float(
    reader: FloatReader, numbers: list[str], before: str, after: str
) -> None:
    text = f"{before},{after}".join(numbers)
    values = reader.read(memoryview(f"{after}{text}{before}".encode()), len(numbers))
    if values is not None:
        assert bits(values) == bits(nearest(numbers))


@given(st.lists(LONG_FRACTIONS, min_size=3, max_size=6))
def test_digits_that_do_not_fit_are_not_lost(reader: FloatReader, numbers: list[str]) -> None:
    for number in numbers:
        # Alone it is read as the last of an array is, with others behind it as most are.
        for text in (number, f"{number},{numbers[0]},{numbers[1]}"):
            values = reader.read(memoryview(text.encode()), text.count(",") + 1)
            if values is not None:
                assert bits(values) == bits(nearest(text.split(",")))


def test_numbers_beside_the_middle_of_two_floats_are_rounded_right(reader: FloatReader) -> None:
    random = np.random.default_rng(7)
    below = np.exp(random.uniform(math.log(1e-9), math.log(1e9), 4000)).astype(np.float32)
    middles = (below.astype(float) + np.nextafter(below, np.float32(math.inf)).astype(float)) / 2
    for middle in middles.tolist():
        for number in (math.nextafter(middle, 0), middle, math.nextafter(middle, math.inf)):
            values = reader.read(memoryview(repr(number).encode()), 1)
            assert values is None or bits(values) == bits(nearest([repr(number)]))


@given(st.lists(FLOATS.filter(lambda value: value == 0 or abs(value) > 1e-30), min_size=1, max_size=30))
def test_floats_that_python_printed_are_all_read(reader: FloatReader, numbers: list[float]) -> None:
    printed = json.dumps(numbers)[1:-1]
    values = reader.read(memoryview(printed.encode()), len(numbers))
    # Those with an exponent beyond 22 digits are a general parser's.
    if all(1e-9 < abs(number) < 1e22 or number == 0 for number in numbers):
        assert values is not None
    if values is not None:
        assert bits(values) == bits(np.array(numbers, np.float32))


@given(st.lists(USUAL, min_size=1, max_size=4), st.data())
def test_nothing_beyond_the_end_is_read(reader: FloatReader, numbers: list[str], data: st.DataObject) -> None:
    whole = ",".join(numbers).encode() + b"1234567890" * 5
    end = data.draw(st.integers(0, len(whole)))
    part = whole[:end]
    count = part.count(b",") + 1
    values = reader.read(memoryview(whole)[:end], count)
    alone = reader.read(memoryview(bytes(part)), count)
    assert (values is None) == (alone is None)
    if values is not None and alone is not None:
        assert bits(values) == bits(alone)


@pytest.mark.parametrize("behind", ["", ",0.1234567890123456789" * 3])
@pytest.mark.parametrize(
    "text",
    [
        *(
            "01",
            "-01",
            "1.",
            ".5",
            "+1",
            "1e",
            "1e+",
            "--1",
            "- 1",
            "-",
            "1.e5",
            "0x1",
            "1_0",
            "1.5f",
            "1 2",
            "1..2",
        ),
        *(
            ",1",
            "1,",
            "1,,2",
            ",",
            "NaN",
            "Infinity",
            "-inf",
            "true",
            "null",
            '"1"',
            "[1]",
            "{}",
            "\0",
            "1\0",
            "\u0661",
        ),
        *("1e39", "1e-40", "1e-46", "3.5e38", "1e99999999999999999999", "12345678901234567890"),
    ],
)
def test_anything_else_is_left_to_a_general_parser(reader: FloatReader, text: str, behind: str) -> None:
    content = (text + behind).encode()
    assert reader.read(memoryview(content), content.count(b",") + 1) is None


def test_the_number_of_elements_must_be_right(reader: FloatReader) -> None:
    text = memoryview(b"1.5, 2.5,3.5")
    assert reader.read(text, 3) is not None
    assert reader.read(text, 2) is None
    assert reader.read(text, 4) is None
    assert reader.read(text, 1 << 60) is None
    assert reader.read(memoryview(b""), 0) is not None
    assert reader.read(memoryview(b" "), 0) is not None
    assert reader.read(memoryview(b""), 1) is None


def test_a_character_is_found_where_it_is_first(reader: FloatReader) -> None:
    text = memoryview(b"[1],[2]")
    assert reader.find(text, b"]", 0) == 2
    assert reader.find(text, b"]", 3) == 6
    assert reader.find(text, b"]", 7) == -1
    assert reader.find(text, b"x", 0) == -1


def test_without_the_library_there_is_no_reader(tmp_path: Path) -> None:
    assert load_float_reader(tmp_path / "float_text.so") is None
    other = tmp_path / "other.so"
    other.write_bytes(b"\x7fELF of another machine")
    assert load_float_reader(other) is None
