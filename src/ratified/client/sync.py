"""The synchronous client. It may be used from several threads."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar
from weakref import WeakSet

import grpc

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
from ratified.client.recipes.blocking import (
    Barrier,
    Election,
    KeptLease,
    Lock,
    Queue,
    Transaction,
    run_stm,
)
from ratified.client.recipes.conditions import PAGE_KEYS_DEFAULT, Pages
from ratified.client.recipes.leases import LEASE_TTL_DEFAULT
from ratified.client.recipes.steps import ChangeOf, Plan
from ratified.client.recipes.stm import ATTEMPTS_DEFAULT
from ratified.client.tls import Tls
from ratified.client.users import Auth
from ratified.client.watching import PROGRESS_REQUEST, AskAgain, WatchPosition
from ratified.wire.etcd import rpc_pb2
from ratified.wire.report import NodeReport

T = TypeVar("T")


class Client:
    """A client of a cluster. ``timeout_s`` bounds a call over all the endpoints that it tries.

    An endpoint is ``https://host:port``, ``http://host:port``, or ``host:port``: that is of TLS where ``tls`` is given.
    Without it, an endpoint of https is checked by the system's CAs. Raises ``EndpointError`` for an endpoint that
    cannot be used; a call raises ``TlsError`` where a file of ``tls`` cannot.

    With ``user`` and ``password`` every call is made as that user, and a cluster that asks for none takes it as well.

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
        self._login_lock = threading.Lock()
        self._endpoints = Endpoints(endpoints, tls)
        self._timeout_s = timeout_s
        self._closed = False
        self._watches: WeakSet[Watch] = WeakSet()
        self._channels: dict[Target, grpc.Channel] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection, and end every watch."""
        with self._lock:
            self._closed = True
            channels, self._channels = list(self._channels.values()), {}
            watches = list(self._watches)
        for watch in watches:
            watch.close()
        for channel in channels:
            channel.close()

    def put(self, key: Text, value: Text | None, *, lease: int | None = 0, previous: bool = False) -> results.Put:
        """Write one pair; with ``lease`` it ends when the lease does. ``value`` None keeps the key's value, ``lease``
        None its lease; raises ``KeyNotFound`` where there is no such key then."""
        return self._do(calls.put(calls.put_request(key, value, lease=lease, previous=previous)))

    def get(self, key: Text, *, revision: int = 0, serializable: bool = False) -> results.KeyValue | None:
        """The pair, or None. Linearizable, or with ``serializable`` from one member, perhaps old."""
        found = self._do(calls.ranged(calls.range_request(key, revision=revision, serializable=serializable)))
        return found.pairs[0] if found.pairs else None

    def range(
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
        return self._do(calls.ranged(request))

    def pages(
        self,
        key: Text,
        *,
        prefix: bool = False,
        end: Text | None = None,
        revision: int = 0,
        page_keys: int = PAGE_KEYS_DEFAULT,
        keys_only: bool = False,
    ) -> Iterator[results.Range]:
        """A long range in pages, all at one revision. Raises ``Compacted`` where that is compacted meanwhile."""
        pages = Pages(key, prefix=prefix, end=end, revision=revision, page_keys=page_keys, keys_only=keys_only)
        while pages.more:
            yield self.carry_out(pages.next_page())

    def delete(
        self, key: Text, *, prefix: bool = False, end: Text | None = None, previous: bool = False
    ) -> results.Deleted:
        """Delete one key, a prefix, or [key, end)."""
        return self._do(calls.delete(calls.delete_request(key, prefix=prefix, end=end, previous=previous)))

    def txn(
        self, compare: Sequence[Compare] = (), success: Sequence[Do] = (), failure: Sequence[Do] = ()
    ) -> results.Txn:
        """Do ``success`` where every comparison holds, else ``failure``; all at one revision."""
        return self._do(calls.txn(compare, success, failure))

    def commit(self, transaction: When) -> results.Txn:
        """As ``txn``, of a transaction put together with ``When``."""
        return self._do(calls.transaction(transaction.request()))

    def put_if_absent(self, key: Text, value: Text, *, lease: int = 0) -> results.Swap:
        """Create a key, unless it is there."""
        return self.carry_out(conditions.put_if_absent(key, value, lease))

    def compare_and_swap(
        self, key: Text, value: Text, *, expected: Text | None = None, revision: int | None = None, lease: int = 0
    ) -> results.Swap:
        """Write a key if it has the value ``expected``, or the mod revision ``revision`` (0: it is not there)."""
        return self.carry_out(conditions.compare_and_swap(key, value, expected, revision, lease))

    def compare_and_delete(
        self, key: Text, *, expected: Text | None = None, revision: int | None = None
    ) -> results.Swap:
        """Delete a key if it has the value ``expected``, or the mod revision ``revision``."""
        return self.carry_out(conditions.compare_and_delete(key, expected, revision))

    def compact(self, revision: int, *, physical: bool = False) -> int:
        """Forget what is older than ``revision``; gives the store's revision."""
        return self._do(calls.compact(revision, physical=physical))

    def lease_grant(self, ttl: int, *, id: int = 0) -> results.Lease:
        """A new lease of ``ttl`` seconds; ``id`` 0 lets the server choose."""
        return self._do(calls.lease_grant(ttl, id))

    def lease_revoke(self, id: int) -> int:
        """End a lease and delete its keys; gives the revision."""
        return self._do(calls.lease_revoke(id))

    def lease_keep_alive(self, id: int) -> int | None:
        """Renew a lease once; the seconds that it lives from now on, or None where it is gone."""
        return self._do(calls.lease_keep_alive(id))

    def lease_time_to_live(self, id: int, *, keys: bool = False) -> results.LeaseLeft | None:
        """What is left of a lease; None: it is gone."""
        return self._do(calls.lease_time_to_live(id, keys=keys))

    def leases(self) -> tuple[int, ...]:
        return self._do(calls.leases())

    def keep_lease(self, ttl: int) -> KeptLease:
        """A lease that is renewed until it is closed: ``with client.keep_lease(30) as lease: ...``"""
        return KeptLease(self, ttl)

    def lock(self, name: Text, lease: KeptLease | int = LEASE_TTL_DEFAULT) -> Lock:
        """A lock, under a lease or under one of its own with a time to live of so many seconds."""
        return Lock(self, name, lease)

    def election(self, name: Text, lease: KeptLease | int = LEASE_TTL_DEFAULT) -> Election:
        """An election; ``lease`` as for ``lock``."""
        return Election(self, name, lease)

    def queue(self, name: Text) -> Queue:
        return Queue(self, name)

    def barrier(self, name: Text) -> Barrier:
        return Barrier(self, name)

    def stm(self, apply: Callable[[Transaction], T], *, attempts: int = ATTEMPTS_DEFAULT) -> T:
        """Run ``apply`` until what it has read and written is one transaction of serializable snapshot isolation; gives
        what the last run returned. It may be run several times, so it does nothing but read and write. Raises
        ``Conflict`` after so many ``attempts``, and what ``apply`` raises; nothing has been written then."""
        return run_stm(self, apply, attempts)

    def members(self) -> tuple[results.Member, ...]:
        """Who belongs to the cluster."""
        return self._do(calls.members())

    def move_leader(self, to: int) -> None:
        """Hand the lead to the member with this id; one of the endpoints must be the leader's."""
        self._do(calls.move_leader(to))

    def add_member(self, peer_urls: Sequence[str], *, learner: bool = False) -> results.Member:
        """Add a member that will be reached at these peer URLs; start it afterwards. It learns first, and votes as soon
        as it has caught up, unless it is to stay a ``learner``."""
        return self._do(calls.add_member(peer_urls, learner=learner))

    def remove_member(self, member: int) -> tuple[results.Member, ...]:
        """Remove a member for good; the members then."""
        return self._do(calls.remove_member(member))

    def promote_member(self, member: int) -> tuple[results.Member, ...]:
        """Have a learner that has caught up vote; the members then."""
        return self._do(calls.promote_member(member))

    def update_member(self, member: int, peer_urls: Sequence[str]) -> tuple[results.Member, ...]:
        """Have the others reach a member at these peer URLs, where it must then listen; the members then."""
        return self._do(calls.update_member(member, peer_urls))

    @property
    def auth(self) -> Auth:
        """Users, roles, and whether they count."""
        return Auth(self)

    def alarms(self) -> tuple[results.Alarm, ...]:
        """What members have raised."""
        return self._do(calls.alarms())

    def disarm(self, alarm: results.Alarm) -> tuple[results.Alarm, ...]:
        """Take an alarm back; gives those that were taken back."""
        return self._do(calls.disarm(alarm))

    def defragment(self, endpoint: str) -> None:
        """Have the member behind ``endpoint`` give unused space back to its file system."""
        self._at(self._endpoints.parse(endpoint), calls.defragment(), self._timeout_s)

    def hash_kv(self, endpoint: str, *, revision: int = 0) -> results.KvHash:
        """The hash of what the member behind ``endpoint`` holds up to ``revision``; 0: its newest."""
        return self._at(self._endpoints.parse(endpoint), calls.hash_kv(revision), self._timeout_s)

    def status(self, endpoint: str) -> results.MemberStatus:
        """The view of the member behind ``endpoint``, and of no other."""
        return self._at(self._endpoints.parse(endpoint), calls.status(), self._timeout_s)

    def report(self, endpoint: str) -> NodeReport:
        """What the Ratified node behind ``endpoint`` tells beyond its status."""
        return self._at(self._endpoints.parse(endpoint), calls.report(), self._timeout_s)

    def snapshot(self, endpoint: str) -> Iterator[results.BackupPart]:
        """A backup of what the member behind ``endpoint`` has applied; it ends early where that is silent for
        ``timeout_s``."""
        target = self._endpoints.parse(endpoint)
        try:
            token = self.token(target, self._timeout_s)
        except grpc.RpcError as failed:
            raise error(*self._endpoints.status_of(target, failed), repeatable=True) from failed
        stream = self.channel(target).unary_stream(calls.SNAPSHOT)(b"", metadata=metadata(token))
        try:
            while True:
                watchdog = threading.Timer(self._timeout_s, stream.cancel)
                watchdog.start()
                try:
                    part = next(stream, b"")
                finally:
                    watchdog.cancel()
                if not part:
                    return
                read = rpc_pb2.SnapshotResponse.FromString(part)
                yield results.BackupPart(read.blob, read.remaining_bytes)
        except grpc.RpcError as failed:
            code, text = self._endpoints.status_of(target, failed)
            raise error(*(SILENT if code == "CANCELLED" else (code, text)), repeatable=True) from failed
        finally:
            stream.cancel()

    def watch(
        self, key: Text, *, prefix: bool = False, end: Text | None = None, revision: int = 0, previous: bool = False
    ) -> Watch:
        """Events from ``revision`` on (0: from now on), in order, each once, whichever endpoint fails, and for however
        long all of them do. Only a watch that no endpoint has served yet ends, as ``Unavailable``, after
        ``timeout_s``."""
        position = WatchPosition(key, prefix=prefix, end=end, revision=revision, previous=previous)
        watch = Watch(self, self._endpoints, position, self._timeout_s)
        with self._lock:
            self._watches.add(watch)
        return watch

    def channel(self, target: Target) -> grpc.Channel:
        """The connection to a target, made on first use. Raises ``TlsError``, and ``ClientClosed``."""
        with self._lock:
            if self._closed:
                raise ClientClosed
            channel = self._channels.get(target)
            if channel is None:
                channel = self._channels[target] = self._new_channel(target)
            return channel

    def token(self, target: Target, timeout_s: float) -> str:
        """The user's token, empty where none is needed. Raises gRPC's errors, and ``ClientClosed``."""
        return self._token(self.channel(target), timeout_s)

    def refused(self, token: str, why: TokenRefused | PermissionDenied, times: int) -> bool:
        """A server has refused a watch, so many times in a row. Is it to be asked again, with another token?"""
        return self._login.watch_refused(token, why, times)

    def _new_channel(self, target: Target) -> grpc.Channel:
        if not target.tls:
            return grpc.insecure_channel(target.address, options=CHANNEL_OPTIONS)
        tls = self._endpoints.tls
        return grpc.secure_channel(target.address, tls.credentials(), options=(*CHANNEL_OPTIONS, *tls.channel_options))

    def carry_out(self, plan: Plan[T], timeout_s: float | None = None) -> T:
        """Carry out a recipe's plan. Raises ``TimeoutError`` where waiting in it takes longer than ``timeout_s``."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            step = next(plan)
            while True:
                try:
                    answer = self._change(step, deadline) if isinstance(step, ChangeOf) else self._do(step)
                except (ClientError, TimeoutError) as failed:
                    step = plan.throw(failed)
                else:
                    step = plan.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            plan.close()

    def _change(self, awaited: ChangeOf, deadline: float | None) -> results.Event:
        watch = self.watch(awaited.key, prefix=awaited.prefix, revision=awaited.revision)
        with watch, _closed_at(watch, deadline):
            for event in watch:
                if awaited.kind in (None, event.kind):
                    return event
        if self._closed:
            raise ClientClosed
        raise TimeoutError(f"no change of {awaited.key!r} in time")

    def _do(self, call: Call[T]) -> T:
        """Carry out a call, at one endpoint after another while that is safe and there is time."""
        timeout_s = self._timeout_s if call.timeout_s is None else min(call.timeout_s, self._timeout_s)
        attempts = Attempts(self._endpoints, repeatable=call.repeatable, deadline=time.monotonic() + timeout_s)
        while True:
            target = attempts.target
            try:
                if attempts.asks_first(target):
                    self._send(target, calls.status(), attempts.timeout_s(time.monotonic()))
                    attempts.answered(target)
                return call.read(self._send(target, call, attempts.timeout_s(time.monotonic())))
            except grpc.RpcError as failed:
                attempts.failed(target, *self._endpoints.status_of(target, failed), time.monotonic())
            time.sleep(attempts.pause_s)

    def _at(self, target: Target, call: Call[T], timeout_s: float) -> T:
        try:
            return call.read(self._send(target, call, timeout_s))
        except grpc.RpcError as failed:
            raise error(*self._endpoints.status_of(target, failed), repeatable=call.repeatable) from failed

    def _send(self, target: Target, call: Call[T], timeout_s: float) -> bytes:
        channel = self.channel(target)
        try:
            return self._send_as_user(channel, call, timeout_s)
        except (grpc.RpcError, ValueError):
            if self._closed:
                raise ClientClosed from None  # gRPC has its own words for a connection that was closed
            raise

    def _send_as_user(self, channel: grpc.Channel, call: Call[T], timeout_s: float) -> bytes:
        for attempt in range(ATTEMPTS_MAX):
            token = self._token(channel, timeout_s)
            try:
                return self._exchange(channel, call, timeout_s, metadata(token))
            except grpc.RpcError as failed:
                refused = self._login.refused(token, failed.code().name, failed.details() or "")
                if not refused or attempt == ATTEMPTS_MAX - 1:
                    raise
        raise AssertionError("the last attempt raises")

    def _token(self, channel: grpc.Channel, timeout_s: float) -> str:
        """The user's token, asked for by one call for all that wait."""
        if self._login.token is None:
            with self._login_lock:
                if self._login.token is None:
                    self._log_in(channel, timeout_s)
        return self._login.token or ""

    def _log_in(self, channel: grpc.Channel, timeout_s: float) -> None:
        call = auth_calls.authenticate(self._login.user, self._login.password)
        try:
            self._login.asked(call.read(self._exchange(channel, call, timeout_s, ())))
        except grpc.RpcError as failed:
            if not self._login.not_asked(failed.code().name, failed.details() or ""):
                raise

    def _exchange(self, channel: grpc.Channel, call: Call[T], timeout_s: float, metadata: Metadata) -> bytes:
        answer: bytes
        if not call.streaming:
            answer = channel.unary_unary(call.method)(call.request, timeout=timeout_s, metadata=metadata)
            return answer
        stream = channel.stream_stream(call.method)(iter((call.request,)), timeout=timeout_s, metadata=metadata)
        answer = next(stream, b"")
        stream.cancel()
        if not answer:
            raise ClientError("INTERNAL", "the server ended the stream without an answer")
        return answer


@contextmanager
def _closed_at(watch: Watch, deadline: float | None) -> Iterator[None]:
    """Close a watch when the time has come, unless it is left before."""
    if deadline is None:
        yield
        return
    timer = threading.Timer(max(deadline - time.monotonic(), 0.0), watch.close)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Watch:
    """An iterator over events. Close it from any thread to end it; ``next_revision`` is where it would go on."""

    def __init__(self, client: Client, endpoints: Endpoints, position: WatchPosition, timeout_s: float) -> None:
        self._client = client
        self._endpoints = endpoints
        self._position = position
        self._timeout_s = timeout_s
        self._attempt_s = endpoints.attempt_s(timeout_s)
        self._events: deque[results.Event] = deque()
        self._stream: Any = None
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._token = ""
        self._refused = 0
        """How often in a row the server has refused the token."""
        self._waits_since: float | None = None
        """Since when the next answer is waited for."""

    @property
    def next_revision(self) -> int:
        """The revision that the watch goes on with; 0: it has not begun."""
        return self._position.next_revision

    @property
    def seen_revision(self) -> int:
        """Up to which revision everything was seen, as the servers say."""
        return self._position.seen_revision

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the watch; a waiting iteration stops."""
        self._closed.set()
        self._requests.put(None)
        if self._stream is not None:
            self._stream.cancel()

    def __iter__(self) -> Iterator[results.Event]:
        return self

    def __next__(self) -> results.Event:
        self._fill()
        if not self._events:
            raise StopIteration
        return self._events.popleft()

    def batches(self, *, progress: bool = False) -> Iterator[tuple[results.Event, ...]]:
        """The events as the server sends them: some whole revisions each time, until the watch is closed. With
        ``progress`` also none where the server says only how far it is: ``seen_revision``."""
        while True:
            self._fill(progress=progress)
            if self._closed.is_set() and not self._events:
                return
            batch = tuple(self._events)
            self._events.clear()
            yield batch

    def begin(self) -> None:
        """Return when the server watches: what is written from now on will be seen."""
        while not self._closed.is_set() and (not self.next_revision or self._stream is None):
            self._take_answer()

    def _fill(self, *, progress: bool = False) -> None:
        """Return with events to give on, with none when the watch is closed, or with none and ``progress``."""
        while not self._events and not self._closed.is_set():
            if self._take_answer() and progress:
                return

    def _take_answer(self) -> bool:
        """Wait for the next answer. Did it say how far the server is?"""
        events = self._receive()
        self._events.extend(events or ())
        return events is not None

    def _receive(self) -> Sequence[results.Event] | None:
        """The events of one answer; where an endpoint fails, the next ones are tried."""
        attempts: Attempts | None = None
        while True:
            target = self._endpoints.current
            try:
                if self._stream is None:
                    self._token = self._client.token(target, self._attempt_s)
                    self._open(target)
                events = self._position.on_response(self._next_answer())
                self._refused = 0
                return events
            except ClientClosed:
                self._closed.set()
                return None
            except (AskAgain, TokenRefused, PermissionDenied) as ended:
                self._stream.cancel()
                self._stream = None
                if not self._asks_again(ended):
                    raise
                continue
            except StopIteration:
                code, text = "UNAVAILABLE", "the server ended the stream"
            except grpc.RpcError as failed:
                code, text = self._endpoints.status_of(target, failed)
                if self._asks_again(refusal(code, text)):
                    self._stream = None
                    continue
            self._stream = None
            if self._closed.is_set():
                return None
            if code == "CANCELLED":
                code, text = SILENT
            now = time.monotonic()
            if attempts is None:
                deadline = None if self._position.begun else now + self._timeout_s
                attempts = Attempts(self._endpoints, repeatable=True, deadline=deadline)
            attempts.failed(target, code, text, now)
            self._closed.wait(max(attempts.pause_s, ROUND_PAUSE_S))

    def _asks_again(self, ended: Exception) -> bool:
        """The server has ended the watch. Is it to be asked for it again, at another revision or with another token?"""
        if not isinstance(ended, (TokenRefused, PermissionDenied)):
            return isinstance(ended, AskAgain)
        self._refused += 1
        return self._client.refused(self._token, ended, self._refused)

    def _next_answer(self) -> bytes:
        self._waits_since = time.monotonic()
        try:
            answer: bytes = next(self._stream)
        finally:
            self._waits_since = None
        return answer

    def _open(self, target: Target) -> None:
        self._requests.put(None)
        self._requests = queue.SimpleQueue()
        self._requests.put(self._position.request())
        open_stream = self._client.channel(target).stream_stream(calls.WATCH)
        self._stream = open_stream(self._questions(self._requests), metadata=(*WATCH_METADATA, *metadata(self._token)))
        if self._closed.is_set():
            self._stream.cancel()  # closed from another thread, which saw no stream yet

    def _questions(self, requests: queue.SimpleQueue[bytes | None]) -> Iterator[bytes]:
        """What is sent on one stream, in a thread of gRPC's: it also ends the stream where the member is silent."""
        asked_since: float | None = None
        while True:
            try:
                request = requests.get(timeout=self._attempt_s / 10)
            except queue.Empty:
                since = self._waits_since
                silent_s = 0.0 if since is None else time.monotonic() - since
                if silent_s >= self._attempt_s:
                    self._stream.cancel()
                    return
                if silent_s >= self._attempt_s / 2 and since != asked_since:
                    asked_since = since
                    yield PROGRESS_REQUEST
            else:
                if request is None:
                    return
                yield request
