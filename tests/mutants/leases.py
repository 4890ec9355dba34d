"""One rule of clock leases broken each (rule 9 of the contract), between bare engines whose clocks drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from ratified.consensus.contract import Era, Options
from ratified.consensus.replication import leases
from ratified.consensus.replication.grants import Grants
from ratified.consensus.replication.leases import Lease
from ratified.consensus.replication.member import Member
from tests.consensus.lease_worlds import lease_world, wild_world
from tests.consensus.world import World
from tests.mutants.mutant import Break, EngineMutant


def counts_from_when_the_answer_came() -> AbstractContextManager[Any]:
    """A lease counts from when its round was sent."""

    def on_granted(lease: Lease, member: int, round_: int) -> None:
        if round_ > lease._released:
            lease._granted[member] = lease._member.now

    return patch.object(Lease, "on_granted", on_granted)


def an_answer_confirms_a_later_round() -> AbstractContextManager[Any]:
    """It confirms the one that it answers."""
    right = Lease.on_granted

    def on_granted(lease: Lease, member: int, round_: int) -> None:
        right(lease, member, lease._asked if round_ > lease._released else round_)

    return patch.object(Lease, "on_granted", on_granted)


def subtracts_no_drift() -> AbstractContextManager[Any]:
    """The leader's clock may be slow, and those of others fast."""
    return patch.object(leases, "held_us", lambda lease_us, drift_ppm_max: lease_us)


def who_granted_votes() -> AbstractContextManager[Any]:
    """It votes for nobody."""
    return patch.object(Member, "bars", lambda member, candidate: False)


def who_granted_stands() -> AbstractContextManager[Any]:
    """Nor does it stand, or say that it would vote."""
    return patch.object(Member, "is_bound", False)


def a_restarted_member_takes_part_at_once() -> AbstractContextManager[Any]:
    """It does not know what it has granted."""
    right = Grants.__init__

    def begin(grants: Grants, now: int, options: Options) -> None:
        right(grants, now, options)
        grants._waits_until = now

    return patch.object(Grants, "__init__", begin)


def a_transfer_goes_on_with_its_lease() -> AbstractContextManager[Any]:
    """What was released is not used again."""
    return patch.object(Lease, "release", lambda lease: lease._asked or None)


@contextmanager
def a_transfer_asks_again_and_frees_all() -> Iterator[None]:
    """A release is one of the rounds that it names: the leader may have begun later ones."""

    def release(grants: Grants, now: int, era: Era, round_: int) -> None:
        grants._released = (era, round_)
        grants._until = min(grants._until, now)

    right = Lease.release

    def goes_on(lease: Lease) -> int | None:
        round_ = right(lease)
        lease._asks_again_at = lease._member.now
        return round_

    with patch.object(Grants, "release", release), patch.object(Lease, "release", goes_on):
        yield


def lease_mutant(
    engine: str,
    breaks: Break,
    caught_by: int,
    world: Callable[[str, int], World],
    scenario: str = "bare engines with leases, whose clocks drift",
) -> EngineMutant:
    return EngineMutant(
        name=breaks.__name__.replace("_", " "),
        breaks=breaks,
        engine=engine,
        caught_by=caught_by,
        seeds=500,
        steps=800,
        scenario=scenario,
        network="sessions or datagrams" if engine != "zab" else "sessions",
        world=world,
    )


def _mutant(
    engine: str, breaks: Break, caught_by: int, world: Callable[[str, int], World] = lease_world
) -> EngineMutant:
    return lease_mutant(engine, breaks, caught_by, world)


MUTANTS = [
    _mutant("raft", counts_from_when_the_answer_came, 7),
    _mutant("raft", an_answer_confirms_a_later_round, 7),
    _mutant("raft", who_granted_votes, 11),
    _mutant("raft", who_granted_stands, 1),
    _mutant("raft", a_restarted_member_takes_part_at_once, 1),
    _mutant("raft", a_transfer_goes_on_with_its_lease, 5),
    _mutant("raft", a_transfer_asks_again_and_frees_all, 5),
    _mutant("raft", subtracts_no_drift, 41, wild_world),
    _mutant("zab", counts_from_when_the_answer_came, 35),
    _mutant("zab", an_answer_confirms_a_later_round, 35),
    _mutant("zab", who_granted_votes, 16),
    _mutant("zab", who_granted_stands, 22),
    _mutant("zab", a_restarted_member_takes_part_at_once, 9),
    _mutant("zab", a_transfer_goes_on_with_its_lease, 10),
    _mutant("zab", a_transfer_asks_again_and_frees_all, 14),
    _mutant("paxos", counts_from_when_the_answer_came, 17),
    _mutant("paxos", an_answer_confirms_a_later_round, 17),
    _mutant("paxos", who_granted_votes, 3),
    _mutant("paxos", who_granted_stands, 5),
]
