"""Log leases (rule 9): a leader reads alone by what it has written; who is elected next writes later, and reads on."""

from __future__ import annotations

import pytest

from ratified.consensus.contract import Status
from ratified.consensus.engines import ENGINES
from ratified.consensus.paxos.messages import Accept
from ratified.kv import commands, queries
from ratified.kv.store import KvStore
from ratified.node.changes import AddMember, encode_asked
from ratified.node.cluster_table import Readdress, encode_change
from ratified.node.config import NodeLimits
from ratified.node.ports import Cancel, Outcome, Reason, TransferLead, Work
from ratified.wire.etcd.rpc_pb2 import PutRequest, RangeRequest, RangeResponse
from tests.node.cluster import MS, NET_US, SECOND, Cluster

LEASE_US = 80 * MS
DRIFT = 1.25
"""By how much a lease may seem longer or shorter than it is, and more."""


def leased(engine: str, size: int = 3, spares: int = 0, limits: NodeLimits | None = None) -> Cluster:
    return Cluster(size, engine=engine, durable=KvStore, log_lease_us=LEASE_US, spares=spares, limits=limits)


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


def dies_with(cluster: Cluster, token: int) -> None:
    """The leader, in the moment after this request is done. Its followers have the entry, and have not heard that it
    is committed."""
    leader = cluster.leader()
    others = [member for member in cluster.members if member != leader]
    before = status(cluster, leader).commit
    cluster.run_until(lambda: any(status(cluster, other).last > before for other in others))
    cluster.drop = lambda sender, to, group, message: sender == leader
    assert done(cluster, token)
    cluster.kill(leader)
    cluster.drop = lambda sender, to, group, message: False


def writes(cluster: Cluster, key: bytes) -> None:
    """Somebody leads, and all know that this is committed."""
    assert done(cluster, put(cluster, cluster.elect(), key))
    cluster.run(2 * MS)


def dies_with_a_write_of_which_nobody_knows_whether_it_is_committed(cluster: Cluster) -> None:
    """That of ``limbo``; all know of ``old``."""
    writes(cluster, b"old")
    dies_with(cluster, put(cluster, cluster.leader(), b"limbo"))


def elected(cluster: Cluster) -> int:
    """Who leads next."""
    cluster.run_until(lambda: any(leads(cluster, each) for each in alive(cluster)))
    return next(each for each in alive(cluster) if leads(cluster, each))


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
    dies_with_a_write_of_which_nobody_knows_whether_it_is_committed(cluster)
    died = cluster.now
    leader = elected(cluster)
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
    dies_with_a_write_of_which_nobody_knows_whether_it_is_committed(cluster)
    leader = elected(cluster)
    token = get(cluster, leader, b"old")
    cluster.run(NET_US)
    cluster.offer(leader, Cancel(token))
    assert found(cluster, get(cluster, leader, b"old"))


@pytest.mark.parametrize("engine", ENGINES)
def test_in_limbo_nothing_is_read_without_a_quorum(engine: str) -> None:
    """Somebody else may lead by now, and wait no longer."""
    cluster = leased(engine)
    dies_with_a_write_of_which_nobody_knows_whether_it_is_committed(cluster)
    leader = elected(cluster)
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


@pytest.mark.parametrize("engine", ENGINES)
def test_a_member_alone_waits_once_and_goes_on(engine: str) -> None:
    """No heartbeat and no answer wakes it: the end of its wait is a time of its own."""
    cluster = leased(engine, size=1)
    assert done(cluster, put(cluster, cluster.elect(), b"a"))
    cluster.kill(1)
    cluster.start(1)
    began = cluster.now
    assert done(cluster, put(cluster, 1, b"b"))
    assert LEASE_US / DRIFT < cluster.now - began < 4 * LEASE_US


@pytest.mark.parametrize("engine", ENGINES)
def test_who_the_members_are_is_not_told_while_a_change_of_that_is_in_limbo(engine: str) -> None:
    """The table of the cluster is the node's; the store would see nothing in what changes it."""
    cluster = leased(engine)
    writes(cluster, b"old")
    leader = cluster.leader()
    moved = ("http://moved:1",)
    dies_with(cluster, cluster.submit(leader, encode_change(Readdress(leader, moved)), Work.CLUSTER))
    new = elected(cluster)
    token = cluster.submit(new, queries.status(), Work.READ)
    assert cluster.outcome(token).outcome is Outcome.DONE
    assert cluster.node(new).table().members[leader].peer_urls == moved


@pytest.mark.parametrize("engine", ENGINES)
def test_while_a_configuration_is_in_limbo_nothing_is_read(engine: str) -> None:
    """Of whom a round would have to ask is open."""
    cluster = leased(engine, spares=1)
    writes(cluster, b"old")
    leader = cluster.leader()
    (spare,) = (each for each in cluster.processes if each not in cluster.members)
    added = encode_asked(AddMember(spare, (f"http://n{spare:03}",), True))
    dies_with(cluster, cluster.submit(leader, added, Work.MEMBERS))
    died = cluster.now
    assert found(cluster, get(cluster, elected(cluster), b"old"))
    assert cluster.now > died + LEASE_US / DRIFT / 2


@pytest.mark.parametrize("engine", ENGINES)
def test_under_load_whoever_is_handed_the_lead_writes_at_once_too(engine: str) -> None:
    """What says that the lease ends comes behind all that was proposed; and reads that come then write nothing more."""
    cluster = leased(engine)
    leader = cluster.elect()
    other = cluster.follower()
    for number in range(20):
        put(cluster, leader, b"a%d" % number)
    cluster.offer(leader, TransferLead(0, other))
    for _ in range(10):
        get(cluster, leader, b"none")
        cluster.run(100)
    cluster.run_until(lambda: leads(cluster, other), within_us=LEASE_US // 4)
    assert done(cluster, put(cluster, other, b"b", timeout_us=LEASE_US // 4))


def test_paxos_the_end_of_a_lease_that_nobody_chose_ends_none() -> None:
    """A leader's slots were cut off, and the end of its lease with them, above what the next one filled. Whoever found
    both took the higher slot for the last entry, did not wait, and acknowledged what the next one did not read."""
    cluster = leased("paxos")
    first = cluster.elect()
    assert done(cluster, put(cluster, first, b"old"))
    cluster.run(LEASE_US)
    cluster.drop = lambda sender, to, group, message: sender == first and isinstance(message, Accept)
    for number in range(10):
        put(cluster, first, b"junk%d" % number, timeout_us=10 * MS)
        cluster.run(MS)
    cluster.offer(first, TransferLead(0, cluster.follower()))
    cluster.run(2 * MS)
    cluster.isolate(first)
    cluster.drop = lambda sender, to, group, message: False
    cluster.run_until(lambda: cluster.leader() not in (0, first))
    second = cluster.leader()
    third = next(member for member in cluster.members if member not in (first, second))
    cluster.run_until(lambda: not leads(cluster, first))
    cluster.run(LEASE_US // 2)
    assert done(cluster, put(cluster, second, b"x"))
    cluster.run(3 * MS)
    cluster.isolate(second)
    cluster.heal(first, third)
    cluster.run_until(lambda: any(leads(cluster, member) for member in (first, third)))
    fourth = next(member for member in (first, third) if leads(cluster, member))
    assert done(cluster, put(cluster, fourth, b"y"))
    reply = cluster.outcome(get(cluster, second, b"y", timeout_us=5 * MS))
    assert reply.reason is Reason.TIMED_OUT, "its lease is over"


@pytest.mark.parametrize("limits", [NodeLimits(limbo_entries_max=1), NodeLimits(limbo_bytes_max=1)])
def test_more_in_limbo_than_is_looked_at_touches_everything(limits: NodeLimits) -> None:
    cluster = leased("raft", limits=limits)
    writes(cluster, b"old")
    put(cluster, cluster.leader(), b"one")
    dies_with(cluster, put(cluster, cluster.leader(), b"two"))
    died = cluster.now
    assert found(cluster, get(cluster, elected(cluster), b"old"))
    assert cluster.now > died + LEASE_US / DRIFT / 2
