"""Alarms that this member raises itself.

Rules
1. Members of an earlier version stop at a command about alarms. So none is proposed before all members are known to
   know it; until then a member that is full refuses by itself what would make its store grow.
2. An alarm is raised once: not while it is being raised, and not while it stands in this member's own store, which
   whoever asks has looked at. No request waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from ratified.api.submission import Caller, Pending, Submission
from ratified.kv import commands
from ratified.kv.errors import EtcdError
from ratified.kv.identity import SERVER
from ratified.runtime import Host, Work
from ratified.wire.etcd.rpc_pb2 import AlarmRequest, AlarmType
from ratified.wire.peer import ALARMS_SINCE

log = logging.getLogger("ratified.server")


class Submits(Protocol):
    def submit(self, submission: Submission, timeout_us: int | None, caller: Caller) -> Pending: ...


class OwnAlarms:
    def __init__(self, host: Host, submits: Submits) -> None:
        self._host = host
        self._submits = submits
        self._under_way: set[int] = set()

    def begin(self, kind: AlarmType.ValueType, member: int | None = None) -> None:
        """Raise one of ``member``, None: of this one, unless one of that kind is being raised."""
        if kind in self._under_way or not self._host.all_speak(ALARMS_SINCE):
            return
        self._under_way.add(kind)
        of = self._host.member if member is None else member
        log.warning("raising the alarm %s of member %x", AlarmType.Name(kind), of)
        request = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=of, alarm=kind)
        command = commands.alarm(request.SerializeToString())
        self._submits.submit(Submission(Work.PROPOSE, commands.asked_by(SERVER, command)), None, _Raising(self, kind))

    def ended(self, kind: AlarmType.ValueType) -> None:
        self._under_way.discard(kind)


class _Raising:
    """The ``Caller`` of one alarm."""

    def __init__(self, alarms: OwnAlarms, kind: AlarmType.ValueType) -> None:
        self._alarms = alarms
        self._kind = kind

    def answered(self, message: bytes) -> None:
        self._alarms.ended(self._kind)

    def answered_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        self._alarms.ended(self._kind)

    def failed(self, error: EtcdError) -> None:
        name = AlarmType.Name(self._kind)
        log.warning("the alarm %s was not raised, and will be where its cause is seen again: %s", name, error.text)
        self._alarms.ended(self._kind)
