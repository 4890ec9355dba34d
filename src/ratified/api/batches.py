"""Plain puts and plain gets (``kv.plain``) that many clients ask for at a time, as one request to the host.

Rules
1. What is asked for in one pass of the loop goes to the host in the next one, in order: puts as one command, gets as
   one query. What comes alone goes as itself.
2. Puts are one command where all members know such a command, and the operator lets them be. All of a batch have one
   outcome; each makes a revision, the next one after that before it.
3. Gets whose answers find no room beside others' are asked for again.
4. A batch waits as long as the one of its calls that waits longest. Who waits no longer is passed over.
5. Together no more calls wait than the host takes requests.
6. An exception out of one caller is a defect of ours, is logged, and keeps no other caller of its batch waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from ratified.api.errors import refusal
from ratified.api.submission import HeaderWriter, Pending
from ratified.kv import commands, queries
from ratified.kv.encoding import header, revision_of
from ratified.kv.errors import EtcdError
from ratified.kv.plain import split_answers
from ratified.runtime import Host, Outcome, Reason, Reply, Work
from ratified.wire.peer import PUTS_SINCE

T = TypeVar("T")

log = logging.getLogger("ratified.server")

CALLS_MAX = 128
"""In one batch: what they cost must end within a turn."""
BYTES_MAX = 256 << 10
"""Of the requests of one batch; or what one request may have, where that is less."""

# A member of an enum costs more each time, on CPython 3.11, than what is done with it here.
_DONE = Outcome.DONE
_PROPOSE, _READ, _READ_LOCAL = Work.PROPOSE, Work.READ, Work.READ_LOCAL


class Batches:
    def __init__(self, host: Host, headers: HeaderWriter, *, request_bytes_max: int, puts_together: bool) -> None:
        """``puts_together``: False: puts go alone whatever members know."""
        self._host = host
        self._headers = headers
        self._bytes_max = min(BYTES_MAX, request_bytes_max)
        self._puts_together = puts_together
        self._loop = asyncio.get_running_loop()
        self._calls_max, _ = host.open_requests
        self._calls = 0
        """That wait in batches, those to be sent among them."""
        self._requests = 0
        """To the host, in which those of them wait that were sent."""
        self._puts: list[Pending] = []
        self._gets: list[Pending] = []
        self._local_gets: list[Pending] = []
        self._is_due = False

    @property
    def is_crowded(self) -> bool:
        """Do nine tenths of the calls wait that may?"""
        return self._calls * 10 >= self._calls_max * 9

    @property
    def calls_more(self) -> int:
        """How many more calls wait than requests of theirs."""
        return self._calls - self._requests

    def add(self, pending: Pending) -> None:
        """Take part in the next batch; or be refused at once."""
        if self._calls >= self._calls_max:
            pending.fail(refusal(Reason.OVERLOADED))
            return
        self._calls += 1
        work = pending.submission.work
        gathered = self._puts if work is _PROPOSE else self._gets if work is _READ else self._local_gets
        gathered.append(pending)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._is_due = False
        puts, self._puts = self._puts, []
        if len(puts) > 1 and self._puts_together and self._host.all_speak(PUTS_SINCE):
            self._send_all(_PROPOSE, puts)
        else:
            for pending in puts:
                self._submit(_PROPOSE, [pending])
        gets, self._gets = self._gets, []
        self._send_all(_READ, gets)
        gets, self._local_gets = self._local_gets, []
        self._send_all(_READ_LOCAL, gets)

    def _send_all(self, work: Work, pending: Sequence[Pending]) -> None:
        """In as many batches as it takes."""
        batch: list[Pending] = []
        room = self._bytes_max
        for each in pending:
            if each.is_given_up:
                self._calls -= 1
                continue
            room -= len(each.submission.data)
            if batch and (room < 0 or len(batch) == CALLS_MAX):
                self._submit(work, batch)
                batch, room = [], self._bytes_max - len(each.submission.data)
            batch.append(each)
        if batch:
            self._submit(work, batch)

    def _submit(self, work: Work, batch: Sequence[Pending]) -> None:
        self._requests += 1
        data = [each.submission.data for each in batch]
        until_s = max([each.until_s for each in batch])
        timeout_us = max(int((until_s - self._loop.time()) * 1e6), 0)
        if len(batch) == 1:
            self._host.submit(work, 0, data[0], timeout_us, _Batch(self, batch))
        else:
            joined = commands.puts(data) if work is _PROPOSE else queries.gets(data)
            self._host.submit(work, 0, joined, timeout_us, _Batch(self, batch))

    def ended(self, batch: Sequence[Pending], reply: Reply) -> None:
        self._calls -= len(batch)
        self._requests -= 1
        if reply.outcome is not _DONE or len(batch) == 1:
            _tell_all(batch, reply)
            return
        try:
            if batch[0].submission.work is _PROPOSE:
                self._answer_puts(batch, revision_of(reply.data))
            else:
                self._answer_gets(batch, split_answers(reply.data))
        except EtcdError:
            _tell_all(batch, reply)

    def _answer_puts(self, batch: Sequence[Pending], revision: int) -> None:
        behind = self._headers.header()
        for number, each in enumerate(batch, revision):
            _guarded(each.answered, header(number) + behind)

    def _answer_gets(self, batch: Sequence[Pending], answers: Sequence[bytes]) -> None:
        behind = self._headers.header()
        for each, answer in zip(batch, answers, strict=False):
            _guarded(each.answered, answer + behind)
        for each in batch[len(answers) :]:
            if not each.is_given_up:
                self.add(each)


def _tell_all(batch: Sequence[Pending], reply: Reply) -> None:
    for each in batch:
        _guarded(each, reply)


def _guarded(tell: Callable[[T], None], what: T) -> None:
    try:
        tell(what)
    except Exception:
        log.exception("an answer was not taken, by a defect")


class _Batch:
    """The host's callback for one of them."""

    __slots__ = ("_batch", "_batches")

    def __init__(self, batches: Batches, batch: Sequence[Pending]) -> None:
        self._batches = batches
        self._batch = batch

    def __call__(self, reply: Reply) -> None:
        self._batches.ended(self._batch, reply)
