"""The learner (*Paxos Made Simple*, section 2.3): what is chosen, in order, and how decisions that were missed are made
good.

Rules of this file:

1. ``Slots.chosen`` is a prefix: every slot up to it is chosen and its chosen value is what is accepted here.
2. "Everything up to i is chosen", said by the proposer of ballot b, settles a slot here only if the value here was
   accepted in b or later. By P2b such a value is the chosen one; an older one may be any other.
3. Where that does not hold, values are asked for (``Learn``) from whoever said so. A learned value replaces what is
   here unless that was accepted in the same ballot or a later one. It keeps the ballot that the teller has, which is
   never below the one in which the value was chosen, so that reporting it later stays right (P2c).
4. Whoever asks for what is gone from the log is sent a snapshot.
5. One Learn is under way at a time; the next heartbeat repeats it, a leader's own too. What is learned waits for the
   disk: nothing is asked for while too much does.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import Entry, Era, Size, Sizes
from ratified.consensus.paxos.core import Core
from ratified.consensus.paxos.messages import Learn, Learned
from ratified.consensus.paxos.purposes import ForLearner


class Learner:
    __slots__ = ("_core", "_paused", "_tellers")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._tellers: dict[int, int] = {}
        """By member, a slot up to which it knows what was chosen; who was heard last comes last."""
        self._paused = False
        """Values are wanted and too much waits for the disk."""

    # -------------------------------------------------------------------------------------------- being told

    def trusts(self, accepted: Era, decided: Era) -> bool:
        """Is what was accepted here in ballot ``accepted`` what the proposer of ``decided`` says was chosen?"""
        return accepted >= decided

    def on_decided(self, ballot: Era, chosen: int) -> None:
        """The proposer of ``ballot`` says that everything up to ``chosen`` is chosen."""
        core = self._core
        while core.slots.chosen < chosen:
            slot = core.slots.chosen + 1
            accepted = core.slots.ballot_at(slot)
            if accepted is None or not self.trusts(accepted, ballot):
                break
            core.choose_to(min(chosen, core.slots.run_end(slot)))

    def hear_of(self, teller: int, chosen: int) -> None:
        """``teller`` knows the values up to ``chosen``, and will not send them unasked."""
        self._tellers.pop(teller, None)
        if chosen > self._core.slots.chosen:
            self._tellers[teller] = chosen

    def _teller(self) -> int | None:
        """Who was heard last of those that know more than this member; the others, who may have left, are forgotten."""
        known = self._core.slots.chosen
        self._tellers = {teller: chosen for teller, chosen in self._tellers.items() if chosen > known}
        return next(reversed(self._tellers), None)

    def ask(self) -> None:
        core = self._core
        teller = self._teller()
        if teller is None:
            return
        waiting = core.slots.undurable_bytes
        self._paused = waiting > 0 and waiting >= core.options.limits.undurable_bytes_max
        if not self._paused:
            core.outbox.send(teller, Learn(core.slots.chosen + 1))

    def on_persisted(self) -> None:
        if self._paused:
            self.ask()

    def on_learned(self, teller: int, message: Learned, entries: Sequence[Entry]) -> bool:
        """Chosen values came; True: some were news."""
        core = self._core
        before = core.slots.chosen
        news = [entry for entry in entries if entry.index > before]
        for position, entry in enumerate(news, before + 1):
            if entry.index != position:
                core.outbox.ignore("Learned with a gap")
                return False
        for entry in news:
            accepted = core.slots.ballot_at(entry.index)
            if accepted is None or accepted < entry.era:
                core.put((entry,))
            core.choose_to(entry.index)
        self.hear_of(teller, message.chosen)
        return core.slots.chosen > before

    # ------------------------------------------------------------------------------------------------- telling

    def on_learn(self, learner: int, first: int) -> None:
        """Tell what was chosen from ``first`` on, as much as one message holds.

        Not while an earlier answer waits to be sent: whoever asks repeats it.
        """
        core = self._core
        slots = core.slots
        first = max(first, 1)
        if first > slots.chosen:
            return
        if first <= slots.base:
            core.member.send_snapshot(learner, slots.base)
            return
        if not core.options.links.has_credit(learner):
            return
        entries, _ = slots.message(first, slots.chosen)
        if entries:
            self._tell(learner, entries)
        else:
            core.outbox.fetch(slots.missing(first, slots.chosen), ForLearner(learner))

    def on_fetched(self, learner: int, fetched: Sequence[Entry]) -> None:
        """What is to be told had to be fetched."""
        entries, _ = self._core.slots.fit(fetched)
        if entries:
            self._tell(learner, entries)

    def _tell(self, learner: int, entries: Sequence[Entry]) -> None:
        self._core.outbox.send(learner, Learned(self._core.slots.chosen, [entry.encoded for entry in entries]))

    def sizes(self) -> Sizes:
        return {"tellers": Size(len(self._tellers), len(self._core.configurations.peers))}
