"""Whether all members hold the same data: asked when this member starts, and again and again by the one that leads.

Rules
1. Every member answers every check (``kv.checks``), whatever its own options: with the digest of what it has applied,
   and with a hash of its rows as it reads them. None is begun before all members speak a version that knows it.
2. Digests of one point of the log are compared whatever was compacted, hashes only of members that have compacted
   alike. Whoever differs from what more than half of all voters hold is wrong; where no such many agree, somebody is,
   and nobody knows who.
3. Who leads raises CORRUPT for each that is wrong, for member 0 where that is not known, as etcd 3.6 does. Who starts
   does not begin to serve where it is wrong, or may be.
4. Who does not answer within ``ANSWERS_S_MAX`` is not compared. A member that starts and finds nobody to compare itself
   with serves, as etcd does, and says so in its log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from contextlib import aclosing

import msgspec

from ratified.api.service import Service
from ratified.kv import checks, commands, queries
from ratified.kv.checks import Check, Report, Said
from ratified.kv.encoding import response
from ratified.kv.errors import EtcdError
from ratified.kv.identity import SERVER
from ratified.runtime import OutcomeUnknown, RequestRefused
from ratified.wire.etcd.rpc_pb2 import CORRUPT, AlarmRequest, HashKVResponse
from ratified.wire.peer import ALARMS_SINCE

log = logging.getLogger("ratified.server")

ANSWERS_S_MAX = 60.0
"""For all members to read all their rows."""
START_S_MAX = 30.0
"""For a member that starts to find a leader, and to meet all others."""
PAUSE_S = 1.0
UNKNOWN_MEMBER = 0


class DataDiffers(Exception):
    """This member's data is not what the others hold, or may not be."""


class CorruptionChecks:
    """Of one member."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._checks: dict[int, Check] = {}
        self._answered = 0
        """The index of the last check that this member has answered, or cannot answer."""
        self._changed = asyncio.Event()

    async def answer_for_ever(self) -> None:
        """Answer all checks, until it is cancelled."""
        while True:
            try:
                async with aclosing(self._service.host.stream(queries.checks(), linearizable=False)) as told:
                    async for chunk in told:
                        self._service.own_streams = 1
                        self._checks = {check.index: check for check in checks.decode(response(chunk))}
                        self._changed.set()
                        await self._answer()
            except (RequestRefused, OutcomeUnknown, EtcdError) as error:
                log.warning("a check of this member's data was not answered: %s", error)
            self._service.own_streams = 0
            await asyncio.sleep(PAUSE_S)

    async def check_for_ever(self, period_s: float) -> None:
        """Where this member leads, compare all members and raise alarms, until it is cancelled."""
        host = self._service.host
        while True:
            await asyncio.sleep(period_s)
            if host.leader() != host.member or not host.all_speak(ALARMS_SINCE):
                continue
            try:
                await self._raise(wrong(await self._ask(), host.voters()))
            except EtcdError as error:
                log.warning("the members' data was not compared, and will be later: %s", error.text)

    async def check_at_start(self) -> None:
        """Raise ``DataDiffers`` where this member should not begin to serve."""
        host = self._service.host
        try:
            async with asyncio.timeout(START_S_MAX):
                while not await self._is_ready():
                    await asyncio.sleep(PAUSE_S)
            check = await self._ask()
        except (TimeoutError, EtcdError) as error:
            log.warning("this member's data was not compared with that of the others: %s", error or "they are away")
            return
        if {host.member, UNKNOWN_MEMBER} & wrong(check, host.voters()):
            raise DataDiffers(
                f"the data of this member differs from that of others at revision {check.revision}: replace it by one"
                " with an empty data directory (`ratified member replace`), or, if it is the others that are wrong,"
                " start it without --experimental-initial-corrupt-check"
            )
        others = sorted(f"{member:x}" for member in check.said if member != host.member)
        log.info("this member's data at revision %d is that of %s", check.revision, ", ".join(others) or "no other one")

    async def _is_ready(self) -> bool:
        if not self._service.host.all_speak(ALARMS_SINCE):
            return False
        try:
            await self._service.query(queries.status())
        except EtcdError:
            return False
        return True

    async def _ask(self) -> Check:
        """What all say, or those that have said something in time."""
        index = int.from_bytes((await self._service.propose(commands.check()))[:8])
        members = {member.id for member in self._service.host.members()}
        try:
            async with asyncio.timeout(ANSWERS_S_MAX):
                while index not in self._checks or members - self._checks[index].said.keys():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            found = self._checks.get(index)
            if found is None:
                raise
            away = sorted(members - found.said.keys())
            log.warning("not compared, for they did not answer: %s", ", ".join(f"{each:x}" for each in away))
        return self._checks[index]

    async def _answer(self) -> None:
        member = self._service.host.member
        for check in self._checks.values():
            if check.index <= self._answered:
                continue
            self._answered = check.index
            try:
                answer = await self._service.query(
                    queries.hash_rows(check.revision), linearizable=False, timeout_s=ANSWERS_S_MAX
                )
                found = HashKVResponse.FromString(answer)
                said = Said(found.hash, found.compact_revision, check.digest)
                report = Report(check.index, member, said)
                await self._service.propose(commands.checked(msgspec.msgpack.encode(report)))
            except EtcdError as error:  # what it asks for was compacted meanwhile, say
                log.warning("the check at index %d of this member's data was not answered: %s", check.index, error.text)

    async def _raise(self, members: Collection[int]) -> None:
        if not members:
            return
        standing = {each.memberID for each in await self._service.alarms(CORRUPT, linearizable=True)}
        for member in sorted(set(members) - standing):
            log.error("the data of member %x differs from that of the others: raising the alarm CORRUPT", member)
            alarm = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=member, alarm=CORRUPT)
            await self._service.propose(commands.asked_by(SERVER, commands.alarm(alarm.SerializeToString())))


def wrong(check: Check, voters: Collection[int]) -> set[int]:
    """The members whose data is wrong; ``UNKNOWN_MEMBER`` where somebody's is."""
    most = len(voters) // 2
    found = _differing({member: said.digest for member, said in check.said.items()}, voters, most)
    for compacted in sorted({said.compacted for said in check.said.values()}):
        hashes = {member: said.hash for member, said in check.said.items() if said.compacted == compacted}
        found |= _differing(hashes, voters, most)
    return found


def _differing(values: Mapping[int, Hashable], voters: Collection[int], most: int) -> set[int]:
    if len(set(values.values())) <= 1:
        return set()
    of_voters = Counter(value for member, value in values.items() if member in voters)
    right = next((value for value, count in of_voters.items() if count > most), None)
    if right is None:
        return {UNKNOWN_MEMBER}
    return {member for member, value in values.items() if value != right}
