"""Raft's part of pull (rule 14 of the contract): what ranks above, and what becomes of the term.

A pull is no acknowledgement. Entries that it removes may have been acknowledged in this term, so the term is left: the
leader that counted them must not count this member for what came instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ratified.consensus.contract import Entry
from ratified.consensus.raft.core import Core
from ratified.consensus.raft.messages import Pull, PullAnswer
from ratified.consensus.replication import pull
from ratified.consensus.replication.pull import Part, Place, Pulling, Step


class ForPull(msgspec.Struct, frozen=True, gc=False):
    """Entries are fetched to answer this question of ``member``."""

    member: int
    question: Pull


def question(core: Core, pulling: Pulling, round_: int) -> Pull:
    index, era = pulling.ask(round_)
    return Pull(core.durable_term, round_, index, era[0])


def on_answer(core: Core, pulling: Pulling, message: PullAnswer) -> Step:
    log = core.log
    meet = None if message.fits else (message.hint_index, (message.hint_term, 0))
    part = Part(_prev(message), meet, message.entries)
    return pulling.on_answer(message.round, part, lambda end: (end[1], end[0]) > (log.last_era, log.last))


def term_after(core: Core, new: Sequence[Entry]) -> int:
    """The present term, or a later one: that of the last entry, or the next where entries are removed."""
    removes = new[0].index <= core.log.last
    return max(new[-1].era[0], core.term + 1 if removes else core.term)


def following(core: Core, sender: int, message: Pull) -> Part | None:
    """What follows in this log; None: it is to be fetched, or is no longer in the log."""
    return pull.following(core.member, core.log, sender, _prev(message), ForPull(sender, message))


def fetched(core: Core, message: Pull, entries: Sequence[Entry]) -> Part | None:
    """The same with old entries; None: they are no longer what follows in this log."""
    return pull.fetched(core.member, core.log, _prev(message), entries)


def send_answer(core: Core, to: int, message: Pull, part: Part | None) -> None:
    """Answer with what follows, if there is anything to say now: who asked asks again with its next probe."""
    if part is not None:
        core.outbox.send(to, _answer(core, message, part))


def _prev(message: Pull | PullAnswer) -> Place:
    return message.prev_index, (message.prev_term, 0)


def _answer(core: Core, question: Pull, part: Part) -> PullAnswer:
    hint_index, hint_era = part.meet or (0, (0, 0))
    return PullAnswer(
        term=core.durable_term,
        round=question.round,
        fits=part.meet is None,
        prev_index=question.prev_index,
        prev_term=question.prev_term,
        hint_index=hint_index,
        hint_term=hint_era[0],
        entries=part.entries,
    )
