"""History that is compacted by itself: what is older than some time, or all but the last revisions.

Rules

1. By time: what was replaced longer than ``period_s`` ago goes, once an hour, or once a period where that is shorter.
   Which revision was the present one then is known from notes: ten in a period, but one every six minutes at least.
2. By revisions: every five minutes all but the last so many go.
3. The member that leads compacts. All others note likewise, so that whoever leads next knows. A member that has started
   has no notes, and compacts nothing by time until it has run for one period.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import NamedTuple, Protocol

from ratified.api.service import Service
from ratified.kv import commands, queries
from ratified.kv.errors import EtcdError
from ratified.kv.identity import SERVER
from ratified.wire.etcd import errors, rpc_pb2

log = logging.getLogger("ratified.server")

NOTES_A_PERIOD = 10
NOTE_EVERY_S_MAX = 360.0
COMPACT_EVERY_S_MAX = 3600.0
REVISIONS_LOOK_S = 300.0


class Policy(Protocol):
    """When to compact, and at which revision."""

    @property
    def looks_every_s(self) -> float: ...

    def look(self, now_s: float, revision: int) -> int | None:
        """What to compact at, now that this is the store's revision; None: nothing."""

    def compacted(self, now_s: float, revision: int) -> None:
        """History up to this revision is gone: nothing is to be compacted at it again."""


class _Note(NamedTuple):
    at_s: float
    revision: int


class ByTime:
    """Keeps what was the present within the last ``period_s``."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._notes: deque[_Note] = deque()
        """The first one is the newest that is old enough, once there is one."""
        self._done = _Note(-COMPACT_EVERY_S_MAX, 0)

    @property
    def looks_every_s(self) -> float:
        return min(self._period_s / NOTES_A_PERIOD, NOTE_EVERY_S_MAX)

    def look(self, now_s: float, revision: int) -> int | None:
        notes = self._notes
        notes.append(_Note(now_s, revision))
        while len(notes) > 1 and notes[1].at_s <= now_s - self._period_s:
            notes.popleft()
        if notes[0].at_s > now_s - self._period_s or notes[0].revision <= self._done.revision:
            return None
        is_due = now_s - self._done.at_s >= min(self._period_s, COMPACT_EVERY_S_MAX)
        return notes[0].revision if is_due else None

    def compacted(self, now_s: float, revision: int) -> None:
        self._done = _Note(now_s, revision)


class ByRevisions:
    """Keeps the last ``kept`` revisions."""

    looks_every_s = REVISIONS_LOOK_S

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._done = 0

    def look(self, now_s: float, revision: int) -> int | None:
        wanted = revision - self._kept
        return wanted if wanted > self._done else None

    def compacted(self, now_s: float, revision: int) -> None:
        self._done = revision


async def compact_for_ever(service: Service, policy: Policy) -> None:
    """Look, and compact where this member leads, until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(policy.looks_every_s)
        try:
            status = await service.query(queries.status(), linearizable=False)
            revision = policy.look(loop.time(), rpc_pb2.StatusResponse.FromString(status).header.revision)
            if revision is not None and service.host.leader() == service.host.member:
                await _compact(service, revision)
                policy.compacted(loop.time(), revision)
        except EtcdError as error:
            log.warning("history was not compacted, and will be later: %s", error.text)


async def _compact(service: Service, revision: int) -> None:
    request = rpc_pb2.CompactionRequest(revision=revision).SerializeToString()
    try:
        await service.propose(commands.asked_by(SERVER, commands.compact(request)))
    except EtcdError as error:
        if error.text != errors.COMPACTED.text:  # somebody else has compacted further
            raise
    log.info("history up to revision %d is compacted", revision)
