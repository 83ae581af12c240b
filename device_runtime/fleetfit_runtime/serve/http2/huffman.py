"""The string code of HPACK (RFC 7541, appendix B). Pure.

The code is canonical: symbols sorted by length, then by value, have consecutive code words. So the lengths say it all.
"""

from functools import cache
from typing import Final

_END_OF_STRING: Final = 256
_LONGEST_PADDING_BITS: Final = 7

# Length of the code word in bits, of the bytes 0 to 255 and of the end of a string.
_LENGTHS: Final = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5,
    6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11,
    14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23,
    23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25,
    26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20,
    24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
)  # fmt: skip


class HuffmanError(ValueError):
    """The bytes are no code of a string."""


# A node's entry for four bits: the next node and the byte that is complete with them, -1 for none.
_Steps = tuple[tuple[int, int], ...]


class _Machine:
    """A decoder that takes four bits a step; no code word is shorter than five, so a step completes one byte at most.

    Attributes:
        steps: entries by node, sixteen each; node 0 is the root, -1 is the way to the end-of-string symbol.
        may_end: whether a string may end at the node: fewer than eight bits, all ones, have been read there.
    """

    def __init__(self) -> None:
        children: list[list[int]] = [[0, 0]]  # positive: a node; negative: -1 - symbol
        code, length_before = 0, 0
        for symbol in sorted(range(len(_LENGTHS)), key=lambda each: (_LENGTHS[each], each)):
            length = _LENGTHS[symbol]
            code <<= length - length_before
            length_before = length
            node = 0
            for shift in range(length - 1, 0, -1):
                bit = code >> shift & 1
                if children[node][bit] == 0:
                    children.append([0, 0])
                    children[node][bit] = len(children) - 1
                node = children[node][bit]
            children[node][code & 1] = -1 - symbol
            code += 1
        self.steps: tuple[_Steps, ...] = tuple(
            tuple(_walk(children, node, bits) for bits in range(16)) for node in range(len(children))
        )
        may_end = {0}
        node = 0
        for _ in range(_LONGEST_PADDING_BITS):
            node = children[node][1]
            may_end.add(node)
        self.may_end = frozenset(may_end)


def _walk(children: list[list[int]], node: int, bits: int) -> tuple[int, int]:
    symbol = -1
    for shift in (3, 2, 1, 0):
        node = children[node][bits >> shift & 1]
        if node < 0:
            symbol = -1 - node
            if symbol == _END_OF_STRING:
                return -1, -1
            node = 0
    return node, symbol


@cache
def _machine() -> _Machine:
    return _Machine()  # some milliseconds, and only for clients that use the code


def decode_huffman(data: bytes) -> bytes:
    """Return the string.

    Raises:
        HuffmanError: it has the end-of-string symbol, or does not end as the code demands.
    """
    machine = _machine()
    steps = machine.steps
    decoded = bytearray()
    node = 0
    for byte in data:
        for bits in (byte >> 4, byte & 15):
            node, symbol = steps[node][bits]
            if symbol >= 0:
                decoded.append(symbol)
            elif node < 0:
                raise HuffmanError("a header has the end-of-string symbol")
    if node not in machine.may_end:
        raise HuffmanError("a header ends within a code word")
    return bytes(decoded)
