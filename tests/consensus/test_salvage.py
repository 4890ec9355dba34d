"""Whoever is left of a cluster: what any of them knows to be committed is kept, and is what it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from unittest.mock import patch

import msgspec
import pytest

from ratified.consensus.contract import NO_ERA, U64_MAX, Base, Entry, Kind, Membership, Run
from ratified.consensus.engines import ENGINES
from ratified.consensus.paxos.state import AcceptorState, encode_state
from ratified.consensus.quorum import is_quorum
from ratified.consensus.salvage import Contradiction, Remains, Salvage, Source, as_they_are, choose_one, filler
from tests.consensus.member_worlds import NETWORKS, member_world
from tests.consensus.networks import Sessions
from tests.consensus.test_world import EVERY
from tests.consensus.world import Member, Network, World, own_checkpoint

MEMBERSHIP = Membership((1, 2, 3))
SEEDS_MAX = 10
PAXOS = ENGINES["paxos"].salvager


def remains(member: Member) -> Remains:
    """What its disk has at this moment."""
    log = member.driver.log
    held, held_era = max(member.checkpoint, (log.base.index, log.base.era))
    durable = log.durable(0)
    return Remains(
        base=log.base, state=log.state, runs=durable.runs, held=held, held_era=held_era, applied=member.applied
    )


def entries(sources: Sequence[Source], left: Sequence[Member]) -> list[Entry]:
    found: list[Entry] = []
    for source in sources:
        for index in range(source.first, source.last + 1):
            found.append(filler(index) if source.log is None else left[source.log].driver.log.entries[index])
    return found


def judge(world: World, engine: str, left: Sequence[Member]) -> Salvage:
    """What counts of these members' disks is what everybody's state is, at each index that one of them knows."""
    salvager = ENGINES[engine].salvager
    found = [remains(member) for member in left]
    chosen = salvager.choose(found)
    begin = found[chosen.begin]
    assert chosen.committed >= max(member.applied for member in left)
    state, era = world.states[begin.held]
    assert era == begin.held_era
    index = begin.held
    for entry in salvager.deliver(era)(entries(chosen.sources, left)):
        assert entry.index == index + 1
        index, state = entry.index, hash((state, entry.kind, entry.proposal, entry.data))
        if index <= chosen.committed:
            assert (state, entry.era) == world.states[index], f"entry {index} is another one"
    assert index == chosen.last >= chosen.committed
    return chosen


def judged_all_along(world: World, engine: str, steps: int) -> Counter[str]:
    """At many moments, of all that could be left then."""
    seen: Counter[str] = Counter()
    for _ in range(steps // 25):
        world.run(25)
        members = list(world.members.values())
        for count in range(1, len(members) + 1):
            for left in combinations(members, count):
                chosen = judge(world, engine, left)
                seen["chosen"] += 1
                seen["beyond what is known"] += chosen.last > chosen.committed
                seen["more than one source"] += len(chosen.sources) > 1
                seen["gaps"] += any(source.log is None for source in chosen.sources)
    return seen


@pytest.mark.parametrize(("engine", "network"), EVERY)
def test_nothing_that_one_of_them_knows_committed_is_lost(engine: str, network: Callable[[World], Network]) -> None:
    seen: Counter[str] = Counter()
    for seed in range(12):
        world = World(engine, network, seed, 3 + 2 * (seed % 3 == 2), cuts=own_checkpoint)
        seen += judged_all_along(world, engine, 1200)
    assert seen["beyond what is known"] > 100
    if engine == "paxos":
        assert seen["more than one source"] > 100


@pytest.mark.parametrize("engine", ENGINES)
def test_nor_while_members_come_and_go(engine: str) -> None:
    for seed in range(1, 7):
        for network in NETWORKS[engine]:
            judged_all_along(member_world(engine, network, seed), engine, 500)


@pytest.mark.parametrize(("engine", "network"), EVERY)
def test_of_a_majority_nothing_at_all_is_lost(engine: str, network: Callable[[World], Network]) -> None:
    for seed in range(12):
        world = World(engine, network, seed, 3)
        for _ in range(40):
            world.run(25)
            for left in combinations(world.members.values(), 2):
                assert is_quorum(MEMBERSHIP, [member.id for member in left])
                assert judge(world, engine, left).last >= max(world.states)


def longest(remains: Sequence[Remains]) -> Salvage:
    """Not the rule of Raft and ZAB: how long a log is says nothing of whose it is."""
    return choose_one(remains, max(range(len(remains)), key=lambda at: remains[at].last))


def one_acceptor(remains: Sequence[Remains]) -> Salvage:
    """Not Paxos's rule: no acceptor needs to have all that is chosen."""
    return choose_one(remains, max(range(len(remains)), key=lambda at: (remains[at].last_era, remains[at].last)))


def lowest_ballot(remains: Sequence[Remains]) -> Salvage:
    """Not Paxos's rule: P2c asks for the highest-numbered proposal."""
    turned = [
        msgspec.structs.replace(
            each, runs=[Run(run.first, run.last, (U64_MAX - run.era[0], U64_MAX - run.era[1])) for run in each.runs]
        )
        for each in remains
    ]
    return PAXOS.choose(turned)


WRONG = [("raft", longest), ("zab", longest), ("paxos", one_acceptor), ("paxos", lowest_ballot)]


@pytest.mark.parametrize(("engine", "wrong"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_these_worlds_find_another_rule(engine: str, wrong: Callable[[Sequence[Remains]], Salvage]) -> None:
    salvager = ENGINES[engine].salvager._replace(choose=wrong)
    with patch.dict(ENGINES, {engine: msgspec.structs.replace(ENGINES[engine], salvager=salvager)}):
        for seed in range(SEEDS_MAX):
            world = World(engine, Sessions, seed, 3 + 2 * (seed % 3 == 2), cuts=own_checkpoint)
            try:
                judged_all_along(world, engine, 1200)
            except (AssertionError, Contradiction, KeyError):
                return
    raise AssertionError(f"nothing found in {SEEDS_MAX} seeds")


def test_paxos_without_the_fence_delivers_what_is_void() -> None:
    salvager = ENGINES["paxos"].salvager._replace(deliver=as_they_are)
    with patch.dict(ENGINES, {"paxos": msgspec.structs.replace(ENGINES["paxos"], salvager=salvager)}):
        world = World("paxos", Sessions, 1, 3, cuts=own_checkpoint)
        with pytest.raises(AssertionError, match="is another one"):
            judged_all_along(world, "paxos", 1200)


# ---------------------------------------------------------------------------------------------------------------
# By hand


def log(*runs: tuple[int, int, int], base: int = 0, applied: int = 0, held: int | None = None) -> Remains:
    """Runs as (first, last, era)."""
    return Remains(
        base=Base(base, (1, 0) if base else NO_ERA, MEMBERSHIP),
        state=b"",
        runs=[Run(first, last, (era, 0)) for first, last, era in runs],
        held=base if held is None else held,
        held_era=(1, 0),
        applied=applied,
    )


@pytest.mark.parametrize("engine", ["raft", "zab"])
def test_a_later_era_counts_more_than_a_longer_log(engine: str) -> None:
    choose = ENGINES[engine].salvager.choose
    longer, later = log((1, 20, 1), applied=4), log((1, 5, 1), (6, 8, 2), applied=3)
    assert choose([longer, later]) == Salvage(1, [Source(1, 8, 1)], 8, 4)
    assert choose([longer]) == Salvage(0, [Source(1, 20, 0)], 20, 4)
    assert choose([log(base=7, applied=7), later]).begin == 1
    assert choose([log((8, 9, 2), base=7, held=8)]) == Salvage(0, [Source(9, 9, 0)], 9, 8)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_contradicts_itself_is_told(engine: str) -> None:
    """A store that is ahead of all logs: one of them has lost what was acknowledged."""
    with pytest.raises(Contradiction, match="has lost a part of its log, or is of another cluster"):
        ENGINES[engine].salvager.choose([log((1, 5, 1), applied=7), log((1, 6, 1))])


def test_paxos_takes_each_slot_from_the_highest_ballot_and_fills_gaps() -> None:
    choose = ENGINES["paxos"].salvager.choose
    one = log((1, 4, 1), (5, 6, 3), (9, 10, 1), applied=4)
    other = log((1, 2, 1), (3, 5, 2), (9, 9, 4))
    expected = [Source(1, 4, 1), Source(5, 6, 0), Source(7, 8, None), Source(9, 9, 1), Source(10, 10, 0)]
    assert choose([one, other]) == Salvage(0, expected, 10, 4)
    void = filler(7)
    assert (void.kind, void.birth, void.proposal) == (Kind.NOOP, NO_ERA, None)


def test_paxos_begins_with_the_state_that_is_furthest() -> None:
    choose = ENGINES["paxos"].salvager.choose
    assert choose([log((1, 12, 1)), log((9, 10, 1), base=8, applied=8)]) == Salvage(
        1, [Source(9, 10, 1), Source(11, 12, 0)], 12, 8
    )


def test_paxos_believes_what_an_acceptor_has_written_down_as_chosen() -> None:
    salvager = ENGINES["paxos"].salvager
    state = encode_state(AcceptorState((1, 1), (1, 1), 5))
    knows = Remains(
        base=Base(0, NO_ERA, MEMBERSHIP), state=state, runs=[Run(1, 6, (1, 1))], held=0, held_era=NO_ERA, applied=2
    )
    assert salvager.committed(knows) == salvager.choose([knows]).committed == 5
    with pytest.raises(Contradiction, match="slot 5 is chosen, and nobody has the value of slot 3"):
        salvager.choose(
            [Remains(base=knows.base, state=state, runs=[Run(1, 2, (1, 1))], held=0, held_era=NO_ERA, applied=2)]
        )
