"""Puts of a key and a value and of nothing else, and gets of one key: the commonest requests, read by hand.

Rules
1. A put is *plain* where its command is nobody's, and has a short key, a value of less than 16 KiB, and nothing else,
   in the very bytes that protobuf writes; a get, where its request has a short key and perhaps ``serializable``. Any
   other bytes are a request like all others, even if they mean the same.
2. Plain puts are applied many at a time, and come to the same rows, results and digest as if each were applied alone
   (``tests/kv/test_plain.py``).
"""

from __future__ import annotations

from typing import TypeAlias

from ratified.kv.commands import CommandKind

PlainPut: TypeAlias = tuple[bytes, bytes]
"""The key, and the value behind its length."""

_PUT = int(CommandKind.PUT)
_KEY_FIELD, _VALUE_FIELD = 0x0A, 0x12
_KEY_AT = 4
"""Behind the kind, the empty header, the field's number and the key's length."""
_OF_OWN_STATE = b"\x38\x01"
"""The field by which a get asks this member's own state."""
_MORE = 0x80
"""In a byte of a length: there is another one."""
_TWO_BYTES = 0x4000
"""What a length of two bytes is below."""


def plain_put(command: bytes) -> PlainPut | None:
    """What a plain put says; None: the command is none."""
    end = len(command)
    if end <= _KEY_AT or command[0] != _PUT or command[1] or command[2] != _KEY_FIELD:
        return None
    value_at = _KEY_AT + command[3]
    if command[3] >= _MORE or value_at == _KEY_AT or value_at + 2 >= end or command[value_at] != _VALUE_FIELD:
        return None
    length_at = value_at + 1
    length = command[length_at]
    if length < _MORE:
        is_plain = 0 < length == end - length_at - 1
    else:
        left = end - length_at - 2
        is_plain = _MORE <= left < _TWO_BYTES and length == left & 0x7F | _MORE and command[length_at + 1] == left >> 7
    return (command[_KEY_AT:value_at], command[length_at:]) if is_plain else None


def plain_get(request: bytes) -> bytes | None:
    """The key for whose newest pair a RangeRequest asks, if it asks for nothing else; None: it does, or has no key."""
    if len(request) < 3 or request[0] != _KEY_FIELD:
        return None
    length = request[1]
    left = len(request) - length - 2
    if not 0 < length < _MORE or (left and not (left == 2 and request.endswith(_OF_OWN_STATE))):
        return None
    return request[2 : 2 + length]
