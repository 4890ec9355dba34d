"""Answers as bytes.

An answer is ``b"\\x00"`` and a serialized etcd response whose header has only ``revision`` set, or ``b"\\x01"``, a gRPC
status code in one byte and etcd's error text. Concatenated protobuf messages are one merged message, so who sends an
answer adds cluster, member and term as a second header field, and the pieces of a long answer are simply joined.

The responses of the hot path are written here by hand, around key-value pairs that are stored in the form in which they
are sent.
"""

from __future__ import annotations

OK = b"\x00"
FAILED = b"\x01"


def varint(number: int) -> bytes:
    """Protobuf's variable-length form of a number below 2^64; a negative int64 goes as its two's complement."""
    if 0 <= number < 0x80:
        return _SMALL[number]
    number &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL = [bytes([number]) for number in range(0x80)]


def field(tag: bytes, content: bytes) -> bytes:
    """A length-delimited field; ``tag`` is its number and wire type."""
    return tag + varint(len(content)) + content


def header(revision: int) -> bytes:
    """Field 1 of every response: a header with this revision."""
    return field(b"\x0a", b"\x18" + varint(revision))


def header_only(revision: int) -> bytes:
    """A response of which nothing but the header is set: PutResponse, CompactionResponse, LeaseRevokeResponse."""
    return OK + header(revision)


class Failure(Exception):
    """A request fails with one of etcd's errors; nothing of it has happened."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    def encode(self) -> bytes:
        """The failure as an answer."""
        return FAILED + bytes([self.code]) + self.text.encode()


class RequestError(Failure):
    """A request is refused before it is proposed."""
