"""Reads that answer in parts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratified.machine import Command, Continuation, Era, Result, Slice, StateMachineStore, Store
from ratified.node.config import NodeLimits
from ratified.node.ports import Cancel, GoOn, Hold, Outcome, Reason, Work
from tests.node.cluster import MS, SECOND, Cluster, Journal


class Tail:
    """Yields every command from the first on: to the present end, or for ever; by a deadline a sign of life."""

    def __init__(self, owner: Tailed, request: bytes) -> None:
        self.owner = owner
        self.for_ever = request == b"follow"
        self.position = 0
        self.progress_at: int | None = None
        self.cancelled = False

    @property
    def deadline(self) -> int | None:
        return self.progress_at

    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        chunks = self.owner.journal.commands[self.position : self.position + rows_max]
        self.position += len(chunks)
        if not chunks and self.for_ever:
            chunks = [b"alive"]
        if self.for_ever:
            self.progress_at = now + 100 * MS
        return Slice(chunks, not self.for_ever and not self.behind)

    @property
    def behind(self) -> bool:
        return self.position < len(self.owner.journal.commands)

    def cancel(self) -> None:
        self.cancelled = True
        self.owner.tails.remove(self)


class Tailed(StateMachineStore):
    def __init__(self) -> None:
        self.journal = Journal()
        super().__init__(self.journal)
        self.tails: list[Tail] = []
        self.fresh: list[Tail] = []

    def apply(self, commands: Sequence[Command], last_index: int, era: Era) -> Sequence[Result]:
        return super().apply(commands, last_index, era)

    def read(self, now: int, request: bytes) -> bytes | Continuation:
        tail = Tail(self, request)
        self.tails.append(tail)
        return tail

    def woken(self, now: int) -> Sequence[Continuation]:
        return [tail for tail in self.tails if tail.behind]


def tailed(member: int, group: int) -> Store:
    return Tailed()


def store(cluster: Cluster, member: int) -> Tailed:
    found = cluster.processes[member].stores[0]
    assert isinstance(found, Tailed)
    return found


def chunks(cluster: Cluster, token: int) -> list[bytes]:
    return [reply.data for reply in cluster.replies[token] if reply.outcome is Outcome.CHUNK]


def test_a_long_answer_comes_in_slices_and_ends() -> None:
    cluster = Cluster(open_store=tailed, limits=NodeLimits(slice_rows_max=2, slices_max=1))
    leader = cluster.elect()
    for number in range(7):
        cluster.propose(leader, b"%d" % number)
    token = cluster.submit(leader, b"", Work.READ)
    assert cluster.outcome(token).outcome is Outcome.DONE
    assert chunks(cluster, token) == [b"%d" % number for number in range(7)]


def test_a_watch_yields_what_is_applied_and_outlives_its_requests_deadline() -> None:
    cluster = Cluster(open_store=tailed)
    leader = cluster.elect()
    cluster.propose(leader, b"a")
    token = cluster.submit(leader, b"follow", Work.READ, timeout_us=100 * MS)
    cluster.run(50 * MS)
    assert chunks(cluster, token) == [b"a"]
    cluster.propose(leader, b"b")
    cluster.run(10 * MS)
    assert chunks(cluster, token) == [b"a", b"b"]
    cluster.run(SECOND)
    assert not cluster.ended(token)
    assert chunks(cluster, token)[2:] == [b"alive"] * len(chunks(cluster, token)[2:])
    assert 8 <= len(chunks(cluster, token)) <= 12, "one sign of life each 100 ms"


def test_slices_of_one_turn_are_bounded_and_every_stream_gets_its_turn() -> None:
    cluster = Cluster(open_store=tailed, limits=NodeLimits(slices_max=1))
    leader = cluster.elect()
    tokens = [cluster.submit(leader, b"follow", Work.READ) for _ in range(3)]
    cluster.run(20 * MS)
    cluster.propose(leader, b"a")
    cluster.run(10 * MS)
    for token in tokens:
        assert chunks(cluster, token) == [b"a"]


def test_a_cancelled_stream_is_let_go() -> None:
    cluster = Cluster(open_store=tailed)
    leader = cluster.elect()
    token = cluster.submit(leader, b"follow", Work.READ_LOCAL)
    cluster.run(20 * MS)
    (tail,) = store(cluster, leader).tails
    cluster.offer(leader, Cancel(token))
    cluster.propose(leader, b"a")
    cluster.run(SECOND)
    assert tail.cancelled
    assert cluster.replies[token] == []
    assert cluster.node(leader).status().open_requests == 0


def test_streams_are_bounded() -> None:
    cluster = Cluster(open_store=tailed, limits=NodeLimits(streams_max=1))
    leader = cluster.elect()
    first, second = (cluster.submit(leader, b"follow", Work.READ_LOCAL) for _ in range(2))
    reply = cluster.outcome(second)
    assert (reply.outcome, reply.reason) == (Outcome.REFUSED, Reason.OVERLOADED)
    cluster.offer(leader, Cancel(first))
    third = cluster.submit(leader, b"follow", Work.READ_LOCAL)
    cluster.run(20 * MS)
    assert not cluster.ended(third)


@pytest.mark.parametrize("work", list(Work))
@pytest.mark.parametrize("data", [b"short", b"follow", bytes(11)])
@pytest.mark.parametrize("timeout_us", [0, SECOND])
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_request_gives_its_room_back_however_it_ends(
    work: Work, data: bytes, timeout_us: int, cancelled: bool
) -> None:
    limits = NodeLimits(open_requests_max=3, open_bytes_max=12, request_bytes_max=12, streams_max=1)
    cluster = Cluster(size=1, open_store=tailed, limits=limits)
    leader = cluster.elect()
    for _ in range(3):
        token = cluster.submit(leader, data, work, timeout_us)
        if cancelled:
            cluster.run(1)
            cluster.offer(leader, Cancel(token))
        cluster.run(20 * MS)
    first, second, third = (cluster.submit(leader, each) for each in (b"123456", b"789012", b"3"))
    assert cluster.outcome(third).reason is Reason.OVERLOADED
    assert cluster.outcome(first).outcome is cluster.outcome(second).outcome is Outcome.DONE


def test_a_held_stream_yields_nothing_and_then_everything_in_order() -> None:
    cluster = Cluster(open_store=tailed)
    leader = cluster.elect()
    held, other = (cluster.submit(leader, b"follow", Work.READ_LOCAL) for _ in range(2))
    cluster.propose(leader, b"a")
    cluster.run(10 * MS)
    cluster.offer(leader, Hold((held, 12345)))
    cluster.run(10 * MS)
    before = chunks(cluster, held)
    cluster.propose(leader, b"b")
    cluster.run(SECOND)
    assert chunks(cluster, held) == before, "neither commands nor its deadline advance it"
    assert b"b" in chunks(cluster, other)
    cluster.offer(leader, GoOn((held, 12345)))
    cluster.run(1)  # at once: nothing else has to happen on this node
    assert [chunk for chunk in chunks(cluster, held) if chunk != b"alive"] == [b"a", b"b"]


def test_a_held_stream_can_be_cancelled() -> None:
    cluster = Cluster(open_store=tailed)
    leader = cluster.elect()
    token = cluster.submit(leader, b"follow", Work.READ_LOCAL)
    cluster.run(20 * MS)
    (tail,) = store(cluster, leader).tails
    for entered in (Hold((token,)), Cancel(token), GoOn((token,))):
        cluster.offer(leader, entered)
    cluster.propose(leader, b"a")
    cluster.run(SECOND)
    assert tail.cancelled
    assert b"a" not in chunks(cluster, token)


def test_the_streams_of_one_turn_share_the_rows_and_bytes_that_it_may_read() -> None:
    cluster = Cluster(open_store=tailed, limits=NodeLimits(slice_rows_max=6, slice_bytes_max=600))
    leader = cluster.elect()
    for number in range(12):
        cluster.propose(leader, b"%d" % number)
    read: list[tuple[int, int]] = []
    advance = Tail.advance

    def counted(tail: Tail, now: int, rows_max: int, bytes_max: int) -> Slice:
        read.append((rows_max, bytes_max))
        return advance(tail, now, rows_max, bytes_max)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tail, "advance", counted)
        tokens = [cluster.submit(leader, b"", Work.READ_LOCAL) for _ in range(3)]
        for token in tokens:
            assert cluster.outcome(token).outcome is Outcome.DONE
    assert read[:6] == [(2, 200)] * 6, "three of them, two rows and 200 bytes each"
    assert all(chunks(cluster, token) == [b"%d" % number for number in range(12)] for token in tokens)
