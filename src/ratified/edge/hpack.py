"""Header blocks (HPACK, RFC 7541), as a server reads and writes them.

Rules

1. A block that does not read is an error of the connection: what it did to the table is unknown.
2. What a client can make us keep is bounded: the table by ``table_bytes_max``, which we announce, a list of headers by
   ``list_bytes_max``; both count 32 bytes a header, as the RFC does. A short block may stand for a long list, so that
   is counted while it is read.
3. A block that adds nothing to the table changes nothing. Clients send the same one again and again, so what it gave is
   kept, until the table changes; whoever reads the headers keeps with them what he has found out (``Headers``).
4. What we write needs no table: no answer depends on what a client remembers.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

from ratified.edge import huffman

Header: TypeAlias = tuple[bytes, bytes]

TABLE_BYTES_MAX = 4096
"""The RFC's default, which holds until a client knows of another."""
OVERHEAD_BYTES = 32
_INTEGER_BYTES_MAX = 4
_BLOCKS_KEPT_MAX = 64
_KEPT_BLOCK_BYTES_MAX = 256
_STRINGS_KEPT_MAX = 1024
_KEPT_STRING_BYTES_MAX = 64

_STATIC: tuple[Header, ...] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
)
"""Appendix A."""
_FIRST_OF_TABLE = len(_STATIC) + 1


class HpackError(ValueError):
    """The block does not read."""


class HeadersTooLarge(Exception):
    """The list of headers is longer than ``list_bytes_max``; the table has what the block did to it."""


class Headers:
    """A list of headers, in order."""

    __slots__ = ("fields", "request", "user")

    def __init__(self, fields: tuple[Header, ...]) -> None:
        self.fields = fields
        self.request: Any = None
        """What ``requests`` has found them to be."""
        self.user: Any = None
        """What whoever takes requests has found them to be."""


class Decoder:
    """Reads the blocks of one connection, in their order."""

    def __init__(self, list_bytes_max: int, table_bytes_max: int = TABLE_BYTES_MAX) -> None:
        self._list_bytes_max = list_bytes_max
        self._announced_bytes = table_bytes_max
        self._table_bytes_max = table_bytes_max
        self._table_bytes = 0
        self._table: deque[Header] = deque()
        """The newest first."""
        self._kept: dict[bytes, Headers] = {}
        """What blocks gave that did not change the table; empty when it has changed."""
        self._strings: dict[bytes, bytes] = {}
        """Huffman strings that have come, and what they are."""

    def decode(self, block: bytes) -> Headers:
        """Raises ``HpackError``, or ``HeadersTooLarge`` when all of the block was read."""
        known = self._kept.get(block)
        return self._decode(block) if known is None else known

    def _decode(self, block: bytes) -> Headers:
        headers: list[Header] = []
        room = self._list_bytes_max
        is_pure = True
        table = self._table
        at = 0
        end = len(block)
        while at < end:
            byte = block[at]
            if byte & 0x80:
                index = byte & 0x7F
                at += 1
                if index == 0x7F:
                    index, at = _integer(block, at, index)
                behind = index - _FIRST_OF_TABLE
                header = table[behind] if 0 <= behind < len(table) else self._at(index)
            elif byte & 0x60 == 0x20:
                if room < self._list_bytes_max:
                    raise HpackError("a change of the table's size stands behind a header")
                size, at = _prefixed(block, at, 0x1F)
                self._resize(size)
                is_pure = False
                continue
            else:
                header, at = self._literal(block, at)
                if byte & 0x40:
                    self._add(header)
                    is_pure = False
            room -= len(header[0]) + len(header[1]) + OVERHEAD_BYTES
            if room >= 0:
                headers.append(header)
            elif room < -self._list_bytes_max:
                raise HpackError("the list of headers is more than twice as long as it may be")
        if room < 0:
            raise HeadersTooLarge
        found = Headers(tuple(headers))
        if is_pure and end <= _KEPT_BLOCK_BYTES_MAX:
            if len(self._kept) >= _BLOCKS_KEPT_MAX:
                self._kept.clear()
            self._kept[block] = found
        return found

    def _literal(self, block: bytes, at: int) -> tuple[Header, int]:
        index, at = _prefixed(block, at, 0x3F if block[at] & 0x40 else 0x0F)
        if index:
            name = self._at(index)[0]
        else:
            name, at = self._string(block, at)
        value, at = self._string(block, at)
        return (name, value), at

    def _at(self, index: int) -> Header:
        """Section 2.3.3."""
        if 0 < index <= len(_STATIC):
            return _STATIC[index - 1]
        index -= _FIRST_OF_TABLE
        if not 0 <= index < len(self._table):
            raise HpackError("a header has an index that the table has not")
        return self._table[index]

    def _string(self, block: bytes, at: int) -> tuple[bytes, int]:
        if at >= len(block):
            raise HpackError("the block ends inside a header")
        is_coded = block[at] & 0x80
        length, at = _prefixed(block, at, 0x7F)
        raw = block[at : at + length]
        if len(raw) < length:
            raise HpackError("the block ends inside a string")
        return (self._huffman(raw) if is_coded else raw), at + length

    def _huffman(self, raw: bytes) -> bytes:
        found = self._strings.get(raw)
        if found is None:
            try:
                found = huffman.decode(raw)
            except huffman.HuffmanError as error:
                raise HpackError(str(error)) from error
            if len(raw) <= _KEPT_STRING_BYTES_MAX and len(self._strings) < _STRINGS_KEPT_MAX:
                self._strings[raw] = found
        return found

    def _add(self, header: Header) -> None:
        """Sections 4.4 and 2.3.2: what is larger than the whole table empties it."""
        self._kept.clear()
        self._table_bytes += _size(header)
        self._table.appendleft(header)
        self._evict()

    def _resize(self, size: int) -> None:
        if size > self._announced_bytes:
            raise HpackError(f"the table's size is set to {size}, and {self._announced_bytes} were announced")
        self._kept.clear()
        self._table_bytes_max = size
        self._evict()

    def _evict(self) -> None:
        while self._table_bytes > self._table_bytes_max:
            self._table_bytes -= _size(self._table.pop())


def _size(header: Header) -> int:
    return len(header[0]) + len(header[1]) + OVERHEAD_BYTES


def _prefixed(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Section 5.1: a number that begins in the low bits of a byte; and where what follows begins."""
    value = block[at] & mask
    return (value, at + 1) if value < mask else _integer(block, at + 1, value)


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """What follows a prefix of nothing but ones."""
    for shift in range(0, 7 * _INTEGER_BYTES_MAX, 7):
        if at >= len(block):
            raise HpackError("the block ends inside a number")
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise HpackError("a number in the block is too large")


# ---------------------------------------------------------------------------------------------------------------
# Writing


def encode(*headers: Header) -> bytes:
    """A block, every header a literal that no table keeps (section 6.2.2), or an entry of the static table."""
    return b"".join(map(_encode, headers))


def _encode(header: Header) -> bytes:
    if header in _STATIC_INDEXES:
        return bytes([0x80 | _STATIC_INDEXES[header]])
    name, value = header
    return b"\x00" + _encode_string(name) + _encode_string(value)


_STATIC_INDEXES = {header: index for index, header in enumerate(_STATIC, 1) if header[1]}


def _encode_string(text: bytes) -> bytes:
    length = len(text)
    if length < 0x7F:
        return bytes([length]) + text
    head = bytearray(b"\x7f")
    length -= 0x7F
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + text
