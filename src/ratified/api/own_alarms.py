"""Alarms that this member raises itself.

Rules
1. Members of an earlier version stop at a command about alarms. So none is proposed before all members are known to
   know it; until then a member that is full refuses by itself what would make its store grow.
2. An alarm is raised once: not while it is being raised, and not while it stands in this member's own store, which
   whoever asks has looked at. No request waits for it.
3. Who has raised NOSPACE for itself, and has not been started anew since, takes it back when there is room again: nine
   tenths of the quota are less than it has had. Who raised an alarm by a call, takes it back by one.
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
        self._raised: set[int] = set()
        """Kinds that this process has raised for its own member, and not taken back."""

    def has_raised(self, kind: AlarmType.ValueType) -> bool:
        return kind in self._raised

    def begin(self, kind: AlarmType.ValueType, member: int | None = None) -> None:
        """Raise one of ``member``, None: of this one, unless one of that kind is being raised."""
        if kind in self._under_way or not self._host.all_speak(ALARMS_SINCE):
            return
        self._under_way.add(kind)
        of = self._host.member if member is None else member
        log.warning("raising the alarm %s of member %x", AlarmType.Name(kind), of)
        if of == self._host.member:
            self._raised.add(kind)
        self._propose(AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=of, alarm=kind))

    def take_back(self, kind: AlarmType.ValueType) -> None:
        """That of this member, which ``has_raised`` it."""
        if kind in self._under_way:
            return
        self._under_way.add(kind)
        self._raised.remove(kind)
        log.warning("taking back the alarm %s of this member: there is room again", AlarmType.Name(kind))
        self._propose(AlarmRequest(action=AlarmRequest.DEACTIVATE, memberID=self._host.member, alarm=kind))

    def _propose(self, request: AlarmRequest) -> None:
        command = commands.asked_by(SERVER, commands.alarm(request.SerializeToString()))
        self._submits.submit(Submission(Work.PROPOSE, command), None, _Changing(self, request))

    def ended(self, request: AlarmRequest, error: EtcdError | None) -> None:
        self._under_way.discard(request.alarm)
        if error is None:
            return
        raises = request.action == AlarmRequest.ACTIVATE
        if not raises:
            self._raised.add(request.alarm)
        log.warning(
            "the alarm %s was not %s, and will be where its cause is seen again: %s",
            AlarmType.Name(request.alarm),
            "raised" if raises else "taken back",
            error.text,
        )


class _Changing:
    """The ``Caller`` of one change."""

    def __init__(self, alarms: OwnAlarms, request: AlarmRequest) -> None:
        self._alarms = alarms
        self._request = request

    def answered(self, message: bytes) -> None:
        self._alarms.ended(self._request, None)

    def answered_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        self._alarms.ended(self._request, None)

    def failed(self, error: EtcdError) -> None:
        self._alarms.ended(self._request, error)
