"""Whom operators would have lead is handed the lead, and nobody waits for it."""

from __future__ import annotations

import pytest

from ratified.consensus.engines import ENGINES
from ratified.consensus.raft.messages import AppendEntriesResponse, HeartbeatResponse, TimeoutNow
from ratified.node.ports import DiskSpace, TransferLead
from ratified.node.priority import GROUPS_A_LOOK, PATIENCE_TIMEOUTS
from tests.node.cluster import MS, SECOND, Cluster

TIMEOUT_US = 100 * MS
FROM_FOLLOWERS = (AppendEntriesResponse, HeartbeatResponse)
LOOKS_US = 3 * (PATIENCE_TIMEOUTS + 1) * TIMEOUT_US
"""Until it was looked twice, by one who leads for long enough."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("preferred", [1, 2, 3])
def test_the_lead_goes_to_the_highest_priority(engine: str, preferred: int) -> None:
    cluster = Cluster(engine=engine, priorities={1: 1, 2: 1, 3: 1, preferred: 2})
    cluster.elect()
    cluster.run_until(lambda: cluster.leader() == preferred, within_us=LOOKS_US)
    cluster.run(2 * LOOKS_US)
    assert cluster.leader() == preferred


def led_by_another(cluster: Cluster) -> int:
    """Member 2, which is preferred, has died and is back."""
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)
    cluster.kill(2)
    cluster.run_until(lambda: cluster.leader() in (1, 3), within_us=TIMEOUT_US)
    cluster.start(2)
    return cluster.leader()


def test_elections_do_not_wait_for_it_and_who_is_back_leads_again() -> None:
    cluster = Cluster(priorities={2: 1})
    other = led_by_another(cluster)
    cluster.run((PATIENCE_TIMEOUTS - 1) * TIMEOUT_US)
    assert cluster.leader() == other
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)


def test_who_leads_by_an_operators_word_gives_it_back_but_not_at_once() -> None:
    """Who gave it away may be about to stop."""
    cluster = Cluster(priorities={2: 1})
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)
    cluster.offer(2, TransferLead(0, 3))
    cluster.run_until(lambda: cluster.leader() == 3, within_us=TIMEOUT_US)
    cluster.run(PATIENCE_TIMEOUTS * TIMEOUT_US - 10 * MS)
    assert cluster.leader() == 3
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)


@pytest.mark.parametrize("engine", ENGINES)
def test_who_does_not_take_what_is_written_is_not_handed_the_lead_and_nobody_waits(engine: str) -> None:
    """Its disk hangs; it is heard, and it lacks little."""
    cluster = Cluster(engine=engine, priorities={2: 1})
    other = led_by_another(cluster)
    cluster.hold_disk(2)
    slowest_us = 0
    for number in range(60):
        began = cluster.now
        cluster.propose(other, b"%d" % number)
        slowest_us = max(slowest_us, cluster.now - began)
        cluster.run(20 * MS)
    assert cluster.leader() == other
    assert slowest_us < TIMEOUT_US // 4
    cluster.release_disk(2)
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)
    assert len(cluster.machine(2).commands) == 60


def test_who_has_no_room_is_not_handed_the_lead() -> None:
    cluster = Cluster(priorities={2: 1})
    other = led_by_another(cluster)
    cluster.offer(2, DiskSpace(0))
    cluster.run(LOOKS_US)
    assert cluster.leader() == other
    cluster.offer(2, DiskSpace(1 << 40))
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)


def test_who_was_handed_the_lead_in_vain_is_let_alone_for_longer_each_time() -> None:
    """It hears everything and is heard as a follower; what it says to be elected does not arrive."""
    cluster = Cluster(priorities={2: 1})
    led_by_another(cluster)
    cluster.drop = lambda sender, to, group, message: sender == 2 and not isinstance(message, FROM_FOLLOWERS)
    attempts: list[int] = []
    while cluster.now < 20 * SECOND:
        told = sum(isinstance(message, TimeoutNow) for _, _, _, message in cluster.sent)
        attempts += [cluster.now] * (told - len(attempts))
        cluster.run(20 * MS)
    early, late = (sum(begin <= at // SECOND < begin + 6 for at in attempts) for begin in (0, 14))
    assert early > 2 * max(late, 1)


def test_of_many_groups_some_are_handed_over_at_a_time() -> None:
    groups = range(2 * GROUPS_A_LOOK)
    cluster = Cluster(groups=groups, priorities={2: 1})
    for group in groups:
        cluster.elect(group)
    cluster.run_until(lambda: all(cluster.leader(group) == 2 for group in groups), within_us=LOOKS_US)


def test_what_was_handed_over_a_moment_ago_was_not_in_vain_yet() -> None:
    """With many groups a look has several parts, a heartbeat apart, and a transfer may take longer than that."""
    groups = range(GROUPS_A_LOOK + 8)
    cluster = Cluster(size=2, groups=groups, priorities={2: 1})
    for group in groups:
        cluster.elect(group)
    led = {group for group in groups if cluster.leader(group) == 1}
    cluster.run_until(lambda: all(cluster.leader(group) == 2 for group in led), within_us=LOOKS_US)
    for group in groups:
        cluster.offer(2, TransferLead(group, 1))
    cluster.run_until(lambda: all(cluster.leader(group) == 1 for group in groups))
    told: list[int] = []

    def held(sender: int, to: int, group: int, message: object) -> bool:
        if isinstance(message, TimeoutNow):
            told.append(group)
        return isinstance(message, TimeoutNow)

    cluster.drop = held
    cluster.run_until(lambda: bool(told), within_us=LOOKS_US)
    cluster.run(PATIENCE_TIMEOUTS * TIMEOUT_US)
    assert set(told) == set(groups)
