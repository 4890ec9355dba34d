"""The asyncio client: the synchronous one's calls, awaited."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Self, TypeVar
from weakref import WeakSet

import grpc
import grpc.aio

from ratified.client import auth_calls, calls, results
from ratified.client.calls import Call, Compare, Do, SortBy, Text, When
from ratified.client.endpoints import (
    CHANNEL_OPTIONS,
    ROUND_PAUSE_S,
    SILENT,
    TIMEOUT_S_DEFAULT,
    WATCH_METADATA,
    Attempts,
    Endpoints,
    Target,
    error,
)
from ratified.client.errors import ClientClosed, ClientError, PermissionDenied, TokenRefused, refusal
from ratified.client.login import ATTEMPTS_MAX, Login, Metadata, metadata
from ratified.client.recipes import conditions
from ratified.client.recipes.awaiting import (
    AsyncBarrier,
    AsyncElection,
    AsyncKeptLease,
    AsyncLock,
    AsyncQueue,
    AsyncTransaction,
    run_stm,
)
from ratified.client.recipes.conditions import PAGE_KEYS_DEFAULT, Pages
from ratified.client.recipes.leases import LEASE_TTL_DEFAULT
from ratified.client.recipes.steps import ChangeOf, Plan
from ratified.client.recipes.stm import ATTEMPTS_DEFAULT
from ratified.client.tls import Tls
from ratified.client.users import AsyncAuth
from ratified.client.watching import PROGRESS_REQUEST, AskAgain, WatchPosition
from ratified.wire.report import NodeReport

T = TypeVar("T")


class AsyncClient:
    """A client of a cluster, for one event loop. Parameters and exceptions are those of ``Client``.

    Every call may raise ``CallRefused``, ``Unavailable`` or ``CallOutcomeUnknown``; see this package's rules.
    """

    def __init__(
        self,
        endpoints: Sequence[str] = ("127.0.0.1:2379",),
        *,
        timeout_s: float = TIMEOUT_S_DEFAULT,
        tls: Tls | None = None,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        self._login = Login(user, password)
        self._login_lock = asyncio.Lock()
        self._endpoints = Endpoints(endpoints, tls)
        self._timeout_s = timeout_s
        self._closed = False
        self._watches: WeakSet[AsyncWatch] = WeakSet()
        self._channels: dict[Target, grpc.aio.Channel] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection, and end every watch."""
        self._closed = True
        for watch in list(self._watches):
            watch.close()
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            await channel.close()

    async def put(self, key: Text, value: Text | None, *, lease: int | None = 0, previous: bool = False) -> results.Put:
        """Write one pair; with ``lease`` it ends when the lease does. ``value`` None keeps the key's value, ``lease``
        None its lease; raises ``KeyNotFound`` where there is no such key then."""
        return await self._do(calls.put(calls.put_request(key, value, lease=lease, previous=previous)))

    async def get(self, key: Text, *, revision: int = 0, serializable: bool = False) -> results.KeyValue | None:
        """The pair, or None. Linearizable, or with ``serializable`` from one member, perhaps old."""
        found = await self._do(calls.ranged(calls.range_request(key, revision=revision, serializable=serializable)))
        return found.pairs[0] if found.pairs else None

    async def range(
        self,
        key: Text,
        *,
        prefix: bool = False,
        end: Text | None = None,
        limit: int = 0,
        revision: int = 0,
        serializable: bool = False,
        keys_only: bool = False,
        count_only: bool = False,
        sort_by: SortBy | None = None,
        descending: bool = False,
    ) -> results.Range:
        """The pairs of a prefix, or of [key, end), by key or by ``sort_by``; ``end`` of one zero byte has no end."""
        request = calls.range_request(
            key,
            prefix=prefix,
            end=end,
            limit=limit,
            revision=revision,
            serializable=serializable,
            keys_only=keys_only,
            count_only=count_only,
            sort_by=sort_by,
            descending=descending,
        )
        return await self._do(calls.ranged(request))

    async def pages(
        self,
        key: Text,
        *,
        prefix: bool = False,
        end: Text | None = None,
        revision: int = 0,
        page_keys: int = PAGE_KEYS_DEFAULT,
        keys_only: bool = False,
    ) -> AsyncIterator[results.Range]:
        """A long range in pages, all at one revision. Raises ``Compacted`` where that is compacted meanwhile."""
        pages = Pages(key, prefix=prefix, end=end, revision=revision, page_keys=page_keys, keys_only=keys_only)
        while pages.more:
            yield await self.carry_out(pages.next_page())

    async def delete(
        self, key: Text, *, prefix: bool = False, end: Text | None = None, previous: bool = False
    ) -> results.Deleted:
        """Delete one key, a prefix, or [key, end)."""
        return await self._do(calls.delete(calls.delete_request(key, prefix=prefix, end=end, previous=previous)))

    async def txn(
        self, compare: Sequence[Compare] = (), success: Sequence[Do] = (), failure: Sequence[Do] = ()
    ) -> results.Txn:
        """Do ``success`` where every comparison holds, else ``failure``; all at one revision."""
        return await self._do(calls.txn(compare, success, failure))

    async def commit(self, transaction: When) -> results.Txn:
        """As ``txn``, of a transaction put together with ``When``."""
        return await self._do(calls.transaction(transaction.request()))

    async def put_if_absent(self, key: Text, value: Text, *, lease: int = 0) -> results.Swap:
        """Create a key, unless it is there."""
        return await self.carry_out(conditions.put_if_absent(key, value, lease))

    async def compare_and_swap(
        self, key: Text, value: Text, *, expected: Text | None = None, revision: int | None = None, lease: int = 0
    ) -> results.Swap:
        """Write a key if it has the value ``expected``, or the mod revision ``revision`` (0: it is not there)."""
        return await self.carry_out(conditions.compare_and_swap(key, value, expected, revision, lease))

    async def compare_and_delete(
        self, key: Text, *, expected: Text | None = None, revision: int | None = None
    ) -> results.Swap:
        """Delete a key if it has the value ``expected``, or the mod revision ``revision``."""
        return await self.carry_out(conditions.compare_and_delete(key, expected, revision))

    async def compact(self, revision: int, *, physical: bool = False) -> int:
        """Forget what is older than ``revision``; gives the store's revision."""
        return await self._do(calls.compact(revision, physical=physical))

    async def lease_grant(self, ttl: int, *, id: int = 0) -> results.Lease:
        """A new lease of ``ttl`` seconds; ``id`` 0 lets the server choose."""
        return await self._do(calls.lease_grant(ttl, id))

    async def lease_revoke(self, id: int) -> int:
        """End a lease and delete its keys; gives the revision."""
        return await self._do(calls.lease_revoke(id))

    async def lease_keep_alive(self, id: int) -> int | None:
        """Renew a lease once; the seconds that it lives from now on, or None where it is gone."""
        return await self._do(calls.lease_keep_alive(id))

    async def lease_time_to_live(self, id: int, *, keys: bool = False) -> results.LeaseLeft | None:
        """What is left of a lease; None: it is gone."""
        return await self._do(calls.lease_time_to_live(id, keys=keys))

    async def leases(self) -> tuple[int, ...]:
        return await self._do(calls.leases())

    def keep_lease(self, ttl: int) -> AsyncKeptLease:
        """A lease that is renewed until it is closed: ``async with client.keep_lease(30) as lease: ...``"""
        return AsyncKeptLease(self, ttl)

    def lock(self, name: Text, lease: AsyncKeptLease | int = LEASE_TTL_DEFAULT) -> AsyncLock:
        """A lock, under a lease or under one of its own with a time to live of so many seconds."""
        return AsyncLock(self, name, lease)

    def election(self, name: Text, lease: AsyncKeptLease | int = LEASE_TTL_DEFAULT) -> AsyncElection:
        """An election; ``lease`` as for ``lock``."""
        return AsyncElection(self, name, lease)

    def queue(self, name: Text) -> AsyncQueue:
        return AsyncQueue(self, name)

    def barrier(self, name: Text) -> AsyncBarrier:
        return AsyncBarrier(self, name)

    async def stm(self, apply: Callable[[AsyncTransaction], Awaitable[T]], *, attempts: int = ATTEMPTS_DEFAULT) -> T:
        """Run ``apply`` until what it has read and written is one transaction of serializable snapshot isolation; gives
        what the last run returned. It may be run several times, so it does nothing but read and write. Raises
        ``Conflict`` after so many ``attempts``, and what ``apply`` raises; nothing has been written then."""
        return await run_stm(self, apply, attempts)

    async def members(self) -> tuple[results.Member, ...]:
        """Who belongs to the cluster."""
        return await self._do(calls.members())

    async def move_leader(self, to: int) -> None:
        """Hand the lead to the member with this id; one of the endpoints must be the leader's."""
        await self._do(calls.move_leader(to))

    async def add_member(self, peer_urls: Sequence[str], *, learner: bool = False) -> results.Member:
        """Add a member that will be reached at these peer URLs; start it afterwards. It learns first, and votes as soon
        as it has caught up, unless it is to stay a ``learner``."""
        return await self._do(calls.add_member(peer_urls, learner=learner))

    async def remove_member(self, member: int) -> tuple[results.Member, ...]:
        """Remove a member for good; the members then."""
        return await self._do(calls.remove_member(member))

    async def promote_member(self, member: int) -> tuple[results.Member, ...]:
        """Have a learner that has caught up vote; the members then."""
        return await self._do(calls.promote_member(member))

    async def update_member(self, member: int, peer_urls: Sequence[str]) -> tuple[results.Member, ...]:
        """Have the others reach a member at these peer URLs, where it must then listen; the members then."""
        return await self._do(calls.update_member(member, peer_urls))

    @property
    def auth(self) -> AsyncAuth:
        """Users, roles, and whether they count."""
        return AsyncAuth(self)

    async def alarms(self) -> tuple[results.Alarm, ...]:
        """What members have raised."""
        return await self._do(calls.alarms())

    async def disarm(self, alarm: results.Alarm) -> tuple[results.Alarm, ...]:
        """Take an alarm back; gives those that were taken back."""
        return await self._do(calls.disarm(alarm))

    async def defragment(self, endpoint: str) -> None:
        """Have the member behind ``endpoint`` give unused space back to its file system."""
        await self._at(self._endpoints.parse(endpoint), calls.defragment(), self._timeout_s)

    async def hash_kv(self, endpoint: str, *, revision: int = 0) -> results.KvHash:
        """The hash of what the member behind ``endpoint`` holds up to ``revision``; 0: its newest."""
        return await self._at(self._endpoints.parse(endpoint), calls.hash_kv(revision), self._timeout_s)

    async def status(self, endpoint: str) -> results.MemberStatus:
        """The view of the member behind ``endpoint``, and of no other."""
        return await self._at(self._endpoints.parse(endpoint), calls.status(), self._timeout_s)

    async def report(self, endpoint: str, *, timeout_s: float | None = None) -> NodeReport:
        """What the Ratified node behind ``endpoint`` tells beyond its status."""
        return await self._at(self._endpoints.parse(endpoint), calls.report(), timeout_s or self._timeout_s)

    def watch(
        self, key: Text, *, prefix: bool = False, end: Text | None = None, revision: int = 0, previous: bool = False
    ) -> AsyncWatch:
        """Events from ``revision`` on (0: from now on), in order, each once, whichever endpoint fails, and for however
        long all of them do. Only a watch that no endpoint has served yet ends, as ``Unavailable``, after
        ``timeout_s``."""
        position = WatchPosition(key, prefix=prefix, end=end, revision=revision, previous=previous)
        watch = AsyncWatch(self, self._endpoints, position, self._timeout_s)
        self._watches.add(watch)
        return watch

    def channel(self, target: Target) -> grpc.aio.Channel:
        """The connection to a target, made on first use. Raises ``TlsError``, and ``ClientClosed``."""
        if self._closed:
            raise ClientClosed
        channel = self._channels.get(target)
        if channel is None:
            channel = self._channels[target] = self._new_channel(target)
        return channel

    async def token(self, target: Target, timeout_s: float) -> str:
        """The user's token, empty where none is needed. Raises gRPC's errors, and ``ClientClosed``."""
        return await self._token(self.channel(target), timeout_s)

    def refused(self, token: str, why: TokenRefused | PermissionDenied, times: int) -> bool:
        """A server has refused a watch, so many times in a row. Is it to be asked again, with another token?"""
        return self._login.watch_refused(token, why, times)

    def _new_channel(self, target: Target) -> grpc.aio.Channel:
        if not target.tls:
            return grpc.aio.insecure_channel(target.address, options=CHANNEL_OPTIONS)
        tls = self._endpoints.tls
        options = (*CHANNEL_OPTIONS, *tls.channel_options)
        return grpc.aio.secure_channel(target.address, tls.credentials(), options=options)

    async def carry_out(self, plan: Plan[T], timeout_s: float | None = None) -> T:
        """Carry out a recipe's plan. Raises ``TimeoutError`` where waiting in it takes longer than ``timeout_s``."""
        deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        try:
            step = next(plan)
            while True:
                try:
                    answer = await (self._change(step, deadline) if isinstance(step, ChangeOf) else self._do(step))
                except (ClientError, TimeoutError) as failed:
                    step = plan.throw(failed)
                else:
                    step = plan.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            plan.close()

    async def _change(self, awaited: ChangeOf, deadline: float | None) -> results.Event:
        async with (
            asyncio.timeout_at(deadline),
            self.watch(awaited.key, prefix=awaited.prefix, revision=awaited.revision) as watch,
        ):
            async for event in watch:
                if awaited.kind in (None, event.kind):
                    return event
        raise ClientClosed

    async def _do(self, call: Call[T]) -> T:
        """Carry out a call, at one endpoint after another while that is safe and there is time."""
        clock = asyncio.get_running_loop().time
        timeout_s = self._timeout_s if call.timeout_s is None else min(call.timeout_s, self._timeout_s)
        attempts = Attempts(self._endpoints, repeatable=call.repeatable, deadline=clock() + timeout_s)
        while True:
            target = attempts.target
            try:
                if attempts.asks_first(target):
                    await self._send(target, calls.status(), attempts.timeout_s(clock()))
                    attempts.answered(target)
                return call.read(await self._send(target, call, attempts.timeout_s(clock())))
            except grpc.aio.AioRpcError as failed:
                attempts.failed(target, *self._endpoints.status_of(target, failed), clock())
            await asyncio.sleep(attempts.pause_s)

    async def _at(self, target: Target, call: Call[T], timeout_s: float) -> T:
        try:
            return call.read(await self._send(target, call, timeout_s))
        except grpc.aio.AioRpcError as failed:
            raise error(*self._endpoints.status_of(target, failed), repeatable=call.repeatable) from failed

    async def _send(self, target: Target, call: Call[T], timeout_s: float) -> bytes:
        try:
            return await self._send_as_user(self.channel(target), call, timeout_s)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and (task is None or not task.cancelling()):
                raise ClientClosed from None  # gRPC's way to say that the connection was closed
            raise

    async def _send_as_user(self, channel: grpc.aio.Channel, call: Call[T], timeout_s: float) -> bytes:
        for attempt in range(ATTEMPTS_MAX):
            token = await self._token(channel, timeout_s)
            try:
                return await self._exchange(channel, call, timeout_s, metadata(token))
            except grpc.aio.AioRpcError as failed:
                refused = self._login.refused(token, failed.code().name, failed.details() or "")
                if not refused or attempt == ATTEMPTS_MAX - 1:
                    raise
        raise AssertionError("the last attempt raises")

    async def _token(self, channel: grpc.aio.Channel, timeout_s: float) -> str:
        """The user's token, asked for by one call for all that wait."""
        if self._login.token is None:
            async with self._login_lock:
                if self._login.token is None:
                    await self._log_in(channel, timeout_s)
        return self._login.token or ""

    async def _log_in(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        call = auth_calls.authenticate(self._login.user, self._login.password)
        try:
            self._login.asked(call.read(await self._exchange(channel, call, timeout_s, ())))
        except grpc.aio.AioRpcError as failed:
            if not self._login.not_asked(failed.code().name, failed.details() or ""):
                raise

    async def _exchange(self, channel: grpc.aio.Channel, call: Call[T], timeout_s: float, metadata: Metadata) -> bytes:
        answer: bytes
        if not call.streaming:
            answer = await channel.unary_unary(call.method)(call.request, timeout=timeout_s, metadata=metadata)
            return answer
        stream = channel.stream_stream(call.method)(timeout=timeout_s, metadata=metadata)
        await stream.write(call.request)
        answer = await stream.read()
        stream.cancel()
        if answer is grpc.aio.EOF:
            raise ClientError("INTERNAL", "the server ended the stream without an answer")
        return answer


class AsyncWatch:
    """An asynchronous iterator over events; ``next_revision`` is where it would go on.

    A task of its own waits for the next answer: who waits for that task may stop waiting, and come back.
    """

    def __init__(self, client: AsyncClient, endpoints: Endpoints, position: WatchPosition, timeout_s: float) -> None:
        self._client = client
        self._endpoints = endpoints
        self._position = position
        self._timeout_s = timeout_s
        self._attempt_s = endpoints.attempt_s(timeout_s)
        self._events: deque[results.Event] = deque()
        self._stream: Any = None
        self._token = ""
        self._refused = 0
        """How often in a row the server has refused the token."""
        self._receiving: asyncio.Task[Sequence[results.Event] | None] | None = None
        self._closed = False

    @property
    def next_revision(self) -> int:
        """The revision that the watch goes on with; 0: it has not begun."""
        return self._position.next_revision

    @property
    def seen_revision(self) -> int:
        """Up to which revision everything was seen, as the servers say."""
        return self._position.seen_revision

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the watch, on the server too; a waiting iteration stops."""
        self._closed = True
        if self._receiving is not None:
            self._receiving.cancel()
        if self._stream is not None:
            self._stream.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> results.Event:
        await self._fill()
        if not self._events:
            raise StopAsyncIteration
        return self._events.popleft()

    async def batches(self, *, progress: bool = False) -> AsyncIterator[tuple[results.Event, ...]]:
        """The events as the server sends them: some whole revisions each time, until the watch is closed. With
        ``progress`` also none where the server says only how far it is: ``seen_revision``."""
        while True:
            await self._fill(progress=progress)
            if self._closed and not self._events:
                return
            batch = tuple(self._events)
            self._events.clear()
            yield batch

    async def begin(self) -> None:
        """Return when the server watches: what is written from now on will be seen."""
        while not self._closed and (not self.next_revision or self._stream is None):
            await self._take_answer()

    async def _fill(self, *, progress: bool = False) -> None:
        """Return with events to give on, with none when the watch is closed, or with none and ``progress``."""
        while not self._events and not self._closed:
            if await self._take_answer() and progress:
                return

    async def _take_answer(self) -> bool:
        """Wait for the next answer; to be cancelled meanwhile does it no harm. Did it say how far the server is?"""
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._receive())
        receiving = self._receiving
        await asyncio.wait((receiving,))
        if self._receiving is not receiving:
            return False
        self._receiving = None
        if self._closed:
            return False
        events = receiving.result()
        self._events.extend(events or ())
        return events is not None

    async def _receive(self) -> Sequence[results.Event] | None:
        """The events of one answer; where an endpoint fails, the next ones are tried."""
        attempts: Attempts | None = None
        while True:
            target = self._endpoints.current
            try:
                if self._stream is None:
                    self._token = await self._client.token(target, self._attempt_s)
                    open_stream = self._client.channel(target).stream_stream(calls.WATCH)
                    self._stream = open_stream(metadata=(*WATCH_METADATA, *metadata(self._token)))
                    await self._stream.write(self._position.request())
                answer = await self._next_answer(self._stream)
                if answer is not grpc.aio.EOF:
                    events = self._position.on_response(answer)
                    self._refused = 0
                    return events
                code, text = "UNAVAILABLE", "the server ended the stream"
            except ClientClosed:
                self._closed = True
                return None
            except (AskAgain, TokenRefused, PermissionDenied) as ended:
                self._stream.cancel()
                self._stream = None
                if not self._asks_again(ended):
                    raise
                continue
            except TimeoutError:
                self._stream.cancel()
                code, text = SILENT
            except grpc.aio.AioRpcError as failed:
                code, text = self._endpoints.status_of(target, failed)
                if self._asks_again(refusal(code, text)):
                    self._stream = None
                    continue
            self._stream = None
            now = asyncio.get_running_loop().time()
            if attempts is None:
                deadline = None if self._position.begun else now + self._timeout_s
                attempts = Attempts(self._endpoints, repeatable=True, deadline=deadline)
            attempts.failed(target, code, text, now)
            await asyncio.sleep(max(attempts.pause_s, ROUND_PAUSE_S))

    def _asks_again(self, ended: Exception) -> bool:
        """The server has ended the watch. Is it to be asked for it again, at another revision or with another token?"""
        if not isinstance(ended, (TokenRefused, PermissionDenied)):
            return isinstance(ended, AskAgain)
        self._refused += 1
        return self._client.refused(self._token, ended, self._refused)

    async def _next_answer(self, stream: Any) -> Any:
        """Raises ``TimeoutError`` where the member is silent, asked for the watch's progress or not."""
        async with asyncio.timeout(self._attempt_s):
            reading = asyncio.ensure_future(stream.read())
            try:
                done, _ = await asyncio.wait((reading,), timeout=self._attempt_s / 2)
                if not done:
                    await stream.write(PROGRESS_REQUEST)
                return await reading
            finally:
                reading.cancel()
