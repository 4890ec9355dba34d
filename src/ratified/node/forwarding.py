"""Forwarded proposals, on both sides (rule 7).

Those of one origin and incarnation to the leader of one era are numbered from 1.

- The origin has at most ``forwards_max`` unanswered, all of them within ``FORWARD_WINDOW`` numbers, so that the leader
  still has the answer to each. It sends again what is not answered (on a new session, and by a timer), in pieces, the
  next when the one before is answered and nothing new meanwhile; what has ended, as a void under its number.
- The leader of exactly that era takes the next number only, holds what came too early, answers again what it has
  seen, and forgets everything when its era ends. A refused number counts as seen.
- An era is led once, so no number is ever taken by two leaders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ratified.consensus.contract import Era, Proposal
from ratified.node.config import FORWARD_WINDOW, NodeLimits
from ratified.node.peers import Session
from ratified.node.ports import Why
from ratified.node.proposals import ProposalIds, Proposals
from ratified.node.requests import OpenRequest
from ratified.wire.peer import Forward, ForwardAnswer

Send = Callable[[int, object], bool]
"""``(member, message)``: put it on the member's session; False: there is none."""


class OriginForwards:
    """What this node forwards to the present leader of one group."""

    def __init__(self, proposals: Proposals, ids: ProposalIds, limits: NodeLimits, resend_us: int, send: Send) -> None:
        self._proposals = proposals
        self._ids = ids
        self._limits = limits
        self._resend_us = resend_us
        self._send = send
        self._leader: int | None = None
        self._era: Era | None = None
        self._last_number = 0
        self._unanswered: dict[int, OpenRequest] = {}
        """By number, ascending."""
        self._next_piece: int | None = None
        """Sending again goes on from this number when those before it are answered; None: all were sent."""
        self.deadline: int | None = None
        """When to send again what is unanswered."""

    def leader_changed(self, leader: int | None, era: Era) -> None:
        """A later era has begun, or the leader of the same one is known again, or no longer."""
        if era != self._era:
            self._era = era
            self._last_number = 0
            self._unanswered = {}
            self._next_piece = None
            self.deadline = None
        self._leader = leader

    def forward_waiting(self, now: int) -> None:
        """Send as many of those that wait as the window has room for."""
        leader, era = self._leader, self._era
        room = self._room
        if leader is None or era is None or room <= 0 or self._next_piece is not None:
            return
        for proposal in self._proposals.waiting_up_to(room, self._limits.forward_bytes_max):
            named = self._ids.named(proposal.sequence, proposal.data)
            if not self._send(leader, Forward(era, self._last_number + 1, named.id, named.data)):
                return
            self._last_number += 1
            self._unanswered[self._last_number] = proposal
            self._proposals.addressed((proposal,), era)
            if self.deadline is None:
                self.deadline = now + self._resend_us

    @property
    def _room(self) -> int:
        """How many more may be sent."""
        oldest = next(iter(self._unanswered), self._last_number + 1)
        return min(
            self._limits.forwards_max - len(self._unanswered),
            FORWARD_WINDOW - (self._last_number + 1 - oldest),
        )

    def on_answer(self, now: int, sender: int, answer: ForwardAnswer) -> OpenRequest | None:
        """Take note of it; returns the proposal that was taken, to be checked whether it is lost already."""
        if answer.era != self._era or sender != self._leader:
            return None
        proposal = self._unanswered.pop(answer.number, None)
        if proposal is None:
            return None
        self.deadline = now + self._resend_us if self._unanswered else None
        if self._next_piece is not None and next(iter(self._unanswered), self._next_piece) >= self._next_piece:
            self.deadline = now
        if proposal.ended or proposal.era != answer.era:
            return None
        if answer.index is None:
            self._proposals.never_taken(proposal, _why(answer.why))
            return None
        self._proposals.taken((proposal,), answer.index)
        return proposal

    def on_time(self, now: int) -> None:
        """Perhaps the answers are overdue."""
        if self.deadline is not None and self.deadline <= now:
            self.send_again(now)

    def send_again(self, now: int) -> None:
        """Send what is unanswered once more, lowest number first, as far as the byte limit admits."""
        self.deadline = now + self._resend_us if self._unanswered else None
        self._next_piece = None
        leader, era = self._leader, self._era
        if leader is None or era is None:
            return
        size = 0
        for number, proposal in self._unanswered.items():
            void = proposal.ended or proposal.era != era
            size += 0 if void else len(proposal.data)
            if size > self._limits.forward_bytes_max and size > len(proposal.data):
                self._next_piece = number
                return
            id = self._ids.named(proposal.sequence, proposal.data).id
            if not self._send(leader, Forward(era, number, id, None if void else proposal.data)):
                return


def _why(text: str) -> Why:
    """A newer leader may have reasons that this version does not know."""
    return Why(text) if text in Why.__members__.values() else Why.OVERLOADED


class _Origin:
    """What a leader remembers of one origin in its era."""

    __slots__ = ("answers", "held", "incarnation", "next")

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.next = 1
        self.answers: dict[int, ForwardAnswer] = {}
        self.held: dict[int, Forward] = {}

    def seen(self, number: int) -> bool:
        """Was it taken or refused already?"""
        return number < self.next

    def settle(self, answer: ForwardAnswer) -> None:
        """It is taken or refused; the answer is kept as long as the origin may ask for it."""
        self.held.pop(answer.number, None)
        self.answers[answer.number] = answer
        self.answers.pop(answer.number - FORWARD_WINDOW, None)
        self.next = answer.number + 1


def follows(expected: int, number: int) -> bool:
    """May ``number`` be taken now? Only if nothing before it is missing."""
    return number == expected


Item = tuple[int, _Origin, Forward]


class LeaderForwards:
    """What other nodes forwarded to this one, in the era that it leads."""

    def __init__(self, limits: NodeLimits, send: Send) -> None:
        self._limits = limits
        self._send = send
        self._era: Era | None = None
        self._origins: dict[int, _Origin] = {}

    @property
    def waiting(self) -> bool:
        """Is anything held? Much of it may not be takeable yet."""
        return any(origin.held for origin in self._origins.values())

    def on_session(self, session: Session) -> None:
        """Of an older start of this origin nothing is taken or answered any more."""
        origin = self._origins.get(session.member)
        if origin is not None and origin.incarnation != session.incarnation:
            del self._origins[session.member]

    def on_forward(self, session: Session, forward: Forward, leading: Era | None) -> None:
        """Hold it, or answer again; what is addressed to another era or is not the sender's own is dropped."""
        sender, incarnation = session.member, session.incarnation
        if forward.era != leading or forward.id.origin != sender or forward.id.incarnation != incarnation:
            return
        self.era_is(leading)
        origin = self._origins.get(sender)
        if origin is None:
            origin = self._origins[sender] = _Origin(incarnation)
        number = forward.number
        if origin.seen(number):
            answer = origin.answers.get(number)
            if answer is not None:
                self._send(sender, answer)
            return
        if number - origin.next >= FORWARD_WINDOW or (
            number != origin.next and len(origin.held) >= self._limits.forwards_held_max
        ):
            return
        if forward.data is None or number not in origin.held:
            origin.held[number] = forward

    def era_is(self, leading: Era | None) -> None:
        """Forget what belongs to an era that has ended."""
        if leading != self._era:
            self._era = leading
            self._origins = {}

    def takeable(self, bytes_max: int) -> list[Item]:
        """What may be taken now, voids included, of every origin in the order of its numbers."""
        items: list[Item] = []
        size = 0
        for member, origin in self._origins.items():
            expected = origin.next
            for number in sorted(origin.held):
                if not follows(expected, number):
                    break
                forward = origin.held[number]
                size += len(forward.data or b"")
                if items and size > bytes_max:
                    return items
                items.append((member, origin, forward))
                expected = number + 1
        return items

    def settle(self, items: Sequence[Item], first: int | None, why: Why = Why.NONE) -> None:
        """They were taken from index ``first`` on, or (None) refused; voids are refused in any case. Answer."""
        index = first
        for member, origin, forward in items:
            if forward.data is None or index is None:
                answer = ForwardAnswer(forward.era, forward.number, None, str(why))
            else:
                answer = ForwardAnswer(forward.era, forward.number, index)
                index += 1
            origin.settle(answer)
            self._send(member, answer)


def commands_of(items: Sequence[Item]) -> list[Proposal]:
    """What the engine is given: everything but the voids."""
    return [Proposal(forward.id, forward.data) for _, _, forward in items if forward.data is not None]


def up_to_first_command(items: Sequence[Item]) -> Sequence[Item]:
    """The shortest prefix with a command in it."""
    for position, (_, _, forward) in enumerate(items):
        if forward.data is not None:
            return items[: position + 1]
    return items
