"""Log leases without synchronised clocks (rule 9 of the contract), small enough to visit every state.

What is modelled, and what makes it small:

1. Raft: a log is copied whole, whoever is elected has a log as good as those of a majority, and only entries of the
   own era are committed by counting. The entry at index i writes key i % 2.
2. A leader reads alone while an entry at or below its commit index is one that it made itself, less than ``HELD`` ago
   by its own clock. Nobody else's age is known to it.
3. Who is elected with entries of earlier eras in its log commits nothing until it has had the last of them for
   ``WAITS`` by its own clock: when that was made is not known, but surely no later than it came. A member that starts
   counts from then.
4. Meanwhile it reads, after a round of a majority, what no entry writes that lies between its commit index and the last
   entry of an earlier era (*limbo*).
5. A leader that has committed something of its own makes an entry that ends its lease, and reads by what lies behind it
   alone. Who is elected with that entry as the last one does not wait.
6. Time passes in ticks. In one tick at most one clock gains or loses one more, and each may do so ``Bounds.drift``
   times.

A read is *stale* where something is acknowledged that it does not show. Members are alike, so states that differ in
their order only are one. ``python -m tests.models.log_leases --states N`` searches on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import NamedTuple

from tests.models.explore import Report, Steps, Violation, explore

MEMBERS = (0, 1, 2)
MAJORITY = 2
HELD = 2
WAITS = 4
"""A lease, and both drifts."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The conditions. Each can be taken out."""

    waits: bool = True
    """Who is elected commits nothing for a while."""
    waits_for_uncommitted: bool = True
    """Also for entries that it does not know to be committed."""
    waits_from_the_last: bool = True
    """Since the last of them came, not the first."""
    restart_counts_anew: bool = True
    waits_for_drift: bool = True
    own_entries_only: bool = True
    """An entry that another leader made is no lease."""
    committed_entries_only: bool = True
    """Nor is one that is not committed."""
    limbo_is_judged: bool = True
    limbo_ends_with_earlier_eras: bool = True
    """And not with what is known to be committed in them."""
    limbo_asks: bool = True
    """Whoever reads in limbo asks a majority: it may have been replaced."""
    ends_its_lease: bool = True
    """Who has made the entry that says so reads by no earlier one."""
    ends_after_its_wait: bool = True
    """And makes it only when something of its own is committed."""
    the_end_is_last: bool = True
    """Only who has it as the last entry does not wait."""


RULE = Rule()
CONDITIONS = tuple(field.name for field in fields(Rule))


@dataclass(frozen=True, slots=True)
class Bounds:
    eras: int = 3
    entries: int = 3
    restarts: int = 0
    ends: int = 0
    drift: int = 0


class Entry(NamedTuple):
    era: int
    ends: bool = False
    """It says that its maker's lease ends."""


class Member(NamedTuple):
    era: int = 0
    log: tuple[Entry, ...] = ()
    since: int = WAITS
    """How long ago something came, by its own clock; ``WAITS`` is for ever."""
    commit: int = 0
    leads: bool = False
    limbo: int = 0
    """The last entry that there was when it was elected."""
    made: tuple[int, ...] = ()
    """How long ago it made each of those behind; ``HELD`` is for ever."""
    drifted: int = 0


class State(NamedTuple):
    members: tuple[Member, ...]
    acknowledged: int = 0
    """The highest index that was committed anywhere."""
    restarts: int = 0
    ends: int = 0


def initial() -> State:
    """Member 0 leads, and nothing is written."""
    return State((Member(1, leads=True), Member(1), Member(1)))


class Model:
    def __init__(self, rule: Rule = RULE, bounds: Bounds | None = None) -> None:
        self._rule = rule
        self._bounds = bounds or Bounds()

    def steps(self, state: State) -> Steps[State]:
        yield from self._tick(state)
        for member, each in enumerate(state.members):
            yield from self._elections(state, member)
            if state.restarts < self._bounds.restarts:
                yield f"{member} restarts", self._restarted(state, member)
            if each.leads:
                yield from self._leads(state, member, each)

    def _leads(self, state: State, member: int, leader: Member) -> Steps[State]:
        if len(leader.log) < self._bounds.entries:
            yield f"{member} writes", _with(state, member, _made(leader, ends=False))
            if state.ends < self._bounds.ends and self._may_end(leader):
                after = _with(state, member, _made(leader, ends=True))
                yield f"{member} ends its lease", after._replace(ends=state.ends + 1)
        for other, follower in enumerate(state.members):
            if other != member and follower.era <= leader.era:
                yield f"{member} replicates to {other}", self._replicated(state, leader, other)
        if self._may_commit(leader):
            index = self._committed(state, leader)
            if index > leader.commit:
                after = _with(state, member, leader._replace(commit=index))
                yield f"{member} commits", after._replace(acknowledged=max(index, state.acknowledged))
        if state.acknowledged > leader.commit:
            if self._has_lease(leader):
                yield f"{member} reads", Violation("stale")
            for key in (0, 1):
                if self._may_read_in_limbo(state, member, key) and _writes(leader.commit, state.acknowledged, key):
                    yield f"{member} reads in limbo", Violation("stale")

    # ---- what happens

    def _tick(self, state: State) -> Iterator[tuple[str, State]]:
        yield "tick", state._replace(members=tuple(_aged(each, 1) for each in state.members))
        for member, each in enumerate(state.members):
            if each.drifted < self._bounds.drift:
                for gained in (-1, 1):
                    members = [_aged(other, 1 + gained * (at == member)) for at, other in enumerate(state.members)]
                    members[member] = members[member]._replace(drifted=each.drifted + 1)
                    way = "gains" if gained > 0 else "loses"
                    yield f"tick, {member} {way}", state._replace(members=tuple(members))

    def _elections(self, state: State, member: int) -> Iterator[tuple[str, State]]:
        candidate = state.members[member]
        for (other,) in combinations([other for other in MEMBERS if other != member], MAJORITY - 1):
            voter = state.members[other]
            era = max(candidate.era, voter.era) + 1
            if era > self._bounds.eras or _rank(voter) > _rank(candidate):
                continue
            after = _with(state, other, voter._replace(era=era, leads=False, limbo=0, made=()))
            elected = candidate._replace(era=era, leads=True, limbo=len(candidate.log), made=())
            yield f"{member} is elected by {other}", _with(after, member, elected)

    def _restarted(self, state: State, member: int) -> State:
        each = state.members[member]
        since = 0 if each.log and self._rule.restart_counts_anew else WAITS
        after = each._replace(since=since, leads=False, commit=0, limbo=0, made=())
        return _with(state, member, after)._replace(restarts=state.restarts + 1)

    def _replicated(self, state: State, leader: Member, other: int) -> State:
        follower = state.members[other]
        log = leader.log
        if follower.log[: len(log)] == log:
            log = follower.log  # nothing contradicts what is behind
        comes = log != follower.log and (self._rule.waits_from_the_last or not follower.log)
        after = Member(
            leader.era,
            log,
            0 if comes else follower.since,
            max(follower.commit, leader.commit),
            drifted=follower.drifted,
        )
        return _with(state, other, after)

    # ---- what a leader may do

    def _may_commit(self, leader: Member) -> bool:
        rule = self._rule
        earlier = leader.log[: leader.limbo if rule.waits_for_uncommitted else leader.commit]
        if not rule.waits or not earlier or any(entry.ends for entry in earlier[-1 if rule.the_end_is_last else 0 :]):
            return True
        return leader.since >= (WAITS if rule.waits_for_drift else HELD)

    def _committed(self, state: State, leader: Member) -> int:
        """The last entry of the own era that a majority has."""
        for index in range(len(leader.log), leader.limbo, -1):
            if sum(each.log[:index] == leader.log[:index] for each in state.members) >= MAJORITY:
                return index
        return 0

    def _may_end(self, leader: Member) -> bool:
        return leader.commit > leader.limbo or not self._rule.ends_after_its_wait

    def _has_lease(self, leader: Member) -> bool:
        rule = self._rule
        if not rule.own_entries_only and leader.commit and leader.since < HELD:
            return True
        end = leader.commit if rule.committed_entries_only else len(leader.log)
        own = range(leader.limbo + 1, len(leader.log) + 1)
        ended = max((index for index in own if leader.log[index - 1].ends), default=0) if rule.ends_its_lease else 0
        return any(leader.made[index - 1 - leader.limbo] < HELD for index in own if ended < index <= end)

    def _may_read_in_limbo(self, state: State, member: int, key: int) -> bool:
        rule, leader = self._rule, state.members[member]
        if self._may_commit(leader) or leader.commit > leader.limbo:
            return False
        end = leader.limbo if rule.limbo_ends_with_earlier_eras else leader.commit
        if rule.limbo_is_judged and _writes(leader.commit, end, key):
            return False
        others = [each for at, each in enumerate(state.members) if at != member]
        return not rule.limbo_asks or any(each.era <= leader.era for each in others)


def _writes(after: int, end: int, key: int) -> bool:
    """Does an entry behind ``after``, up to ``end``, write it?"""
    return any(index % 2 == key for index in range(after + 1, end + 1))


def _made(leader: Member, *, ends: bool) -> Member:
    return leader._replace(log=(*leader.log, Entry(leader.era, ends)), made=(*leader.made, 0))


def _aged(member: Member, by: int) -> Member:
    made = tuple(min(age + by, HELD) for age in member.made)
    return member._replace(since=min(member.since + by, WAITS), made=made)


def _rank(member: Member) -> tuple[int, int]:
    return (member.log[-1].era if member.log else 0), len(member.log)


def _with(state: State, member: int, changed: Member) -> State:
    return state._replace(members=tuple(changed if at == member else each for at, each in enumerate(state.members)))


def _sorted(state: State) -> State:
    return state._replace(members=tuple(sorted(state.members)))


def search(rule: Rule, states_max: int, bounds: Bounds | None = None) -> Report[State]:
    return explore(initial(), Model(rule, bounds).steps, _sorted, states_max)


def main() -> None:
    parser = argparse.ArgumentParser(description="Log leases, every state within bounds.")
    parser.add_argument("--states", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("rule", *CONDITIONS), help="the rule as it is, or without this condition")
    for field in fields(Bounds):
        parser.add_argument(f"--{field.name}", type=int, default=getattr(Bounds(), field.name))
    wanted = parser.parse_args()
    bounds = Bounds(*[getattr(wanted, field.name) for field in fields(Bounds)])
    for name in ("rule", *CONDITIONS):
        if wanted.only in (None, name):
            began = time.perf_counter()
            rule = RULE if name == "rule" else replace(RULE, **{name: False})
            report = search(rule, wanted.states, bounds)
            print(f"{name}: {report}, {time.perf_counter() - began:.0f} s", flush=True)
            if report.violation:
                print("    " + "; ".join(label for label, _ in report.trace), flush=True)


if __name__ == "__main__":
    main()
