"""What the fetcher knows of a place that files come from: it opens a stream, perhaps not from the first byte.

Each kind of place has a file of its own; `sources.py` chooses by the URI's scheme. This module does no IO.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Wanted:
    """The file that must be in the store.

    Attributes:
        uri: where it can be fetched.
        sha256: its digest.
        size_bytes: its size.
    """

    uri: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """What an earlier attempt left of the file.

    Attributes:
        size_bytes: how much there is; 0 for nothing.
        validator: what the source then said to tell versions of the file apart (an ETag or a date); empty when unknown.
    """

    size_bytes: int = 0
    validator: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a source sends.

    Attributes:
        start_bytes: offset of the first byte: the size of the beginning, or 0 where the source began anew.
        validator: tells this version of the file from others; empty where the source has none.
        chunks: the bytes.
    """

    start_bytes: int
    validator: str
    chunks: AsyncIterator[bytes]


class Source(Protocol):
    """One kind of place."""

    @property
    def remote(self) -> bool:
        """Whether bytes come over the network, where a cap of bandwidth counts."""

    def open(self, wanted: Wanted, beginning: Beginning) -> AbstractAsyncContextManager[Stream]:
        """Open the file behind the beginning where that is possible, else from its start.

        What fails while the stream is read, fails through the context, so that a source names its own troubles.

        Raises:
            ModelFailure: the source refuses or breaks.
        """
