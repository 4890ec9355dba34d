"""Alarms: which members have no space left, or have data that differs from the others'. Part of the replicated state.

Rules
1. An alarm is a kind and a member; each has a row in ``meta``, in the digest and in snapshots. It is raised and taken
   back by commands alone, and by nothing else: not by there being room again.
2. What an alarm refuses is decided where a command is applied, by the alarms there: all members decide alike. While
   NOSPACE stands, whoever raised it, nothing is applied that makes the store grow; while CORRUPT stands, nothing that
   changes keys or leases. Reads are answered all the same, and users may be changed, as in etcd.
"""

from __future__ import annotations

from struct import Struct

from ratified.kv.commands import CommandKind
from ratified.kv.digest import Sums
from ratified.kv.errors import EtcdError
from ratified.kv.requests import has_put
from ratified.kv.tables import META
from ratified.storage.space import Space
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import (
    CORRUPT,
    NONE,
    NOSPACE,
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    TxnRequest,
)

ALARMS_MAX = 1_000
"""A client may raise one for any number, whether a member has it or not."""
KEY = b"alarm/"
KEY_END = b"alarm0"
"""Where the rows lie in ``meta``."""
_KEY = Struct(">6sBQ")
_ROW = b"\x01"
_GROW = (CommandKind.PUT, CommandKind.PUTS, CommandKind.LEASE_GRANT)
_CHANGE = (
    CommandKind.PUTS,
    CommandKind.PUT,
    CommandKind.DELETE_RANGE,
    CommandKind.TXN,
    CommandKind.COMPACT,
    CommandKind.LEASE_GRANT,
    CommandKind.LEASE_REVOKE,
    CommandKind.LEASE_EXPIRE,
)


class Alarms:
    """All alarms of one space."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._raised: set[tuple[int, int]] = set()
        """Kind and member."""
        self._kinds: set[int] = set()
        for key, row in space.scan(META, KEY, KEY_END):
            self._read(key, row)

    def load(self, key: bytes, row: bytes) -> None:
        """Take over a row from another replica's snapshot."""
        self._read(key, row)
        self._space.put(META, key, row)

    def replace_by(self, other: Alarms) -> None:
        """Be what a snapshot has said from now on, in the space that it was loaded into."""
        self._space, self._raised, self._kinds = other._space, other._raised, other._kinds

    def _read(self, key: bytes, row: bytes) -> None:
        _, kind, member = _KEY.unpack(key)
        if kind not in (NOSPACE, CORRUPT) or row != _ROW:
            raise ValueError(f"a row {key!r} says nothing about an alarm")
        self._raised.add((kind, member))
        self._kinds.add(kind)

    @property
    def any(self) -> bool:
        return bool(self._raised)

    def of_kind(self, kind: AlarmType.ValueType) -> list[AlarmMember]:
        """Those that stand, by kind and member; of every kind where it is NONE."""
        return [_member(*each) for each in sorted(self._raised) if kind in (NONE, each[0])]

    def check_command(self, kind: int, body: bytes) -> None:
        """Raise etcd's error where an alarm refuses a command."""
        if CORRUPT in self._kinds and kind in _CHANGE:
            raise EtcdError(*errors.CORRUPT)
        if NOSPACE not in self._kinds:
            return
        if kind in _GROW or (kind == CommandKind.TXN and has_put(TxnRequest.FromString(body))):
            raise EtcdError(*errors.NO_SPACE)

    def change(self, request: AlarmRequest, sums: Sums) -> AlarmResponse:
        """Carry out an ALARM command; the answer has the alarm that was raised, or was already, or was taken back."""
        at = (request.alarm, request.memberID)
        if request.action == AlarmRequest.ACTIVATE:
            self._raise(at, sums)
        elif at not in self._raised:
            return AlarmResponse()
        else:
            self._take_back(at, sums)
        return AlarmResponse(alarms=[_member(*at)])

    def _raise(self, at: tuple[int, int], sums: Sums) -> None:
        if at in self._raised:
            return
        if len(self._raised) >= ALARMS_MAX:
            raise EtcdError(*errors.TOO_MANY_ALARMS)
        key = _KEY.pack(KEY, *at)
        self._space.put(META, key, _ROW)
        sums.add_row(key + _ROW)
        self._raised.add(at)
        self._kinds.add(at[0])

    def _take_back(self, at: tuple[int, int], sums: Sums) -> None:
        key = _KEY.pack(KEY, *at)
        self._space.delete(META, key)
        sums.remove_row(key + _ROW)
        self._raised.remove(at)
        self._kinds = {kind for kind, _ in self._raised}


def text(alarm: AlarmMember) -> str:
    """As etcd's ``Status`` says that it stands, down to the blank at its end."""
    member = f"memberID:{alarm.memberID} " if alarm.memberID else ""
    return f"{member}alarm:{AlarmType.Name(alarm.alarm)} "


def _member(kind: int, member: int) -> AlarmMember:
    return AlarmMember(memberID=member, alarm=AlarmType.ValueType(kind))
