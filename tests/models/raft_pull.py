"""Raft with *Pull* (rule 14 of the contract), small enough to visit every state.

What is modelled, and what makes it small:

1. Elections begin at any time: a probe only makes them rarer, so every run with probes is a run of this model. For the
   same reason any member that does not lead may pull at any time.
2. A network that loses, repeats and reorders is the set of what was ever said. A leader of term t may have said
   everything that follows from its log as it grew, so ``led[t]`` stands for all its AppendEntries; ``asked``,
   ``granted`` and ``acked`` stand for RequestVote, the votes and the acknowledgements (``match``). A log that somebody
   holds and whose last entry is of term t is a prefix of the log of t's leader, so ``led`` also stands for everything
   that a refuser may send.
3. What a member said rests on its disk: writes wait in ``pending``, each with the claims that leave when it is durable,
   and a crash forgets them. ``Bounds.writes`` 0 stands for disks that answer at once.
4. Entries are their terms: an entry is known by its index and term.
5. A leader counts at once; a message is answered with the highest index that it matches.

What must hold: one leader a term; equal terms at one index mean equal logs up to it; a leader of a later term has every
committed entry, also one that is committed after it was elected; a quorum's disks hold what is committed, at every
moment; what a follower is told to be committed, in AppendEntries or in a heartbeat (``min(match, commit)``), is what
is; no member ever removes what it was told to be committed. (An entry that was committed without this member, and that
it does not know to be, it may remove, in plain Raft too.)

``python -m tests.models.raft_pull --states N`` searches on, without and with each condition.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import NamedTuple, TypeVar

from tests.models.explore import Report, Steps, Violation, explore

FOLLOWER, CANDIDATE, LEADER = range(3)
NOBODY = -1
ASK, GRANT, ACK = range(3)
Claim = tuple[int, int, int, int, int]
"""(ASK, term, candidate, last term, last index), (GRANT, term, voter, candidate, 0), (ACK, term, member, match, 0)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The conditions of a pull. Each can be taken out."""

    pull: bool = True
    ranks_above: bool = True
    """The result must rank above the own log, by last term, then length."""
    keeps_known: bool = True
    """Nothing is removed that this member knows to be committed; the rank does not see to that."""
    meets: bool = True
    """The entries go where the two logs are equal up to."""
    adopts_era: bool = True
    """The last entry's term is adopted if it is later."""
    leaves_term: bool = True
    """A pull that removes entries ends in a later term than the one in which they were acknowledged."""
    leader_refrains: bool = True
    """A leader does not pull."""
    candidate_gives_up: bool = True
    """A candidate that pulls is none any more."""
    acknowledges: bool = False
    """What was pulled is acknowledged to the leader of the member's term."""
    acknowledges_era: bool = False
    """What was pulled is acknowledged to the leader of the last entry's term, whatever the member's own is."""
    forgets_vote: bool = True
    """No vote was given in an adopted term; otherwise the member takes it as given, to the old term's candidate."""
    votes_again: bool = False
    """The vote is forgotten even where the term stays."""
    asks_after_write: bool = True
    """RequestVote waits until log, term and vote are durable (rule 3)."""
    believes_heartbeats: bool = True
    """A follower takes a heartbeat's commit index as it is; otherwise only up to what it has compared with the leader's
    log since its own was last changed by a pull."""
    in_parts: bool = False
    """A part is taken as soon as the sender's whole log ranks above the own one, even if the result does not."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of the model is visited."""

    members: int = 3
    terms: int = 3
    entries: int = 3
    crashes: int = 1
    writes: int = 0
    """Writes under way at one member."""
    first_leader: bool = True
    """Start with a leader of term 1 whose first entry is committed everywhere."""


class Write(NamedTuple):
    """What the disk will have, and what may be said then."""

    term: int
    vote: int
    log: bytes
    claims: tuple[Claim, ...]


class Member(NamedTuple):
    """One member; up to ``known`` it has been told that its entries are committed; ``disk`` is (term, vote, log)."""

    term: int
    vote: int
    log: bytes
    role: int
    known: int
    disk: tuple[int, int, bytes]
    pending: tuple[Write, ...]


Led = tuple[int, bytes, bytes]
"""Of a term: its leader, the log with which it was elected, its log now (or when it last led)."""
UNLED: Led = (NOBODY, b"", b"")


class State(NamedTuple):
    """All members, and all that was ever said."""

    members: tuple[Member, ...]
    led: tuple[Led, ...]
    asked: tuple[tuple[int, int, int, int], ...]
    granted: tuple[tuple[int, int, int], ...]
    acked: tuple[tuple[int, ...], ...]
    """By term and member, the highest index acknowledged."""
    committed: bytes
    committed_in: bytes
    """By index, the term whose leader counted it first."""
    crashes: int


def initial(bounds: Bounds) -> State:
    """Everybody empty; or a leader of term 1 with one entry that everybody has."""
    none = (0,) * bounds.members
    if not bounds.first_leader:
        member = Member(0, NOBODY, b"", FOLLOWER, 0, (0, NOBODY, b""), ())
        led = (UNLED,) * (bounds.terms + 1)
        return State((member,) * bounds.members, led, (), (), (none,) * (bounds.terms + 1), b"", b"", bounds.crashes)
    log = b"\x01"
    leader = Member(1, 0, log, LEADER, 1, (1, 0, log), ())
    follower = Member(1, 0, log, FOLLOWER, 1, (1, 0, log), ())
    return State(
        members=(leader,) + (follower,) * (bounds.members - 1),
        led=(UNLED, (0, b"", log)) + (UNLED,) * (bounds.terms - 1),
        asked=(),
        granted=(),
        acked=(none, (0,) + (1,) * (bounds.members - 1)) + (none,) * (bounds.terms - 1),
        committed=log,
        committed_in=log,
        crashes=bounds.crashes,
    )


def last_term(log: bytes) -> int:
    """The term of the last entry, 0 for an empty log."""
    return log[-1] if log else 0


def rank(log: bytes) -> tuple[int, int]:
    """Section 5.4.1: by this the more up-to-date of two logs is known."""
    return last_term(log), len(log)


def common(one: bytes, other: bytes) -> int:
    """Up to which index two logs are equal."""
    length = min(len(one), len(other))
    for index in range(length):
        if one[index] != other[index]:
            return index
    return length


def match(one: bytes, other: bytes) -> bool:
    """Log Matching: do the logs agree up to the last index at which they have the same term?"""
    for index in range(min(len(one), len(other)) - 1, -1, -1):
        if one[index] == other[index]:
            return one[:index] == other[:index]
    return True


class Model:
    """The steps of the protocol under one rule, within bounds."""

    def __init__(self, rule: Rule, bounds: Bounds) -> None:
        self.rule = rule
        self.bounds = bounds
        self.quorum = bounds.members // 2 + 1
        self._kept: dict[object, object] = {}

    def steps(self, state: State) -> Steps[State]:
        """Whatever may happen next."""
        for number, member in enumerate(state.members):
            yield from self._disk(state, number, member)
            yield from self._stand(state, number, member)
            yield from self._vote(state, number, member)
            yield from self._adopt(state, number, member)
            yield from self._append(state, number, member)
            yield from self._learn(state, number, member)
            if self.rule.pull:
                yield from self._pull(state, number, member)
            if member.role == CANDIDATE:
                yield from self._win(state, number, member)
            elif member.role == LEADER:
                yield from self._propose(state, number, member)

    # -------------------------------------------------------------------------------------------------------- disk

    def _write(
        self, state: State, number: int, after: Member, claims: tuple[Claim, ...], at_once: tuple[Claim, ...] = ()
    ) -> State | None:
        """``after`` with its write handed out; None: too many are under way."""
        latest = after.pending[-1][:3] if after.pending else after.disk
        changed = (after.term, after.vote, after.log) != latest
        if self.bounds.writes == 0:
            after = after._replace(disk=(after.term, after.vote, after.log))
            at_once += claims
        elif changed:
            if len(after.pending) == self.bounds.writes:
                return None
            write = Write(after.term, after.vote, after.log, claims)
            after = after._replace(pending=(*after.pending, write))
        elif after.pending:
            last = after.pending[-1]
            merged = tuple(sorted({*last.claims, *claims}))
            after = after._replace(pending=(*after.pending[:-1], last._replace(claims=merged)))
        else:
            at_once += claims
        return said(state._replace(members=put(state.members, number, after)), at_once)

    def _disk(self, state: State, number: int, member: Member) -> Steps[State]:
        if member.pending:
            write = member.pending[0]
            after = member._replace(disk=write[:3], pending=member.pending[1:])
            yield (
                f"{number} has written",
                self._checked(said(state._replace(members=put(state.members, number, after)), write.claims)),
            )
        if state.crashes and (member.pending or member.role != FOLLOWER):
            term, vote, log = member.disk
            for known in sorted({0, min(member.known, len(log))}):
                after = Member(term, vote, log, FOLLOWER, known, member.disk, ())
                members = put(state.members, number, after)
                yield f"{number} crashes", self._checked(state._replace(members=members, crashes=state.crashes - 1))

    # ---------------------------------------------------------------------------------------------------- election

    def _stand(self, state: State, number: int, member: Member) -> Steps[State]:
        if member.role == LEADER or member.term >= self.bounds.terms:
            return
        term = member.term + 1
        after = member._replace(term=term, vote=number, role=CANDIDATE)
        ask: Claim = (ASK, term, number, *rank(member.log))
        own: Claim = (GRANT, term, number, number, 0)
        if self.rule.asks_after_write:
            written = self._write(state, number, after, (ask, own))
        else:
            written = self._write(state, number, after, (own,), (ask,))
        yield from self._stepped(f"{number} stands in term {term} with {show(member.log)}", written)

    def _vote(self, state: State, number: int, member: Member) -> Steps[State]:
        for term, candidate, last, length in state.asked:
            if term < member.term or candidate == number or (last, length) < rank(member.log):
                continue
            if term == member.term and member.vote not in (NOBODY, candidate):
                continue
            claim: Claim = (GRANT, term, number, candidate, 0)
            if claim[1:4] in state.granted:
                continue
            role = member.role if term == member.term else FOLLOWER
            after = member._replace(term=term, vote=candidate, role=role)
            yield from self._stepped(
                f"{number} votes for {candidate} in term {term}", self._write(state, number, after, (claim,))
            )

    def _adopt(self, state: State, number: int, member: Member) -> Steps[State]:
        heard = {asked[0] for asked in state.asked} | {other.disk[0] for other in state.members}
        for term in sorted(term for term in heard if term > member.term):
            after = member._replace(term=term, vote=NOBODY, role=FOLLOWER)
            yield from self._stepped(f"{number} hears of term {term}", self._write(state, number, after, ()))

    def _win(self, state: State, number: int, member: Member) -> Steps[State]:
        term = member.term
        votes = sum(1 for vote in state.granted if vote[0] == term and vote[2] == number)
        if votes < self.quorum:
            return
        label = f"{number} leads term {term} with {show(member.log)}"
        if state.led[term] != UNLED:
            yield label, Violation("Election Safety: two leaders of one term")
            return
        for index, entry in enumerate(state.committed):
            if state.committed_in[index] < term and member.log[index : index + 1] != bytes((entry,)):
                yield label, Violation("Leader Completeness: a later leader lacks a committed entry")
                return
        led = put(state.led, term, (number, member.log, member.log))
        members = put(state.members, number, member._replace(role=LEADER))
        yield label, state._replace(members=members, led=led)

    # ---------------------------------------------------------------------------------------------------- entries

    def _propose(self, state: State, number: int, member: Member) -> Steps[State]:
        if len(member.log) == self.bounds.entries:
            return
        log = member.log + bytes((member.term,))
        leader, elected, _ = state.led[member.term]
        led = put(state.led, member.term, (leader, elected, log))
        written = self._write(state._replace(led=led), number, member._replace(log=log), ())
        yield from self._stepped(f"{number} proposes: {show(log)}", written)

    def _append(self, state: State, number: int, member: Member) -> Steps[State]:
        for term in range(max(member.term, 1), len(state.led)):
            leader, _, sent = state.led[term]
            if leader in (NOBODY, number):
                continue
            for log, acknowledged in self._appended(member.log, sent).items():
                changed = log != member.log or term != member.term or member.role != FOLLOWER
                if not changed and acknowledged <= state.acked[term][number]:
                    continue
                vote = member.vote if term == member.term else NOBODY
                after = member._replace(term=term, vote=vote, log=log, role=FOLLOWER)
                claim: Claim = (ACK, term, number, acknowledged, 0)
                label = f"{number} takes AppendEntries of term {term}: {show(log)}, acknowledges {acknowledged}"
                if common(member.log, log) < member.known:
                    yield label, Violation("an entry is removed that the member knows to be committed")
                else:
                    yield from self._stepped(label, self._write(state, number, after, (claim,)))

    def _appended(self, own: bytes, sent: bytes) -> dict[bytes, int]:
        """Figure 2, AppendEntries 2 to 4, for every message that can be made of the leader's log: what the log may be
        then, and the highest index acknowledged with it."""
        found: dict[bytes, int] = {}
        for previous in range(min(len(own), len(sent)) + 1):
            if previous and own[previous - 1] != sent[previous - 1]:
                continue
            for end in range(previous, len(sent) + 1):
                log = own if own[previous:end] == sent[previous:end] else own[:previous] + sent[previous:end]
                found[log] = max(found.get(log, 0), end)
        return found

    def _learn(self, state: State, number: int, member: Member) -> Steps[State]:
        """The leader says what is committed: with AppendEntries up to where the logs were compared, with a heartbeat up
        to what it knows this member to have (``min(match, commit)``)."""
        term = member.term
        leader = state.led[term][0]
        if leader in (NOBODY, number) or term not in state.committed_in:
            return
        told = min(state.committed_in.rindex(term) + 1, state.acked[term][number])
        if told > member.known:
            label = f"{number} is told by {leader} of term {term} that {told} is committed"
            if member.log[:told] == state.committed[:told]:
                yield label, state._replace(members=put(state.members, number, member._replace(known=told)))
            elif self.rule.believes_heartbeats:
                yield label, Violation("a heartbeat makes a follower apply an entry that is not the committed one")

    def _count(self, state: State) -> State | Violation:
        """Every leader counts at once: a count that comes later finds nothing more, and a leader elected meanwhile is
        looked at when it is made."""
        for number, member in enumerate(state.members):
            if member.role != LEADER:
                continue
            term = member.term
            acknowledged = list(state.acked[term])
            acknowledged[number] = common(member.disk[2], member.log)
            index = sorted(acknowledged, reverse=True)[self.quorum - 1]
            if not index or index > len(member.log) or member.log[index - 1] != term:
                continue
            committed = member.log[:index]
            if common(committed, state.committed) < min(index, len(state.committed)):
                return Violation("State Machine Safety: two entries are committed at one index")
            if index <= len(state.committed):
                continue
            for later in range(term + 1, len(state.led)):
                if state.led[later] != UNLED and state.led[later][1][:index] != committed:
                    return Violation("Leader Completeness: a leader elected before lacks a committed entry")
            committed_in = state.committed_in + bytes((term,)) * (index - len(state.committed))
            members = put(state.members, number, member._replace(known=index))
            state = state._replace(members=members, committed=committed, committed_in=committed_in)
        return state

    # ------------------------------------------------------------------------------------------------------- pull

    def _pull(self, state: State, number: int, member: Member) -> Steps[State]:
        rule = self.rule
        if member.role == LEADER and rule.leader_refrains:
            return
        seen: set[bytes] = set()
        for leader, _, held in state.led:
            if leader == NOBODY:
                continue
            for end in range(1, len(held) + 1):
                for log in self._pulled(member.log, held[:end]):
                    whole = held if rule.in_parts else log
                    if log in seen or log == member.log or (rule.ranks_above and rank(whole) <= rank(member.log)):
                        continue
                    if self.rule.in_parts and common(member.log, held) == len(held):
                        continue
                    seen.add(log)
                    yield from self._take(state, number, member, log)

    def _pulled(self, own: bytes, held: bytes) -> Iterator[bytes]:
        """What the log would be with the end of one that somebody holds."""
        if self.rule.meets:
            if common(own, held) < len(held) or not self.rule.ranks_above:
                yield held
        else:
            for previous in range(min(len(own), len(held)) + 1):
                yield own[:previous] + held[previous:]

    def _take(self, state: State, number: int, member: Member, log: bytes) -> Steps[State]:
        rule = self.rule
        removes = common(member.log, log) < len(member.log)
        term = member.term
        if rule.adopts_era:
            term = max(term, last_term(log))
        if rule.leaves_term and removes and term == member.term:
            term += 1
        if term > self.bounds.terms:
            return
        vote = member.vote
        if (term > member.term and rule.forgets_vote) or rule.votes_again:
            vote = NOBODY
        role = FOLLOWER
        if member.role == LEADER or (member.role == CANDIDATE and not rule.candidate_gives_up):
            role = member.role if term == member.term else FOLLOWER
        after = member._replace(term=term, vote=vote, log=log, role=role)
        claims: tuple[Claim, ...] = ()
        if rule.acknowledges:
            claims += ((ACK, term, number, len(log), 0),)
        if rule.acknowledges_era:
            claims += ((ACK, last_term(log), number, len(log), 0),)
        label = f"{number} pulls: {show(member.log)} -> {show(log)}, term {member.term} -> {term}"
        if common(member.log, log) < member.known:
            if not rule.keeps_known:
                yield label, Violation("an entry is removed that the member knows to be committed")
            return
        if role == LEADER:
            leader, elected, _ = state.led[term]
            state = state._replace(led=put(state.led, term, (leader, elected, log)))
        yield from self._stepped(label, self._write(state, number, after, claims))

    # ------------------------------------------------------------------------------------------------------ checks

    def _stepped(self, label: str, after: State | None) -> Steps[State]:
        if after is not None:
            yield label, self._checked(after)

    def _checked(self, state: State) -> State | Violation:
        counted = self._count(state)
        if isinstance(counted, Violation):
            return counted
        state = counted
        members = state.members
        for one in range(len(members)):
            for other in range(one):
                if not match(members[one].log, members[other].log):
                    return Violation("Log Matching: one index and term, two logs")
        held = sum(1 for member in members if member.disk[2].startswith(state.committed))
        if held < self.quorum:
            return Violation("a committed entry is on the disks of no quorum")
        return state

    # ---------------------------------------------------------------------------------------------------- symmetry

    def canonical(self, state: State) -> State:
        """One of all states that differ in the members' names."""
        keys = [
            (m[0], m[2], m[3], m[4], m[5][0], m[5][2], len(m[6]), m[1] == number)
            for number, m in enumerate(state.members)
        ]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        groups: list[list[int]] = []
        for number in order:
            if groups and keys[groups[-1][0]] == keys[number]:
                groups[-1].append(number)
            else:
                groups.append([number])
        if len(groups) == len(order):
            best = renamed(state, order)
        else:
            best = min(renamed(state, names) for names in _orders(groups))
        return State(*[self._keep(part) for part in best])  # type: ignore[arg-type]

    def _keep(self, part: object) -> object:
        """One object for equal parts: the states that wait share most of theirs."""
        return self._kept.setdefault(part, part)


def _orders(groups: list[list[int]]) -> Iterator[list[int]]:
    if not groups:
        yield []
        return
    for first in permutations(groups[0]):
        for rest in _orders(groups[1:]):
            yield [*first, *rest]


def renamed(state: State, order: list[int]) -> State:
    """Member ``order[0]`` becomes 0, and so on."""
    if order == sorted(order):
        return state
    new = [0] * (len(order) + 1)
    for position, number in enumerate(order):
        new[number] = position
    new[NOBODY] = NOBODY

    def claim(old: Claim) -> Claim:
        if old[0] == GRANT:
            return (GRANT, old[1], new[old[2]], new[old[3]], 0)
        return (old[0], old[1], new[old[2]], old[3], old[4])

    def write(old: Write) -> Write:
        return Write(old.term, new[old.vote], old.log, tuple(sorted(map(claim, old.claims))))

    members = tuple(
        [
            Member(m[0], new[m[1]], m[2], m[3], m[4], (m[5][0], new[m[5][1]], m[5][2]), tuple(map(write, m[6])))
            for m in [state.members[number] for number in order]
        ]
    )
    return State(
        members,
        tuple([(new[leader], elected, log) for leader, elected, log in state.led]),
        tuple(sorted([(term, new[candidate], last, index) for term, candidate, last, index in state.asked])),
        tuple(sorted([(term, new[voter], new[candidate]) for term, voter, candidate in state.granted])),
        tuple([tuple([by[number] for number in order]) for by in state.acked]),
        state.committed,
        state.committed_in,
        state.crashes,
    )


T = TypeVar("T")


def put(items: tuple[T, ...], position: int, item: T) -> tuple[T, ...]:
    """``items`` with another one at ``position``."""
    return (*items[:position], item, *items[position + 1 :])


def said(state: State, claims: tuple[Claim, ...]) -> State:
    """What was claimed is under way for ever."""
    asked, granted, acked = state.asked, state.granted, state.acked
    for kind, term, who, what, more in claims:
        if kind == ASK:
            asked = tuple(sorted({*asked, (term, who, what, more)}))
        elif kind == GRANT:
            granted = tuple(sorted({*granted, (term, who, what)}))
        elif what > acked[term][who]:
            acked = put(acked, term, put(acked[term], who, what))
    return state._replace(asked=asked, granted=granted, acked=acked)


def show(log: bytes) -> str:
    """A log as its terms."""
    return "[" + " ".join(map(str, log)) + "]"


@dataclass(frozen=True, slots=True)
class Mutant:
    """The rule without one condition, and a way to a violation, as labels of steps."""

    rule: Rule
    trace: tuple[str, ...]
    bounds: Bounds = Bounds(crashes=0)


RULE = Rule()
_TWO_BRANCHES = (
    "0 proposes: [1 1]",
    "1 stands in term 2",
    "2 votes for 1 in term 2",
    "1 leads term 2 with [1]",
    "1 proposes: [1 2]",
    "2 pulls: [1] -> [1 1], term 2 -> 2",
    "2 stands in term 3 with [1 1]",
    "0 votes for 2 in term 3",
    "2 leads term 3 with [1 1]",
    "2 proposes: [1 1 3]",
    "0 takes AppendEntries of term 3: [1 1], acknowledges 2",
    "1 takes AppendEntries of term 3: [1 1 3], acknowledges 3",
)
"""[1 2] ranks above [1 1], which term 3 commits together with an entry of its own, without member 0."""
MUTANTS: dict[str, Mutant] = {
    "the result need not rank above the own log": Mutant(
        replace(RULE, ranks_above=False),
        ("0 proposes: [1 1]", "1 takes AppendEntries of term 1: [1 1], acknowledges 2", "1 pulls: [1 1] -> [1]"),
    ),
    "what is known to be committed is removed": Mutant(
        replace(RULE, keeps_known=False),
        (*_TWO_BRANCHES, "0 is told by 2 of term 3 that 2 is committed", "0 pulls: [1 1] -> [1 2]"),
        Bounds(terms=4, crashes=0),
    ),
    "entries are removed without leaving the term": Mutant(
        replace(RULE, leaves_term=False),
        (*_TWO_BRANCHES, "0 pulls: [1 1] -> [1 2], term 3 -> 3", "0 is told by 2 of term 3 that 2 is committed"),
    ),
    "entries are put at an index without comparing the one before": Mutant(
        replace(RULE, meets=False),
        (
            "1 stands in term 2",
            "2 votes for 1 in term 2",
            "0 proposes: [1 1]",
            "1 leads term 2 with [1]",
            "1 proposes: [1 2]",
            "1 proposes: [1 2 2]",
            "0 crashes",
            "0 pulls: [1 1] -> [1 1 2]",
        ),
        Bounds(crashes=1),
    ),
    "a pull is acknowledged to the leader of the member's own term": Mutant(
        replace(RULE, acknowledges=True),
        (
            "1 stands in term 2",
            "2 votes for 1 in term 2",
            "0 proposes: [1 1]",
            "2 pulls: [1] -> [1 1], term 2 -> 2",
            "1 leads term 2 with [1]",
            "1 proposes: [1 2]",
        ),
    ),
    "a pull is acknowledged to the leader of the last entry's term": Mutant(
        replace(RULE, acknowledges_era=True),
        (
            "1 stands in term 2",
            "2 votes for 1 in term 2",
            "0 proposes: [1 1]",
            "2 pulls: [1] -> [1 1], term 2 -> 2",
            "1 leads term 2 with [1]",
        ),
    ),
    "the vote of the present term is forgotten": Mutant(
        replace(RULE, votes_again=True),
        (
            "1 stands in term 2",
            "2 votes for 1 in term 2",
            "0 proposes: [1 1]",
            "0 crashes",
            "0 stands in term 2 with [1 1]",
            "2 pulls: [1] -> [1 1], term 2 -> 2",
            "1 leads term 2 with [1]",
            "2 votes for 0 in term 2",
            "0 leads term 2 with [1 1]",
        ),
        Bounds(crashes=1),
    ),
    "RequestVote does not wait for the write": Mutant(
        replace(RULE, asks_after_write=False),
        (
            "0 proposes: [1 1]",
            "0 has written",
            "2 takes AppendEntries of term 1: [1 1], acknowledges 2",
            "2 has written",
            "1 pulls: [1] -> [1 1], term 1 -> 1",
            "1 stands in term 2 with [1 1]",
            "1 crashes",
            "1 stands in term 2 with [1]",
            "1 has written",
            "2 votes for 1 in term 2",
            "2 has written",
            "1 leads term 2 with [1]",
        ),
        Bounds(crashes=1, writes=2),
    ),
}
EASED: dict[str, Rule] = {
    "a leader pulls": replace(RULE, leader_refrains=False),
    "the last entry's era is not adopted": replace(RULE, adopts_era=False),
    "a candidate that pulls stays one": replace(RULE, candidate_gives_up=False),
    "the old vote is carried into an adopted era": replace(RULE, forgets_vote=False),
    "entries are removed within the term, and no heartbeat's commit index is believed": replace(
        RULE, leaves_term=False, believes_heartbeats=False
    ),
    "parts are taken before the result ranks above": replace(RULE, in_parts=True),
}
"""Sentences without which no violation is known; ``docs/decisions/suspicion.md`` says which are kept, and why."""


def search(rule: Rule, bounds: Bounds, states_max: int) -> Report[State]:
    """Visit the states of the model."""
    model = Model(rule, bounds)
    return explore(initial(bounds), model.steps, model.canonical, states_max)


def main() -> None:
    """Search from the command line."""
    parser = argparse.ArgumentParser(description="Search the states of Raft with pull")
    parser.add_argument("--states", type=int, default=1_000_000)
    parser.add_argument("--terms", type=int, default=3)
    parser.add_argument("--entries", type=int, default=3)
    parser.add_argument("--crashes", type=int, default=1)
    parser.add_argument("--writes", type=int, default=1)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--empty", action="store_true", help="start with empty logs and no leader")
    parser.add_argument("--only", help="search this one: rule, or words of a condition's name")
    arguments = parser.parse_args()
    bounds = Bounds(
        arguments.members,
        arguments.terms,
        arguments.entries,
        arguments.crashes,
        arguments.writes,
        not arguments.empty,
    )
    rules = {"rule": RULE, **EASED, **{name: mutant.rule for name, mutant in MUTANTS.items()}}
    for name, rule in rules.items():
        if arguments.only is None or arguments.only in name:
            began = time.process_time()
            report = search(rule, bounds, arguments.states)
            print(f"{name}: {report}, {time.process_time() - began:.0f} s", flush=True)
            for label, _ in report.trace:
                print(f"    {label}")


if __name__ == "__main__":
    main()
