"""Looking for a leader by asking first (rule 14 of the contract): probes in place of votes, and the pull.

Rules of this file:

1. Looking disturbs nobody: a peer that leads says so, and is followed; one that hears a leader refuses. Who is granted
   by a quorum stands, that is, begins discovery and says to everybody that it leads. Ids take no part. A link that
   broke says nothing of the leader: it is heard until the session ends too, it resigns, or a timeout has passed.
2. What a probe says of the history is what the disk has of it: the rest would be lost in a crash. A member that could
   not say all that it has asks again when its disk is as far.
3. A history is pulled in this role only: not by a follower, whose leader means another history by its COMMIT, and not
   by whoever counts acceptances of an epoch with the history that it has.
4. The accepted epoch is raised first, then what conflicts is removed, and the current epoch is adopted when its whole
   initial history is here, as in synchronisation. What is kept between two parts is what a follower keeps between two
   HISTORY messages.
5. Nobody is told: who pulled an epoch has not accepted it for anybody, and counts for none of its leaders.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ratified.consensus.contract import NO_ERA, Entry
from ratified.consensus.replication import pull
from ratified.consensus.replication.pull import Part, Place, Pulling, Step
from ratified.consensus.replication.suspicion import Suspicion, Verdict
from ratified.consensus.zab.core import ORIGIN_CUT_OFF, Core
from ratified.consensus.zab.messages import Ending, Probe, ProbeAnswer, Pull, PullAnswer
from ratified.consensus.zab.zxid import EPOCH_MAX


class ForPull(msgspec.Struct, frozen=True, gc=False):
    """Entries are fetched to answer this question of ``member``."""

    member: int
    question: Pull


class Probing:
    """This member while it looks for a leader."""

    __slots__ = ("_asked_short", "_core", "_goal", "_pulling", "_suspicion", "left")

    leader: int | None = None

    def __init__(self, core: Core, suspicion: Suspicion[ProbeAnswer]) -> None:
        self._core = core
        self._suspicion = suspicion
        self._asked_short = False
        """Did the last probe say less than this member has?"""
        self._pulling: Pulling | None = None
        self._goal = core.ending
        """How the history ends that is pulled."""
        self.left: int | None = None
        """The leader of whom this member has lost the link alone: as long as it was heard lately, it leads."""

    def leads_no_longer(self, member: int) -> None:
        """It said so, or the session with it ended."""
        if self.left == member:
            self.left = None

    def on_session_end(self, member: int) -> None:
        """What it was asked will not be answered."""
        self.leads_no_longer(member)
        if self._pulling is not None and self._pulling.peer == member:
            self._pulling = None

    # ------------------------------------------------------------------------------------------------------- probes

    def ask(self) -> None:
        """Ask whoever there is a session with, unless the own disk does not answer or a snapshot is installed: who
        leads by now may be no peer in the configuration that this member has."""
        core = self._core
        if not core.member.may_stand:
            self._suspicion.postpone()
            return
        probe = Probe(self._suspicion.next_round(), core.durable_ending)
        self._asked_short = probe.ending != core.ending
        for member in sorted(core.sessions):
            core.outbox.send(member, probe)

    @property
    def is_granted(self) -> bool:
        """Would a quorum, this member included, follow it? Not while a better history comes: that one's member would
        join as well, and this one have to give up."""
        suspicion = self._suspicion
        if not suspicion.active or not self._core.member.may_stand:
            return False
        pulls = self._pulling is not None and self._pulling.asked == suspicion.round
        return not pulls and suspicion.has_quorum(Verdict.GRANTED)

    def on_answer(self, sender: int, message: ProbeAnswer) -> None:
        if self._suspicion.counts(sender, message) and not self.is_granted and self._may_pull():
            self._ask_for_entries()

    def on_history_cut(self) -> None:
        """Its beginning is another one: the histories may have been asked to meet before it."""
        self._pulling = None

    def on_persisted(self) -> None:
        """The disk is as far as the memory: ask again at once if that makes a difference."""
        if self._asked_short and self._core.durable_ending == self._core.ending:
            self._asked_short = False
            self._suspicion.restart()

    # --------------------------------------------------------------------------------------------------------- pull

    def _may_pull(self) -> bool:
        """Would a quorum follow this member but for its history?"""
        return self._suspicion.has_quorum(Verdict.GRANTED, Verdict.BEHIND)

    def _ask_for_entries(self) -> None:
        """Ask whose history ranks highest for what is missing here."""
        suspicion, pulling = self._suspicion, self._pulling
        present = None if pulling is None else pulling.peer
        peer = suspicion.source(present, lambda answer: answer.ending.rank())
        if peer is None:
            return
        if pulling is None or peer != present:
            self.pull_from(peer, suspicion.answer_of(peer).ending)
        elif pulling.asked != suspicion.round:
            self._send_question()

    def pull_from(self, peer: int, ending: Ending) -> None:
        """Ask for what is missing here of a history that ends like this."""
        if not self.ranks_above(ending):
            return  # it is only the disk that is behind
        core = self._core
        self._goal = ending
        last = ending.last_index, (ending.last_epoch, 0)
        self._pulling = Pulling(core.member, core.log, peer, last, self._suspicion.round)
        self._send_question()

    def _send_question(self) -> None:
        assert self._pulling is not None
        round_ = self._suspicion.round
        index, era = self._pulling.ask(round_)
        self._core.outbox.send(self._pulling.peer, Pull(round_, index, era[0]))

    def ranks_above(self, result: Ending) -> bool:
        """Does a history that ends like this rank above the own one?"""
        return result.rank() > self._core.ending.rank()

    def on_pull_answer(self, sender: int, message: PullAnswer) -> None:
        pulling = self._pulling
        if pulling is None or pulling.peer != sender:
            return
        part = Part(
            prev=_prev(message),
            meet=None if message.fits else (message.hint_index, (message.hint_epoch, 0)),
            entries=message.entries,
        )
        match pulling.on_answer(message.round, part, lambda end: self._ranks_above_at(message.current_epoch, end)):
            case Step.ASK:
                self._send_question()
            case Step.TAKE:
                self._pulling = None
                if self._take(pulling, message):
                    self._go_on(sender)
            case Step.OVER:
                self._pulling = None

    def _ranks_above_at(self, current_epoch: int, end: Place) -> bool:
        index, era = end
        return self.ranks_above(Ending(current_epoch, era[0], index))

    def _take(self, pulling: Pulling, message: PullAnswer) -> bool:
        """The history becomes one that ranks above it, or comes a part nearer to that, in one write; False: neither."""
        core = self._core
        new = pulling.new_entries()
        end, (last_epoch, _) = pulling.end
        whole = self.may_adopt_epoch(message, end)
        first = new[0].index if new else end + 1 if whole else core.log.last + 1
        if not pulling.keeps_committed(first) or last_epoch >= EPOCH_MAX or not (new or whole):
            core.outbox.ignore("PullAnswer: nothing that may be taken")
            return False
        self.accept_epoch(message.current_epoch, last_epoch)
        if first <= core.log.last:
            core.truncate(first)
        self._append([entry for entry in new if entry.index <= message.origin])
        if whole:
            core.adopt_epoch(message.current_epoch, message.origin)
        self._append([entry for entry in new if entry.index > message.origin])
        return True

    def may_adopt_epoch(self, message: PullAnswer, end: int) -> bool:
        """Who has the current epoch has its initial history, after any crash; else it could pass for synchronised."""
        core = self._core
        adopted = (core.current_epoch, core.state.origin != ORIGIN_CUT_OFF)
        return (message.current_epoch, True) > adopted and end >= message.origin

    def accept_epoch(self, current_epoch: int, last_epoch: int) -> None:
        """Follow no leader of an earlier epoch than those that the history comes from.

        An entry of a later epoch than the current one belongs to the initial history of a still later one.
        """
        epoch = current_epoch if last_epoch <= current_epoch else last_epoch + 1
        if self._core.may_accept(epoch):
            self._core.accept_epoch(epoch)

    def _append(self, entries: Sequence[Entry]) -> None:
        if entries:
            self._core.append(entries)

    def _go_on(self, peer: int) -> None:
        """The next part. The next probe waits for the disk (rule 2)."""
        core = self._core
        self._asked_short = True
        self._suspicion.postpone()
        if self.ranks_above(self._goal):
            here = core.log.last, core.log.last_era
            self._pulling = Pulling(core.member, core.log, peer, here, self._suspicion.round)
            self._send_question()


def answer(core: Core, sender: int, question: Pull) -> PullAnswer | None:
    """What follows in this history; None: it is to be fetched, or is no longer in the log."""
    part = pull.following(core.member, core.log, sender, _prev(question), ForPull(sender, question))
    return None if part is None else _say(core, question, part)


def answer_fetched(core: Core, question: Pull, entries: Sequence[Entry]) -> PullAnswer | None:
    """The same with old entries; None: they are no longer what follows in this history."""
    part = pull.fetched(core.member, core.log, _prev(question), entries)
    return None if part is None else _say(core, question, part)


def _prev(message: Pull | PullAnswer) -> Place:
    return message.prev_index, (message.prev_epoch, 0)


def _say(core: Core, question: Pull, part: Part) -> PullAnswer:
    hint_index, hint_era = part.meet or (0, NO_ERA)
    return PullAnswer(
        round=question.round,
        fits=part.meet is None,
        prev_index=question.prev_index,
        prev_epoch=question.prev_epoch,
        current_epoch=core.current_epoch,
        origin=core.state.origin,
        hint_index=hint_index,
        hint_epoch=hint_era[0],
        entries=part.entries,
    )
