"""Pull (rule 14 of the contract): taking the end of a better log without a leader.

Where only one member reaches a quorum and its log is behind, no vote can help. It takes what it lacks from a peer that
would vote for it but for its log.

Rules of this file:

1. Nothing is taken before the whole result ranks above the own log, and nothing is removed that is known here to be
   committed: that the result ranks above does not see to that.
2. A pull is no acknowledgement. Entries that it removes may have been acknowledged in this term, so the term is left:
   the leader that counted them must not count this member for what came instead.
3. Parts that do not rank above yet are kept, up to what may be under way to a peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

from ratified.consensus.contract import Entry
from ratified.consensus.raft.core import Core
from ratified.consensus.raft.messages import ProbeAnswer, Pull, PullAnswer
from ratified.consensus.replication.incoming import INDEX_MAX, UnfitEntries, check_sequence, decode_entries
from ratified.consensus.replication.window import fitting


class ForPull(msgspec.Struct, frozen=True, gc=False):
    """Entries are fetched to answer this question of ``member``."""

    member: int
    question: Pull


class Step(Enum):
    """What an answer leads to."""

    NOTHING = "it is none to the question under way"
    ASK = "there is a further question"
    TAKE = "the result ranks above the own log"
    OVER = "nothing can be taken"


class Pulling:
    """One member's questions to one peer, for as long as its own log stays as it is."""

    __slots__ = ("_core", "_entries", "_first_round", "_index", "_size", "asked", "peer")

    def __init__(self, core: Core, peer: int, answer: ProbeAnswer, round_: int) -> None:
        """``answer`` says where the peer's log ends; the questions begin with the probe ``round_``."""
        self._core = core
        self._first_round = round_
        self._index, _ = core.log.last_at_most(answer.last_index, (answer.last_term, 0))
        """The logs are asked to meet here."""
        self._entries: list[Entry] = []
        """What came and follows."""
        self._size = 0
        self.peer = peer
        self.asked = round_
        """The latest probe whose answers the question was asked after."""

    def question(self, round_: int) -> Pull:
        self.asked = round_
        index, term = self._end
        return Pull(self._core.durable_term, round_, index, term)

    @property
    def _end(self) -> tuple[int, int]:
        """Behind which index, of which term, more is asked for."""
        if self._entries:
            return self._entries[-1].index, self._entries[-1].era[0]
        era = self._core.log.era_at(self._index)
        assert era is not None, f"entry {self._index} is not in the log"
        return self._index, era[0]

    def on_answer(self, message: PullAnswer) -> Step:
        """Keep what came."""
        if message.round < self._first_round or (message.prev_index, message.prev_term) != self._end:
            return Step.NOTHING
        if not message.fits:
            return self._meet_before(message)
        try:
            entries = decode_entries(message.entries)
            check_sequence(entries, message.prev_index + 1, (message.prev_term, 0), (INDEX_MAX, 0))
        except UnfitEntries as unfit:
            self._core.outbox.ignore(f"PullAnswer: {unfit}")
            return Step.OVER
        self._size += sum(len(encoded) for encoded in message.entries)
        if not entries or (self._entries and self._size > self._core.options.limits.inflight_bytes_max):
            return Step.OVER
        self._entries += entries
        log = self._core.log
        return Step.TAKE if (entries[-1].era, entries[-1].index) > (log.last_era, log.last) else Step.ASK

    def _meet_before(self, message: PullAnswer) -> Step:
        index, _ = self._core.log.last_at_most(message.hint_index, (message.hint_term, 0))
        if index >= message.prev_index:
            return Step.OVER
        self._index, self._entries, self._size = index, [], 0
        return Step.ASK

    def new_entries(self) -> Sequence[Entry]:
        """What the own log does not have; nothing where it would remove what is known here to be committed."""
        log = self._core.log
        new = self._entries[log.first_new(self._entries) :]
        return new if self.keeps_committed(new) else ()

    def keeps_committed(self, new: Sequence[Entry]) -> bool:
        return new[0].index > self._core.log.commit

    def term_after(self, new: Sequence[Entry]) -> int:
        """The present term, or a later one: that of the last entry, or the next where entries are removed."""
        core = self._core
        removes = new[0].index <= core.log.last
        return max(new[-1].era[0], core.term + 1 if removes else core.term)


def answer(core: Core, sender: int, message: Pull) -> PullAnswer | None:
    """What follows in this log; None: it is to be fetched, or is no longer in the log."""
    log = core.log
    prev, prev_era = message.prev_index, (message.prev_term, 0)
    if prev < log.base:
        return None
    if log.era_at(prev) != prev_era:
        hint_index, hint_era = log.last_at_most(min(prev - 1, log.last), prev_era)
        return PullAnswer(core.durable_term, message.round, False, prev, prev_era[0], hint_index, hint_era[0])
    if prev + 1 < log.first_in_memory:
        last = prev + core.options.limits.entries_per_message_max
        core.outbox.fetch(log.missing(prev + 1, last), ForPull(sender, message))
        return None
    entries = log.entries(prev + 1, log.message_end(prev + 1, log.last)) if prev < log.last else []
    return _following(core, message, entries)


def answer_fetched(core: Core, question: Pull, entries: Sequence[Entry]) -> PullAnswer | None:
    """The same with old entries; None: they are no longer what follows in this log."""
    log = core.log
    last = entries[-1]
    if log.era_at(question.prev_index) != (question.prev_term, 0) or log.era_at(last.index) != last.era:
        return None
    fit, _ = fitting(entries, core.options.limits)
    return _following(core, question, fit)


def _following(core: Core, question: Pull, entries: Sequence[Entry]) -> PullAnswer:
    encoded = [entry.encoded for entry in entries]
    return PullAnswer(core.durable_term, question.round, True, question.prev_index, question.prev_term, entries=encoded)
