"""The library that reads the text of numbers into floats, `native/float_text.c`, where it was built.

Where it was not, large JSON is read as any other. It knows nothing of what the numbers are for.
"""

import ctypes
from pathlib import Path
from typing import Final

import numpy as np

from fleetfit_runtime.engine.model_session import Array

LIBRARY: Final = Path(__file__).with_name("float_text.so")


class FloatReader:
    """Reads numbers.

    Args:
        library: the library.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._find = library.fleetfit_find
        self._find.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int]
        self._find.restype = ctypes.c_int64
        self._read = library.fleetfit_read_floats
        self._read.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64]
        self._read.restype = ctypes.c_int64

    def find(self, text: memoryview, character: bytes, begin: int) -> int:
        """Return where a character is for the first time from `begin` on, or -1."""
        return int(self._find(_address(text), len(text), begin, ord(character)))

    def read(self, text: memoryview, count: int) -> Array | None:
        """Return the elements of an array as float32.

        Args:
            text: what stands between its brackets.
            count: how many elements there should be.

        Returns:
            One dimension; None where there are more or fewer elements, anything but numbers, or numbers that only a
            general parser can be trusted with.
        """
        if count > (len(text) + 1) // 2:
            return None  # A digit and a comma each; memory is not to be had by the asking.
        values = np.empty(count, np.float32)
        found = self._read(_address(text), len(text), values.ctypes.data, count)
        return values if found == count else None


def _address(text: memoryview) -> int:
    return int(np.frombuffer(text, np.uint8).ctypes.data) if len(text) else 0


def load_float_reader(path: Path = LIBRARY) -> FloatReader | None:
    """Return the reader, or None where its library was not built for this machine."""
    try:
        return FloatReader(ctypes.CDLL(str(path)))
    except OSError:
        return None
