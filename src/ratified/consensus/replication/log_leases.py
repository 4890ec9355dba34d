"""Log leases: the log is the lease (rule 9 of the contract; LeaseGuard, SIGMOD 2026), without synchronised clocks.

Rules of this file. ``tests/models/log_leases.py`` has a way to a stale read for each condition that is left out:

1. A leader reads without asking while an entry that it made in its era, and that is committed, was made less than a
   lease ago. Its clock measures that, less the drift of both clocks.
2. Who is elected commits nothing until what came to its log last before that has been there for a lease. No entry says
   when it was made; it surely was no later than it came. What came before a start, or by a snapshot, came then.
   So the last entry that a leader may read by has run out, and elections, votes and replication are as ever.
3. Meanwhile it reads, after a round, what nothing in *limbo* touches: what lies behind its commit index and was there
   when it was elected. All that anybody can have been told of lies there, or below. While a configuration does, it
   reads nothing.
4. A leader that hands over ends its lease: it makes an entry that says so, and reads by what it makes behind that and
   by nothing before. Whoever is elected with that entry as the last one waits for nothing: its maker had waited. It is
   made when all before it is committed: a leader between the two then stands in its place or behind it (Paxos).
5. An idle leader makes an entry to read by only while reads come less than a lease apart, and half a lease after the
   one before it. None is made for which there is no room on the disks.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ratified.consensus.contract import Entry, Kind, Limbo, Size, Sizes
from ratified.consensus.replication.history import History
from ratified.consensus.replication.leases import held_us
from ratified.consensus.replication.member import Member

NEVER = -1
LEASE_ENDS = b"lease ends"
"""The data of the no-op that says so."""


def ends_lease(entry: Entry) -> bool:
    """Did its maker, who handed the lead over, make it to say that it reads by nothing before it?"""
    return entry.kind is Kind.NOOP and entry.data == LEASE_ENDS


class LogLease:
    """What the leader of one era may read by, and what it has to wait for."""

    __slots__ = ("_asked_at", "_ends_at", "_held_us", "_made", "_member", "limbo", "waits_until")

    def __init__(self, member: Member[Any]) -> None:
        options = member.options
        self._member = member
        self._held_us = held_us(options.log_lease_us, options.clock_drift_ppm_max) if options.log_lease_us else 0
        self._made: deque[tuple[int, int]] = deque()
        """Index of an entry of its own, and when it was made; the first is committed, if any is."""
        self._ends_at = 0
        """What is made up to here is nothing to read by."""
        self._asked_at = NEVER
        """When something was to be read last."""
        self.waits_until: int | None = None
        """Until when nothing is committed; None: it may be."""
        self.limbo: Limbo | None = None
        """What it was elected with, where all of that is known and no configuration is among it."""

    @property
    def is_on(self) -> bool:
        return self._held_us > 0

    # ---------------------------------------------------------------------------------------------- being elected

    def elected_with(self, history: History) -> None:
        """This member is elected with that history, which is all of limbo (Raft, ZAB)."""
        self.begin(history.last_in_memory)
        if self._member.configurations.latest_is_committed:
            self.limbo = Limbo(history.last, history.last_era)

    def begin(self, last: Entry | None) -> None:
        """This member is elected, or has heard of further entries of earlier eras; ``last`` is the last one of them,
        None: there is none, or it is not at hand."""
        since, length = self._member.received_at, self._member.options.log_lease_us
        if not length or since is None or (last is not None and ends_lease(last)):
            self.waits_until = None
            return
        until = since + length
        self.waits_until = until if until > self._member.now else None

    @property
    def waits(self) -> bool:
        """Is it too early to commit anything, for an earlier leader may read by what it made?"""
        return self.waits_until is not None and self._member.now < self.waits_until

    def may_end_wait(self) -> bool:
        """Is a wait over, as it was not when it was last asked?"""
        if self.waits_until is None or self.waits:
            return False
        self.waits_until = None
        return True

    @property
    def readable_limbo(self) -> Limbo | None:
        """While this leader waits, what it may read beside (rule 3)."""
        return self.limbo if self.waits else None

    # ------------------------------------------------------------------------------------------------------ leading

    def made(self, index: int) -> None:
        """All up to ``index`` that is not in the log yet is made now, by this leader."""
        if self.is_on:
            self._made.append((index, self._member.now))

    def commits(self, commit: int) -> None:
        """Of what is committed up to there the entry that was made last is what counts."""
        made = self._made
        while len(made) > 1 and made[1][0] <= commit:
            made.popleft()

    def is_held(self, commit: int) -> bool:
        """May it read at ``commit`` without asking?"""
        self.commits(commit)
        made = self._made
        if not made:
            return False
        index, at = made[0]
        return self._ends_at < index <= commit and self._member.now < at + self._held_us

    def wants_entry(self, commit: int) -> bool:
        """Something is to be read, and all that was made is committed: is it time for an entry to read by?"""
        if not self.is_on:
            return False
        member = self._member
        before, self._asked_at = self._asked_at, member.now
        if before == NEVER or member.now - before >= self._held_us:
            return False
        return not self.is_held(commit) or member.now >= self._made[0][1] + self._held_us // 2

    def may_end(self, commit: int) -> bool:
        """All is committed up to there. Was anything made since the lease was ended last?"""
        return self.is_on and self._ends_at < commit

    def end(self, index: int) -> None:
        """The entry at ``index`` says that it ends."""
        self._ends_at = index

    def sizes(self) -> Sizes:
        return {"entries to read by": Size(len(self._made), 1)}
