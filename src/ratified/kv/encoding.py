"""Answers as bytes.

An answer is ``b"\\x00"`` and a serialized etcd response whose header has only ``revision`` set, or ``b"\\x01"``, a gRPC
status code in one byte and etcd's error text. Concatenated protobuf messages are one merged message, so who sends an
answer adds cluster, member and term as a second header field, and the pieces of a long answer are simply joined.

The responses of the hot path are written here by hand, around key-value pairs that are stored in the form in which they
are sent.
"""

from __future__ import annotations

from ratified.kv.errors import EtcdError

OK = b"\x00"
FAILED = b"\x01"
_REVISION_AT = 4
"""In a ``header_only``, behind ``OK``, the header's field number and length, and the revision's."""


def varint(number: int) -> bytes:
    """Protobuf's variable-length form of a number below 2^64; a negative int64 goes as its two's complement."""
    if 0 <= number < 0x80:
        return _SMALL[number]
    if 0 <= number < 0x20_0000:  # lengths, versions, most revisions
        low = number & 0x7F | 0x80
        if number < 0x4000:
            return bytes((low, number >> 7))
        return bytes((low, number >> 7 & 0x7F | 0x80, number >> 14))
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
    said = varint(revision)
    return b"\x0a" + _SMALL[len(said) + 1] + b"\x18" + said


def header_only(revision: int) -> bytes:
    """A response of which nothing but the header is set: PutResponse, CompactionResponse, LeaseRevokeResponse."""
    return OK + header(revision)


def revision_of(answer: bytes) -> int:
    """That in a ``header_only``; raises the ``EtcdError`` that is there instead."""
    _check(answer)
    revision = 0
    for place, byte in enumerate(answer[_REVISION_AT:]):
        revision |= (byte & 0x7F) << 7 * place
    return revision


def failure(error: EtcdError) -> bytes:
    """The answer to a request that failed."""
    return FAILED + bytes([error.code]) + error.text.encode()


def response(answer: bytes) -> bytes:
    """The etcd response in an answer; raises the ``EtcdError`` that is there instead."""
    _check(answer)
    return answer[1:]


def response_view(answer: bytes) -> memoryview:
    """As ``response``, without a copy: an answer may have many megabytes."""
    _check(answer)
    return memoryview(answer)[1:]


def _check(answer: bytes) -> None:
    if answer[0]:
        raise EtcdError(answer[1], answer[2:].decode())
