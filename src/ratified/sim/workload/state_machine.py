"""A small replicated map written as a user would write it: a ``StateMachine``.

It runs in the simulator beside the real store: what users bring is tested as the store is.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ratified.check.register import Call, Delete, Get, Held, Put, Result, Swap
from ratified.machine import StateMachine


class _Command(msgspec.Struct, array_like=True):
    key: bytes
    tag: bytes
    """Tells this command from every other one."""
    kind: str
    value: bytes = b""
    version: int = 0


class _Answer(msgspec.Struct, array_like=True):
    revision: int
    held: Held = None
    swapped: bool = False
    changed: bool = False


_command_of = msgspec.msgpack.Decoder(_Command).decode
_answer_of = msgspec.msgpack.Decoder(_Answer).decode
_snapshot_of = msgspec.msgpack.Decoder(tuple[int, list[tuple[bytes, tuple[bytes, int]]]]).decode
_encode = msgspec.msgpack.Encoder().encode


class Registers(StateMachine):
    """Keys with values and versions, and one revision over all of them."""

    def __init__(self) -> None:
        self._held: dict[bytes, tuple[bytes, int]] = {}
        self._revision = 1

    def apply(self, command: bytes) -> bytes:
        wanted = _command_of(command)
        before = self._held.get(wanted.key)
        version = 0 if before is None else before[1]
        if wanted.kind == "delete":
            changed = self._held.pop(wanted.key, None) is not None
        else:
            changed = wanted.kind == "put" or version == wanted.version
            if changed:
                self._held[wanted.key] = (wanted.value, version + 1)
        self._revision += changed
        return _encode(_Answer(self._revision, before, changed, changed))

    def query(self, request: bytes) -> bytes:
        return _encode(_Answer(self._revision, self._held.get(request)))

    def snapshot(self) -> bytes:
        return _encode((self._revision, sorted(self._held.items())))

    def restore(self, pieces: Iterable[bytes]) -> None:
        self._revision, rows = msgspec.msgpack.decode(
            b"".join(pieces), type=tuple[int, list[tuple[bytes, tuple[bytes, int]]]]
        )
        self._held = dict(rows)


class RegistersApi:
    """Calls on ``Registers``."""

    def command(self, key: bytes, call: Call, tag: bytes) -> bytes:
        match call:
            case Put(value):
                return _encode(_Command(key, tag, "put", value))
            case Delete():
                return _encode(_Command(key, tag, "delete"))
            case Swap(version, value):
                return _encode(_Command(key, tag, "swap", value, version))
            case Get():
                raise AssertionError("a read is no command")

    def query(self, key: bytes) -> bytes:
        return key

    def answer(self, call: Call, reply: bytes) -> tuple[Result, int, bool]:
        answer = _answer_of(reply)
        result: Result = True if isinstance(call, Swap) and answer.swapped else answer.held
        return result, answer.revision, answer.changed
