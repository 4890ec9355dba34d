"""Clock leases (rule 9 of the contract), small enough to visit every state.

What is modelled, and what makes it small:

1. An era is led once. Whoever is elected in one has committed something in it, so a read under the lease of an earlier
   era is stale: no leader may hold a lease while a later era has been elected.
2. Members stand and vote at any time, unless a rule of this page forbids it: every protocol's elections are runs of
   this one. A vote for era e takes its voter out of all earlier eras.
3. A network that loses, repeats and reorders is the set of what was ever said: a round that was begun may reach anybody
   at any time, again and again, and so may its answers and what a leader has released.
4. Time passes in ticks. In one tick at most one clock gains or loses one more, and each may do so ``Bounds.drift``
   times; the bound that the rule subtracts is that of one member that gains, and one that loses, once.
5. One change of the members, as in Paxos: members 0, 1, 2 are followed by 2 alone. Whoever has accepted the change
   tells those for whom it votes; whoever knows of it counts in the new configuration.

``python -m tests.models.leases --states N`` searches on, without and with each condition.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ratified.consensus.draws import mix
from tests.models.explore import Report, Steps, Violation, explore

MEMBERS = (0, 1, 2)
OLD, NEW = {0, 1, 2}, {2}
LEASE = 3
"""Ticks of the clock of whoever grants."""
DRIFT = 2
"""What the leader subtracts."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The conditions of a lease. Each can be taken out."""

    from_send: bool = True
    """It counts from when the round was sent, not from when the answer came."""
    subtracts_drift: bool = True
    own_round_only: bool = True
    """An answer confirms its own round, and no later one."""
    round_never_falls: bool = True
    """A grant's, by an old message."""
    keeps_votes: bool = True
    """Who granted votes for nobody."""
    keeps_from_standing: bool = True
    """Nor does it stand."""
    released_once: bool = True
    """The leader uses no answer to a round that it has released."""
    releases_its_era_only: bool = True
    releases_its_rounds_only: bool = True
    restart_waits: bool = True
    """A restarted member stands and votes only after the longest lease."""
    restart_keeps_waiting: bool = True
    """However much is released meanwhile: it does not know what it has granted."""
    counts_new: bool = True
    """From proposing a change on the lease needs a quorum of the new configuration."""
    counts_old: bool = True
    """And, until the change is known to be chosen, one of the old configuration."""


RULE = Rule()


@dataclass(frozen=True, slots=True)
class Bounds:
    eras: int = 2
    rounds: int = 2
    """In each era."""
    restarts: int = 1
    releases: int = 1
    drift: int = 1
    """How often each clock may gain or lose a tick."""
    change: bool = False
    leader: int = 0
    """Who leads at first."""


class Grant(NamedTuple):
    era: int
    round: int
    left: int
    """Ticks of the own clock; 0: it has run out."""


NO_GRANT = Grant(0, 0, 0)


class Lead(NamedTuple):
    """A member that leads."""

    era: int
    ages: tuple[int, ...]
    """By round, ticks of the own clock since it was sent."""
    counted: tuple[tuple[int, int], ...]
    """By member, the round that it was heard to grant (0: none), and how old that counts."""
    void: int
    """No answer to a round up to here is used."""


class State(NamedTuple):
    era: tuple[int, ...]
    """By member, the latest that it voted or stood in, or whose leader it has heard."""
    lead: tuple[Lead | None, ...]
    grant: tuple[Grant, ...]
    wait: tuple[int, ...]
    """By member, what is left of the wait after a restart."""
    drifted: tuple[int, ...]
    candidate: tuple[int, ...]
    """By era, who stands or stood."""
    votes: tuple[frozenset[int], ...]
    rounds: tuple[int, ...]
    """By era, how many were begun."""
    released: tuple[int, ...]
    """By era, up to which round."""
    answers: frozenset[tuple[int, int, int]]
    """(era, round, member)."""
    elected: int
    """The latest era that was."""
    restarts: int
    proposed: int
    """The era in which the change was proposed; 0: it was not."""
    accepted: frozenset[int]
    knows: frozenset[int]
    """Who knows that the change is chosen."""


def led(bounds: Bounds) -> State:
    """A member was elected by all, in era 1."""
    lead = Lead(1, (), ((0, 0),) * 3, 0)
    return initial(bounds)._replace(
        era=(1, 1, 1),
        lead=_put((None,) * 3, bounds.leader, lead),
        candidate=(bounds.leader,),
        votes=(frozenset(MEMBERS),),
        elected=1,
    )


def initial(bounds: Bounds) -> State:
    """Nobody leads."""
    none = (0,) * 3
    return State(
        era=none,
        lead=(None,) * 3,
        grant=(NO_GRANT,) * 3,
        wait=none,
        drifted=none,
        candidate=(),
        votes=(),
        rounds=(0,) * (bounds.eras + 1),
        released=(0,) * (bounds.eras + 1),
        answers=frozenset(),
        elected=0,
        restarts=0,
        proposed=0,
        accepted=frozenset(),
        knows=frozenset(),
    )


def _put(values: tuple, at: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:at], value, *values[at + 1 :])


def _is_quorum(members: set[int] | frozenset[int], of: set[int]) -> bool:
    return 2 * len(members & of) > len(of)


class Model:
    """The steps out of a state."""

    def __init__(self, rule: Rule, bounds: Bounds) -> None:
        self._rule = rule
        self._bounds = bounds
        self._length = LEASE - DRIFT if rule.subtracts_drift else LEASE - 1

    def steps(self, state: State) -> Steps[State]:
        """What may happen next."""
        for label, after in self._moves(state):
            broken = self._stale(after)
            yield label, Violation(broken) if broken else after

    def _stale(self, state: State) -> str | None:
        for member in MEMBERS:
            lead = state.lead[member]
            if lead is not None and lead.era < state.elected and self._holds(state, member, lead):
                return f"member {member} reads in era {lead.era}, and {state.elected} was elected"
        return None

    def _holds(self, state: State, member: int, lead: Lead) -> bool:
        rule = self._rule
        granted = {
            peer
            for peer, (round_, age) in enumerate(lead.counted)
            if round_ > (lead.void if rule.released_once else 0) and age < self._length
        } | {member}
        known = member in state.knows
        proposed = state.proposed == lead.era
        if not known and (rule.counts_old or not proposed) and not _is_quorum(granted, OLD):
            return False
        return not (known or (proposed and rule.counts_new)) or _is_quorum(granted, NEW)

    def _moves(self, state: State) -> Iterator[tuple[str, State]]:
        yield from self._ticks(state)
        yield from self._answers(state)
        for member in MEMBERS:
            yield from self._leads(state, member)
            yield from self._takes(state, member)
            yield from self._stands(state, member)
            yield from self._votes(state, member)
            yield from self._forgets(state, member)
        yield from self._elections(state)
        if self._bounds.change:
            yield from self._change(state)

    # -------------------------------------------------------------------------------------------------------- time

    def _ticks(self, state: State) -> Iterator[tuple[str, State]]:
        yield "tick", self._pass(state, (1, 1, 1))
        for member in MEMBERS:
            if state.drifted[member] < self._bounds.drift:
                drifted = state._replace(drifted=_put(state.drifted, member, state.drifted[member] + 1))
                yield f"tick, {member} gains", self._pass(drifted, _put((1, 1, 1), member, 2))
                yield f"tick, {member} loses", self._pass(drifted, _put((1, 1, 1), member, 0))

    def _pass(self, state: State, ticks: tuple[int, ...]) -> State:
        return state._replace(
            grant=tuple(
                NO_GRANT if each.left <= ticks[at] else each._replace(left=each.left - ticks[at])
                for at, each in enumerate(state.grant)
            ),
            wait=tuple(max(0, each - ticks[at]) for at, each in enumerate(state.wait)),
            lead=tuple(
                None
                if each is None
                else each._replace(
                    ages=tuple(min(LEASE, age + ticks[at]) for age in each.ages),
                    counted=tuple((round_, min(LEASE, age + ticks[at])) for round_, age in each.counted),
                )
                for at, each in enumerate(state.lead)
            ),
        )

    # ----------------------------------------------------------------------------------------------------- the lease

    def _leads(self, state: State, member: int) -> Iterator[tuple[str, State]]:
        lead = state.lead[member]
        if lead is None:
            return
        begun = state.rounds[lead.era]
        if begun < self._bounds.rounds:
            asks = lead._replace(ages=(*lead.ages, 0))
            rounds = _put(state.rounds, lead.era, begun + 1)
            yield f"{member} asks", state._replace(lead=_put(state.lead, member, asks), rounds=rounds)
        if begun > state.released[lead.era] and sum(map(bool, state.released)) < self._bounds.releases:
            released = _put(state.released, lead.era, begun)
            hands_over = lead._replace(void=begun)
            yield f"{member} hands over", state._replace(lead=_put(state.lead, member, hands_over), released=released)
            yield f"{member} resigns", state._replace(lead=_put(state.lead, member, None), released=released)

    def _takes(self, state: State, member: int) -> Iterator[tuple[str, State]]:
        """A round of the leader of this member's era, or of a later one, arrives."""
        for era in range(max(1, state.era[member]), len(state.candidate) + 1):
            if state.candidate[era - 1] == member:
                continue
            for round_ in range(1, state.rounds[era] + 1):
                known = state.grant[member]
                latest = round_
                if self._rule.round_never_falls and known.era == era:
                    latest = max(round_, known.round)
                grant = Grant(era, latest, LEASE)
                after = self._follows(state, member, era)._replace(
                    grant=_put(state.grant, member, grant), answers=state.answers | {(era, round_, member)}
                )
                yield f"{member} grants {era} round {round_}", after

    def _follows(self, state: State, member: int, era: int) -> State:
        lead = state.lead[member]
        if lead is not None and lead.era < era:
            state = state._replace(lead=_put(state.lead, member, None))
        return state._replace(era=_put(state.era, member, era))

    def _answers(self, state: State) -> Iterator[tuple[str, State]]:
        for era, round_, peer in sorted(state.answers):
            member = state.candidate[era - 1]
            lead = state.lead[member]
            if lead is None or lead.era != era:
                continue
            confirmed = round_ if self._rule.own_round_only else len(lead.ages)
            if confirmed <= lead.counted[peer][0]:
                continue
            age = lead.ages[confirmed - 1] if self._rule.from_send else 0
            counted = lead._replace(counted=_put(lead.counted, peer, (confirmed, age)))
            yield (
                f"{member} hears {peer} in round {round_}",
                state._replace(lead=_put(state.lead, member, counted)),
            )

    def _forgets(self, state: State, member: int) -> Iterator[tuple[str, State]]:
        grant = state.grant[member]
        for era, round_ in enumerate(state.released):
            if not round_:
                continue
            of_era = grant.era == era or not self._rule.releases_its_era_only
            if grant.left and of_era and (grant.round <= round_ or not self._rule.releases_its_rounds_only):
                yield f"{member} is released", state._replace(grant=_put(state.grant, member, NO_GRANT))
            if state.wait[member] and not self._rule.restart_keeps_waiting:
                yield f"{member} waits no longer", state._replace(wait=_put(state.wait, member, 0))
        if state.restarts < self._bounds.restarts:
            yield (
                f"{member} restarts",
                state._replace(
                    restarts=state.restarts + 1,
                    lead=_put(state.lead, member, None),
                    grant=_put(state.grant, member, NO_GRANT),
                    wait=_put(state.wait, member, LEASE if self._rule.restart_waits else 0),
                ),
            )

    # ----------------------------------------------------------------------------------------------------- elections

    def _stands(self, state: State, member: int) -> Iterator[tuple[str, State]]:
        if len(state.candidate) == self._bounds.eras or state.wait[member]:
            return
        if state.grant[member].left and self._rule.keeps_from_standing:
            return
        era = len(state.candidate) + 1
        yield (
            f"{member} stands",
            self._follows(state, member, era)._replace(
                candidate=(*state.candidate, member), votes=(*state.votes, frozenset({member}))
            ),
        )

    def _votes(self, state: State, member: int) -> Iterator[tuple[str, State]]:
        if state.wait[member] or (state.grant[member].left and self._rule.keeps_votes):
            return
        for era in range(state.era[member] + 1, len(state.candidate) + 1):
            votes = _put(state.votes, era - 1, state.votes[era - 1] | {member})
            yield f"{member} votes in {era}", self._follows(state, member, era)._replace(votes=votes)

    def _elections(self, state: State) -> Iterator[tuple[str, State]]:
        for era in range(state.elected + 1, len(state.candidate) + 1):
            member = state.candidate[era - 1]
            if state.era[member] != era or not self._is_elected(state, member, era):
                continue
            lead = Lead(era, (), ((0, 0),) * 3, 0)
            yield f"{member} is elected", state._replace(lead=_put(state.lead, member, lead), elected=era)

    def _is_elected(self, state: State, member: int, era: int) -> bool:
        votes = state.votes[era - 1]
        tells = bool(votes & state.accepted)
        if member not in state.knows and not _is_quorum(votes, OLD):
            return False
        return not (member in state.knows or tells) or _is_quorum(votes, NEW)

    # ---------------------------------------------------------------------------------------------- a change of members

    def _change(self, state: State) -> Iterator[tuple[str, State]]:
        if not state.proposed:
            for member in MEMBERS:
                lead = state.lead[member]
                if lead is not None and lead.era == state.elected:
                    yield f"{member} proposes", state._replace(proposed=lead.era, accepted=frozenset({member}))
            return
        for member in MEMBERS:
            if member not in state.accepted and state.era[member] <= state.proposed:
                after = self._follows(state, member, state.proposed)
                yield f"{member} accepts", after._replace(accepted=state.accepted | {member})
            if member not in state.knows and _is_quorum(state.accepted, OLD):
                after = self._follows(state, member, max(state.era[member], state.proposed))
                yield f"{member} learns", after._replace(knows=state.knows | {member})


@dataclass(frozen=True, slots=True)
class Mutant:
    rule: Rule
    bounds: Bounds
    trace: tuple[str, ...] = ()
    """The beginnings of the steps on a way to a violation."""


_QUIET = Bounds(restarts=0, releases=0)
_STILL = replace(_QUIET, drift=0)
_TAKES_OVER = ("1 stands", "2 votes in 2", "1 is elected")
_GRANTED = ("0 asks", "1 grants 1 round 1", "0 hears 1 in round 1")
_GRANTED_AGAIN = ("0 asks", "0 hands over", "0 asks", "1 grants 1 round 2", "0 hears 1 in round 2")
MUTANTS: dict[str, Mutant] = {
    "counts from when the answer came": Mutant(
        replace(RULE, from_send=False),
        _QUIET,
        ("0 asks", "1 grants 1 round 1", "tick", "tick, 1 gains", "0 hears 1 in round 1", *_TAKES_OVER),
    ),
    "subtracts no drift": Mutant(
        replace(RULE, subtracts_drift=False), _QUIET, (*_GRANTED, "tick, 0 loses", "tick, 1 gains", *_TAKES_OVER)
    ),
    "clocks drift further than the bound": Mutant(
        RULE, replace(_QUIET, drift=3), (*_GRANTED, *["tick, 0 loses"] * 3, *_TAKES_OVER)
    ),
    "an answer confirms a later round": Mutant(
        replace(RULE, own_round_only=False),
        _QUIET,
        ("0 asks", "1 grants 1 round 1", "tick", "tick, 1 gains", "0 asks", "0 hears 1 in round 1", *_TAKES_OVER),
    ),
    "a grant's round falls": Mutant(
        replace(RULE, round_never_falls=False),
        replace(_STILL, releases=1),
        (*_GRANTED_AGAIN, "1 grants 1 round 1", "1 is released", *_TAKES_OVER),
    ),
    "who granted votes": Mutant(
        replace(RULE, keeps_votes=False), _STILL, (*_GRANTED, "2 stands", "1 votes in 2", "2 is elected")
    ),
    "who granted stands": Mutant(replace(RULE, keeps_from_standing=False), _STILL, (*_GRANTED, *_TAKES_OVER)),
    "released answers are used": Mutant(
        replace(RULE, released_once=False),
        replace(_STILL, releases=1),
        ("0 asks", "0 hands over", "1 grants 1 round 1", "0 hears 1 in round 1", "1 is released", *_TAKES_OVER),
    ),
    "a release is one of other eras": Mutant(
        replace(RULE, releases_its_era_only=False),
        replace(_STILL, releases=1, eras=3),
        (
            *("0 asks", "0 hands over", *_TAKES_OVER, "1 asks", "2 grants 2 round 1", "1 hears 2 in round 1"),
            *("2 is released", "2 stands", "0 votes in 3", "2 is elected"),
        ),
    ),
    "a release is one of later rounds": Mutant(
        replace(RULE, releases_its_rounds_only=False),
        replace(_STILL, releases=1),
        (*_GRANTED_AGAIN, "1 is released", *_TAKES_OVER),
    ),
    "a restarted member votes at once": Mutant(
        replace(RULE, restart_waits=False), replace(_STILL, restarts=1), (*_GRANTED, "1 restarts", *_TAKES_OVER)
    ),
    "a release ends the wait": Mutant(
        replace(RULE, restart_keeps_waiting=False),
        replace(_STILL, restarts=1, releases=1),
        (*_GRANTED_AGAIN, "1 restarts", "1 waits no longer", *_TAKES_OVER),
    ),
    "the old configuration alone": Mutant(
        replace(RULE, counts_new=False),
        replace(_STILL, change=True),
        (*_GRANTED, "0 proposes", "1 accepts", "2 learns", "2 stands", "2 is elected"),
    ),
    "the new configuration alone": Mutant(
        replace(RULE, counts_old=False),
        replace(_STILL, change=True, leader=2),
        ("2 proposes", "0 stands", "1 votes in 2", "0 is elected"),
    ),
}
"""Without each condition, a way to a stale read."""


def search(rule: Rule, bounds: Bounds, states_max: int) -> Report[State]:
    return explore(led(bounds), Model(rule, bounds).steps, states_max=states_max)


def walk(seed: int, rule: Rule, bounds: Bounds, steps_max: int = 60) -> Violation | None:
    """Take drawn steps from the state in which nobody leads."""
    model, state = Model(rule, bounds), initial(bounds)
    for number in range(steps_max):
        possible = list(model.steps(state))
        _, after = possible[mix(seed, number) % len(possible)]
        if isinstance(after, Violation):
            return after
        state = after
    return None


def main() -> None:
    """Search from the command line, or walk."""
    parser = argparse.ArgumentParser(description="All states of clock leases")
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--walks", type=int, default=0)
    parser.add_argument("--only", default=None, help="the rule, or a mutant's name")
    for name in ("eras", "rounds", "restarts", "releases", "drift"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Bounds(), name))
    parser.add_argument("--change", action="store_true")
    arguments = parser.parse_args()
    names = ("eras", "rounds", "restarts", "releases", "drift", "change")
    bounds = Bounds(**{name: getattr(arguments, name) for name in names})
    for name, mutant in {"rule": Mutant(RULE, bounds), **MUTANTS}.items():
        if arguments.only not in (None, name):
            continue
        began = time.monotonic()
        if arguments.walks:
            found = next((seed for seed in range(arguments.walks) if walk(seed, mutant.rule, mutant.bounds)), None)
            print(
                f"{name}: {arguments.walks} walks, violation in {found}, {time.monotonic() - began:.0f} s", flush=True
            )
            continue
        report = search(mutant.rule, mutant.bounds, arguments.states)
        print(f"{name}: {report}, {time.monotonic() - began:.0f} s", flush=True)
        if report.violation:
            print("    " + "; ".join(label for label, _ in report.trace))


if __name__ == "__main__":
    main()
