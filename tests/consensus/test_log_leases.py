"""Log leases between bare engines (rule 9): reads without a round, and in limbo, while clocks keep to the bound.

Every answer to a barrier is judged: its index, or the end of its limbo, is at least all that was delivered anywhere
before it was asked.
"""

from __future__ import annotations

from collections import Counter

import pytest

from ratified.check.violation import Violation
from ratified.consensus.contract import NO_ERA, Base, Durable, Entry, Kind, Limits, Membership, Options
from ratified.consensus.engines import ENGINES
from ratified.consensus.entry import make_entry
from ratified.consensus.replication.log_leases import LEASE_ENDS, LogLease
from ratified.consensus.replication.member import Member
from tests.consensus.lease_worlds import (
    DRIFT_PPM,
    changing_log_lease_world,
    lease_world,
    log_lease_world,
    wild_log_lease_world,
)
from tests.consensus.networks import Sessions
from tests.consensus.world import ELECTION_US, HEARTBEAT_US, Leases, World

LEASE_US = 1_000
HELD_US = 600
"""At least so long, however clocks drift."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", range(9))
def test_no_read_is_stale_while_clocks_keep_to_the_bound(engine: str, seed: int) -> None:
    world = (log_lease_world, wild_log_lease_world, changing_log_lease_world)[seed % 3](engine, seed)
    world.run(1000)
    world.heal()


@pytest.mark.parametrize("engine", ENGINES)
def test_there_are_reads_in_limbo(engine: str) -> None:
    reads: Counter[str] = Counter()
    for seed in range(1, 5):
        world = log_lease_world(engine, seed)
        world.run(800)
        reads.update(world.counts)
    assert reads["reads in limbo"] > 50, reads


@pytest.mark.parametrize("engine", ENGINES)
def test_in_peace_reads_ask_nobody(engine: str) -> None:
    reads: Counter[str] = Counter()
    for name, leases in (("on", Leases(transfers=0, in_the_log=True)), ("off", Leases(lease_us=0, transfers=0))):
        world = World(engine, Sessions, 1, 3, chaos=False, limits=Limits(), leases=leases)
        world.run(2000)
        reads[f"leases {name}"] = world.counts["reads"]
        reads[f"rounds {name}"] = world.counts["Heartbeat"] + world.counts["Ping"]
    assert reads["leases on"] > 100
    assert 2 * reads["rounds on"] < reads["rounds off"], reads


def test_where_clocks_drift_further_a_read_is_stale() -> None:
    """Else the worlds above would prove nothing: this is the first seed that shows one."""
    leases = Leases(ELECTION_US, in_the_log=True, drift_ppm_max=DRIFT_PPM // 30, drift_ppm=DRIFT_PPM, transfers=0)
    with pytest.raises(Violation, match="serves a read at"):
        lease_world("raft", 11, leases).run(800)


def _member(log_lease_us: int = LEASE_US, base: int = 0) -> Member[None]:
    """Started at 0."""
    options = Options(
        member=1,
        seed=1,
        election_deadline=lambda now, era: now,
        election_timeout_max_us=2 * ELECTION_US,
        election_timeout_min_us=ELECTION_US,
        heartbeat_us=HEARTBEAT_US,
        log_lease_us=log_lease_us,
    )
    return Member(0, options, Durable(b"", Base(base, NO_ERA, Membership((1, 2, 3)))))


def _entry(kind: Kind, data: bytes) -> Entry:
    return make_entry(9, (3, 0), kind, None, data)


def _elected(member: Member[None], at: int, last: Entry | None = None) -> LogLease:
    member.at(at)
    lease = LogLease(member)
    lease.begin(last)
    return lease


def test_who_is_elected_waits_since_something_came_last() -> None:
    member = _member()
    assert not _elected(member, 10).waits, "nothing ever came"
    member.receive()
    lease = _elected(member, 300)
    assert lease.waits_until == 10 + LEASE_US
    member.at(9 + LEASE_US)
    assert not lease.may_end_wait()
    member.at(10 + LEASE_US)
    assert lease.may_end_wait()
    assert not lease.may_end_wait(), "once"
    assert not _elected(member, 10 + LEASE_US).waits


def test_what_a_start_finds_came_then() -> None:
    assert _elected(_member(base=7), 10).waits_until == LEASE_US


@pytest.mark.parametrize(
    ("last", "waits"),
    [
        (_entry(Kind.NOOP, LEASE_ENDS), False),
        (_entry(Kind.NOOP, b""), True),
        (_entry(Kind.COMMAND, LEASE_ENDS), True),
        (None, True),
    ],
)
def test_only_behind_the_end_of_a_lease_nobody_waits(last: Entry | None, waits: bool) -> None:
    member = _member()
    member.receive()
    assert _elected(member, 10, last).waits == waits


def test_is_off_unless_it_is_asked_for() -> None:
    member = _member(log_lease_us=0)
    member.receive()
    lease = _elected(member, 10)
    assert not lease.waits
    lease.made(4)
    assert not lease.is_held(4)
    assert not lease.wants_entry(4)


def test_is_held_by_what_is_committed_for_less_than_a_lease() -> None:
    member = _member()
    lease = _elected(member, 100)
    lease.made(5)
    member.at(400)
    lease.made(7)
    assert not lease.is_held(4)
    assert lease.is_held(5)
    assert lease.is_held(6), "what lies between was made no later"
    member.at(100 + LEASE_US)
    assert not lease.is_held(6)
    assert lease.is_held(7), "made 300 later"
    member.at(400 + LEASE_US)
    assert not lease.is_held(7)


def test_behind_its_end_only_what_was_made_since_is_read_by() -> None:
    member = _member()
    lease = _elected(member, 100)
    lease.made(5)
    lease.end(6)
    assert not lease.is_held(6)
    lease.made(7)
    assert not lease.is_held(6)
    assert lease.is_held(7)


def test_an_entry_to_read_by_is_wanted_by_the_second_read_within_a_lease_and_in_good_time() -> None:
    member = _member()
    lease = _elected(member, 100)
    assert not lease.wants_entry(4), "the first read"
    member.at(110)
    assert lease.wants_entry(4)
    lease.made(5)
    member.at(120)
    assert not lease.wants_entry(5)
    member.at(110 + HELD_US)
    assert lease.wants_entry(5), "half of it is over"
    member.at(110 + 3 * LEASE_US)
    assert not lease.wants_entry(5), "the last read was long ago"


def test_two_kinds_of_leases_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="one of the two"):
        Options(
            member=1,
            seed=1,
            election_deadline=lambda now, era: now,
            election_timeout_max_us=2 * ELECTION_US,
            election_timeout_min_us=ELECTION_US,
            heartbeat_us=HEARTBEAT_US,
            lease_us=LEASE_US,
            log_lease_us=LEASE_US,
        )


def test_a_log_lease_is_no_longer_than_an_election_timeout() -> None:
    with pytest.raises(ValueError, match="at most the shortest election timeout"):
        _member(ELECTION_US + 1)
