"""The turn: what waits for the disk, what fails, what is refused, how it ends."""

from __future__ import annotations

import pytest

from ratified.consensus.contract import Send
from ratified.consensus.raft.messages import HeartbeatResponse
from ratified.node.changes import RemoveMember, encode_asked
from ratified.node.cluster_table import Publish, encode_change
from ratified.node.config import NodeLimits
from ratified.node.peers import PeerSessions
from ratified.node.ports import Close, DiskSpace, JobDone, Outcome, Reason, Received, Request, Work
from ratified.node.replica import Replica
from ratified.wire.peer import Batch, Goodbye, Ping
from tests.node.cluster import MS, SECOND, Cluster

WORK_DATA = {Work.MEMBERS: encode_asked(RemoveMember(1)), Work.CLUSTER: encode_change(Publish(1, "a", ()))}
"""What asks for something; other work takes any bytes."""


def replica(cluster: Cluster, member: int) -> Replica:
    return cluster.node(member)._replicas[0]


def peers(cluster: Cluster, member: int) -> PeerSessions:
    return cluster.node(member)._peers


def test_what_claims_durability_leaves_when_its_write_is_durable() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    follower = cluster.follower()
    for member in cluster.members:
        if member not in (leader, follower):
            cluster.kill(member)
    cluster.hold_disk(follower)
    token = cluster.submit(leader, b"a")
    cluster.run(100 * MS)
    assert not cluster.ended(token), "the follower's acknowledgement waits for its disk"
    cluster.release_disk(follower)
    assert cluster.outcome(token).outcome is Outcome.DONE


def test_a_held_message_is_dropped_with_its_session() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    follower = cluster.follower()
    cluster.hold_disk(follower)
    cluster.submit(leader, b"a")
    cluster.run(20 * MS)
    held = [message for waiting in replica(cluster, follower)._awaiting_write for _, message in waiting.messages]
    assert held
    cluster.drop = lambda sender, to, group, message: {sender, to} == {leader, follower}
    cluster.reconnect(leader, follower)
    cluster.run(5 * MS)
    count = len(cluster.sent)
    cluster.release_disk(follower)
    cluster.run(3 * MS)
    assert not [message for _, _, _, message in cluster.sent[count:] if any(message is one for one in held)]


def test_what_waits_for_no_write_leaves_at_once() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    other = cluster.follower()
    found = replica(cluster, leader)
    found._observer = None  # its engine asks for none of what follows
    session = peers(cluster, leader).session(other)
    assert session is not None
    found._send_when_durable(found._durable_ticket, [Send(other, HeartbeatResponse(1, 0))])
    found._send_when_durable(found._durable_ticket + 1, [Send(other, HeartbeatResponse(2, 0))])
    assert session.queue.take(cluster.now) == [Batch([(0, HeartbeatResponse(1, 0))])]


def test_an_exception_in_apply_stops_every_replica_that_meets_it_and_no_other_group() -> None:
    cluster = Cluster(groups=(0, 1))
    leader = cluster.elect(0)
    cluster.elect(1)
    assert cluster.propose(leader, b"a").outcome is Outcome.DONE
    reply = cluster.outcome(cluster.submit(leader, b"boom"))
    assert (reply.outcome, reply.reason) == (Outcome.UNKNOWN, Reason.GROUP_STOPPED)
    cluster.run(SECOND)
    met = [member for member in cluster.members if cluster.node(member).status().groups[0].stopped is not None]
    assert leader in met
    assert len(met) == 2, "the next leader met it too; the last one is no majority and commits nothing"
    for member in met:
        (notice,) = (notice for notice in cluster.processes[member].notices if notice.group == 0)
        assert not notice.fatal
        assert notice.text == (
            "group 0 has stopped on this node: applying the entry with index 3 raised "
            "ZeroDivisionError: boom was applied"
        )
        assert cluster.machine(member, 0).commands == [b"a"]
        for work in Work:
            stopped = cluster.outcome(cluster.submit(member, WORK_DATA.get(work, b"x"), work))
            assert (stopped.outcome, stopped.reason) == (Outcome.REFUSED, Reason.GROUP_STOPPED)
    for member in cluster.members:
        assert cluster.outcome(cluster.submit(member, b"b", group=1)).outcome is Outcome.DONE


def test_a_stopped_replica_meets_the_same_entry_again_after_a_restart() -> None:
    cluster = Cluster(size=1)
    cluster.elect()
    cluster.outcome(cluster.submit(1, b"boom"))
    cluster.kill(1)
    cluster.start(1)
    cluster.run(SECOND)
    assert cluster.node(1).status().groups[0].stopped is not None


def test_a_failed_disk_is_fatal_and_nothing_leaves_any_more() -> None:
    cluster = Cluster(size=1)
    cluster.elect()
    cluster.hold_disk(1)
    cluster.submit(1, b"a")
    cluster.run(MS)
    (job,) = cluster.jobs(1)
    node = cluster.node(1)
    node.offer(JobDone(job.id, [], "fdatasync of 0000000001.log: Input/output error"))
    outputs = node.turn(cluster.now, 64)
    assert [notice.fatal for notice in outputs.notices] == [True]
    assert "Input/output error" in outputs.notices[0].text
    node.offer(Request(99, 0, Work.PROPOSE, b"b", cluster.now + SECOND))
    outputs = node.turn(cluster.now, 64)
    assert (outputs.jobs, outputs.frames, outputs.replies) == ((), (), ())


def test_a_full_disk_refuses_proposals_and_still_serves_reads() -> None:
    cluster = Cluster(size=1)
    cluster.elect()
    cluster.propose(1, b"a")
    cluster.offer(1, DiskSpace(0))
    reply = cluster.propose(1, b"b")
    assert (reply.outcome, reply.reason) == (Outcome.REFUSED, Reason.NO_SPACE)
    assert cluster.outcome(cluster.submit(1, b"", Work.READ)).data == b"a"
    cluster.offer(1, DiskSpace(1))
    cluster.offer(1, DiskSpace(1 << 40))
    assert cluster.propose(1, b"c").outcome is Outcome.DONE
    said = [notice.text for notice in cluster.processes[1].notices if "disk" in notice.text]
    assert ["are refused" in text for text in said] == [True, False], "an operator is told once, and when it is over"


def test_a_request_for_an_unknown_group_is_refused() -> None:
    cluster = Cluster(size=1)
    reply = cluster.outcome(cluster.submit(1, b"a", group=5))
    assert (reply.outcome, reply.reason) == (Outcome.REFUSED, Reason.NO_GROUP)


def test_what_does_not_fit_is_refused_at_once_and_one_always_fits() -> None:
    cluster = Cluster(size=1, limits=NodeLimits(open_requests_max=1, open_bytes_max=1, request_bytes_max=10))
    cluster.elect()
    first, second = cluster.submit(1, b"larger"), cluster.submit(1, b"b")
    large = cluster.submit(1, bytes(11))
    assert cluster.outcome(second).reason is Reason.OVERLOADED
    assert cluster.outcome(large).reason is Reason.TOO_LARGE
    assert cluster.outcome(first).outcome is Outcome.DONE
    assert cluster.propose(1, b"c").outcome is Outcome.DONE


def test_a_peer_that_sends_faster_than_turns_take_loses_its_session() -> None:
    cluster = Cluster(limits=NodeLimits(peer_frames_max=2))
    leader = cluster.elect()
    follower = cluster.follower()
    session = peers(cluster, leader).session(follower)
    assert session is not None
    for _ in range(3):
        cluster.node(leader).offer(Received(session.connection, Ping()))
    outputs = cluster.node(leader).turn(cluster.now, 64)
    assert [hangup.connection for hangup in outputs.closes] == [session.connection]
    assert "peer_frames_max" in outputs.closes[0].reason


def test_frames_that_wait_keep_their_connection_however_late_a_turn_is() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    node = cluster.node(leader)
    waits, silent = (
        session.connection
        for member in cluster.members
        if member != leader and (session := peers(cluster, leader).session(member)) is not None
    )
    node.offer(Received(waits, Ping()))
    outputs = node.turn(cluster.now + SECOND, 0)
    assert [hangup.connection for hangup in outputs.closes] == [silent]


def test_a_group_that_was_refused_credit_has_its_turn_once_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    leader = cluster.elect()
    session = peers(cluster, leader).session(cluster.follower())
    assert session is not None
    node, queue = cluster.node(leader), session.queue
    prepared: list[int] = []

    def prepare(replica: Replica, now: int) -> None:
        replica.again = False
        prepared.append(replica.group)

    monkeypatch.setattr(Replica, "prepare", prepare)
    queue.waiting_bytes += queue.window
    assert not queue.has_credit(0)
    node.turn(cluster.now, 0)
    prepared.clear()
    node.turn(cluster.now, 0)
    assert prepared == []
    queue.waiting_bytes -= queue.window
    for _ in range(2):
        node.turn(cluster.now, 0)
        assert prepared == [0]


def test_frames_for_groups_that_are_not_here_are_dropped() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    session = peers(cluster, leader).session(cluster.follower())
    assert session is not None
    cluster.offer(leader, Received(session.connection, Batch([(77, None)])))
    cluster.run(10 * MS)
    assert cluster.propose(leader, b"a").outcome is Outcome.DONE


def test_one_batch_per_peer_and_turn() -> None:
    cluster = Cluster(groups=(0, 1, 2))
    for group in (0, 1, 2):
        cluster.elect(group)
    leader = cluster.leader(0)
    for number in range(5):
        cluster.node(leader).offer(Request(100 + number, number % 3, Work.READ, b"", cluster.now + SECOND))
        cluster.replies[100 + number] = []
    outputs = cluster.node(leader).turn(cluster.now, 64)
    connections = [outgoing.connection for outgoing in outputs.frames]
    assert len(connections) == len(set(connections))


def test_closing_ends_every_request_and_makes_durable_what_was_written() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    addressed = cluster.submit(leader, b"a")
    cluster.run(0)
    cluster.hold_disk(leader)
    waiting = cluster.submit(leader, b"", Work.READ)
    cluster.run(0)
    cluster.offer(leader, Close())
    late = cluster.submit(leader, b"late")
    cluster.run(0)
    assert cluster.outcome(addressed).reason is Reason.STOPPING
    assert cluster.outcome(addressed).outcome is Outcome.UNKNOWN
    for token in (waiting, late):
        assert (cluster.outcome(token).outcome, cluster.outcome(token).reason) == (Outcome.REFUSED, Reason.STOPPING)
    assert any(isinstance(frame, Goodbye) for _, _, frame in cluster.frames)
    cluster.release_disk(leader)
    cluster.run_until(lambda: not cluster.processes[leader].up)
    for member in cluster.members:
        if member != leader:
            cluster.kill(member)
    cluster.kill(leader)
    for member in cluster.members:
        cluster.start(member)
    cluster.elect()


@pytest.mark.parametrize("inputs_max", [1, 3])
def test_timers_and_peers_come_before_clients(inputs_max: int) -> None:
    cluster = Cluster(size=1)
    cluster.elect()
    cluster.hold_disk(1)
    cluster.submit(1, b"a")
    cluster.run(MS)
    node = cluster.node(1)
    for number in range(5):
        node.offer(Request(200 + number, 0, Work.READ_LOCAL, b"", cluster.now + SECOND))
    cluster.release_disk(1)
    cluster.run_until(lambda: bool(node._urgent))
    outputs = node.turn(cluster.now, inputs_max)
    answered = [reply.token for reply in outputs.replies]
    assert len([token for token in answered if token >= 200]) == inputs_max - 1
    assert 1 in answered, "the proposal became durable and was applied first"
