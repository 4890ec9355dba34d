"""Pull (rule 14 of the contract): taking the end of a better log without a leader.

Where only one member reaches a quorum and its log is behind, no vote can help. It takes what it lacks from a peer that
would vote for it but for its log.

Rules of this file:

1. Nothing is taken before the whole result ranks above the own log, and nothing is removed that is known here to be
   committed: that the result ranks above does not see to that. What ranks above is each protocol's own.
2. A pull is no acknowledgement, and nobody is told.
3. Parts that do not rank above yet are kept, up to what may be under way to a peer.
4. Where the logs can meet only below what the peer still has, it sends a snapshot; the questions go on from there.
5. Who asks does so again with each probe, since an answer may be lost. Who answers looks whether the link has room: an
   answer may take longer than many probes, and its copies would keep off what a leader sends.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from ratified.consensus.contract import Entry, Era
from ratified.consensus.replication.history import History
from ratified.consensus.replication.incoming import INDEX_MAX, UnfitEntries, check_sequence, decode_entries
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.window import fitting

Place: TypeAlias = tuple[int, Era]
"""An index, and the era of the entry there."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """What a log has behind ``prev``, perhaps not all. ``meet``: it has no such place; the logs can meet there at the
    latest."""

    prev: Place
    meet: Place | None = None
    entries: Sequence[bytes] = ()


class Step(Enum):
    NOTHING = "it is none to the question under way"
    ASK = "there is a further question"
    TAKE = "the result ranks above the own log"
    OVER = "nothing can be taken"


class Pulling:
    """One member's questions to one peer, for as long as its own log stays as it is."""

    __slots__ = ("_entries", "_first_round", "_index", "_log", "_member", "_size", "asked", "peer")

    def __init__(self, member: Member[Any], log: History, peer: int, last: Place, round_: int) -> None:
        """``last`` is where the peer's log ends; the questions begin with the probe ``round_``."""
        self._member = member
        self._log = log
        self._first_round = round_
        self._index, _ = log.last_at_most(*last)
        """The logs are asked to meet here."""
        self._entries: list[Entry] = []
        """Behind that place, as far as the peer has told them."""
        self._size = 0
        self.peer = peer
        self.asked = round_
        """The latest probe whose answers the question was asked after."""

    def ask(self, round_: int) -> Place:
        """The next question: what follows there?"""
        self.asked = round_
        return self.end

    @property
    def end(self) -> Place:
        """Where what is known of the peer's log ends; behind it more is asked for."""
        if self._entries:
            return self._entries[-1].index, self._entries[-1].era
        era = self._log.era_at(self._index)
        assert era is not None, f"entry {self._index} is not in the log"
        return self._index, era

    def on_answer(self, round_: int, part: Part, ranks_above: Callable[[Place], bool]) -> Step:
        """Keep what came. ``ranks_above``: does the peer's log, up to this place, rank above the own one?"""
        if round_ < self._first_round or part.prev != self.end:
            return Step.NOTHING
        if part.meet is not None:
            return self._meet_before(part.prev, part.meet)
        index, era = part.prev
        try:
            entries = decode_entries(part.entries)
            check_sequence(entries, index + 1, era, (INDEX_MAX, era[1]))
        except UnfitEntries as unfit:
            self._member.outbox.ignore(f"PullAnswer: {unfit}")
            return Step.OVER
        self._size += sum(len(encoded) for encoded in part.entries)
        if self._entries and self._size > self._member.options.limits.inflight_bytes_max:
            return Step.OVER
        self._entries += entries
        if ranks_above(self.end):
            return Step.TAKE
        return Step.ASK if entries else Step.OVER

    def _meet_before(self, prev: Place, meet: Place) -> Step:
        index, _ = self._log.last_at_most(*meet)
        if index >= prev[0]:
            return Step.OVER
        self._index, self._entries, self._size = index, [], 0
        return Step.ASK

    def new_entries(self) -> Sequence[Entry]:
        """What came and the own log does not have."""
        return self._entries[self._log.first_new(self._entries) :]

    def keeps_committed(self, first: int) -> bool:
        """Is nothing removed that is known here to be committed, where all from ``first`` on is?"""
        return first > self._log.commit


def following(member: Member[Any], log: History, asker: int, prev: Place, purpose: Hashable) -> Part | None:
    """What follows ``prev`` in this log; None: it is to be fetched for ``purpose``, or is no longer in the log and a
    snapshot is sent, or what was answered before still fills the link to ``asker``."""
    index, era = prev
    if log.lies_below(index, era):
        member.send_snapshot(asker, log.base)
        return None
    if not link_has_room(member, asker):
        return None
    if log.era_at(index) != era:
        return Part(prev, meet=log.last_at_most(min(index - 1, log.last), era))
    if index + 1 < log.first_in_memory:
        last = index + member.options.limits.entries_per_message_max
        member.outbox.fetch(log.missing(index + 1, last), purpose)
        return None
    entries = log.entries(index + 1, log.message_end(index + 1, log.last)) if index < log.last else []
    return Part(prev, entries=[entry.encoded for entry in entries])


def link_has_room(member: Member[Any], asker: int) -> bool:
    """May an answer be made now? (Rule 5.)"""
    return member.options.links.has_credit(asker)


def fetched(member: Member[Any], log: History, prev: Place, entries: Sequence[Entry]) -> Part | None:
    """The same with old entries; None: they are no longer what follows in this log."""
    index, era = prev
    last = entries[-1]
    if log.era_at(index) != era or log.era_at(last.index) != last.era:
        return None
    fit, _ = fitting(entries, member.options.limits)
    return Part(prev, entries=[entry.encoded for entry in fit])
