"""A store with everything around it that a replica would be, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from ratified.kv import commands, queries, requests
from ratified.kv.errors import EtcdError
from ratified.kv.limits import KvLimits
from ratified.kv.store import KvStore
from ratified.kv.tables import TABLES
from ratified.machine import Command, Continuation, SnapshotDamaged, StateLoader, TidyFirst, load_all
from ratified.state_stream import RecordParser
from ratified.storage.group_spaces import GroupSpaces
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.space import Environment, Space
from ratified.wire.etcd import rpc_pb2
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    HashKVRequest,
    HashKVResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    TxnRequest,
    TxnResponse,
    WatchCreateRequest,
    WatchResponse,
)

M = TypeVar("M", bound=Message)
PLENTY = 1 << 30
FRESH_LEASE = 7001
TTL_MIN_S = 2

RESPONSES: dict[type[Message], type[Message]] = {
    PutRequest: PutResponse,
    DeleteRangeRequest: DeleteRangeResponse,
    TxnRequest: TxnResponse,
    CompactionRequest: CompactionResponse,
    LeaseGrantRequest: LeaseGrantResponse,
    LeaseRevokeRequest: LeaseRevokeResponse,
    RangeRequest: RangeResponse,
    HashKVRequest: HashKVResponse,
}


class Failed(Exception):
    """The answer was an error: its code and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


def decode(response: type[M], answer: bytes) -> M:
    if answer[:1] == b"\x01":
        raise Failed(answer[1], answer[2:].decode())
    assert answer[:1] == b"\x00"
    return response.FromString(answer[1:])


def build(request: Message) -> bytes:
    """The command of a request, checked before as where it comes in; raises ``EtcdError``."""
    data = request.SerializeToString()
    match request:
        case rpc_pb2.PutRequest():
            requests.check_put(request)
            return commands.put(data)
        case rpc_pb2.DeleteRangeRequest():
            requests.check_delete_range(request)
            return commands.delete_range(data)
        case rpc_pb2.TxnRequest():
            requests.check_txn(request)
            return commands.txn(data)
        case rpc_pb2.CompactionRequest():
            return commands.compact(data)
        case rpc_pb2.LeaseGrantRequest():
            requests.check_lease_grant(request)
            return commands.lease_grant(request, FRESH_LEASE, TTL_MIN_S)
        case rpc_pb2.LeaseRevokeRequest():
            return commands.lease_revoke(data)
    raise AssertionError(request)


class Watch:
    """A watch that is being read."""

    def __init__(self, continuation: Continuation) -> None:
        self.continuation = continuation
        self.responses: list[WatchResponse] = []
        self.finished = False
        self._told = 0
        """The last revision up to which a response says that everything has been sent."""

    def advance(self, now: int, rows_max: int, bytes_max: int) -> None:
        piece = self.continuation.advance(now, rows_max, bytes_max)
        for response in [decode(WatchResponse, chunk) for chunk in piece.chunks]:
            assert all(event.kv.mod_revision > self._told for event in response.events), "it was sent, it said"
            if not (response.created or response.canceled or response.fragment):
                self._told = response.header.revision
            self.responses.append(response)
        self.finished = self.finished or piece.finished

    def wants_to_advance(self) -> int | None:
        """Its deadline, asked anew."""
        return self.continuation.deadline

    @property
    def events(self) -> list[tuple[int, bytes, bytes | None]]:
        """(revision, key, value or None for a deletion) of all events so far."""
        return [
            (event.kv.mod_revision, event.kv.key, None if event.type else event.kv.value)
            for response in self.responses
            for event in response.events
        ]


class Driver:
    """One store on one space."""

    def __init__(self, environment: Environment | None = None, limits: KvLimits | None = None) -> None:
        self.environment = environment or MemoryEnvironment()
        self.limits = limits or KvLimits()
        self.store = KvStore(self.environment.space(3), self.limits)
        self.index = self.store.applied
        self.watches: list[Watch] = []
        self.waited_for_tidiness = 0
        """Commands that were begun again once all was written and removed."""

    @property
    def space(self) -> Space:
        """The one that serves."""
        return GroupSpaces(self.environment.space(3), TABLES).serving

    def read_state(self, bytes_max: int = 1 << 16) -> list[bytes]:
        """The pieces of the committed state."""
        reader = self.store.read_state()
        assert (reader.index, reader.era) == (self.store.applied, self.store.applied_era)
        pieces = list(iter(lambda: reader.read(bytes_max), None))
        reader.close()
        assert all(0 < len(piece) <= bytes_max for piece in pieces)
        return pieces

    @property
    def state(self) -> list[tuple[bytes, bytes]]:
        """The records of the committed state, behind their head."""
        parser = RecordParser()
        return [record for piece in self.read_state() for record in parser.feed(piece)] + [(b"end", parser.end or b"")]

    def load_state(self, pieces: Sequence[bytes], index: int, era: tuple[int, int] = (1, 0)) -> None:
        """Load another state and switch to it, each piece in a transaction of its own. Raises ``SnapshotDamaged``."""
        loader = self.begin_to_load(index, era)
        try:
            load_all(loader, pieces, self.environment.transaction)
        except SnapshotDamaged:
            loader.abandon()
            raise
        self.index = index

    def begin_to_load(self, index: int, era: tuple[int, int] = (1, 0)) -> StateLoader:
        while True:
            try:
                return self.store.load_state(index, era)
            except TidyFirst:
                assert self.store.untidy
                self.tidy()

    def reopen(self) -> None:
        """As after a restart of the process: only the rows are left."""
        self.store = KvStore(self.environment.space(3), self.limits)
        self.watches = []

    def apply(self, datas: Sequence[bytes]) -> Sequence[bytes]:
        """One turn's commands, in one transaction."""
        batch = [Command(self.index + at, data) for at, data in enumerate(datas, 1)]
        with self.environment.transaction():
            self.index += len(batch)
            return self.store.apply(batch, self.index, (1, 0))

    def apply_in_pieces(self, data: bytes, rows_max: int, between: Callable[[], None] = lambda: None) -> bytes:
        """One command as a node applies a long one: its transaction is set aside between the pieces."""
        self.index += 1
        while True:
            pieces = self.store.apply_in_pieces(Command(self.index, data), (1, 0), rows_max)
            try:
                with self.environment.transaction(), self.environment.savepoint():
                    return self._take_pieces(pieces, between)
            except TidyFirst:
                self.waited_for_tidiness += 1
                while self.store.untidy:
                    self.tidy()

    def _take_pieces(self, pieces: Generator[None, None, bytes], between: Callable[[], None]) -> bytes:
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return bytes(end.value)
            self.environment.suspend()
            between()
            self.environment.resume()

    def tidy(self) -> None:
        """A turn in which nothing is applied."""
        if self.store.untidy:
            with self.environment.transaction():
                self.store.tidy()

    def do(self, request: Message) -> Message:
        """Propose, apply, decode."""
        return decode(RESPONSES[type(request)], self._apply_one(build(request)))

    def _apply_one(self, data: bytes) -> bytes:
        return self.apply([data])[0]

    def put(self, key: bytes, value: bytes = b"", lease: int = 0) -> int:
        """Write; gives the revision."""
        response = self.do(PutRequest(key=key, value=value, lease=lease))
        assert isinstance(response, PutResponse)
        return response.header.revision

    def delete(self, key: bytes, range_end: bytes = b"") -> int:
        """Delete; gives how many."""
        response = self.do(DeleteRangeRequest(key=key, range_end=range_end))
        assert isinstance(response, DeleteRangeResponse)
        return response.deleted

    def compact(self, revision: int) -> None:
        self.do(CompactionRequest(revision=revision))

    def txn(self, request: TxnRequest) -> TxnResponse:
        response = self.do(request)
        assert isinstance(response, TxnResponse)
        return response

    def grant(self, lease: int, ttl: int) -> LeaseGrantResponse:
        response = self.do(LeaseGrantRequest(ID=lease, TTL=ttl))
        assert isinstance(response, LeaseGrantResponse)
        return response

    def revoke(self, lease: int) -> None:
        self.do(LeaseRevokeRequest(ID=lease))

    def answer(self, query: bytes, rows_max: int = PLENTY, bytes_max: int = PLENTY) -> bytes:
        """A read that ends, its pieces joined."""
        answer = self.store.read(0, query)
        if isinstance(answer, bytes):
            return answer
        chunks: list[bytes] = []
        finished = False
        while not finished:
            assert answer.deadline == 0
            piece = answer.advance(0, rows_max, bytes_max)
            chunks += piece.chunks
            finished = piece.finished
            if not piece.chunks and self.store.pending_tombstones:
                self.tidy()
        return b"".join(chunks)

    def range(self, request: RangeRequest, rows_max: int = PLENTY, bytes_max: int = PLENTY) -> RangeResponse:
        query = queries.range_(request.SerializeToString())
        return decode(RangeResponse, self.answer(query, rows_max, bytes_max))

    def get(self, key: bytes, revision: int = 0) -> bytes | None:
        pairs = self.range(RangeRequest(key=key, revision=revision)).kvs
        return pairs[0].value if pairs else None

    def keys(self, key: bytes = b"\x00", range_end: bytes = b"\x00", revision: int = 0) -> list[bytes]:
        return [pair.key for pair in self.range(RangeRequest(key=key, range_end=range_end, revision=revision)).kvs]

    def watch(self, request: WatchCreateRequest, stream: int = 1) -> Watch:
        continuation = self.store.read(0, queries.watch(stream, request.SerializeToString()))
        assert not isinstance(continuation, bytes)
        self.watches.append(Watch(continuation))
        return self.watches[-1]

    def turn(self, now: int = 0, rows_max: int = PLENTY, bytes_max: int = PLENTY) -> None:
        """Advance whoever was woken or whose deadline has passed, until nobody has anything to say."""
        while True:
            woken = self.store.woken(now)
            due = [watch for watch in self.watches if not watch.finished and _is_due(watch, woken, now)]
            if not due:
                return
            for watch in due:
                watch.advance(now, rows_max, bytes_max)

    def keep_alive(self, now: int, lease: int) -> int:
        question = queries.keep_alive(LeaseKeepAliveRequest(ID=lease).SerializeToString())
        response = decode(LeaseKeepAliveResponse, self.store.ask(now, question))
        assert lease == response.ID
        return response.TTL

    def time_to_live(self, now: int, lease: int, keys: bool = False) -> LeaseTimeToLiveResponse:
        question = queries.time_to_live(LeaseTimeToLiveRequest(ID=lease, keys=keys).SerializeToString())
        return decode(LeaseTimeToLiveResponse, self.store.ask(now, question))

    def lead(self, now: int, era: tuple[int, int]) -> None:
        """Become leader, with the first duty applied."""
        self.store.lead(now, era)
        duties, _ = self.store.duties(now)
        self.apply(duties)

    def do_duties(self, now: int) -> int:
        """Propose and apply what is due; gives how many commands that were."""
        duties, _ = self.store.duties(now)
        if duties:
            self.apply(duties)
        return len(duties)


def _is_due(watch: Watch, woken: Sequence[Continuation], now: int) -> bool:
    deadline = watch.continuation.deadline
    return any(watch.continuation is one for one in woken) or (deadline is not None and deadline <= now)


def refused(request: Message) -> EtcdError | None:
    """Why a request is not even proposed."""
    try:
        build(request)
    except EtcdError as error:
        return error
    return None


class LongDriver(Driver):
    """One that takes every command for a long one, and tidies up only when told."""

    def _apply_one(self, data: bytes) -> bytes:
        return self.apply_in_pieces(data, 1)
