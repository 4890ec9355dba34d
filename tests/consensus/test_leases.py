"""Clock leases between bare engines (rule 9): reads without a round, none of them stale while clocks keep to the bound.

Every answer to a barrier is judged: its index is at least all that was delivered anywhere before it was asked.
"""

from __future__ import annotations

from collections import Counter

import pytest

from ratified.check.violation import Violation
from ratified.consensus.contract import NO_ERA, Base, Durable, Limits, Membership, Options
from ratified.consensus.engines import ENGINES
from ratified.consensus.replication.grants import Grants
from ratified.consensus.replication.leases import held_us
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.reads import ReadRounds
from ratified.consensus.replication.suspicion import Suspicion, Verdict
from tests.consensus.lease_worlds import changing_world, drifting_world, lease_world, wild_world
from tests.consensus.networks import Sessions
from tests.consensus.world import ELECTION_US, HEARTBEAT_US, Leases, World


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", range(8))
def test_no_read_is_stale_while_clocks_keep_to_the_bound(engine: str, seed: int) -> None:
    world = (lease_world, wild_world, changing_world)[seed % 3](engine, seed)
    world.run(1000)
    world.heal()


@pytest.mark.parametrize("engine", ENGINES)
def test_in_peace_reads_ask_nobody(engine: str) -> None:
    reads: Counter[str] = Counter()
    for name, leases in (("on", Leases(transfers=0)), ("off", Leases(lease_us=0, transfers=0))):
        world = World(engine, Sessions, 1, 3, chaos=False, limits=Limits(), leases=leases)
        world.run(2000)
        reads[f"leases {name}"] = world.counts["reads"]
        reads[f"rounds {name}"] = world.counts["Heartbeat"] + world.counts["Ping"]
    assert reads["leases on"] > 100
    assert 3 * reads["rounds on"] < reads["rounds off"], reads


def test_where_clocks_drift_further_a_read_is_stale() -> None:
    """Else the worlds above would prove nothing: this is the first seed that shows one."""
    with pytest.raises(Violation, match="serves a read at"):
        drifting_world("raft", 45).run(800)


def _options(lease_us: int) -> Options:
    return Options(
        member=1,
        seed=1,
        election_deadline=lambda now, era: now,
        election_timeout_max_us=2 * ELECTION_US,
        election_timeout_min_us=ELECTION_US,
        heartbeat_us=HEARTBEAT_US,
        lease_us=lease_us,
    )


def test_a_lease_is_no_longer_than_an_election_timeout() -> None:
    with pytest.raises(ValueError, match="at most the shortest election timeout"):
        _options(ELECTION_US + 1)


@pytest.mark.parametrize(("lease_us", "drift_ppm"), [(300_000, 0), (300_000, 100_000), (5_000, 300_000), (10, 1)])
def test_a_slow_leader_gives_a_lease_up_before_a_fast_member_does(lease_us: int, drift_ppm: int) -> None:
    """In true time, both clocks at the bound, and each reading a microsecond old."""
    true_us_of_leader = (held_us(lease_us, drift_ppm) + 1) / (1 - drift_ppm / 1e6)
    true_us_of_member = (lease_us - 1) / (1 + drift_ppm / 1e6)
    assert true_us_of_leader <= true_us_of_member


def test_what_is_granted_binds_until_it_has_run_out_or_is_released() -> None:
    grants = Grants(0, _options(1_000))
    assert grants.bind(999), "an earlier process may have granted one"
    assert not grants.bind(1_000)
    assert grants.grant(2_000, 2, (5, 0), 1_900, 1_000)
    assert grants.grant(2_100, 2, (5, 0), 1_800, 1_000), "an older round came later"
    assert grants.bar(3_099, 3)
    assert not grants.bar(3_099, 2), "its leader may stand again: then it has left its lead"
    grants.release(2_200, (5, 0), 1_800)
    assert grants.bind(2_200), "the round that was granted is a later one"
    grants.release(2_200, (4, 0), 9_000)
    assert grants.bind(2_200), "that was another leader's"
    grants.release(2_200, (5, 0), 1_900)
    assert not grants.bind(2_200)


def test_nobody_grants_more_than_a_restart_would_wait() -> None:
    grants = Grants(0, _options(1_000))
    assert not grants.grant(2_000, 2, (5, 0), 1_900, 1_001)
    assert not grants.bind(2_000)


class _Granted:
    """The answer to a probe."""

    verdict = Verdict.GRANTED

    def __init__(self, round_: int) -> None:
        self.round = round_


def _member() -> Member[None]:
    """Member 1 of three, whose start is long ago."""
    member: Member[None] = Member(0, _options(ELECTION_US), Durable(b"", Base(0, NO_ERA, Membership((1, 2, 3)))))
    member.at(10 * ELECTION_US)
    return member


def test_who_has_granted_a_lease_is_elected_by_nobody_even_where_its_log_changes_meanwhile() -> None:
    """A snapshot, or what it has pulled, has it ask at once: the others may be bound no longer, or never were."""
    member = _member()
    suspicion: Suspicion[_Granted] = Suspicion(member)
    assert member.grant(3, (5, 0), member.now, ELECTION_US)
    suspicion.on_session_lost()
    suspicion.restart()
    assert suspicion.is_due
    assert suspicion.counts(2, _Granted(suspicion.next_round()))
    assert not suspicion.has_quorum(Verdict.GRANTED)
    member.at(11 * ELECTION_US)
    assert suspicion.has_quorum(Verdict.GRANTED)


def test_under_a_lease_is_read_only_where_who_would_vote_in_a_proposed_configuration_has_granted_it() -> None:
    member = _member()
    reads = ReadRounds(member)
    round_ = reads.lease.ask()
    assert round_ is not None
    reads.lease.on_granted(2, round_)
    reads.ask(7)
    assert reads.advance(serving=True, commit=9, proposed=Membership((1, 4, 5))), "a round is needed"
    assert len(reads) == 1
    assert not reads.advance(serving=True, commit=9, proposed=Membership((1, 2, 4)))
    assert len(reads) == 0
