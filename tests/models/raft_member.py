"""A Raft member with rule 14 of the contract in its simplest form: probe, candidacy, pull, resign.

No I/O, no clock: inputs change a ``Member``, ``ready`` drains what must leave it. Entries are their terms. It is a
model of what the engine is to do, not of how: a leader sends what a peer lacks and nothing more clever.

Each sentence of the rule is a field of ``Rule``, so that a run can leave it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from ratified.consensus.draws import mix

Log = tuple[int, ...]
"""The entries' terms; index 1 is the first."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which sentences hold."""

    probes: bool = True
    """Ask before standing; otherwise a suspicious member stands at once."""
    heeds_leader: bool = True
    """A peer that hears a leader refuses."""
    checks_quorum: bool = True
    """A leader that hears from no quorum for a time-out steps down."""
    patience: int = 1
    """For how many (shortest) election time-outs a leader without a quorum waits."""
    resigns: bool = True
    """A leader that steps down by itself says so."""
    pulls: bool = True
    """A member that is refused only for its log takes a better one."""
    pulls_with_quorum: bool = True
    """It does so only if a quorum would grant but for the log."""
    leaves_term: bool = True
    """A pull that removes entries ends in a later term."""
    keeps_known: bool = True
    """A pull removes nothing that is known to be committed."""
    draws_first: bool = True
    """A keyed draw stands before the first probe where all members may become suspicious at once."""
    draws_again: bool = True
    """A keyed draw is added to each pause between probes."""
    widens: bool = True
    """That draw's range doubles with each candidacy of this suspicion that has not won."""
    keeps_answers: bool = True
    """Answers to earlier probes of one suspicion count; otherwise only those to the latest."""
    yields_to_vote: bool = True
    """A member that voted leaves its candidate, another or itself, one heartbeat before it probes (again), and what was
    answered before counts no more."""
    restarts_on_term: bool = False
    """Adopting a later term restarts the election timer."""
    part: int = 64
    """Entries a message."""
    learned_log: bool = False
    """No log must be good to win: a candidate learns from its voters what it lacks (Paxos)."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in microseconds."""

    timeout: int = 1_000_000
    """The shortest election time-out; the deadline is drawn between it and twice as much."""
    heartbeat: int = 100_000


class Verdict(Enum):
    """The answer to a probe."""

    GRANTED = "granted"
    BEHIND = "refused: the log is behind, and for nothing else"
    HEARS = "refused: a leader is heard"


class Probe(NamedTuple):
    """Would you vote for a log that ends so?"""

    term: int
    round: int
    last_term: int
    last_index: int


class ProbeAnswer(NamedTuple):
    """``term`` is durable at the answerer, whose log ends at (``last_term``, ``last_index``)."""

    term: int
    round: int
    verdict: Verdict
    last_term: int
    last_index: int


class Pull(NamedTuple):
    """What follows (``prev_index``, ``prev_term``) in your log?"""

    round: int
    prev_index: int
    prev_term: int


class PullAnswer(NamedTuple):
    """``entries`` follow; or (``fits`` false) the logs can meet at the hint at the latest."""

    round: int
    fits: bool
    prev_index: int
    prev_term: int
    entries: Log
    hint_index: int
    hint_term: int


class Resign(NamedTuple):
    """The leader of ``term`` leads no longer."""

    term: int
    round: int


class RequestVote(NamedTuple):
    term: int
    last_term: int
    last_index: int


class Vote(NamedTuple):
    """``log`` is what a promise reports (``Rule.learned_log``)."""

    term: int
    granted: bool
    log: Log


class Append(NamedTuple):
    term: int
    prev_index: int
    prev_term: int
    entries: Log
    commit: int


class AppendAnswer(NamedTuple):
    """``at``: the logs are equal up to here (``ok``), or nothing fits behind it."""

    term: int
    ok: bool
    at: int
    hint_index: int
    hint_term: int


class Heartbeat(NamedTuple):
    term: int
    commit: int


class HeartbeatAnswer(NamedTuple):
    term: int


Message = (
    Probe
    | ProbeAnswer
    | Pull
    | PullAnswer
    | Resign
    | RequestVote
    | Vote
    | Append
    | AppendAnswer
    | Heartbeat
    | HeartbeatAnswer
)


class Durable(NamedTuple):
    """What a disk has."""

    term: int = 0
    vote: int | None = None
    log: Log = ()


class Output(NamedTuple):
    """What leaves a member: ``after`` when the write with ``ticket`` is durable."""

    write: Durable | None
    ticket: int
    send: list[tuple[int, Message]]
    after: list[tuple[int, Message]]


class Role(Enum):
    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(slots=True)
class Peer:
    """What a leader knows of a peer."""

    next: int
    heard: int
    match: int = 0
    meets: bool = False
    """Do the logs meet before ``next``, for all that is known?"""


def last_at_most(log: Log, index: int, term: int) -> tuple[int, int]:
    """The last (index, term) at or before ``index`` whose term is not above ``term``."""
    index = min(index, len(log))
    while index and log[index - 1] > term:
        index -= 1
    return index, term_at(log, index)


def term_at(log: Log, index: int) -> int:
    """The term at ``index``, which the log has; 0 before the first."""
    return log[index - 1] if index else 0


def common(one: Log, other: Log) -> int:
    """Up to which index two logs are equal."""
    length = min(len(one), len(other))
    return next((index for index in range(length) if one[index] != other[index]), length)


def rank(log: Log) -> tuple[int, int]:
    """(last term, last index)."""
    return term_at(log, len(log)), len(log)


class Member:
    """One member."""

    def __init__(
        self, number: int, members: int, seed: int, rule: Rule, timing: Timing, now: int, durable: Durable, start: int
    ) -> None:
        self.number = number
        self.peers = [peer for peer in range(members) if peer != number]
        self.quorum = members // 2 + 1
        self.rule, self.timing, self.seed = rule, timing, seed
        self.now = now
        self.term, self.vote, self.log = durable
        self.commit = 0
        self.role = Role.FOLLOWER
        self.leader: int | None = None
        self.heard_at = now
        """When the leader was last heard."""
        self.session_lost = False
        """Was the session with the leader lost since?"""
        self.votes: set[int] = set()
        self.own_vote = 0
        self.learned: Log = ()
        self.followers: dict[int, Peer] = {}
        self.heartbeat_at = 0
        # Suspicion.
        self.suspicious = False
        self.probe_at: int | None = None
        self.round = start << 32
        """The latest probe's number; no earlier start of this member used it."""
        self.series = self.round
        """The first round whose answers count."""
        self.answers: dict[int, ProbeAnswer] = {}
        self.pulling: tuple[int, int, Log] | None = None
        """From whom, behind which index, and what has come."""
        self.probe_after: int | None = None
        """Probe when this ticket is durable."""
        self.draws = 0
        self.candidacies = 0
        """In this suspicion."""
        self.reached: dict[str, int] = {}
        """How often what is rare was reached."""
        # Disk.
        self.durable_term = self.term
        self.durable_length = len(self.log)
        self.ticket = 0
        self.in_flight: list[tuple[int, int, int]] = []
        """(ticket, term, length) of writes, clipped by truncation."""
        self.written = durable
        self.send: list[tuple[int, Message]] = []
        self.after: list[tuple[int, Message]] = []
        self.deadline_at = 0
        self._restart_timer()

    # ------------------------------------------------------------------------------------------------------ inputs

    @property
    def deadline(self) -> int:
        """When to tick."""
        if self.role is Role.LEADER:
            return self.heartbeat_at
        return self.deadline_at if self.probe_at is None else min(self.deadline_at, self.probe_at)

    def tick(self, now: int) -> None:
        self.now = now
        if self.role is Role.LEADER:
            if now >= self.heartbeat_at:
                self._beat()
            return
        if self.probe_at is not None and now >= self.probe_at:
            self._probe()
        elif now >= self.deadline_at:
            self._restart_timer()
            self.leader = None
            self._suspect(at_once=True)

    def campaign(self, now: int) -> None:
        """Stand at once."""
        self.now = now
        self._suspect(at_once=False)
        self._stand(self.term)

    def session_ended(self, now: int, peer: int) -> None:
        self.now = now
        if self.role is Role.LEADER:
            self.followers[peer].meets = False
        elif peer == self.leader:
            self.session_lost = True
            self._suspect(at_once=False)

    def persisted(self, now: int, ticket: int) -> None:
        self.now = now
        while self.in_flight and self.in_flight[0][0] <= ticket:
            _, self.durable_term, length = self.in_flight.pop(0)
            self.durable_length = max(self.durable_length, length)
        if self.role is Role.CANDIDATE and ticket >= self.own_vote:
            self.votes.add(self.number)
            self._count_votes()
        if self.role is Role.LEADER:
            self._advance_commit()
        if self.probe_after is not None and ticket >= self.probe_after:
            self.probe_after = None
            if self.suspicious and self.role is not Role.LEADER:
                self._probe()

    def propose(self, now: int) -> int | None:
        """The index of a new entry; None: not the leader."""
        self.now = now
        if self.role is not Role.LEADER:
            return None
        self.log += (self.term,)
        self._replicate()
        return len(self.log)

    def step(self, now: int, sender: int, message: Message) -> None:
        self.now = now
        match message:
            case Probe():
                self._on_probe(sender, message)
            case ProbeAnswer():
                self._on_probe_answer(sender, message)
            case Pull():
                self._on_pull(sender, message)
            case PullAnswer():
                self._on_pull_answer(sender, message)
            case _:
                if message.term > self.term:
                    self._adopt(message.term)
                self._step_in_term(sender, message)

    def _step_in_term(
        self,
        sender: int,
        message: Resign | RequestVote | Vote | Append | AppendAnswer | Heartbeat | HeartbeatAnswer,
    ) -> None:
        current = message.term == self.term
        match message:
            case Resign():
                if current and self.leader == sender:
                    self.leader = None
                    self._suspect(at_once=False)
            case RequestVote():
                self._on_request_vote(sender, message)
            case Vote():
                if current and self.role is Role.CANDIDATE and message.granted:
                    self.votes.add(sender)
                    self.learned = max(self.learned, message.log, key=rank)
                    self._count_votes()
            case Append():
                self._on_append(sender, message)
            case AppendAnswer():
                if current and self.role is Role.LEADER:
                    self._on_append_answer(sender, message)
            case Heartbeat():
                if current:
                    self._hear(sender)
                    self._learn_commit(min(message.commit, len(self.log)))
                # The claim is a term; one that is not durable yet waits.
                self._claim_term(sender, HeartbeatAnswer(self.term))
            case HeartbeatAnswer():
                if current and self.role is Role.LEADER:
                    self.followers[sender].heard = self.now

    def ready(self) -> Output | None:
        """Drain what must leave."""
        durable = Durable(self.term, self.vote, self.log)
        write = None
        if durable != self.written:
            write = self.written = durable
            self.ticket += 1
            self.in_flight.append((self.ticket, self.term, len(self.log)))
        if write is None and not self.send and not self.after:
            return None
        output = Output(write, self.ticket, self.send, self.after)
        self.send, self.after = [], []
        return output

    # ------------------------------------------------------------------------------------------------------- terms

    def _adopt(self, term: int) -> None:
        self.term, self.vote = term, None
        self.role = Role.FOLLOWER
        self.leader = None
        if self.rule.restarts_on_term:
            self._restart_timer()

    def _restart_timer(self) -> None:
        timeout = self.timing.timeout
        self.deadline_at = self.now + timeout + mix(self.seed, 1, self.number, self.term) % timeout

    def _draw(self, most: int) -> int:
        self.draws += 1
        return mix(self.seed, 2, self.number, self.term, self.draws) % (most + 1)

    # --------------------------------------------------------------------------------------------------- suspicion

    @property
    def hears_leader(self) -> bool:
        """Does this member lead, or hear somebody who does?"""
        if self.role is Role.LEADER:
            return True
        return self.leader is not None and not self.session_lost and self.now - self.heard_at < self.timing.timeout

    def _suspect(self, *, at_once: bool) -> None:
        if self.suspicious:
            return
        self.suspicious = True
        self.candidacies = 0
        self.series = self.round + 1
        self.answers = {}
        half = self.timing.heartbeat // 2
        self.probe_at = self.now + (0 if at_once or not self.rule.draws_first else self._draw(half))

    def _hear(self, leader: int) -> None:
        assert self.role is not Role.LEADER, "two leaders in one term"
        self.role = Role.FOLLOWER
        self.leader, self.heard_at, self.session_lost = leader, self.now, False
        self.suspicious = False
        self.probe_at = self.pulling = self.probe_after = None
        self._restart_timer()

    def _probe(self) -> None:
        self.probe_at = self.now + self.timing.heartbeat // 2 + self._pause()
        if self.role is Role.CANDIDATE and self.number not in self.votes:
            return  # the request has not left yet
        if not self.rule.probes:
            self._stand(self.term)
            return
        self.round += 1
        if not self.rule.keeps_answers:
            self.series = self.round
            self.answers = {}
        for peer in self.peers:
            self.send.append((peer, Probe(self.term, self.round, *rank(self.log))))

    def _pause(self) -> int:
        """The draw in a pause."""
        half = self.timing.heartbeat // 2
        most = min(half << self.candidacies, self.timing.timeout) if self.rule.widens else half
        return self._draw(most) if self.rule.draws_again else 0

    def _on_probe(self, sender: int, message: Probe) -> None:
        behind = (message.last_term, message.last_index) < rank(self.log) and not self.rule.learned_log
        if self.hears_leader and self.rule.heeds_leader:
            verdict = Verdict.HEARS
        else:
            verdict = Verdict.BEHIND if behind else Verdict.GRANTED
        self.send.append((sender, ProbeAnswer(self.durable_term, message.round, verdict, *rank(self.log))))

    def _on_probe_answer(self, sender: int, message: ProbeAnswer) -> None:
        if not self.suspicious or self.role is Role.LEADER or message.round < self.series:
            return
        known = self.answers.get(sender)
        if known is not None and known.round > message.round:
            return
        self.answers[sender] = message
        granted = [answer for answer in self.answers.values() if answer.verdict is Verdict.GRANTED]
        behind = [peer for peer, answer in self.answers.items() if answer.verdict is Verdict.BEHIND]
        if len(granted) + 1 >= self.quorum:
            self._stand(max(self.term, *[answer.term for answer in granted]))
        elif behind and (len(granted) + len(behind) + 1 >= self.quorum or not self.rule.pulls_with_quorum):
            self._begin_pull(max(behind, key=lambda peer: self.answers[peer][3:]))

    def _stand(self, above: int) -> None:
        self.term, self.vote = above + 1, self.number
        self.role = Role.CANDIDATE
        self.candidacies += 1
        self.leader = None
        self.votes = set()
        self.learned = self.log
        self.own_vote = self.ticket + 1
        self.series = self.round + 1
        self.answers = {}
        self.pulling = None
        self._restart_timer()
        if self.rule.yields_to_vote and self.probe_at is not None:
            self.probe_at = self.now + self.timing.heartbeat + self._pause()
        for peer in self.peers:
            self.after.append((peer, RequestVote(self.term, *rank(self.log))))

    def _on_request_vote(self, sender: int, message: RequestVote) -> None:
        good = (message.last_term, message.last_index) >= rank(self.log) or self.rule.learned_log
        granted = message.term == self.term and self.vote in (None, sender) and good
        if granted:
            self.vote = sender
            self._restart_timer()
            if self.rule.yields_to_vote and self.probe_at is not None:
                self.probe_at = self.now + self.timing.heartbeat + self._pause()
                self.series = self.round + 1
                self.answers = {}
        self.after.append((sender, Vote(self.term, granted, self.log if self.rule.learned_log else ())))

    def _count_votes(self) -> None:
        if len(self.votes) < self.quorum:
            return
        self.role = Role.LEADER
        self.leader = self.number
        self.suspicious = False
        self.probe_at = self.pulling = None
        if rank(self.learned) > rank(self.log):
            self._clip(common(self.log, self.learned))
            self.log = self.learned
        self.followers = {peer: Peer(len(self.log) + 1, self.now) for peer in self.peers}
        self.log += (self.term,)
        self._beat()

    # -------------------------------------------------------------------------------------------------------- pull

    def _begin_pull(self, peer: int) -> None:
        if not self.rule.pulls or (self.pulling is not None and self.pulling[0] == peer):
            return
        answer = self.answers[peer]
        index, _ = last_at_most(self.log, answer.last_index, answer.last_term)
        self.pulling = (peer, index, ())
        self._ask_pull()

    def _ask_pull(self) -> None:
        assert self.pulling is not None
        peer, index, come = self.pulling
        self.send.append(
            (peer, Pull(self.round, index + len(come), term_at(self.log[:index] + come, index + len(come))))
        )

    def _on_pull(self, sender: int, message: Pull) -> None:
        index, term = message.prev_index, message.prev_term
        if index <= len(self.log) and term_at(self.log, index) == term:
            entries = self.log[index : index + self.rule.part]
            self.send.append((sender, PullAnswer(message.round, True, index, term, entries, 0, 0)))
        else:
            hint = last_at_most(self.log, max(index - 1, 0), term)
            self.send.append((sender, PullAnswer(message.round, False, index, term, (), *hint)))

    def _on_pull_answer(self, sender: int, message: PullAnswer) -> None:
        if self.pulling is None or self.pulling[0] != sender or self.role is Role.LEADER or self.hears_leader:
            return
        _, index, come = self.pulling
        if message.prev_index != index + len(come):
            return
        if not message.fits:
            index, _ = last_at_most(self.log, message.hint_index, message.hint_term)
            self.pulling = (sender, index, ())
            self._ask_pull()
            return
        base = self.log[:index] + come
        if term_at(base, len(base)) != message.prev_term or not message.entries:
            self.pulling = None
            return
        come += message.entries
        if rank(self.log[:index] + come) > rank(self.log):
            self._take(index, come)
        else:
            self._reach("pull needs a further part before it ranks above")
            self.pulling = (sender, index, come)
            self._ask_pull()

    def _take(self, index: int, entries: Log) -> None:
        """The log becomes one that ranks above it. Nobody is told: this is no acknowledgement."""
        result = self.log[:index] + entries
        kept = common(self.log, result)
        removed = kept if kept < len(self.log) else None
        if removed is not None and removed < self.commit and self.rule.keeps_known:
            self._reach("pull refused: it would remove what is known to be committed")
            self.pulling = None
            return
        self._reach("pull")
        later = entries[-1]
        if later > self.term:
            self._reach("pull adopts an era")
        if later <= self.term and removed is not None and self.rule.leaves_term:
            later = self.term + 1
            self._reach("pull leaves the term")
        if removed is not None:
            self._reach("pull removes entries")
            if self.ticket and self.in_flight:
                self._reach("pull removes entries while writes are under way")
            self._clip(removed)
        self.log = result
        if later > self.term:
            self._adopt(later)
        self.role = Role.FOLLOWER
        self.pulling = None
        self.answers = {}
        self.series = self.round + 1
        self.probe_after = self.ticket + 1

    def _reach(self, what: str) -> None:
        self.reached[what] = self.reached.get(what, 0) + 1

    def _clip(self, length: int) -> None:
        self.durable_length = min(self.durable_length, length)
        self.in_flight = [(ticket, term, min(had, length)) for ticket, term, had in self.in_flight]

    # ----------------------------------------------------------------------------------------------------- entries

    def _on_append(self, sender: int, message: Append) -> None:
        if message.term < self.term:
            self.after.append((sender, AppendAnswer(self.term, False, message.prev_index, 0, 0)))
            return
        self._hear(sender)
        previous, entries = message.prev_index, message.entries
        if previous > len(self.log) or term_at(self.log, previous) != message.prev_term:
            hint = last_at_most(self.log, max(previous - 1, 0), message.prev_term)
            self.after.append((sender, AppendAnswer(self.term, False, previous, *hint)))
            return
        end = previous + len(entries)
        if self.log[previous:end] != entries:
            kept = previous
            while kept < min(end, len(self.log)) and self.log[kept] == entries[kept - previous]:
                kept += 1
            if kept < len(self.log):
                assert kept >= self.commit, "a committed entry would be removed"
                self._clip(kept)
            self.log = self.log[:previous] + entries
        self._learn_commit(min(message.commit, end))
        self.after.append((sender, AppendAnswer(self.term, True, end, 0, 0)))

    def _learn_commit(self, index: int) -> None:
        self.commit = max(self.commit, index)

    def _claim_term(self, to: int, message: Message) -> None:
        (self.send if self.durable_term == self.term else self.after).append((to, message))

    # ----------------------------------------------------------------------------------------------------- leading

    def _beat(self) -> None:
        """A heartbeat, and once more what was not answered; or the end of the lead."""
        heard = sorted([self.now, *[peer.heard for peer in self.followers.values()]], reverse=True)
        patience = self.rule.patience * self.timing.timeout
        if self.rule.checks_quorum and self.now - heard[self.quorum - 1] >= patience:
            self._step_down()
            return
        self.heartbeat_at = self.now + self.timing.heartbeat
        for number, peer in self.followers.items():
            self.send.append((number, Heartbeat(self.term, min(peer.match, self.commit))))
            if peer.meets:
                peer.next = peer.match + 1
            if peer.match < len(self.log):
                self._send_entries(number, peer)

    def _step_down(self) -> None:
        self.role = Role.FOLLOWER
        self.leader = None
        self._restart_timer()
        if self.rule.resigns:
            for peer in self.peers:
                self.send.append((peer, Resign(self.term, self.round)))

    def _replicate(self) -> None:
        for number, peer in self.followers.items():
            if peer.meets:
                self._send_entries(number, peer)
        self._advance_commit()

    def _send_entries(self, number: int, peer: Peer) -> None:
        previous = peer.next - 1
        entries = self.log[previous : previous + self.rule.part]
        self.send.append((number, Append(self.term, previous, term_at(self.log, previous), entries, self.commit)))
        peer.next = previous + len(entries) + 1 if peer.meets else peer.next

    def _on_append_answer(self, sender: int, message: AppendAnswer) -> None:
        peer = self.followers[sender]
        peer.heard = self.now
        if message.ok:
            peer.match = max(peer.match, message.at)
            peer.next = max(peer.next, peer.match + 1)
            if not peer.meets:
                peer.meets = True
                if peer.next <= len(self.log):
                    self._send_entries(sender, peer)
            self._advance_commit()
        elif message.at > peer.match and (peer.meets or message.at == peer.next - 1):
            meet, _ = last_at_most(self.log, message.hint_index, message.hint_term)
            peer.meets = False
            peer.next = max(min(meet + 1, message.at), peer.match + 1)
            self._send_entries(sender, peer)

    def _advance_commit(self) -> None:
        have = sorted([self.durable_length, *[peer.match for peer in self.followers.values()]], reverse=True)
        index = have[self.quorum - 1]
        if index > self.commit and self.log[index - 1] == self.term:
            self.commit = index
