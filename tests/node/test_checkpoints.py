"""When a node copies its store, whom it tells, and when the log is cut."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ratified.check.violation import Violation
from ratified.node.changes import RemoveMember, encode_asked
from ratified.node.config import NodeLimits
from ratified.node.ports import DiskSpace, Work
from ratified.sim.disk import Disk
from ratified.storage.checkpoint import CHECKPOINT_FILE, NEW_FILE, Contents, find
from ratified.storage.format import segment_file
from ratified.wire.peer import Checkpointed
from tests.node.cluster import MS, Cluster

GROWTH = 20_000
LIMITS = NodeLimits(checkpoint_log_bytes_min=GROWTH, checkpoint_retry_us=500 * MS)
FIRST = segment_file(1)


def cluster_of(size: int, limits: NodeLimits = LIMITS) -> Cluster:
    cluster = Cluster(size=size, limits=limits, durable=True)
    cluster.elect()
    return cluster


def checkpoint_of(cluster: Cluster, member: int) -> Contents | None:
    disk = cluster.processes[member].disk
    directory = cluster.config(member).directory
    return find(disk, directory)


def claimed(cluster: Cluster, member: int) -> int:
    found = checkpoint_of(cluster, member)
    return 0 if found is None else found.claims[0].index


def write(cluster: Cluster, count: int, size: int = 400) -> None:
    for _ in range(count):
        cluster.propose(cluster.leader(), b"x" * size)


def log_begins_late(cluster: Cluster, member: int) -> bool:
    return FIRST not in cluster.processes[member].disk.names()


def test_a_checkpoint_is_taken_when_the_log_has_grown_and_the_log_is_cut() -> None:
    cluster = cluster_of(1)
    write(cluster, 10)
    assert checkpoint_of(cluster, 1) is None
    write(cluster, 40)
    cluster.run(100 * MS)
    assert claimed(cluster, 1) > 10
    assert log_begins_late(cluster, 1)
    status = cluster.node(1).status()
    assert status.log_bytes < GROWTH
    assert status.checkpoint_bytes
    assert status.checkpoint_us
    assert status.checkpoint_at


def test_the_next_one_waits_until_the_log_has_grown_by_what_the_last_one_copied() -> None:
    cluster = cluster_of(1, NodeLimits(checkpoint_log_bytes_min=1))
    for _ in range(60):
        write(cluster, 1)
        cluster.run(20 * MS)
    taken = cluster.processes[1]._world.counters["checkpoints"]
    assert 3 < taken < 30


def test_a_long_log_over_an_empty_store_is_copied_as_soon_as_something_is_applied() -> None:
    """A start found a long log and a store that was lost. With nothing to claim the checkpoint was put off until the
    log had grown by as much once more (seed 1163 of checkpoints, Paxos)."""
    cluster = cluster_of(3, NodeLimits(checkpoint_log_bytes_min=1 << 30))
    write(cluster, 60)
    for member in cluster.members:
        lose_with_its_store(cluster, member)
    for process in cluster.processes.values():
        limits = process._options.limits
        node = replace(limits.node, checkpoint_log_bytes_min=GROWTH)
        process._options = replace(process._options, limits=replace(limits, node=node))
        process.start()
    cluster.elect()
    cluster.run(200 * MS)
    assert all(claimed(cluster, member) for member in cluster.members)


def test_entries_are_counted_where_that_is_asked_for() -> None:
    cluster = cluster_of(1, NodeLimits(checkpoint_entries=5))
    for _ in range(23):
        write(cluster, 1, 1)
        cluster.run(20 * MS)
    assert cluster.processes[1]._world.counters["checkpoints"] == 4


def test_a_log_is_cut_below_what_all_members_claim() -> None:
    cluster = cluster_of(3)
    cluster.processes[3].checkpoint_lane.fail()
    write(cluster, 35)
    cluster.run(100 * MS)
    assert claimed(cluster, 1)
    assert claimed(cluster, 2)
    assert claimed(cluster, 3) == 0
    assert not any(log_begins_late(cluster, member) for member in cluster.members)
    cluster.run(500 * MS)
    assert claimed(cluster, 3)
    assert all(log_begins_late(cluster, member) for member in cluster.members)


def test_who_is_away_holds_the_cut() -> None:
    cluster = cluster_of(3)
    away = cluster.follower()
    cluster.kill(away)
    write(cluster, 35)
    cluster.run(200 * MS)
    here = [member for member in cluster.members if member != away]
    assert all(claimed(cluster, member) for member in here)
    assert not any(log_begins_late(cluster, member) for member in here)
    cluster.start(away)
    cluster.run_until(lambda: all(log_begins_late(cluster, member) for member in cluster.members))


def test_a_group_in_which_nothing_happens_keeps_the_log_of_others_for_a_while_only() -> None:
    """While a member is away, which has all of that group, and is told so when it is back."""
    cluster = Cluster(groups=(0, 1), limits=LIMITS, durable=True)
    for group in (0, 1):
        cluster.elect(group)
    away = next(member for member in cluster.members if member not in (cluster.leader(0), cluster.leader(1)))
    cluster.outcome(cluster.submit(cluster.leader(1), b"idle", group=1))
    cluster.kill(away)
    here = [member for member in cluster.members if member != away]
    sizes: list[int] = []
    for _ in range(8):
        write(cluster, 60, size=1)
        cluster.run(200 * MS)
        sizes.append(max(cluster.node(member).status().log_bytes for member in here))
    copied = max(cluster.node(member).status().checkpoint_bytes for member in here)
    assert max(sizes) < 4 * max(GROWTH, copied)
    cluster.start(away)
    cluster.run_until(lambda: cluster.machine(away, 1).commands == [b"idle"])
    last = len(cluster.machine(cluster.leader(), 0).commands)
    cluster.run_until(lambda: len(cluster.machine(away, 0).commands) == last)


def test_who_has_left_does_not_hold_the_cut_any_more() -> None:
    """Nobody takes a further checkpoint: that the members are others cuts the log (seed 508 of members, ZAB)."""
    cluster = cluster_of(4)
    away = next(member for member in cluster.members if member != cluster.leader())
    cluster.kill(away)
    write(cluster, 25)
    cluster.run(200 * MS)
    here = [member for member in cluster.members if member != away]
    claims = [claimed(cluster, member) for member in here]
    assert all(claims)
    assert not any(log_begins_late(cluster, member) for member in here)
    cluster.submit(cluster.leader(), encode_asked(RemoveMember(away)), Work.MEMBERS)
    cluster.run_until(lambda: all(log_begins_late(cluster, member) for member in here))
    assert [claimed(cluster, member) for member in here] == claims


def test_a_new_session_begins_with_what_is_claimed() -> None:
    cluster = cluster_of(2)
    write(cluster, 60)
    cluster.run(100 * MS)
    count = len(cluster.sent)
    cluster.reconnect(1, 2)
    cluster.run(50 * MS)
    told = {sender: each for sender, _, _, each in cluster.sent[count:] if isinstance(each, Checkpointed)}
    assert {member: told[member].index for member in (1, 2)} == {1: claimed(cluster, 1), 2: claimed(cluster, 2)}


def test_after_a_failure_it_is_tried_again_and_nothing_is_left() -> None:
    cluster = cluster_of(1)
    cluster.processes[1].checkpoint_lane.fail()
    write(cluster, 60)
    cluster.run(100 * MS)
    assert checkpoint_of(cluster, 1) is None
    assert NEW_FILE not in cluster.processes[1].disk.names()
    assert "no checkpoint was taken, and the log grows" in cluster.processes[1].notices[-1].text
    cluster.run(500 * MS)
    assert claimed(cluster, 1)


def test_a_copy_may_not_be_what_fills_the_disk() -> None:
    cluster = cluster_of(1)
    cluster.offer(1, DiskSpace(LIMITS.free_bytes_min + 1000))
    write(cluster, 60)
    cluster.run(100 * MS)
    assert checkpoint_of(cluster, 1) is None
    assert "free some room" in cluster.processes[1].notices[-1].text
    cluster.offer(1, DiskSpace(1 << 40))
    cluster.run(500 * MS)
    assert claimed(cluster, 1)


def lose_with_its_store(cluster: Cluster, member: int) -> Disk:
    cluster.processes[member].lose(lambda bound: 0)
    return cluster.processes[member].disk


def test_a_lost_machine_begins_as_its_checkpoint_and_applies_the_rest() -> None:
    cluster = cluster_of(1)
    write(cluster, 70)
    cluster.run(100 * MS)
    assert log_begins_late(cluster, 1)
    before = cluster.machine(1).commands
    lose_with_its_store(cluster, 1)
    cluster.start(1)
    assert 0 < len(cluster.machine(1).commands) <= 70
    cluster.elect()
    assert cluster.machine(1).commands == before


def test_a_store_that_lacks_what_the_log_has_lost_stops_the_node() -> None:
    cluster = cluster_of(1)
    write(cluster, 70)
    cluster.run(100 * MS)
    disk = lose_with_its_store(cluster, 1)
    disk.remove(CHECKPOINT_FILE)
    with pytest.raises(Violation, match=r"StoreBehindLog: .* Put file 'checkpoint' back"):
        cluster.start(1)


def test_machines_of_a_users_own_keep_their_log() -> None:
    cluster = Cluster(size=1, limits=NodeLimits(checkpoint_log_bytes_min=1, checkpoint_entries=1))
    cluster.elect()
    write(cluster, 20)
    cluster.run(100 * MS)
    assert cluster.processes[1]._world.counters["checkpoints"] == 0
    cluster.kill(1)
    cluster.start(1)
    cluster.elect()
    assert len(cluster.machine(1).commands) == 20
