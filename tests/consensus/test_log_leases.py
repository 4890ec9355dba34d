"""Log leases between bare engines (rule 9): reads without a round, and in limbo, while clocks keep to the bound.

Every answer to a barrier is judged: its index, or the end of its limbo, is at least all that was delivered anywhere
before it was asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from unittest.mock import patch

import pytest

from ratified.check.violation import Violation
from ratified.consensus.contract import (
    NO_ERA,
    Base,
    Durable,
    Engine,
    Entry,
    Era,
    Kind,
    Limbo,
    Limits,
    Membership,
    Options,
    Run,
)
from ratified.consensus.engines import ENGINES
from ratified.consensus.entry import make_entry
from ratified.consensus.paxos.core import Claim, Core
from ratified.consensus.paxos.extensions import PRODUCTION
from ratified.consensus.paxos.slots import Slots
from ratified.consensus.replication.history import History
from ratified.consensus.replication.journal import Journal
from ratified.consensus.replication.log_leases import LEASE_ENDS, LogLease
from ratified.consensus.replication.member import Member
from ratified.consensus.zab import zxid
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


def test_a_transfer_ends_where_a_change_under_way_removes_its_target() -> None:
    """The change had been taken before; the leader looked for how far somebody was who was no peer any more."""
    world = changing_log_lease_world("paxos", 143)
    world.run(800)
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


def _options(log_lease_us: int = LEASE_US, *, lease_us: int = 0) -> Options:
    return Options(
        member=1,
        seed=1,
        election_deadline=lambda now, era: now + ELECTION_US,
        election_timeout_max_us=2 * ELECTION_US,
        election_timeout_min_us=ELECTION_US,
        heartbeat_us=HEARTBEAT_US,
        lease_us=lease_us,
        log_lease_us=log_lease_us,
    )


def _member(log_lease_us: int = LEASE_US, base: int = 0) -> Member[None]:
    """Started at 0."""
    return Member(0, _options(log_lease_us), Durable(b"", Base(base, NO_ERA, Membership((1, 2, 3)))))


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
        _options(lease_us=LEASE_US)


def test_a_log_lease_is_no_longer_than_an_election_timeout() -> None:
    with pytest.raises(ValueError, match="at most the shortest election timeout"):
        _member(ELECTION_US + 1)


def _alone(engine: str) -> tuple[Engine, Callable[[int], None]]:
    """It leads, and is alone; what it writes is durable at once."""
    alone = ENGINES[engine].engine(0, _options(ELECTION_US), Durable(b"", Base(0, NO_ERA, Membership((1,)))))

    def turns(now: int) -> None:
        while (ready := alone.ready()) is not None:
            if ready.deliver:
                alone.applied(now, ready.deliver[-1].index)
            if ready.write is not None:
                alone.persisted(now, ready.write.ticket)

    alone.campaign(3 * ELECTION_US)
    turns(3 * ELECTION_US)
    assert alone.leading is not None
    return alone, turns


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("why", ["its disk is full", "disks are full"])
def test_where_there_is_no_room_nothing_is_written_to_read_by(engine: str, why: str) -> None:
    alone, turns = _alone(engine)
    now, last = 4 * ELECTION_US, alone.status().last
    if why == "its disk is full":
        alone.disk_full(now, full=True)
    for token in range(1, 40):
        now += ELECTION_US // 10
        alone.read_barrier(now, token, may_write=why == "its disk is full")
        turns(now)
    assert alone.status().last == last
    alone.disk_full(now, full=False)
    for token in range(40, 60):
        now += ELECTION_US // 10
        alone.read_barrier(now, token)
        turns(now)
    assert alone.status().last > last, "else this would show nothing"


@pytest.mark.parametrize("engine", ENGINES)
def test_textbooks_know_no_leases(engine: str) -> None:
    assert _options().textbook().log_lease_us == 0


def test_a_snapshot_counts_as_what_comes() -> None:
    member = _member()
    journal: Journal[None] = Journal(member, Durable(b"", Base(0, NO_ERA, Membership((1, 2, 3)))), None)
    member.at(500)
    journal.install(Base(9, (2, 0), Membership((1, 2, 3))))
    assert _elected(member, 600).waits_until == 500 + LEASE_US


def test_a_snapshot_counts_as_what_comes_on_paxos() -> None:
    member: Member[Claim] = Member(0, _options(), Durable(b"", Base(0, NO_ERA, Membership((1, 2, 3)))))
    core = Core(member, Durable(b"", Base(0, NO_ERA, Membership((1, 2, 3)))), PRODUCTION)
    member.at(500)
    core.install(Base(9, (2, 1), Membership((1, 2, 3))))
    assert member.received_at == 500


def _log(*eras: Era, tail: int = 4) -> Durable:
    entries = [make_entry(index, era, Kind.COMMAND, None, b"%d" % index) for index, era in enumerate(eras, 1)]
    runs = [Run(entry.index, entry.index, entry.era) for entry in entries]
    return Durable(b"", Base(0, NO_ERA, Membership((1, 2, 3))), runs, entries[len(entries) - tail :])


def _indexes(entries: Sequence[Entry] | None) -> list[int] | None:
    return None if entries is None else [entry.index for entry in entries]


def test_a_history_has_limbo_where_its_last_entry_is_the_same_and_all_of_it_is_in_memory() -> None:
    history = History(_log((1, 0), (1, 0), (2, 0), (2, 0), tail=3), Limits())
    assert _indexes(history.limbo(1, Limbo(3, (2, 0)))) == [2, 3]
    assert _indexes(history.limbo(4, Limbo(4, (2, 0)))) == []
    assert history.limbo(1, Limbo(3, (1, 0))) is None, "another history"
    assert history.limbo(1, Limbo(5, (2, 0))) is None, "a longer one"
    assert history.limbo(0, Limbo(3, (2, 0))) is None, "not in memory"


def test_slots_have_limbo_where_each_is_chosen_or_of_the_same_ballot() -> None:
    slots = Slots(_log((1, 1), (1, 1), (2, 2), (3, 3)), 1, Limits())
    assert _indexes(slots.limbo(0, Limbo(1, (3, 3)))) == [1], "chosen, in whatever ballot"
    assert slots.limbo(1, Limbo(3, (2, 2))) is None, "slot 2 is of an earlier ballot"
    assert _indexes(slots.limbo(2, Limbo(3, (2, 2)))) == [3]
    assert slots.limbo(2, Limbo(4, (2, 2))) is None
    assert slots.limbo(3, Limbo(5, (3, 3))) is None, "nothing is accepted there"


def test_zab_steps_down_where_it_has_no_number_for_an_entry_to_read_by() -> None:
    alone, turns = _alone("zab")
    now, last = 4 * ELECTION_US, alone.status().last
    with patch.object(zxid, "counters_left", lambda counter: 0):
        for token in (1, 2):
            alone.read_barrier(now, token)
            turns(now)
            now += ELECTION_US // 10
    assert alone.leading is None
    assert alone.status().last == last
