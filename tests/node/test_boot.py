"""From a data directory to a node."""

from __future__ import annotations

import pytest

from ratified.check.violation import Violation
from ratified.consensus.contract import UnlimitedLinks
from ratified.machine import StateMachineStore, Store
from ratified.node.boot import options
from ratified.node.config import FORWARD_WINDOW, NodeLimits
from ratified.node.ports import Outcome
from ratified.node.room import DiskRoom
from ratified.wire.peer import Hello
from tests.node.cluster import MS, Cluster, Journal


def test_every_start_has_the_next_incarnation_and_it_is_durable_before_the_first_frame() -> None:
    cluster = Cluster(size=2)
    cluster.elect()
    cluster.kill(1)
    cluster.hold_disk(1)
    cluster.start(1)
    count = len(cluster.frames)
    cluster.run(50 * MS)
    assert not [frame for sender, _, frame in cluster.frames[count:] if sender == 1]
    cluster.release_disk(1)
    cluster.heal()
    cluster.run(50 * MS)
    hellos = [frame for sender, _, frame in cluster.frames if sender == 1 and isinstance(frame, Hello)]
    assert list(dict.fromkeys(hello.incarnation for hello in hellos)) == [1, 2]
    assert cluster.node(1).incarnation == 2


def test_a_start_that_died_before_its_incarnation_was_durable_may_be_counted_again() -> None:
    cluster = Cluster(size=1)
    cluster.hold_disk(1)
    cluster.run(MS)
    cluster.processes[1].lose(lambda *keys: 0)
    cluster.release_disk(1)
    assert cluster.start(1).incarnation == 1
    cluster.elect()
    cluster.kill(1)
    assert cluster.start(1).incarnation == 2


def test_a_lone_voter_leads_without_an_election_timeout() -> None:
    cluster = Cluster(size=1)
    for _ in range(2):
        began = cluster.now
        cluster.elect()
        assert cluster.now - began < 10 * MS
        cluster.kill(1)
        cluster.start(1)


class Ahead(StateMachineStore):
    @property
    def applied(self) -> int:
        return 99


def test_a_store_ahead_of_its_log_stops_the_node() -> None:
    def ahead(member: int, group: int) -> Store:
        return Ahead(Journal())

    with pytest.raises(Violation, match=r"StoreAheadOfLog: .* group 0 has applied entry 99 and the log ends at 0"):
        Cluster(size=1, open_store=ahead)


def test_acknowledged_writes_survive_the_loss_of_what_was_not_synced() -> None:
    cluster = Cluster(size=1)
    cluster.elect()
    for number in range(5):
        assert cluster.propose(1, b"%d" % number).outcome is Outcome.DONE
    cluster.submit(1, b"in flight")
    cluster.run(0)
    cluster.processes[1].lose(lambda *keys: 0)
    cluster.start(1)
    cluster.elect()
    assert cluster.machine(1).commands[:5] == [b"0", b"1", b"2", b"3", b"4"]


def test_election_timeouts_are_drawn_between_one_and_two_by_member_and_era() -> None:
    cluster = Cluster(size=2)
    drawn = set()
    for member in cluster.members:
        deadline = options(0, cluster.config(member), UnlimitedLinks(), DiskRoom()).election_deadline
        for term in range(20):
            timeout = deadline(5, (term, 0)) - 5
            assert 100 * MS <= timeout < 200 * MS
            assert timeout == deadline(5, (term, 0)) - 5
            drawn.add(timeout)
    assert len(drawn) > 35


@pytest.mark.parametrize("limits", [{"request_bytes_max": 0}, {"forwards_max": FORWARD_WINDOW + 1}])
def test_limits_that_admit_nothing_or_break_the_protocol_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        NodeLimits(**limits)
