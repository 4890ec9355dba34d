"""Log leases (rule 9): a leader reads alone by what it has written; who is elected next writes later, and reads on."""

from __future__ import annotations

import pytest

from ratified.consensus.contract import Status
from ratified.consensus.engines import ENGINES
from ratified.kv import commands, queries
from ratified.kv.store import KvStore
from ratified.node.ports import Cancel, Outcome, Reason, TransferLead, Work
from ratified.wire.etcd.rpc_pb2 import PutRequest, RangeRequest, RangeResponse
from tests.node.cluster import MS, NET_US, SECOND, Cluster

LEASE_US = 80 * MS
DRIFT = 1.25
"""By how much a lease may seem longer or shorter than it is, and more."""


def leased(engine: str, size: int = 3) -> Cluster:
    return Cluster(size, engine=engine, durable=KvStore, log_lease_us=LEASE_US)


def put(cluster: Cluster, member: int, key: bytes, timeout_us: int = SECOND) -> int:
    request = PutRequest(key=key, value=b"v").SerializeToString()
    return cluster.submit(member, commands.put(request), timeout_us=timeout_us)


def get(cluster: Cluster, member: int, key: bytes, timeout_us: int = SECOND) -> int:
    request = RangeRequest(key=key).SerializeToString()
    return cluster.submit(member, queries.range_(request), Work.READ, timeout_us=timeout_us)


def found(cluster: Cluster, token: int) -> bool:
    reply = cluster.outcome(token)
    assert reply.outcome is Outcome.DONE, reply
    return bool(RangeResponse.FromString(reply.data[1:]).kvs)


def done(cluster: Cluster, token: int) -> bool:
    return cluster.outcome(token).outcome is Outcome.DONE


def status(cluster: Cluster, member: int) -> Status:
    return cluster.node(member).status().groups[0].engine


def leads(cluster: Cluster, member: int) -> bool:
    return status(cluster, member).leader == member


def dies_with_a_write_of_which_nobody_knows_whether_it_is_committed(cluster: Cluster, key: bytes) -> None:
    """Its followers have it, and have not heard that it is committed; its client has."""
    leader = cluster.leader()
    token = put(cluster, leader, key)
    others = [member for member in cluster.members if member != leader]
    before = status(cluster, leader).last
    cluster.run_until(lambda: any(status(cluster, other).last > before for other in others))
    cluster.drop = lambda sender, to, group, message: sender == leader
    assert done(cluster, token)
    cluster.kill(leader)
    cluster.drop = lambda sender, to, group, message: False


@pytest.mark.parametrize("engine", ENGINES)
def test_a_leader_reads_alone_by_what_it_has_written(engine: str) -> None:
    cluster = leased(engine)
    leader = cluster.elect()
    assert done(cluster, put(cluster, leader, b"a"))
    cluster.isolate(leader)
    asked = cluster.now
    while cluster.now < asked + LEASE_US / DRIFT / 2:
        assert found(cluster, get(cluster, leader, b"a"))
        cluster.run(MS)
    cluster.run(LEASE_US)
    reply = cluster.outcome(get(cluster, leader, b"a", timeout_us=10 * MS))
    assert (reply.outcome, reply.reason) == (Outcome.REFUSED, Reason.TIMED_OUT), "nobody confirms it any more"


@pytest.mark.parametrize("engine", ENGINES)
def test_while_reads_come_an_idle_leader_writes_something_to_read_by(engine: str) -> None:
    cluster = leased(engine)
    leader = cluster.elect()
    assert done(cluster, put(cluster, leader, b"a"))
    cluster.run(SECOND)
    last = status(cluster, leader).last
    assert found(cluster, get(cluster, leader, b"a"))
    assert status(cluster, leader).last == last, "one read is none"
    began, rounds = cluster.now, 0
    while cluster.now < began + SECOND:
        asked = cluster.now
        assert found(cluster, get(cluster, leader, b"a"))
        rounds += cluster.now > asked
        cluster.run(5 * MS)
    entries = status(cluster, leader).last - last
    assert entries <= SECOND / LEASE_US * 3
    assert rounds <= 3, "all others were answered at once"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("at", ["leader", "follower"])
def test_after_its_death_the_next_one_reads_at_once_and_writes_when_the_lease_is_over(engine: str, at: str) -> None:
    cluster = leased(engine)
    cluster.elect()
    assert done(cluster, put(cluster, cluster.leader(), b"old"))
    cluster.run(2 * MS)
    dies_with_a_write_of_which_nobody_knows_whether_it_is_committed(cluster, b"limbo")
    died = cluster.now
    cluster.run_until(lambda: any(leads(cluster, each) for each in alive(cluster)))
    leader = next(each for each in alive(cluster) if leads(cluster, each))
    member = leader if at == "leader" else next(each for each in alive(cluster) if each != leader)
    write, touched = put(cluster, member, b"new"), get(cluster, member, b"limbo")
    assert found(cluster, get(cluster, member, b"old"))
    assert not found(cluster, get(cluster, member, b"none"))
    assert cluster.now < died + LEASE_US / DRIFT / 2
    assert not cluster.ended(write)
    assert not cluster.ended(touched)
    assert found(cluster, touched)
    assert done(cluster, write)
    assert died + LEASE_US / DRIFT < cluster.answered_at[write] < died + LEASE_US * DRIFT


def alive(cluster: Cluster) -> list[int]:
    return [member for member in cluster.members if cluster.processes[member].up]


def test_a_read_that_was_given_up_meanwhile_is_no_trouble() -> None:
    """A log-lease world of Paxos, seed 2: what had ended, and asks for nothing any more, was judged."""
    cluster = leased("raft")
    cluster.elect()
    assert done(cluster, put(cluster, cluster.leader(), b"old"))
    cluster.run(2 * MS)
    dies_with_a_write_of_which_nobody_knows_whether_it_is_committed(cluster, b"limbo")
    cluster.run_until(lambda: any(leads(cluster, each) for each in alive(cluster)))
    leader = next(each for each in alive(cluster) if leads(cluster, each))
    token = get(cluster, leader, b"old")
    cluster.run(NET_US)
    cluster.offer(leader, Cancel(token))
    assert found(cluster, get(cluster, leader, b"old"))


@pytest.mark.parametrize("engine", ENGINES)
def test_in_limbo_nothing_is_read_without_a_quorum(engine: str) -> None:
    """Somebody else may lead by now, and wait no longer."""
    cluster = leased(engine)
    cluster.elect()
    assert done(cluster, put(cluster, cluster.leader(), b"old"))
    cluster.run(2 * MS)
    dies_with_a_write_of_which_nobody_knows_whether_it_is_committed(cluster, b"limbo")
    cluster.run_until(lambda: any(leads(cluster, each) for each in alive(cluster)))
    leader = next(each for each in alive(cluster) if leads(cluster, each))
    assert found(cluster, get(cluster, leader, b"old"))
    cluster.isolate(leader)
    reply = cluster.outcome(get(cluster, leader, b"old", timeout_us=20 * MS))
    assert leads(cluster, leader)
    assert reply.reason is Reason.TIMED_OUT


@pytest.mark.parametrize("engine", ENGINES)
def test_whoever_is_handed_the_lead_writes_at_once(engine: str) -> None:
    cluster = leased(engine)
    leader = cluster.elect()
    assert done(cluster, put(cluster, leader, b"a"))
    other = cluster.follower()
    cluster.offer(leader, TransferLead(0, other))
    cluster.run_until(lambda: leads(cluster, other), within_us=LEASE_US // 4)
    assert done(cluster, put(cluster, other, b"b", timeout_us=LEASE_US // 4))


@pytest.mark.parametrize("engine", ENGINES)
def test_where_nothing_came_for_a_lease_nobody_waits(engine: str) -> None:
    cluster = leased(engine)
    leader = cluster.elect()
    assert done(cluster, put(cluster, leader, b"a"))
    cluster.run(2 * LEASE_US)
    cluster.kill(leader)
    cluster.run_until(lambda: any(leads(cluster, each) for each in alive(cluster)))
    elected = cluster.now
    assert done(cluster, put(cluster, next(iter(alive(cluster))), b"b"))
    assert cluster.now < elected + LEASE_US // 4


@pytest.mark.parametrize("engine", ENGINES)
def test_a_leader_that_was_cut_off_reads_nothing_that_is_stale(engine: str) -> None:
    """It reads on for a lease; nothing is acknowledged elsewhere before that is over."""
    cluster = leased(engine)
    leader = cluster.elect()
    assert done(cluster, put(cluster, leader, b"a"))
    cluster.isolate(leader)
    others = [member for member in cluster.members if member != leader]
    write = put(cluster, others[0], b"b", timeout_us=5 * SECOND)
    answered = 0
    while not cluster.ended(write):
        read = get(cluster, leader, b"b", timeout_us=2 * MS)
        reply = cluster.outcome(read)
        if reply.outcome is Outcome.DONE:
            answered += 1
            assert not cluster.ended(write)
        cluster.run(MS)
    assert answered > 5
    read = get(cluster, leader, b"b", timeout_us=50 * MS)
    assert cluster.outcome(read).reason is Reason.TIMED_OUT
