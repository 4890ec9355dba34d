"""Is a leader heard, and when does a member ask whether it would be elected? (Rule 14 of the contract.)

This is pre-vote (Ongaro's dissertation, 9.6) for every engine, and when to begin it.

Rules of this file:

1. Nothing here is durable, and safety needs nothing of it: an election may begin at any time.
2. A member is suspicious from the end of the session with its leader, its leader's Resign, or its own election
   deadline, until a leader is heard or it leads. While it is, candidate or not, it probes: the peers are asked whether
   they hear a leader, and whether the log is good enough. A quorum of grants begins a candidacy, and nothing else does.
3. Answers to all probes of one series count, the latest of each peer: a round trip may take longer than the pause
   between two probes. A series begins with the suspicion, and again whenever the log or the era that was asked about is
   another one.
4. A draw stands before each probe but the one after an own election deadline, which was drawn itself: all members learn
   of a broken connection at the same moment, and would stand in step for ever.
5. What a peer answered is forgotten when the session with it ends. Who asks for entries keeps to one peer, for as long
   as that one answers probes: the entries may take much longer, over a slow link.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Generic, Protocol, TypeVar

from ratified.consensus.contract import Size, Sizes
from ratified.consensus.draws import mix
from ratified.consensus.replication.member import Member

_PAUSE = 0x7061757365
"""The concern of the draws."""


class Verdict(IntEnum):
    """The answer to a probe."""

    GRANTED = 0
    BEHIND = 1
    """Refused, only because the log of whoever asks is behind."""
    HEARS = 2
    """Refused: a leader is heard."""


class ProbeAnswer(Protocol):
    @property
    def round(self) -> int:
        """Of the probe that is answered."""

    @property
    def verdict(self) -> Verdict: ...


Answer = TypeVar("Answer", bound=ProbeAnswer)


class Suspicion(Generic[Answer]):
    """Whether this member suspects its leader, and its probes; it outlives any role."""

    __slots__ = (
        "_answers",
        "_heard_at",
        "_member",
        "_series",
        "_session_lost",
        "_stood",
        "_unanswered",
        "_yields_until",
        "active",
        "next_probe",
        "rests",
        "round",
    )

    def __init__(self, member: Member[Any]) -> None:
        self._member = member
        self._heard_at = member.now
        self._session_lost = False
        """Did the session with the leader end since it was heard?"""
        self.rests = False
        """The leader has said that nothing happens, and that it will be heard when something does (``rest``)."""
        self.active = False
        self.next_probe: int | None = None
        self.round = member.now
        """The latest probe's number. Two probes are more than a microsecond apart, so that an earlier start, whose
        clock went on, cannot have used a later one."""
        self._series = self.round + 1
        """The first round whose answers count."""
        self._answers: dict[int, Answer] = {}
        self._unanswered: dict[int, int] = {}
        """By peer, when the first probe left that it has not answered, nor any later one."""
        self._stood = 0
        """Candidacies since the suspicion began."""
        self._yields_until = member.now

    # -------------------------------------------------------------------------------------------------- the leader

    def hears(self, leader: int | None) -> bool:
        """Is ``leader``, whom this member follows, still heard? Where nothing is to be said, by its session alone."""
        if leader is None or self._session_lost:
            return False
        return self.rests or self._member.now - self._heard_at < self._member.options.election_timeout_min_us

    def heard(self) -> None:
        """A message of the leader arrived."""
        self._heard_at = self._member.now
        self._session_lost = self.rests = False
        if self.next_probe is not None:  # also of who asks only whom to follow
            self.end()

    def rest(self) -> None:
        """The leader rests, and this member with it."""
        self.rests = True

    def wake(self) -> bool:
        """The leader is followed no longer, or has to be heard anew; False: nothing rested. It was heard until now."""
        if not self.rests:
            return False
        self.rests = False
        self._heard_at = self._member.now
        return True

    def on_session_lost(self) -> None:
        """The session with the leader ended."""
        self._session_lost = True
        self.begin_soon()

    # --------------------------------------------------------------------------------------------------- suspicion

    def begin_now(self) -> bool:
        """The own election deadline has passed; is it time for a probe?"""
        self._begin(0)
        return self.is_due

    def begin_soon(self) -> None:
        """Something happened of which the peers learn in the same moment."""
        self._begin(self._draw(self._half_heartbeat))

    def _begin(self, pause_us: int) -> None:
        member = self._member
        if self.active or not member.configurations.may_campaign or not member.options.extensions.suspicion:
            return
        self.active = True
        self._stood = 0
        self._begin_series()
        self.next_probe = max(member.now, member.grants.until) + pause_us

    def end(self) -> None:
        """A leader is heard, or this member leads."""
        self.active = False
        self.next_probe = None
        self._answers = {}
        self._unanswered = {}

    def _begin_series(self) -> None:
        self._series = self.round + 1
        self._answers = {}

    @property
    def is_due(self) -> bool:
        """Is it time for a probe?"""
        return self.next_probe is not None and self._member.now >= self.next_probe

    def next_round(self) -> int:
        """The number of the probe that leaves now."""
        self.round = max(self.round + 1, self._member.now)
        for peer in self._member.configurations.peers:
            self._unanswered.setdefault(peer, self._member.now)
        self.postpone()
        return self.round

    def postpone(self) -> None:
        """The next probe is due after a pause."""
        self._pause(self._half_heartbeat)

    def _pause(self, least_us: int) -> None:
        """For so long and a draw, of a wider range after each candidacy that did not win."""
        most_us = min(self._half_heartbeat << min(self._stood, 32), self._member.options.election_timeout_min_us)
        self.next_probe = max(self._member.now + least_us, self._member.grants.until) + self._draw(most_us)

    def stood(self) -> None:
        """This member is a candidate now."""
        self.begin_soon()
        self._stood += 1
        self.voted()

    def voted(self) -> None:
        """A candidate, this member or another one, has its vote, and one heartbeat to win and to show itself."""
        self._yields_until = self._member.now + self._member.options.heartbeat_us
        if self.active:
            self._begin_series()
            self._pause(self._member.options.heartbeat_us)

    @property
    def yields(self) -> bool:
        """Has a candidate that was voted for still some of its heartbeat?"""
        return self._member.now < self._yields_until

    def released(self) -> None:
        """This member is bound no longer, and so may others be that have heard so in this moment."""
        if self.active:
            self._pause(0)

    def restart(self) -> None:
        """The log is another one: what was answered is of no use, and the next probe is due."""
        if self.active:
            self._begin_series()
            self.next_probe = self._member.now

    @property
    def _half_heartbeat(self) -> int:
        return self._member.options.heartbeat_us // 2

    def _draw(self, most_us: int) -> int:
        member = self._member
        return mix(member.options.seed, _PAUSE, member.id, member.now) % (most_us + 1)

    # ----------------------------------------------------------------------------------------------------- answers

    def counts(self, sender: int, answer: Answer) -> bool:
        """Take note of a peer's answer; False: it answers nothing that is still asked."""
        if not self.active or not self._series <= answer.round <= self.round:
            return False
        known = self._answers.get(sender)
        if known is not None and known.round > answer.round:
            return False
        self._answers[sender] = answer
        self._unanswered.pop(sender, None)
        return True

    def forget(self, peer: int) -> None:
        """The session with this peer ended; if it has left, none follows."""
        self._answers.pop(peer, None)
        if peer not in self._member.configurations.peers:
            self._unanswered.pop(peer, None)

    def answers(self, verdict: Verdict) -> Mapping[int, Answer]:
        """By member."""
        return {member: answer for member, answer in self._answers.items() if answer.verdict is verdict}

    def has_quorum(self, *verdicts: Verdict) -> bool:
        """Do this member, and the peers that answered so, make a quorum? Not while it is bound (rule 9)."""
        member = self._member
        if member.is_bound:
            return False
        peers = [peer for peer, answer in self._answers.items() if answer.verdict in verdicts]
        return member.configurations.is_quorum({member.id, *peers})

    def source(self, present: int | None, rank: Callable[[Answer], Any]) -> int | None:
        """Whom to ask for entries: ``present`` as long as it answers, else whose log ranks highest; None: nobody now,
        since ``present`` has yet to answer in this series, or nobody has a better log."""
        behind = {peer: answer for peer, answer in self.answers(Verdict.BEHIND).items() if not self._is_silent(peer)}
        if present in behind:
            return present
        if present is not None and present not in self._answers and not self._is_silent(present):
            return None
        return max(behind, key=lambda peer: rank(behind[peer]), default=None)

    def answer_of(self, peer: int) -> Answer:
        """The latest one of this series."""
        return self._answers[peer]

    def _is_silent(self, peer: int) -> bool:
        """Has it answered nothing for half a timeout?"""
        since = self._unanswered.get(peer)
        return since is not None and self._member.now - since >= self._member.options.election_timeout_min_us // 2

    def sizes(self) -> Sizes:
        """Of the latest suspicion: it may be over."""
        known = len(self._answers) + len(self._unanswered)
        return {"probes and answers to them": Size(known, 2 * len(self._member.configurations.peers))}
