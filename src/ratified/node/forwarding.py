"""Forwarded proposals, on both sides (rule 7 of the contract).

Those of one origin and incarnation to the leader of one era are numbered from 1. They go and are answered in ranges of
consecutive numbers: what one turn has to say is one message, and what a number means does not depend on how ranges are
cut.

- The origin has at most ``forwards_max`` unanswered, all of them within ``FORWARD_WINDOW`` numbers, so that the leader
  still has the answer to each. It sends again what is not answered (on a new session, when the leader of the same era
  is known again, and by a timer), in pieces, the next when the one before is answered and nothing new meanwhile; what
  has ended, as a void under its number.
- The leader of exactly that era takes the next number only, holds what came too early, answers again what it has
  seen. When its era ends it says that what it holds was not taken, and forgets everything. A refused number counts as
  seen.
- An era is led once, so no number is ever taken by two leaders.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count, groupby, takewhile
from typing import NamedTuple

from ratified.consensus.contract import Era, Kind, Links, Proposal, ProposalId, Size, Sizes
from ratified.node.config import FORWARD_WINDOW, NodeLimits
from ratified.node.peers import Session
from ratified.node.ports import Reason
from ratified.node.proposals import ProposalIds, Proposals
from ratified.node.requests import OpenRequest
from ratified.wire.peer import Forward, ForwardAnswer, Forwarded

_MEMBERSHIP = Kind.MEMBERSHIP

Send = Callable[[int, object], bool]
"""``(member, message)``: put it on the member's session; False: there is none."""


class OriginForwards:
    """What this node forwards to the present leader of one group."""

    def __init__(
        self,
        proposals: Proposals,
        ids: ProposalIds,
        limits: NodeLimits,
        links: Links,
        *,
        resend_us: int,
        send: Send,
    ) -> None:
        self._proposals = proposals
        self._ids = ids
        self._limits = limits
        self._links = links
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
        elif leader is not None and self._leader is None and self._unanswered:
            self._next_piece = self._oldest  # what went to it while it was not known may not have arrived
        self._leader = leader

    def on_answer(self, now: int, sender: int, answer: ForwardAnswer) -> Sequence[OpenRequest]:
        """Take note of it; returns the proposals that were taken, to be checked whether they are lost already."""
        if answer.era != self._era or sender != self._leader:
            return ()
        end = min(answer.first + answer.count, self._last_number + 1)
        first = max(answer.first, self._oldest)
        answered = [self._unanswered.pop(number, None) for number in range(first, end)]
        if not any(answered):
            return ()
        self.deadline = now + self._resend_us if self._unanswered else None
        still_open = [
            request if request is not None and not request.ended and request.era == answer.era else None
            for request in answered
        ]
        if answer.index is not None:
            self._proposals.taken(still_open, answer.index + first - answer.first)
            return [request for request in still_open if request is not None]
        reason = _reason(answer.reason)
        if reason is Reason.LEADER_LEFT:
            self._leader = None  # it leads no longer: until another one is known, everything waits
            reason = Reason.NONE
        for request in still_open:
            if request is not None:
                self._proposals.never_taken(request, reason)
        return ()

    def on_time(self, now: int) -> None:
        if self.deadline is None or self.deadline > now:
            return
        if self._leader is not None and not self._links.is_clear(self._leader):
            self.deadline = now + self._resend_us  # it is on its way, over a slow link
        else:
            self.send_again(now)

    # ---- once a turn

    @property
    def wanted(self) -> bool:
        if self._next_piece is not None:
            return self._oldest >= self._next_piece
        return self._proposals.waiting and self._room > 0

    def flush(self, now: int) -> None:
        """Send the next piece of what is sent again, or as many of those that wait as the window has room for."""
        if self._next_piece is not None:
            self.send_again(now)
            return
        leader, era = self._leader, self._era
        if leader is None or era is None:
            return
        batch = self._proposals.waiting_up_to(self._room, self._limits.forward_bytes_max)
        proposals = [(request.sequence, request.data, request.kind) for request in batch]
        if not self._send(leader, self._range(era, self._last_number + 1, proposals)):
            return
        self._unanswered.update(enumerate(batch, self._last_number + 1))
        self._last_number += len(batch)
        self._proposals.addressed(batch, era)
        if self.deadline is None:
            self.deadline = now + self._resend_us

    def send_again(self, now: int) -> None:
        """Send what is unanswered once more, lowest number first, as far as the byte limit admits."""
        self.deadline = now + self._resend_us if self._unanswered else None
        self._next_piece = None
        leader, era = self._leader, self._era
        if leader is None or era is None:
            return
        size = 0
        piece: list[tuple[int, Forwarded]] = []
        for number, request in self._unanswered.items():
            void = request.ended or request.era != era
            size += 0 if void else len(request.data)
            if size > self._limits.forward_bytes_max and size > len(request.data):
                self._next_piece = number
                break
            piece.append((number, (request.sequence, None if void else request.data, request.kind)))
        for _, part in groupby(enumerate(piece), lambda placed: placed[1][0] - placed[0]):
            numbered = [each for _, each in part]
            self._send(leader, self._range(era, numbered[0][0], [proposal for _, proposal in numbered]))

    def _range(self, era: Era, first: int, proposals: Sequence[Forwarded]) -> Forward:
        return Forward(era, self._ids.member, self._ids.incarnation, first, proposals)

    def sizes(self) -> Sizes:
        return {"forwards unanswered": Size(len(self._unanswered))}

    @property
    def _oldest(self) -> int:
        """The lowest number that is unanswered, or would be."""
        return next(iter(self._unanswered), self._last_number + 1)

    @property
    def _room(self) -> int:
        """How many more may be sent."""
        return min(
            self._limits.forwards_max - len(self._unanswered),
            FORWARD_WINDOW - (self._last_number + 1 - self._oldest),
        )


def _reason(text: str) -> Reason:
    """A newer leader may have reasons that this version does not know."""
    return Reason(text) if text in Reason.__members__.values() else Reason.OVERLOADED


class _Origin:
    """What a leader remembers of one origin in its era."""

    __slots__ = ("answers", "era", "held", "incarnation", "member", "next")

    def __init__(self, era: Era, member: int, incarnation: int) -> None:
        self.era = era
        self.member = member
        self.incarnation = incarnation
        self.next = 1
        self.answers: list[ForwardAnswer] = []
        """To the numbers below ``next``, ascending, as long as the origin may ask for them."""
        self.held: dict[int, Forwarded] = {}

    def seen(self, number: int) -> bool:
        """Was it taken or refused already?"""
        return number < self.next

    def in_order(self) -> Iterator[int]:
        """What may be taken now: nothing before which a number is missing."""
        return takewhile(self.held.__contains__, count(self.next))

    def settle(self, answer: ForwardAnswer) -> None:
        for number in range(answer.first, answer.first + answer.count):
            del self.held[number]
        self.next = answer.first + answer.count
        self.answers.append(answer)
        while _last(self.answers[0]) < self.next - FORWARD_WINDOW:
            del self.answers[0]

    def answers_to(self, first: int, last: int) -> Sequence[ForwardAnswer]:
        """Those in which at least one of these numbers is."""
        begin = bisect_left(self.answers, first, key=_last)
        end = bisect_left(self.answers, last + 1, key=lambda answer: answer.first)
        return self.answers[begin:end]


def _last(answer: ForwardAnswer) -> int:
    return answer.first + answer.count - 1


class Item(NamedTuple):
    """A forwarded proposal, or a void (``data`` None), that may be taken now."""

    origin: _Origin
    number: int
    sequence: int
    data: bytes | None
    kind: Kind


class LeaderForwards:
    """What other nodes forwarded to this one, in the era that it leads."""

    def __init__(self, limits: NodeLimits, send: Send) -> None:
        self._limits = limits
        self._send = send
        self._era: Era | None = None
        self._origins: dict[int, _Origin] = {}
        self._sessions: dict[int, Session] = {}
        """The latest one of every member."""
        self._set_aside: dict[int, _Origin] = {}
        """Of each member one start that another one has displaced, and that may have been the true one."""

    def on_session(self, session: Session) -> None:
        """Of another start of this origin nothing is taken or answered any more, unless it comes back: who displaced it
        may have been a stranger, and what it has forwarded goes on from its numbers."""
        member = session.member
        before = self._sessions.get(member)
        self._sessions[member] = session
        origin, back = self._origins.get(member), self._set_aside.get(member)
        if origin is not None and origin.incarnation != session.incarnation:
            del self._origins[member]
            if back is None or (before is not None and before.confirmed):
                self._set_aside[member] = origin
        if back is not None and back.incarnation == session.incarnation:
            self._origins.setdefault(member, back)

    def table_changed(self, members: Collection[int]) -> None:
        """Who has left never comes back: what it forwarded and was not taken never will be."""
        for of_members in (self._origins, self._sessions, self._set_aside):
            for member in [member for member in of_members if member not in members]:
                del of_members[member]

    def on_forward(self, session: Session, forward: Forward, leading: Era | None) -> None:
        """Hold it, or answer again; what is addressed to another era or is not the sender's own is dropped."""
        sender, incarnation = session.member, session.incarnation
        if forward.era != leading or forward.origin != sender or forward.incarnation != incarnation:
            return
        self.era_is(leading)
        origin = self._origins.get(sender)
        if origin is None:
            origin = self._origins[sender] = _Origin(forward.era, sender, incarnation)
        if origin.seen(forward.first):
            for answer in origin.answers_to(forward.first, forward.first + len(forward.proposals) - 1):
                self._send(sender, answer)
        held = origin.held
        for number, proposal in enumerate(forward.proposals, forward.first):
            if number - origin.next >= FORWARD_WINDOW or (
                number > origin.next and len(held) >= self._limits.forwards_held_max
            ):
                return
            if not origin.seen(number) and (number not in held or proposal[1] is None):
                held[number] = proposal

    def era_is(self, leading: Era | None) -> None:
        """Forget what belongs to an era that has ended; what was held in it was not taken, and never will be."""
        if leading == self._era:
            return
        for origin in self._origins.values():
            held = len(list(origin.in_order()))
            if held:
                self._send(origin.member, ForwardAnswer(origin.era, origin.next, held, None, str(Reason.LEADER_LEFT)))
        self._era = leading
        self._origins = {}
        self._set_aside = {}

    def sizes(self) -> Sizes:
        """All that is known of origins goes with the era; until then a displaced one stays as it was."""
        origins = [*self._origins.values(), *self._set_aside.values()]
        leads = self._era is not None
        return {
            "forwards held": Size(sum(len(origin.held) for origin in self._origins.values())),
            "origins of forwards": Size(len(origins), 2 * len(self._sessions) if leads else 0),
            "answers to forwards": Size(
                sum(len(origin.answers) for origin in origins), FORWARD_WINDOW * len(origins) if leads else 0
            ),
        }

    def takeable(self, count_max: int, bytes_max: int) -> list[Item]:
        """The first of what may be taken now, voids included, of every origin in the order of its numbers. A change of
        the members comes alone."""
        items: list[Item] = []
        size = 0
        for origin in self._origins.values():
            for number in origin.in_order():
                sequence, data, kind = origin.held[number]
                size += len(data or b"")
                alone = kind is _MEMBERSHIP and data is not None
                if len(items) >= count_max or (items and (alone or size > bytes_max)):
                    return items
                items.append(Item(origin, number, sequence, data, kind))
                if alone:
                    return items
        return items

    def settle(self, items: Sequence[Item], first: int | None, reason: Reason = Reason.NONE) -> None:
        """They were taken from index ``first`` on, or (None) refused; voids are refused in any case. Answer."""
        placed: list[tuple[_Origin, int, int | None]] = []
        commands = 0
        for item in items:
            if item.data is None or first is None:
                placed.append((item.origin, item.number, None))
            else:
                placed.append((item.origin, item.number, first + commands))
                commands += 1
        for (origin, _), together in groupby(placed, _one_answer):
            part = list(together)
            _, number, index = part[0]
            answer = ForwardAnswer(origin.era, number, len(part), index, "" if index is not None else str(reason))
            origin.settle(answer)
            self._send(origin.member, answer)


def _one_answer(placed: tuple[_Origin, int, int | None]) -> tuple[_Origin, int | None]:
    """The same for neighbours that one answer can tell of: consecutive numbers at consecutive indexes, or at none."""
    origin, number, index = placed
    return origin, None if index is None else index - number


def proposals_of(items: Sequence[Item]) -> list[Proposal]:
    """What the engine is given: everything but the voids."""
    return [
        Proposal(ProposalId(item.origin.member, item.origin.incarnation, item.sequence), item.data, item.kind)
        for item in items
        if item.data is not None
    ]
