"""Compressed headers (RFC 7541): a decoder with its dynamic table, and an encoder that needs none. Pure."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from fleetfit_runtime.serve.http2.huffman import HuffmanError, decode_huffman

Header = tuple[bytes, bytes]

TABLE_BYTES: Final = 4096
_ENTRY_OVERHEAD_BYTES: Final = 32
_MOST_INTEGER_BYTES: Final = 5
_MOST_KNOWN_BLOCKS: Final = 8

# Appendix A: name, or name=value, by index from 1.
_STATIC_TEXT: Final = (
    ":authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200"
    "|:status=204|:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset"
    "|accept-encoding=gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age|allow"
    "|authorization|cache-control|content-disposition|content-encoding|content-language|content-length"
    "|content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host|if-match"
    "|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards"
    "|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie"
    "|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
)


def _static_entry(text: str) -> Header:
    name, _, value = text.partition("=")
    return name.encode(), value.encode()


_STATIC: Final = tuple(_static_entry(text) for text in _STATIC_TEXT.split("|"))


class HpackError(ValueError):
    """The block cannot be decoded; the connection's tables no longer agree."""


class HeaderDecoder:
    """Decodes the header blocks of one connection, in order.

    Args:
        max_list_bytes: largest list of headers, counted as the RFC does (32 bytes an entry beside its text). Without
            a bound a block of one-byte references to a large entry would grow a thousandfold.
    """

    def __init__(self, max_list_bytes: int) -> None:
        self._max_list_bytes = max_list_bytes
        self._table: deque[Header] = deque()
        self._table_bytes = 0
        self._max_table_bytes = TABLE_BYTES
        # Blocks that neither use nor change what may change: the second request of a client is like its first.
        self._known: dict[bytes, tuple[Header, ...]] = {}

    def decode(self, block: bytes) -> tuple[Header, ...]:
        """Return the headers of a block.

        Raises:
            HpackError: it is not valid, or its headers are larger than allowed.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        reader = _BlockReader(block)
        headers: list[Header] = []
        size_bytes = 0
        unchanged = True
        while reader.more():
            first = reader.peek()
            if first & 0x80:
                header = self._entry(reader.integer(7))
            elif first & 0xE0 == 0x20:
                self._resize(reader.integer(5), began=bool(headers))
                unchanged = False
                continue
            else:
                indexed = first & 0x40 != 0
                header = self._literal(reader, 6 if indexed else 4)
                if indexed:
                    self._add(header)
                    unchanged = False
            size_bytes += len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD_BYTES
            if size_bytes > self._max_list_bytes:
                raise HpackError("the headers are too large")
            headers.append(header)
        result = tuple(headers)
        if unchanged and len(self._known) < _MOST_KNOWN_BLOCKS:
            self._known[block] = result
        return result

    def _literal(self, reader: "_BlockReader", prefix_bits: int) -> Header:
        index = reader.integer(prefix_bits)
        name = self._entry(index)[0] if index else reader.string()
        return name, reader.string()

    def _entry(self, index: int) -> Header:
        if 1 <= index <= len(_STATIC):
            return _STATIC[index - 1]
        place = index - len(_STATIC) - 1
        if not 0 <= place < len(self._table):
            raise HpackError("a header refers to an entry that does not exist")
        return self._table[place]

    def _add(self, header: Header) -> None:
        self._known.clear()
        self._table.appendleft(header)
        self._table_bytes += len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD_BYTES
        self._evict()

    def _resize(self, size_bytes: int, *, began: bool) -> None:
        if began or size_bytes > TABLE_BYTES:
            raise HpackError("the header table is resized where it may not be")
        self._known.clear()
        self._max_table_bytes = size_bytes
        self._evict()

    def _evict(self) -> None:
        while self._table_bytes > self._max_table_bytes:
            name, value = self._table.pop()
            self._table_bytes -= len(name) + len(value) + _ENTRY_OVERHEAD_BYTES


class _BlockReader:
    """Reads the integers and strings of a block."""

    __slots__ = ("_at", "_block")

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._block)

    def peek(self) -> int:
        return self._block[self._at]

    def integer(self, prefix_bits: int) -> int:
        most = (1 << prefix_bits) - 1
        value = self._byte() & most
        if value < most:
            return value
        for place in range(_MOST_INTEGER_BYTES):
            byte = self._byte()
            value += (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value
        raise HpackError("an integer of a header is too long")

    def string(self) -> bytes:
        if not self.more():
            raise HpackError("the headers end within one")
        coded = self.peek() & 0x80
        length = self.integer(7)
        end = self._at + length
        if end > len(self._block):
            raise HpackError("the headers end within one")
        text = self._block[self._at : end]
        self._at = end
        if not coded:
            return text
        try:
            return decode_huffman(text)
        except HuffmanError as error:
            raise HpackError(str(error)) from error

    def _byte(self) -> int:
        if self._at >= len(self._block):
            raise HpackError("the headers end within one")
        byte = self._block[self._at]
        self._at += 1
        return byte


def encode_headers(headers: Sequence[Header]) -> bytes:
    """Return a block of headers, without touching any table: responses are few bytes, and mostly constant."""
    parts: list[bytes] = []
    for header in headers:
        name, value = header
        if header in _STATIC:
            parts.append(bytes((0x80 | _STATIC.index(header) + 1,)))
        else:
            parts += (b"\x00", _encoded_string(name), _encoded_string(value))
    return b"".join(parts)


def _encoded_string(text: bytes) -> bytes:
    length = len(text)
    if length < 0x7F:
        return bytes((length,)) + text
    length -= 0x7F
    encoded = bytearray((0x7F,))
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded) + text
