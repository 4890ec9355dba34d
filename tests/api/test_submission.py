"""What is asked of the host without a task: how long it may take, and the quota before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from ratified.api import kv
from ratified.api.service import SIZE_AGE_S_MAX, Service
from ratified.api.submission import Caller, Pending, Submission
from ratified.kv.encoding import FAILED, OK
from ratified.kv.errors import EtcdError
from ratified.runtime import Host, Outcome, Reason, Reply, Work
from ratified.wire.etcd import errors, rpc_pb2
from ratified.wire.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest

QUOTA_BYTES = 1000
NO_SPACE_OF_1 = "memberID:1 alarm:NOSPACE "
PUT = Submission(Work.PROPOSE, b"a put", grows=True)


class AskedHost:
    """Keeps what was asked, and answers nothing by itself."""

    cluster = member = 1
    open_requests = 1000, 0
    all_know_alarms = False

    def __init__(self) -> None:
        self.asked: list[tuple[Work, int, Pending]] = []
        self.cancelled: list[int] = []

    def submit(self, work: Work, group: int, data: bytes, timeout_us: int, on_reply: Pending) -> int:
        self.asked.append((work, timeout_us, on_reply))
        return len(self.asked)

    @property
    def works(self) -> list[Work]:
        return [work for work, _, _ in self.asked]

    def cancel(self, token: int) -> None:
        self.cancelled.append(token)

    def leader(self) -> int:
        return 1

    def raft_term(self) -> int:
        return 1

    def all_speak(self, version: int) -> bool:
        return self.all_know_alarms


class Told(Caller):
    def __init__(self) -> None:
        self.what: list[bytes | str] = []

    def answered(self, message: bytes) -> None:
        self.what.append(message)

    def answered_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        self.what.append(b"".join(parts))

    def failed(self, error: EtcdError) -> None:
        self.what.append(error.text)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.host = AskedHost()
        loop = type("Loop", (), {"time": self.clock})
        monkeypatch.setattr("asyncio.get_running_loop", lambda: loop)
        self.service = Service(
            cast(Host, self.host),
            election_timeout_s=1,
            request_bytes_max=1000,
            quota_bytes=QUOTA_BYTES,
            lease_ttl_min_s=1,
        )

    def answer(self, number: int, reply: Reply) -> None:
        self.host.asked[number][2](reply)

    def size(self, number: int, size_bytes: int, *errors: str) -> None:
        status = rpc_pb2.StatusResponse(dbSize=size_bytes, errors=errors).SerializeToString()
        self.answer(number, Reply(number, Outcome.DONE, OK + status))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_a_request_has_the_time_that_its_client_gives_and_no_more_than_etcds(world: World) -> None:
    for given, has in ((None, 7_000_000), (300_000, 300_000), (60_000_000, 7_000_000)):
        world.service.submit(Submission(Work.READ, b""), given, Told())
        assert world.host.asked[-1][1] == pytest.approx(has, abs=1)


def test_what_waits_for_the_stores_size_has_waited(world: World) -> None:
    told = Told()
    world.service.submit(PUT, 3_000_000, told)
    world.service.submit(PUT, None, told)
    assert world.host.works == [Work.READ_LOCAL], "it is asked for once"
    world.clock.now_s += 2
    world.size(0, QUOTA_BYTES)
    assert world.host.works[1:] == [Work.PROPOSE, Work.PROPOSE]
    assert [timeout for _, timeout, _ in world.host.asked[1:]] == pytest.approx([1_000_000, 5_000_000], abs=1)
    world.service.submit(PUT, None, told)
    assert world.host.works[3:] == [Work.PROPOSE], "a size is good for a while"
    world.clock.now_s += SIZE_AGE_S_MAX
    for _ in range(2):
        world.service.submit(PUT, None, told)
    assert world.host.works[4:] == [Work.PROPOSE, Work.READ_LOCAL, Work.PROPOSE], "it is asked for anew, beside them"


def test_after_a_while_in_which_nobody_wrote_the_next_write_waits_for_the_size(world: World) -> None:
    told = Told()
    world.service.submit(PUT, None, told)
    world.size(0, QUOTA_BYTES)
    world.clock.now_s += 2 * SIZE_AGE_S_MAX
    world.service.submit(PUT, None, told)
    assert world.host.works[1:] == [Work.PROPOSE, Work.READ_LOCAL]
    world.size(2, QUOTA_BYTES + 1)
    assert told.what == [errors.NO_SPACE.text]


def test_a_store_that_was_too_large_is_looked_at_anew_before_a_write_is_refused(world: World) -> None:
    told = Told()
    world.service.submit(PUT, None, told)
    world.size(0, QUOTA_BYTES + 1)
    world.clock.now_s += SIZE_AGE_S_MAX
    world.service.submit(PUT, None, told)
    assert world.host.works == [Work.READ_LOCAL, Work.READ_LOCAL]
    world.size(1, QUOTA_BYTES)
    assert told.what == [errors.NO_SPACE.text]
    assert world.host.works[2:] == [Work.PROPOSE]


def test_where_the_store_is_too_large_nothing_begins_that_makes_it_grow(world: World) -> None:
    told = Told()
    for _ in range(2):
        world.service.submit(PUT, None, told)
    world.size(0, QUOTA_BYTES + 1)
    world.service.submit(PUT, None, told)
    assert told.what == [errors.NO_SPACE.text] * 3
    world.service.submit(Submission(Work.PROPOSE, b"a delete"), None, told)
    assert world.host.works == [Work.READ_LOCAL, Work.PROPOSE]


def test_a_full_member_raises_its_alarm_once(world: World) -> None:
    world.host.all_know_alarms = True
    told = Told()
    world.service.submit(PUT, None, told)
    world.size(0, QUOTA_BYTES + 1)
    assert world.host.works == [Work.READ_LOCAL, Work.PROPOSE], "the alarm"
    for number in (2, 3):
        world.clock.now_s += SIZE_AGE_S_MAX
        world.service.submit(PUT, None, told)
        world.size(number, QUOTA_BYTES + 1)
    assert world.host.works[2:] == [Work.READ_LOCAL] * 2, "it is under way"
    world.answer(1, Reply(1, Outcome.UNKNOWN, b""))
    for number, errors_ in ((4, ["memberID:2 alarm:NOSPACE ", "memberID:1 alarm:CORRUPT "]), (6, [NO_SPACE_OF_1])):
        world.clock.now_s += SIZE_AGE_S_MAX
        world.service.submit(PUT, None, told)
        world.size(number, QUOTA_BYTES + 1, *errors_)
        if number == 4:
            world.answer(5, Reply(5, Outcome.DONE, OK))
    assert world.host.works[4:] == [Work.READ_LOCAL, Work.PROPOSE, Work.READ_LOCAL], "again, and then it stands"
    assert told.what == [errors.NO_SPACE.text] * 5


def test_where_the_size_cannot_be_known_nothing_begins_either(world: World) -> None:
    told = Told()
    world.service.submit(PUT, None, told)
    world.answer(0, Reply(0, Outcome.REFUSED, b"", Reason.STOPPING))
    assert told.what == [errors.STOPPED.text]
    assert len(world.host.asked) == 1


def test_what_is_cancelled_while_it_waits_for_the_size_never_begins(world: World) -> None:
    told = Told()
    world.service.cancel(world.service.submit(PUT, None, told))
    world.size(0, 0)
    assert len(world.host.asked) == 1
    begun = world.service.submit(PUT, None, told)
    world.service.cancel(begun)
    assert world.host.cancelled == [begun.token]
    assert told.what == []


def test_each_end_of_a_request_is_told_in_etcds_words(world: World) -> None:
    read, write = Submission(Work.READ, b""), Submission(Work.PROPOSE, b"")
    failed = FAILED + bytes([errors.LEASE_NOT_FOUND.code]) + errors.LEASE_NOT_FOUND.text.encode()
    for submission, reply, text in (
        (read, Reply(0, Outcome.UNKNOWN, b"", Reason.STOPPING), errors.STOPPED.text),
        (write, Reply(0, Outcome.UNKNOWN, b"", Reason.STOPPING), errors.TIMEOUT_DUE_TO_LEADER_FAIL.text),
        (write, Reply(0, Outcome.REFUSED, b"", Reason.NO_LEADER), errors.NO_LEADER.text),
        (write, Reply(0, Outcome.DONE, failed), errors.LEASE_NOT_FOUND.text),
    ):
        told = Told()
        world.service.submit(submission, None, told)
        world.answer(-1, reply)
        assert told.what == [text]


RANGE = RequestOp(request_range=RangeRequest(key=b"k"))
NESTED = RequestOp(request_txn=TxnRequest(failure=[RANGE]))
PLAIN_PUT = RequestOp(request_put=PutRequest(key=b"k"))
PLAIN_DELETE = RequestOp(request_delete_range=DeleteRangeRequest(key=b"d"))


@pytest.mark.parametrize(
    ("operations", "is_so"),
    [
        ([PLAIN_PUT, PLAIN_DELETE], False),
        ([PLAIN_PUT, RANGE], True),
        ([PLAIN_PUT, NESTED], True),
        ([RequestOp(request_put=PutRequest(key=b"k", prev_kv=True))], True),
        ([RequestOp(request_delete_range=DeleteRangeRequest(key=b"k", prev_kv=True))], True),
    ],
)
def test_a_write_that_answers_with_pairs_is_known_before_it_begins(operations: list[RequestOp], is_so: bool) -> None:
    for request in (TxnRequest(success=operations), TxnRequest(failure=operations)):
        submission = kv.txn(request, b"")
        assert submission.work is Work.PROPOSE
        assert submission.answers_much == is_so
    assert kv.put(PutRequest(key=b"k", prev_kv=True), b"").answers_much
    assert not kv.put(PutRequest(key=b"k"), b"").answers_much
    assert kv.delete_range(DeleteRangeRequest(key=b"k", prev_kv=True), b"").answers_much
