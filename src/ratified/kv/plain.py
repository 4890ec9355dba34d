"""Puts of a key and a value and of nothing else, and gets of one key: the commonest requests, read by hand, and many
at a time.

Rules
1. A put is *plain* where its command is nobody's, and has a short key, a value of less than 16 KiB, and nothing else,
   in the very bytes that protobuf writes; a get, where its request has a short key and perhaps ``serializable``. Any
   other bytes are a request like all others, even if they mean the same.
2. Plain puts are applied many at a time, and come to the same rows, results and digest as if each were applied alone
   (``tests/kv/test_plain.py``). Many may be one command (``CommandKind.PUTS``): each makes a revision all the same.
3. Many gets may be one query (``QueryKind.GETS``). Where their answers are large it answers the first of them alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from ratified.kv.commands import CommandKind
from ratified.kv.encoding import OK, response

PlainPut: TypeAlias = tuple[bytes, bytes]
"""The key, and the value behind its length."""

_PUT = int(CommandKind.PUT)
_PUTS = int(CommandKind.PUTS)
_KEY_FIELD, _VALUE_FIELD = 0x0A, 0x12
_KEY_AT = 4
"""Behind the kind, the empty header, the field's number and the key's length."""
_MANY = bytes([_PUTS, 0])
"""The kind, and the empty header."""
_LENGTH_BYTES = 4
"""Of the length in front of each of many answers."""
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


def plain_puts(command: bytes) -> list[PlainPut] | None:
    """What a plain put says, or a command of many; None: the command is neither. Raises as ``puts_in`` does."""
    if command.startswith(_MANY):
        return puts_in(command[len(_MANY) :])
    put = plain_put(command)
    return None if put is None else [put]


def puts_in(body: bytes) -> list[PlainPut]:
    """What a command of many says; raises ``ValueError`` where these are not plain puts."""
    puts: list[PlainPut] = []
    at, end = 0, len(body)
    try:
        while at < end:
            value_at = at + 2 + body[at + 1]
            length = body[value_at + 1]
            behind = value_at + 2 + length
            if length >= _MORE:
                behind = value_at + 3 + (length & 0x7F | body[value_at + 2] << 7)
            if body[at] != _KEY_FIELD or body[value_at] != _VALUE_FIELD or behind > end:
                raise ValueError(f"no plain put at byte {at} of {end}")
            puts.append((body[at + 2 : value_at], body[value_at + 1 : behind]))
            at = behind
    except IndexError as error:
        raise ValueError(f"a plain put ends in the middle, of {end} bytes") from error
    return puts


def bare(value: bytes) -> bytes:
    """Without its length."""
    return value[2:] if value[0] >= _MORE else value[1:]


def plain_gets(body: bytes) -> Iterator[bytes]:
    """The keys for which a query of many asks; its API has seen to it that they are plain."""
    at, end = 0, len(body)
    while at < end:
        behind = at + 2 + body[at + 1]
        yield body[at + 2 : behind]
        at = behind + 2 if body.startswith(_OF_OWN_STATE, behind) else behind


def join_answers(answers: Iterable[bytes]) -> bytes:
    """One answer of these RangeResponses."""
    parts = [OK]
    for answer in answers:
        parts.append(len(answer).to_bytes(_LENGTH_BYTES))
        parts.append(answer)
    return b"".join(parts)


def split_answers(answer: bytes) -> list[bytes]:
    """The RangeResponses of a query of many; raises the store's error."""
    joined = response(answer)
    answers: list[bytes] = []
    at, end = 0, len(joined)
    while at < end:
        begins = at + _LENGTH_BYTES
        at = begins + int.from_bytes(joined[at:begins])
        answers.append(joined[begins:at])
    return answers
