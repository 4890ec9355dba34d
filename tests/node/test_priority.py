"""Whom operators would have lead is handed the lead, and nobody waits for it."""

from __future__ import annotations

import pytest

from ratified.consensus.engines import ENGINES
from ratified.node.ports import DiskSpace, TransferLead
from ratified.node.priority import GROUPS_A_LOOK, LACKS_MAX, PATIENCE_TIMEOUTS
from tests.node.cluster import MS, Cluster, Journal

TIMEOUT_US = 100 * MS
LOOKS_US = 2 * (PATIENCE_TIMEOUTS + 1) * TIMEOUT_US
"""Until it was looked twice."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("preferred", [1, 2, 3])
def test_the_lead_goes_to_the_highest_priority(engine: str, preferred: int) -> None:
    cluster = Cluster(engine=engine, priorities={1: 1, 2: 1, 3: 1, preferred: 2})
    cluster.elect()
    cluster.run_until(lambda: cluster.leader() == preferred, within_us=LOOKS_US)
    cluster.run(2 * LOOKS_US)
    assert cluster.leader() == preferred


def test_elections_do_not_wait_for_it_and_who_is_back_leads_again() -> None:
    cluster = Cluster(priorities={2: 1})
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)
    cluster.kill(2)
    cluster.run_until(lambda: cluster.leader() in (1, 3), within_us=TIMEOUT_US)
    other = cluster.leader()
    cluster.start(2)
    cluster.run((PATIENCE_TIMEOUTS - 1) * TIMEOUT_US)
    assert cluster.leader() == other
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)


def test_who_leads_by_an_operators_word_gives_it_back() -> None:
    cluster = Cluster(priorities={2: 1})
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)
    cluster.offer(2, TransferLead(0, 3))
    cluster.run_until(lambda: cluster.leader() == 3, within_us=TIMEOUT_US)
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)


def test_who_lacks_much_or_has_no_room_has_to_wait() -> None:
    cluster = Cluster(priorities={2: 1})
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)
    cluster.kill(2)
    cluster.run_until(lambda: cluster.leader() in (1, 3), within_us=TIMEOUT_US)
    other = cluster.leader()
    cluster.start(2)
    cluster.hold_disk(2)
    for number in range(LACKS_MAX + 1):
        cluster.submit(other, b"%d" % number)
    cluster.run(LOOKS_US)
    assert cluster.leader() == other
    cluster.release_disk(2)
    cluster.offer(2, DiskSpace(0))
    cluster.run(LOOKS_US)
    assert cluster.leader() == other
    cluster.offer(2, DiskSpace(1 << 40))
    cluster.run_until(lambda: cluster.leader() == 2, within_us=LOOKS_US)
    machine = cluster.machine(2)
    assert isinstance(machine, Journal)
    assert len(machine.commands) == LACKS_MAX + 1


def test_of_many_groups_some_are_handed_over_at_a_time() -> None:
    groups = range(2 * GROUPS_A_LOOK)
    cluster = Cluster(groups=groups, priorities={2: 1})
    for group in groups:
        cluster.elect(group)
    cluster.run_until(lambda: all(cluster.leader(group) == 2 for group in groups), within_us=LOOKS_US)
