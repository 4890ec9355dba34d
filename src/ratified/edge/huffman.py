"""The Huffman code of RFC 7541, appendix B.

The code is canonical: the lengths say all of it. It is read four bits at a time, by a table of what each four bits give
in each place of the code's tree; the shortest code has five bits, so they end one symbol at most.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

# fmt: off
_LENGTHS = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
)
# fmt: on
"""Of the codes of the 256 bytes, and of the end of the string (EOS)."""
_EOS = 256
_PADDING_BITS_MAX = 7


class HuffmanError(ValueError):
    """The bytes are no string of this code."""


class _Table(NamedTuple):
    steps: tuple[tuple[int, int], ...]
    """At place * 16 + four bits: the next place (-1: none), and the byte that ended (-1: none did)."""
    may_end: frozenset[int]
    """The places in which a string may end: behind up to seven ones."""


def decode(data: bytes) -> bytes:
    """The string. Raises ``HuffmanError``."""
    steps, may_end = _table()
    out = bytearray()
    place = 0
    for byte in data:
        for bits in (byte >> 4, byte & 15):
            place, symbol = steps[place * 16 + bits]
            if place < 0:
                raise HuffmanError("a Huffman code of the header block is none, or is EOS")
            if symbol >= 0:
                out.append(symbol)
    if place not in may_end:
        raise HuffmanError("a Huffman string of the header block ends with no proper padding")
    return bytes(out)


def _codes() -> dict[tuple[int, int], int]:
    """(length, code) -> symbol."""
    codes: dict[tuple[int, int], int] = {}
    code = last = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_LENGTHS)):
        code <<= length - last
        codes[length, code] = symbol
        code += 1
        last = length
    return codes


@cache
def _table() -> _Table:
    codes = _codes()
    places = {(0, 0): 0}
    for length, code in codes:
        for shorter in range(1, length):
            places.setdefault((shorter, code >> (length - shorter)), len(places))
    steps = [_step(codes, places, place, bits) for place in places for bits in range(16)]
    ones = ((length, (1 << length) - 1) for length in range(_PADDING_BITS_MAX + 1))
    return _Table(tuple(steps), frozenset(places[each] for each in ones))


def _step(
    codes: dict[tuple[int, int], int], places: dict[tuple[int, int], int], place: tuple[int, int], bits: int
) -> tuple[int, int]:
    ended = -1
    for at in (3, 2, 1, 0):
        place = place[0] + 1, place[1] << 1 | bits >> at & 1
        symbol = codes.get(place)
        if symbol == _EOS:
            return -1, -1
        if symbol is not None:
            ended, place = symbol, (0, 0)
    return places[place], ended
