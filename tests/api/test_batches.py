"""Puts and gets that come together go to the host together, and each is answered as if it had come alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from ratified.api import batches
from ratified.api.batches import Batches
from ratified.api.kv import put_undecoded, range_undecoded
from ratified.api.submission import Pending, Submission
from ratified.kv import commands, queries
from ratified.kv.encoding import failure, header_only
from ratified.kv.errors import EtcdError
from ratified.kv.plain import join_answers
from ratified.runtime import Host, Outcome, Reason, Reply, Work
from ratified.runtime.callbacks import OnReply
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import PutRequest, PutResponse, RangeRequest, RangeResponse
from ratified.wire.peer import PUTS_SINCE
from tests.api.conftest import Act, Api
from tests.api.test_submission import Told

PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"
CALLS_MAX = 600
REQUEST_BYTES_MAX = 100_000


def put(number: int, value_bytes: int = 1) -> Submission:
    made = put_undecoded(PutRequest(key=b"k%d" % number, value=bytes(value_bytes)).SerializeToString())
    assert made is not None
    return made


def get(number: int, *, locally: bool = False) -> Submission:
    made = range_undecoded(RangeRequest(key=b"k%d" % number, serializable=locally).SerializeToString())
    assert made is not None
    return made


class AskedHost:
    """Keeps what was asked, and answers nothing by itself."""

    open_requests = CALLS_MAX, 0

    def __init__(self) -> None:
        self.spoken = PUTS_SINCE
        self.asked: list[tuple[Work, bytes, int]] = []
        self.on_reply: list[OnReply] = []

    def all_speak(self, version: int) -> bool:
        return version <= self.spoken

    def submit(self, work: Work, group: int, data: bytes, timeout_us: int, on_reply: OnReply) -> int:
        self.asked.append((work, data, timeout_us))
        self.on_reply.append(on_reply)
        return len(self.asked)


class Headers:
    """What comes behind each answer."""

    failed = 0

    def answer(self, answer: bytes) -> bytes:
        if answer[0]:
            raise EtcdError(answer[1], answer[2:].decode())
        return answer[1:] + b"!"

    def header(self) -> bytes:
        return b"!"

    def proposal_failed(self) -> None:
        self.failed += 1


class World:
    def __init__(self, puts_together: bool = True) -> None:
        self.host = AskedHost()
        self.headers = Headers()
        self.batches = Batches(
            cast(Host, self.host),
            self.headers,
            request_bytes_max=REQUEST_BYTES_MAX,
            puts_together=puts_together,
        )
        self.told: list[Told] = []
        self.loop = asyncio.get_running_loop()

    def add(self, submission: Submission, wait_s: float = 5) -> Pending:
        self.told.append(Told())
        pending = Pending(self.headers, submission, self.loop.time() + wait_s, self.told[-1])
        self.batches.add(pending)
        return pending

    def reply(self, number: int, outcome: Outcome, data: bytes = b"", reason: Reason = Reason.NONE) -> None:
        self.host.on_reply[number](Reply(number, outcome, data, reason))

    @property
    def asked(self) -> list[tuple[Work, bytes]]:
        return [(work, data) for work, data, _ in self.host.asked]


def in_world(act: Callable[[World], Coroutine[Any, Any, None]], *, puts_together: bool = True) -> None:
    async def run() -> None:
        await act(World(puts_together))

    asyncio.run(run())


def test_what_comes_in_one_pass_goes_in_the_next_one_by_kind_and_what_is_alone_as_itself() -> None:
    async def act(world: World) -> None:
        made = [put(1), get(1), put(2), get(2, locally=True), get(3)]
        for each in made:
            world.add(each)
        assert not world.asked
        await asyncio.sleep(0)
        assert world.asked == [
            (Work.PROPOSE, commands.puts([made[0].data, made[2].data])),
            (Work.READ, queries.gets([made[1].data, made[4].data])),
            (Work.READ_LOCAL, made[3].data),
        ]
        world.reply(0, Outcome.DONE, header_only(127))
        world.reply(1, Outcome.DONE, join_answers([b"one", b"three"]))
        world.reply(2, Outcome.DONE, b"\0two")
        first, second = header_only(127)[1:], header_only(128)[1:]
        assert [told.what for told in world.told] == [
            [first + b"!"],
            [b"one!"],
            [second + b"!"],
            [b"two!"],
            [b"three!"],
        ]

    in_world(act)


@pytest.mark.parametrize(("spoken", "puts_together"), [(PUTS_SINCE - 1, True), (PUTS_SINCE, False)])
def test_puts_go_alone_while_a_member_knows_no_command_of_many_or_the_operator_says_so(
    spoken: int, puts_together: bool
) -> None:
    async def act(world: World) -> None:
        world.host.spoken = spoken
        for number in range(3):
            world.add(put(number))
        await asyncio.sleep(0)
        assert world.asked == [(Work.PROPOSE, put(number).data) for number in range(3)]

    in_world(act, puts_together=puts_together)


@pytest.mark.parametrize(
    ("submission", "count", "sizes"),
    [
        (get(1), batches.CALLS_MAX + 2, [batches.CALLS_MAX, 2]),
        (put(1, 16_000), 14, [6, 6, 2]),
    ],
)
def test_a_batch_has_its_bounds(submission: Submission, count: int, sizes: list[int]) -> None:
    async def act(world: World) -> None:
        for _ in range(count):
            world.add(submission)
        await asyncio.sleep(0)
        body = len(submission.data) - (2 if submission.work is Work.PROPOSE else 1)
        assert [len(data) // body for _, data in world.asked] == sizes

    in_world(act)


def test_all_of_a_batch_wait_as_long_as_one_of_them_does() -> None:
    async def act(world: World) -> None:
        for wait_s in (1, 3, 2):
            world.add(get(1), wait_s)
        await asyncio.sleep(0)
        [(_, _, timeout_us)] = world.host.asked
        assert 2_000_000 < timeout_us <= 3_000_000

    in_world(act)


@pytest.mark.parametrize(
    ("outcome", "data", "reason", "text"),
    [
        (Outcome.REFUSED, b"", Reason.NO_LEADER, errors.NO_LEADER.text),
        (Outcome.UNKNOWN, b"", Reason.TIMED_OUT, errors.TIMEOUT_DUE_TO_LEADER_FAIL.text),
        (Outcome.DONE, failure(EtcdError(*errors.USER_EMPTY)), Reason.NONE, errors.USER_EMPTY.text),
    ],
)
def test_how_a_batch_fails_each_of_it_fails(outcome: Outcome, data: bytes, reason: Reason, text: str) -> None:
    async def act(world: World) -> None:
        for number in range(3):
            world.add(put(number))
        await asyncio.sleep(0)
        world.reply(0, outcome, data, reason)
        assert [told.what for told in world.told] == [[text]] * 3
        assert world.headers.failed == (0 if outcome is Outcome.DONE else 3)

    in_world(act)


def test_gets_for_whose_answers_there_was_no_room_are_asked_again() -> None:
    async def act(world: World) -> None:
        for number in range(3):
            world.add(get(number))
        gone = world.add(get(3))
        await asyncio.sleep(0)
        gone.give_up()
        world.reply(0, Outcome.DONE, join_answers([b"zero"]))
        await asyncio.sleep(0)
        assert world.asked[1:] == [(Work.READ, queries.gets([get(1).data, get(2).data]))]
        world.reply(1, Outcome.DONE, join_answers([b"one", b"two"]))
        assert [told.what for told in world.told] == [[b"zero!"], [b"one!"], [b"two!"], []]

    in_world(act)


def test_who_waits_no_longer_is_passed_over() -> None:
    async def act(world: World) -> None:
        pending = [world.add(put(number)) for number in range(4)]
        pending[0].give_up()
        await asyncio.sleep(0)
        assert world.asked == [(Work.PROPOSE, commands.puts([put(number).data for number in (1, 2, 3)]))]
        pending[2].give_up()
        world.reply(0, Outcome.DONE, header_only(5))
        expected = [[], [header_only(5)[1:] + b"!"], [], [header_only(7)[1:] + b"!"]]
        assert [told.what for told in world.told] == expected

    in_world(act)


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.UNKNOWN])
def test_a_caller_that_fails_keeps_no_other_one_waiting(outcome: Outcome, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Told):
        def answered(self, message: bytes) -> None:
            raise ZeroDivisionError

        def failed(self, error: EtcdError) -> None:
            raise ZeroDivisionError

    async def act(world: World) -> None:
        world.add(put(1))
        world.batches.add(Pending(world.headers, put(2), world.loop.time() + 5, Broken()))
        world.add(put(3))
        await asyncio.sleep(0)
        world.reply(0, outcome, header_only(7))
        assert [len(told.what) for told in world.told] == [1, 1]
        assert "ZeroDivisionError" in caplog.text

    in_world(act)


def test_no_more_calls_wait_than_the_host_takes_requests_and_what_ends_makes_room() -> None:
    async def act(world: World) -> None:
        for _ in range(CALLS_MAX):
            world.add(get(1))
        before = world.batches.is_crowded
        assert world.batches.calls_more == CALLS_MAX, "none of them has been sent"
        world.add(put(1))
        assert world.told[-1].what == [errors.TOO_MANY_REQUESTS.text]
        await asyncio.sleep(0)
        for number, (_, data, _) in enumerate(world.host.asked):
            world.reply(number, Outcome.DONE, join_answers([b"x"] * (len(data) // 4)))
        assert (before, world.batches.is_crowded) == (True, False)
        assert world.batches.calls_more == 0
        world.add(put(1))
        assert world.told[-1].what == []

    in_world(act)


def test_a_real_host_gives_each_put_its_revision_and_each_get_its_pair(with_api: Callable[[Act], None]) -> None:
    async def act(api: Api) -> None:
        requests = [PutRequest(key=b"k%d" % number, value=b"v%d" % number) for number in range(300)]
        before = api.service.host.status().node.applied_entries
        waiting = [api.wait(PUT, request.SerializeToString()) for request in requests]
        answers = [PutResponse.FromString(await each.answer) for each in waiting]
        entries = api.service.host.status().node.applied_entries - before
        assert entries < 10, "three of puts, and some of the node's own"
        assert [answer.header.revision for answer in answers] == list(range(2, 302))
        assert {answer.header.member_id for answer in answers} == {api.service.host.member}
        asked = [RangeRequest(key=request.key, serializable=number % 2 == 0) for number, request in enumerate(requests)]
        reading = [api.wait(RANGE, each.SerializeToString()) for each in asked]
        for number, each in enumerate(reading):
            read = RangeResponse.FromString(await each.answer)
            assert [(pair.value, pair.mod_revision) for pair in read.kvs] == [(b"v%d" % number, number + 2)]

    with_api(act)
