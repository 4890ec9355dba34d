"""Many watches on one stream, as etcd's protocol wants them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from ratified.api import watch
from ratified.kv.errors import EtcdError
from ratified.kv.watch import FRAGMENT
from ratified.runtime import Reader
from ratified.runtime.loop import TurnBudget
from ratified.wire.etcd import rpc_pb2
from ratified.wire.etcd.errors import UNAVAILABLE
from tests.api.conftest import Act, Api, QueueStream

WithApi = Callable[[Act], None]
WATCH = "/etcdserverpb.Watch/Watch"


class Client:
    """One watch stream."""

    def __init__(self, api: Api) -> None:
        self.stream: QueueStream
        self.stream, self.task = api.open(WATCH)
        self._api = api

    async def create(self, key: bytes, watch_id: int = 0, start: int = 0, range_end: bytes = b"") -> None:
        request = rpc_pb2.WatchCreateRequest(key=key, watch_id=watch_id, start_revision=start, range_end=range_end)
        await self.send(rpc_pb2.WatchRequest(create_request=request))

    async def cancel(self, watch_id: int) -> None:
        await self.send(rpc_pb2.WatchRequest(cancel_request=rpc_pb2.WatchCancelRequest(watch_id=watch_id)))

    async def progress(self) -> None:
        await self.send(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))

    async def send(self, request: rpc_pb2.WatchRequest) -> None:
        await self.stream.requests.put(request.SerializeToString())

    async def answer(self) -> rpc_pb2.WatchResponse:
        response = rpc_pb2.WatchResponse.FromString(await self.stream.answers.get())
        assert response.header.member_id == self._api.service.host.member
        return response

    async def put(self, key: bytes, value: bytes = b"v") -> int:
        request = rpc_pb2.PutRequest(key=key, value=value).SerializeToString()
        return rpc_pb2.PutResponse.FromString(await self._api.call("/etcdserverpb.KV/Put", request)).header.revision


def test_ids_are_the_lowest_free_ones_or_the_clients_own(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client = Client(api)
        await client.create(b"a")
        await client.create(b"b", watch_id=1)
        await client.create(b"c")
        created = [await client.answer() for _ in range(3)]
        assert sorted(answer.watch_id for answer in created) == [0, 1, 2]
        assert all(answer.created and not answer.canceled and answer.header.revision == 1 for answer in created)
        revision = await client.put(b"b")
        told = await client.answer()
        assert (told.watch_id, told.events[0].kv.mod_revision) == (1, revision)

    with_api(act)


def test_an_id_in_use_is_refused_and_the_stream_goes_on(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client = Client(api)
        await client.create(b"a", watch_id=5)
        assert (await client.answer()).created
        await client.create(b"b", watch_id=5)
        refused = await client.answer()
        assert (refused.watch_id, refused.created, refused.canceled) == (-1, True, True)
        assert refused.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
        await client.put(b"a")
        assert (await client.answer()).watch_id == 5

    with_api(act)


def test_many_cancels_ask_the_store_few_times_and_an_id_can_be_used_again(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        asked = 0
        query = api.service.query

        async def counted(*given: Any, **named: Any) -> bytes:
            nonlocal asked
            asked += 1
            return await query(*given, **named)

        client = Client(api)
        for watch_id in range(1, 101):
            await client.create(b"a", watch_id)
        assert len([await client.answer() for _ in range(100)]) == 100
        api.service.query = counted  # type: ignore[method-assign]
        for watch_id in range(1, 101):
            await client.cancel(watch_id)
        await client.create(b"a", 50)
        answers = [await client.answer() for _ in range(101)]
        assert [(answer.watch_id, answer.canceled) for answer in answers] == [
            *((n, True) for n in range(1, 101)),
            (50, False),
        ]
        assert asked <= 5

    with_api(act)


def test_a_watch_under_the_id_of_one_whose_end_is_not_answered_yet_waits_for_that_answer(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        may_answer = asyncio.Event()
        query = api.service.query

        async def held(*given: Any, **named: Any) -> bytes:
            await may_answer.wait()
            return await query(*given, **named)

        client, other = Client(api), Client(api)
        await client.create(b"a", 7)
        assert (await client.answer()).created
        api.service.query = held  # type: ignore[method-assign]
        await client.cancel(7)
        await client.create(b"b", 7)
        for number in range(1, 4):
            await other.create(b"a", number)
            assert (await other.answer()).created, "what another stream asked for later is answered"
        may_answer.set()
        answers = [await client.answer() for _ in range(2)]
        assert [(answer.created, answer.canceled) for answer in answers] == [(False, True), (True, False)]

    with_api(act)


def test_a_cancelled_watch_says_so_and_is_told_nothing_more(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client = Client(api)
        await client.create(b"a")
        await client.create(b"b")
        first, second = [await client.answer() for _ in range(2)]
        await client.cancel(first.watch_id)
        canceled = await client.answer()
        assert (canceled.watch_id, canceled.canceled, canceled.created) == (first.watch_id, True, False)
        assert canceled.header.revision == 1
        await client.cancel(77)
        await client.put(b"a")
        await client.put(b"b")
        assert (await client.answer()).watch_id == second.watch_id

    with_api(act)


def test_progress_stands_behind_every_event(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client = Client(api)
        for _ in range(50):
            last = await client.put(b"a")
        await client.create(b"a", start=2)
        await client.progress()
        assert (await client.answer()).created
        seen = 0
        while (answer := await client.answer()).watch_id == 0:
            seen += len(answer.events)
        assert answer.watch_id == -1
        assert answer.header.revision == last
        assert seen == 50

    with_api(act)


def test_what_is_compacted_ends_the_watch_with_the_revision_to_begin_at(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client = Client(api)
        await client.put(b"a")
        last = await client.put(b"a")
        await api.call("/etcdserverpb.KV/Compact", rpc_pb2.CompactionRequest(revision=last).SerializeToString())
        await client.create(b"a", start=1, watch_id=9)
        assert (await client.answer()).created
        ended = await client.answer()
        assert (ended.watch_id, ended.canceled, ended.compact_revision) == (9, True, last)
        await client.create(b"a", watch_id=9)
        assert (await client.answer()).created

    with_api(act)


def test_an_empty_range_is_refused_in_etcds_words(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client = Client(api)
        await client.create(b"b", range_end=b"a")
        refused = await client.answer()
        assert refused.created
        assert refused.canceled
        assert refused.cancel_reason == "mvcc: watcher range is empty"

    with_api(act)


def test_a_client_that_sends_no_more_still_gets_its_events(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client = Client(api)
        await client.create(b"a")
        assert (await client.answer()).created
        await client.stream.requests.put(None)
        await client.put(b"a")
        assert (await client.answer()).events[0].kv.key == b"a"

    with_api(act)


def test_garbage_ends_its_stream_and_no_other(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client, other = Client(api), Client(api)
        await other.create(b"a")
        await client.stream.requests.put(b"\xff\xff")
        with pytest.raises(EtcdError, match="grpc: error unmarshalling request"):
            await client.task
        assert (await other.answer()).created

    with_api(act)


def test_a_stopping_host_ends_the_stream_as_unavailable(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client = Client(api)
        await client.create(b"a")
        assert (await client.answer()).created
        await api.service.host.close()
        with pytest.raises(EtcdError) as caught:
            await client.task
        assert caught.value.code == UNAVAILABLE

    with_api(act)


def test_a_stream_that_ends_leaves_no_watch_behind(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client = Client(api)
        for _ in range(10):
            await client.create(b"a")
        for _ in range(10):
            assert (await client.answer()).created
        assert api.service.host.status().open_requests == 10
        client.task.cancel()
        await asyncio.wait((client.task,))
        async with asyncio.timeout(5):
            while api.service.host.status().open_requests:
                await asyncio.sleep(0)

    with_api(act)


def test_a_stream_of_many_watches_ends_in_slices(with_api: WithApi, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(api: Api) -> None:
        clients, host = [await watching(api, 500) for _ in range(2)], api.service.host
        cancelled = 0
        cancel = host.cancel

        def counted(token: int) -> None:
            nonlocal cancelled
            cancelled += 1
            cancel(token)

        monkeypatch.setattr(host, "cancel", counted)
        for client in clients:
            client.task.cancel()
        passes = []
        while host.status().open_requests:
            await asyncio.sleep(0)
            passes.append(cancelled)
            cancelled = 0
        assert sum(passes) == 1000
        assert max(passes) <= 2 * watch.STEPS_AT_ONCE

    with_api(act)


def test_watches_that_are_asked_for_at_once_are_begun_in_slices(
    with_api: WithApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(api: Api) -> None:
        clients, host = [Client(api) for _ in range(2)], api.service.host
        begun = 0
        submit = host.submit

        def counted(*arguments: Any) -> int:
            nonlocal begun
            begun += 1
            return submit(*arguments)

        monkeypatch.setattr(host, "submit", counted)
        for client in clients:
            for number in range(500):
                await client.create(b"k%d" % number)
        begun_in: list[int] = []
        left = [1000]
        while sum(begun_in) < 1000:
            await asyncio.sleep(0)
            begun_in.append(begun)
            begun = 0
            left.append(sum(client.stream.requests.qsize() for client in clients))
        assert max(begun_in) <= 2 * watch.STEPS_AT_ONCE
        assert max(before - after for before, after in pairwise(left)) <= 2 * watch.STEPS_AT_ONCE

    with_api(act)


def test_watches_that_waited_for_a_slow_reader_are_begun_in_slices(
    with_api: WithApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(api: Api) -> None:
        has_room = asyncio.Event()
        begun = 0

        async def wait(reader: Reader) -> None:
            await has_room.wait()

        def counted(reader: Reader, token: int) -> None:
            nonlocal begun
            begun += 1
            begins(reader, token)

        begins = Reader.begins
        monkeypatch.setattr(Reader, "has_room", wait)
        monkeypatch.setattr(Reader, "begins", counted)
        client = Client(api)
        for number in range(500):
            await client.create(b"k%d" % number)
        while client.stream.requests.qsize():
            await asyncio.sleep(0)
        has_room.set()
        begun_in: list[int] = []
        while sum(begun_in) < 500:
            await asyncio.sleep(0)
            begun_in.append(begun)
            begun = 0
        assert max(begun_in) <= watch.STEPS_AT_ONCE

    with_api(act)


def test_a_put_waits_behind_no_more_than_a_few_of_the_watches_that_are_begun_and_ended(
    with_api: WithApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams, watches = 4, 1_000
    monkeypatch.setattr(TurnBudget, "INPUTS_MAX", TurnBudget.INPUTS_MIN)  # as on a slow machine

    async def act(api: Api) -> None:
        host = api.service.host
        waiting: list[int] = []

        async def look_until(done: Callable[[], bool]) -> None:
            while not done():
                await asyncio.sleep(0)
                waiting.append(host.inputs_waiting)

        clients = [Client(api) for _ in range(streams)]
        for client in clients:
            for number in range(watches):
                await client.create(b"k%d" % number)
        await look_until(lambda: host.status().open_requests == streams * watches)
        for client in clients:
            client.task.cancel()
        await look_until(lambda: not host.status().open_requests)
        assert max(waiting) <= watch.STEPS_AT_ONCE + 2 * streams

    with_api(act)


async def watching(api: Api, watches: int) -> Client:
    client = Client(api)
    for number in range(watches):
        await client.create(b"k%d" % number)
    for _ in range(watches):
        await client.answer()
    return client


def test_a_quiet_watch_is_few_objects_for_the_garbage_collector(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        await watching(api, 10)
        gc.collect()
        before = len(gc.get_objects())
        await watching(api, 1000)
        gc.collect()
        assert (len(gc.get_objects()) - before) / 1000 < 4.1

    with_api(act)


def test_progress_overtakes_no_event_that_waits_for_a_slow_client(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client = Client(api)
        client.stream.answers = asyncio.Queue(maxsize=1)
        for number in range(3):
            await client.create(b"a", watch_id=number + 1)
        while api.service.host.status().open_requests < 3:
            await asyncio.sleep(0)
        last = 0
        for _ in range(20):
            last = await client.put(b"a")
        await client.progress()
        promised, events = 0, 0
        while promised < last:
            answer = await client.answer()
            assert all(event.kv.mod_revision > promised for event in answer.events)
            events += len(answer.events)
            promised = answer.header.revision if answer.watch_id == -1 else promised
        assert events == 60

    with_api(act)


def test_a_cancel_is_answered_before_what_waits_and_the_stream_goes_on(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        client = Client(api)
        client.stream.answers = asyncio.Queue(maxsize=1)
        await client.create(b"big", watch_id=1)
        await client.create(b"small", watch_id=2)
        for _ in range(90):
            await client.put(b"big", b"x" * 9_000)
        await client.cancel(1)
        await asyncio.sleep(0.1)
        await client.put(b"small")
        answers = [await client.answer()]
        while not (answers[-1].watch_id == 2 and answers[-1].events):
            answers.append(await client.answer())
        assert len(answers) <= 5, "two are under way; then the cancel is answered, and nothing of watch 1 follows"
        canceled = [answer.canceled for answer in answers].index(True)
        assert answers[canceled].watch_id == 1
        assert all(answer.watch_id == 2 for answer in answers[canceled + 1 :])

    with_api(act)


def test_the_watch_too_many_is_refused_alone(with_api: WithApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WATCHES_PER_STREAM_MAX", 2)

    async def act(api: Api) -> None:
        client = Client(api)
        for key in (b"a", b"b"):
            await client.create(key)
            assert (await client.answer()).created
        await client.create(b"c")
        refused = await client.answer()
        assert (refused.watch_id, refused.created, refused.canceled) == (-1, True, True)
        assert refused.cancel_reason == "more than 2 watches on one stream"
        await client.put(b"b")
        assert (await client.answer()).watch_id == 1

    with_api(act)


def question(watch_id: int) -> watch._Question:
    return watch._Question(watch_id, b"", b"", lambda question, reply: None)


def test_answers_wait_for_a_client_up_to_a_limit_and_then_its_requests_do(
    with_api: WithApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "ANSWERS_WAITING_MAX", 3)

    async def act(api: Api) -> None:
        client = Client(api)
        client.stream.answers = asyncio.Queue(maxsize=1)
        await client.create(b"a", watch_id=1)
        assert (await client.answer()).created
        for _ in range(3):
            for _ in range(20):
                await client.create(b"a", watch_id=1)
            await asyncio.sleep(0.05)
            assert client.stream.requests.qsize() >= 14, "one answer is taken, one on its way, three wait"
            refused = [await client.answer() for _ in range(20)]
            assert all(answer.canceled and answer.created for answer in refused)
        await client.put(b"a")
        assert (await client.answer()).events

    with_api(act)


def test_no_answer_comes_between_the_fragments_of_a_revision() -> None:
    async def act() -> None:
        outgoing, large, other = watch._Outgoing(), question(1), question(2)
        for part in (FRAGMENT + b"1", FRAGMENT + b"2", b"\x0a3"):
            large.add(part)
            outgoing.event(large)
        other.add(b"\x0aother")
        outgoing.event(other)
        sent = [(await outgoing.next())[0]]
        outgoing.answer(b"\x0aanswer")
        sent += [(await outgoing.next())[0] for _ in range(4)]
        assert sent == [FRAGMENT + b"1", FRAGMENT + b"2", b"\x0a3", b"\x0aanswer", b"\x0aother"]

    asyncio.run(act())
