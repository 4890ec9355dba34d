"""``KvStore``: the key-value store as a replica calls it.

Rules
1. Everything that a command does, the applied index included, is written inside the transaction that the replica holds
   open; what is kept in memory beside it is rebuilt from the rows when the store is opened.
2. A command that cannot be done gives one of etcd's errors as its result and changes nothing. An exception is a local
   failure: ``ApplyFailed`` stops the replica.
3. ``duties`` is to be called after ``lead``, after every apply, and at the time it gave.
4. Another state is loaded beside the one that serves (``snapshot``). What was replaced, or loaded in vain, is removed
   with what else nobody can see.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import msgspec
from google.protobuf.message import DecodeError, Message
from typing_extensions import override

from ratified.kv import commands, limbo, queries, snapshot
from ratified.kv.alarms import Alarms
from ratified.kv.alarms import text as alarm_text
from ratified.kv.auth import Auth
from ratified.kv.backup import ALL_KEYS, OpenStates, SlicedState
from ratified.kv.burials import bury_lease, bury_range
from ratified.kv.checks import Check, Checks, Report
from ratified.kv.commands import AuthKind, CommandKind
from ratified.kv.cost import DELETED, PUT, count_up_to, estimate, work_of_put
from ratified.kv.encoding import OK, failure, field, header, header_only, varint
from ratified.kv.errors import EtcdError
from ratified.kv.guard import Guard
from ratified.kv.hashes import SlicedHash, read_from_rows, recorded
from ratified.kv.identity import Identity
from ratified.kv.leases import Leases, SlicedLeases
from ratified.kv.lessor import SECOND, Lessor
from ratified.kv.limits import KvLimits
from ratified.kv.mvcc import Mvcc
from ratified.kv.plain import PlainPut, bare, join_answers, plain_get, plain_gets, plain_puts, puts_in
from ratified.kv.queries import STREAM, AskKind, Counts, QueryKind
from ratified.kv.ranges import RangeRead, SlicedRange, is_of_newest, newest_of, newest_pair
from ratified.kv.snapshot import APPLIED, POSITION, KvStateLoader, read_applied
from ratified.kv.tables import META, TABLES
from ratified.kv.tidied import Tidied
from ratified.kv.tokens import Holder, Password, Tokens
from ratified.kv.txn_reads import SlicedTxn, TxnRead
from ratified.kv.walks import present
from ratified.kv.watch import ProgressRequest, WatchHub
from ratified.kv.writes import Steps, at_once, check_put, delete_range, put, revoke, transact
from ratified.machine import (
    ApplyFailed,
    Command,
    Continuation,
    Era,
    StateLoader,
    StateReader,
    Store,
    TidyFirst,
    Touches,
)
from ratified.storage.group_spaces import GroupSpaces
from ratified.storage.lmdb import ROTTEN
from ratified.storage.pages import StoredRows
from ratified.storage.space import Space
from ratified.wire.etcd import errors, rpc_pb2

M = TypeVar("M", bound=Message)

# A member of an enum costs more each time, on CPython 3.11, than what is done with it here.
_RANGE = int(QueryKind.RANGE)


def applied_in(rows: StoredRows) -> int:
    """Up to where a store has applied the log, by the rows of the space that serves. Raises ``StoreUnsound``."""
    return read_applied(rows.get(META, APPLIED))[0]


def _piece(steps: Steps[bytes], rows_max: int) -> bytes | None:
    """Steps that cost about so much; the result, or None: there are more."""
    while rows_max > 0:
        try:
            rows_max -= next(steps)
        except StopIteration as end:
            result: bytes = end.value
            return result
    return None


class KvStore(Store):
    """etcd's store."""

    def __init__(self, space: Space, limits: KvLimits | None = None) -> None:
        self._spaces = GroupSpaces(space, TABLES)
        self._space = space = self._spaces.serving
        self._loader: KvStateLoader | None = None
        """What fills the spare space."""
        self._open_states = OpenStates()
        self._limits = limits or KvLimits()
        self._applied, self._applied_era = read_applied(space.get(META, APPLIED))
        self._mvcc = Mvcc(space)
        self._leases = Leases(space)
        self._auth = Auth(space)
        self._alarms = Alarms(space)
        self._checks = Checks()
        self._guard = Guard(self._auth, self._mvcc)
        self._tokens = Tokens(self._limits.token_ttl_us)
        self._hub = WatchHub(self._mvcc, self._limits, self._auth)
        self._lessor = Lessor(self._leases, self._limits.expiries_at_once)
        self._handlers: dict[int, Callable[[bytes], bytes]] = {
            CommandKind.PUT: self._put,
            CommandKind.PUTS: self._put_several,
            CommandKind.COMPACT: self._compact,
            CommandKind.LEAD: self._lead,
            CommandKind.LEASE_GRANT: self._lease_grant,
            CommandKind.AUTH: self._change_auth,
            CommandKind.AUTHENTICATE: self._authenticate,
            CommandKind.ALARM: self._alarm,
            CommandKind.CHECK: self._check,
            CommandKind.CHECKED: self._checked,
        }
        self._stepwise: dict[int, Callable[[bytes], Steps[bytes]]] = {
            CommandKind.DELETE_RANGE: self._delete_range,
            CommandKind.TXN: self._txn,
            CommandKind.LEASE_REVOKE: self._lease_revoke,
            CommandKind.LEASE_EXPIRE: self._lease_expire,
        }
        """The commands that may be long."""
        self._index = 0
        self._reading_at = -1
        """The ``now`` of the turn in which something was read last, and how many rows that turn may still read."""
        self._rows_left = 0
        self._decoded: dict[bytes, Message] = {}
        """Requests that ``cost`` has decoded and that are not applied yet, by their bytes."""
        self._plain_puts: dict[bytes, list[PlainPut]] = {}
        """The same, by the bytes of the command."""

    # -- what a replica calls -------------------------------------------------------------------------------------

    @property
    @override
    def applied(self) -> int:
        return self._applied

    @property
    @override
    def applied_era(self) -> Era:
        return self._applied_era

    @property
    @override
    def durable(self) -> tuple[int, Era]:
        return self._applied, self._applied_era

    @override
    def save(self) -> None:
        pass  # all of it is in its rows

    @property
    @override
    def saving(self) -> bool:
        return False

    @property
    def revision(self) -> int:
        return self._mvcc.revision

    @property
    def compact_revision(self) -> int:
        """The revision of the last compaction; -1: there was none."""
        return self._mvcc.compact_revision

    @property
    def pending_tombstones(self) -> int:
        """Long deletes of which not all rows are written."""
        return len(self._mvcc.tombstones)

    @property
    def size_bytes(self) -> int:
        """Bytes of keys and values in the rows of keys, compacted ones that are not yet removed included."""
        return self._mvcc.size_bytes

    @override
    def apply(self, commands: Sequence[Command], last_index: int, era: Era) -> Sequence[bytes]:
        results: list[bytes] = []
        puts: list[list[PlainPut]] = []
        index = self._applied
        for command in commands:
            plain = self._plain(command)
            if plain is None:
                results += self._apply_puts(puts, index)
                puts.clear()
                results.append(self._apply(command))
            else:
                puts.append(plain)
            index = command.index
        results += self._apply_puts(puts, index)
        self._tidy()
        self._mvcc.save()
        self._write_applied(last_index, era)
        return results

    @override
    def cost(self, command: bytes, most: int) -> int:
        try:
            puts = plain_puts(command)
            if puts is not None:
                self._plain_puts[command] = puts
                return min(PUT * len(puts), most)
            kind, who, body = commands.split(command)
            looks = self._guard.looks(kind, who, body, most) if self._auth.enabled else 0
            if kind == CommandKind.PUT:
                request = self._decoded[body] = rpc_pb2.PutRequest.FromString(body)
                return min(work_of_put(self._mvcc.visible, request) + looks, most)
            if kind not in self._stepwise:
                return PUT
            return min(PUT + self._rows_cost(kind, body, most) + looks, most)
        except (DecodeError, ValueError, struct.error):
            return PUT  # applying it will say what is wrong

    def _rows_cost(self, kind: int, body: bytes, most: int) -> int:
        if kind == CommandKind.TXN:
            transaction = self._decoded[body] = rpc_pb2.TxnRequest.FromString(body)
            return estimate(self._mvcc.visible, self._mvcc.revision, transaction, most)
        rows: Iterator[object]
        if kind == CommandKind.DELETE_RANGE:
            request = self._decoded[body] = rpc_pb2.DeleteRangeRequest.FromString(body)
            rows = present(self._mvcc.visible, request.key, request.range_end)
        elif kind == CommandKind.LEASE_REVOKE:
            revoked = self._decoded[body] = rpc_pb2.LeaseRevokeRequest.FromString(body)
            rows = self._mvcc.attached(revoked.ID)
        else:
            rows = self._mvcc.attached(commands.EXPIRE.unpack(body)[2])
        return DELETED * count_up_to(rows, most // DELETED)

    @override
    def apply_in_pieces(self, command: Command, era: Era, rows_max: int) -> Generator[None, None, bytes]:
        self._mvcc.begin_pieces()
        result = yield from self._apply_in_pieces(command, rows_max)
        self._mvcc.save()
        self._write_applied(command.index, era)
        return result

    @property
    @override
    def untidy(self) -> bool:
        mvcc = self._mvcc
        return bool(mvcc.tombstones) or mvcc.holds_dead_rows or self._holds_useless or mvcc.order.is_behind

    @property
    def _holds_useless(self) -> bool:
        """Whether the spare space has rows that are of no use."""
        return self._spaces.holds_useless and self._loader is None

    @override
    def tidy(self) -> None:
        try:
            self._tidy()
        except ROTTEN:
            raise
        except Exception as error:
            raise ApplyFailed(self._applied, error) from error
        self._mvcc.save_removal()
        self._give_up_costly_states()

    def _tidy(self) -> None:
        if self._mvcc.tombstones:
            if self._mvcc.write_tombstone(self._limits.tombstone_rows_at_once, self._limits.tidy_bytes_at_once):
                self._hub.on_tombstone_done()
        elif self._mvcc.holds_dead_rows:
            self._mvcc.remove_dead_rows(self._limits.removal_events_at_once, self._limits.tidy_bytes_at_once)
        elif self._holds_useless:
            self._spaces.remove_useless(self._limits.useless_rows_at_once)
        elif self._mvcc.order.is_behind:
            self._mvcc.order.catch_up(self._limits.order_keys_at_once, self._limits.tidy_bytes_at_once)

    @override
    def read(self, now: int, request: bytes) -> bytes | Continuation:
        if now != self._reading_at:
            self._reading_at, self._rows_left = now, self._limits.range_rows_a_turn
        if request[0] == _RANGE and not self._auth.enabled and (key := plain_get(request[1:])) is not None:
            return OK + newest_of(self._mvcc.visible, key, self._mvcc.revision)
        try:
            return self._read(now, *queries.split(request))
        except EtcdError as error:
            return failure(error)

    @override
    def touched_by(self, commands: Sequence[bytes]) -> Touches:
        return limbo.touched_by(commands)

    @override
    def woken(self, now: int) -> Sequence[Continuation]:
        self._tokens.note_time(now)
        woken = self._hub.woken(now)
        return [*woken, *self._checks.take_woken()] if self._checks.woken else woken

    @override
    def digest(self) -> bytes:
        return self._mvcc.digest()

    @override
    def read_state(self) -> StateReader:
        return snapshot.read_state(self._space.view(), self._limits)

    @override
    def load_state(self, index: int, era: Era) -> StateLoader:
        if self._loader is not None:
            self._loader.abandon()
        if not self._spaces.is_spare_empty():
            self._spaces.holds_useless = True
            raise TidyFirst
        self._loader = KvStateLoader(self._spaces.spare, index, era, self._switch, self._abandon)
        return self._loader

    def _switch(self, loader: KvStateLoader) -> None:
        """What is in the spare space serves from now on, and whatever is kept in memory follows."""
        assert loader is self._loader, "an abandoned loader switches to nothing"
        self._loader = None
        self._hub.catch_up_all()
        self._hub.chunks.clear()
        self._decoded.clear()
        self._plain_puts.clear()
        self._spaces.switch()
        self._space = self._spaces.serving
        self._mvcc.open(self._space)
        self._leases.replace_by(loader.leases)
        self._auth.replace_by(loader.auth)
        self._alarms.replace_by(loader.alarms)
        self._tokens.clear()
        self._checks.clear()
        self._lessor.on_replaced()
        self._applied, self._applied_era = loader.index, loader.era
        self._hub.on_tombstone_done()

    def _abandon(self, loader: KvStateLoader) -> None:
        if loader is self._loader:
            self._loader = None
            self._spaces.holds_useless = True

    def begin_anew(self, index: int) -> None:
        """Be the first state of a new cluster, whose log begins behind ``index``: eras of another one say nothing."""
        self._mvcc.era = (0, 0)
        self._mvcc.save()
        self._write_applied(index, (0, 0))

    @override
    def lead(self, now: int, era: Era | None) -> None:
        self._lessor.lead(now, era)

    @override
    def duties(self, now: int) -> tuple[Sequence[bytes], int | None]:
        stored = self._mvcc.era
        era = self._lessor.era
        proposals: list[bytes] = []
        if era is not None:
            if self._lessor.must_announce(stored):
                proposals.append(commands.lead(era))
            elif stored == era:
                proposals += [self._expiry(era, lease) for lease in self._lessor.expired(now)]
        return proposals, self._lessor.deadline(stored)

    @override
    def ask(self, now: int, request: bytes) -> bytes:
        if self._lessor.era is None or self._lessor.era != self._mvcc.era:
            return failure(EtcdError(*errors.LEADER_CHANGED))
        kind, who, body = queries.split(request)
        if self._auth.enabled:
            try:
                self._guard.check_ask(kind, who, body)
            except EtcdError as error:
                return failure(error)
        match kind:
            case AskKind.KEEP_ALIVE:
                return self._keep_alive(now, rpc_pb2.LeaseKeepAliveRequest.FromString(body).ID)
            case AskKind.TIME_TO_LIVE:
                return self._time_to_live(now, rpc_pb2.LeaseTimeToLiveRequest.FromString(body))
        raise ValueError(f"an ask of the unknown kind {kind} reached the store")

    # -- commands -------------------------------------------------------------------------------------------------

    def _plain(self, command: Command) -> list[PlainPut] | None:
        """What is put, if it can be applied with others."""
        try:
            puts = self._plain_puts.pop(command.data, None) or plain_puts(command.data)
        except ValueError as error:
            raise ApplyFailed(command.index, error) from error
        return None if self._mvcc.tombstones or self._auth.enabled or self._alarms.any else puts

    def _apply_puts(self, commands: Sequence[Sequence[PlainPut]], index: int) -> Sequence[bytes]:
        """Apply commands of plain puts, the last of which has this index."""
        if not commands:
            return ()
        revision = self._mvcc.revision + 1
        results: list[bytes] = []
        for puts in commands:
            results.append(header_only(revision))
            revision += len(puts)
        try:
            self._mvcc.put_each(chain.from_iterable(commands))
        except ROTTEN:
            raise  # the file is every group's
        except Exception as error:
            raise ApplyFailed(index, error) from error
        changes = self._mvcc.end_command()
        if changes:
            self._hub.publish(changes)
        return results

    def _apply(self, command: Command) -> bytes:
        self._index = command.index
        try:
            kind, who, body = commands.split(command.data)
            if self._auth.enabled:
                at_once(self._guard.check_command(kind, who, body))
            self._check_alarms(kind, body)
            stepwise = self._stepwise.get(kind)
            result = self._handlers[kind](body) if stepwise is None else at_once(stepwise(body))
        except EtcdError as error:
            return failure(error)
        except ROTTEN:
            raise  # the file is every group's
        except Exception as error:
            raise ApplyFailed(command.index, error) from error
        changes = self._mvcc.end_command()
        if changes:
            self._hub.publish(changes)
        return result

    def _apply_in_pieces(self, command: Command, rows_max: int) -> Generator[None, None, bytes]:
        self._index = command.index
        try:
            kind, who, body = commands.split(command.data)
            steps = self._steps(kind, who, body)
            while (last := _piece(steps, rows_max)) is None:
                yield
            result = last
        except EtcdError as error:
            result = failure(error)
        except TidyFirst:
            self._mvcc.forget_pieces()
            raise
        except ROTTEN:
            raise
        except Exception as error:
            raise ApplyFailed(command.index, error) from error
        # Somebody may have begun to listen in the middle, and what a long command changes is much: all read it again.
        self._hub.catch_up_all(self._mvcc.buried)
        self._mvcc.end_command()
        return result

    def _steps(self, kind: int, who: Identity | None, body: bytes) -> Steps[bytes]:
        if self._auth.enabled:
            yield from self._guard.check_command(kind, who, body)
        self._check_alarms(kind, body)
        stepwise = self._stepwise.get(kind)
        return self._handlers[kind](body) if stepwise is None else (yield from stepwise(body))

    def _check_alarms(self, kind: int, body: bytes) -> None:
        if not self._alarms.any:
            return
        try:
            self._alarms.check_command(kind, body)
        except EtcdError:
            if kind == CommandKind.LEASE_EXPIRE:  # proposed once in an era: so it runs out anew, a time to live later
                self._lessor.on_granted(commands.EXPIRE.unpack(body)[2])
            raise

    def _decode(self, message: type[M], body: bytes) -> M:
        request = self._decoded.pop(body, None)
        return request if isinstance(request, message) else message.FromString(body)

    def _write_applied(self, index: int, era: Era) -> None:
        """The applied index goes into the transaction of the data, and nowhere else; its era goes with it."""
        self._space.put(META, APPLIED, POSITION.pack(index, *era))
        self._applied, self._applied_era = index, era
        self._give_up_costly_states()

    def _give_up_costly_states(self) -> None:
        self._open_states.give_up_above(max(self._limits.state_kept_bytes_max, self._mvcc.size_bytes))

    def _put(self, body: bytes) -> bytes:
        request = self._decode(rpc_pb2.PutRequest, body)
        check_put(self._mvcc, self._leases, request)
        return OK + put(self._mvcc, request)

    def _put_several(self, body: bytes) -> bytes:
        """Plain puts where they cannot be applied with others."""
        answer = header_only(self._mvcc.revision + 1)
        if self._mvcc.in_pieces:
            self._hub.catch_up_all()  # who watches reads on from here, and not from the last of these revisions
        for number, (key, value) in enumerate(puts_in(body)):
            if number:
                self._mvcc.next_revision()
            self._mvcc.put(key, bare(value), 0)
        return answer

    def _delete_range(self, body: bytes) -> Steps[bytes]:
        request = self._decode(rpc_pb2.DeleteRangeRequest, body)
        if self._mvcc.in_pieces:
            buried = yield from bury_range(self._mvcc, request, self._limits.tombstones_max)
            if buried is not None:
                return OK + buried
        response = yield from delete_range(self._mvcc, request, self._limits.deletes_at_once)
        return OK + response

    def _txn(self, body: bytes) -> Steps[bytes]:
        request = self._decode(rpc_pb2.TxnRequest, body)
        response = yield from transact(self._mvcc, self._leases, request, self._limits.deletes_at_once)
        return OK + response

    def _compact(self, body: bytes) -> bytes:
        self._mvcc.compact(rpc_pb2.CompactionRequest.FromString(body).revision)
        return header_only(self._mvcc.revision)

    def _lease_grant(self, body: bytes) -> bytes:
        request = rpc_pb2.LeaseGrantRequest.FromString(body)
        self._leases.grant(request.ID, request.TTL, self._index, self._mvcc.sums)
        self._lessor.on_granted(request.ID)
        return header_only(self._mvcc.revision) + b"\x10" + varint(request.ID) + b"\x18" + varint(request.TTL)

    def _lease_revoke(self, body: bytes) -> Steps[bytes]:
        return (yield from self._end_lease(self._decode(rpc_pb2.LeaseRevokeRequest, body).ID))

    def _lease_expire(self, body: bytes) -> Steps[bytes]:
        *era, lease, granted = commands.EXPIRE.unpack(body)
        row = self._leases.get(lease)
        if tuple(era) != self._mvcc.era or row is None or row.granted != granted:
            return header_only(self._mvcc.revision)
        return (yield from self._end_lease(lease))

    def _end_lease(self, lease: int) -> Steps[bytes]:
        buried = None
        if self._mvcc.in_pieces:
            buried = yield from bury_lease(self._mvcc, self._leases, lease, self._limits.tombstones_max)
        if buried is None:
            yield from revoke(self._mvcc, self._leases, lease, self._limits.deletes_at_once)
        self._lessor.on_ended(lease)
        return header_only(self._mvcc.reading_revision)

    def _lead(self, body: bytes) -> bytes:
        first, second = commands.LEAD.unpack(body)
        self._mvcc.era = max(self._mvcc.era, (first, second))
        return header_only(self._mvcc.revision)

    def _change_auth(self, body: bytes) -> bytes:
        self._auth.change(body, self._mvcc.sums)
        match body[0]:
            case AuthKind.DISABLE:
                self._tokens.clear()
            case AuthKind.USER_DELETE:
                user = rpc_pb2.AuthUserDeleteRequest.FromString(body[1:]).name
                self._tokens.end_of(user)
                self._hub.disown(user)
            case AuthKind.USER_CHANGE_PASSWORD:
                self._tokens.end_of(rpc_pb2.AuthUserChangePasswordRequest.FromString(body[1:]).name)
        return header_only(self._mvcc.revision)

    def _authenticate(self, body: bytes) -> bytes:
        revision, token_hash = commands.TOKEN.unpack_from(body)
        if not self._auth.enabled:
            raise EtcdError(*errors.AUTH_NOT_ENABLED)
        if revision != self._auth.revision:
            raise EtcdError(*errors.AUTH_OLD_REVISION)
        self._tokens.add(token_hash, body[commands.TOKEN.size :].decode())
        return header_only(self._mvcc.revision)

    def _alarm(self, body: bytes) -> bytes:
        answer = self._alarms.change(rpc_pb2.AlarmRequest.FromString(body), self._mvcc.sums)
        return header_only(self._mvcc.revision) + answer.SerializeToString()

    def _check(self, _: bytes) -> bytes:
        """The answer is the index."""
        self._checks.begin(Check(self._index, self._mvcc.revision, self._mvcc.digest(), {}))
        return OK + self._index.to_bytes(8)

    def _checked(self, body: bytes) -> bytes:
        self._checks.note(msgspec.msgpack.decode(body, type=Report))
        return header_only(self._mvcc.revision)

    def _expiry(self, era: Era, lease: int) -> bytes:
        row = self._leases.get(lease)
        assert row is not None, "the lessor forgets a lease where it ends"
        return commands.lease_expire(era, lease, row.granted)

    # -- reads ----------------------------------------------------------------------------------------------------

    def _read(self, now: int, kind: int, who: Identity | None, body: bytes) -> bytes | Continuation:
        if self._auth.enabled and kind != QueryKind.WATCH:  # a watch says itself what is wrong
            self._guard.check_query(kind, who, body)
        match kind:
            case QueryKind.GETS:
                return join_answers(self._gets(body))
            case QueryKind.RANGE:
                return self._range(rpc_pb2.RangeRequest.FromString(body))
            case QueryKind.TXN:
                return self._read_txn(rpc_pb2.TxnRequest.FromString(body))
            case QueryKind.WATCH:
                request = rpc_pb2.WatchCreateRequest.FromString(body[STREAM.size :])
                return self._hub.open(STREAM.unpack_from(body)[0], request, who)
            case QueryKind.PROGRESS:
                return ProgressRequest(self._hub, STREAM.unpack(body)[0])
            case QueryKind.LEASES:
                return self._all_leases()
            case QueryKind.HASH_KV:
                return self._hash_kv(rpc_pb2.HashKVRequest.FromString(body).revision)
            case QueryKind.STATUS:
                return self._status()
            case QueryKind.STATE:
                return self._state()
            case QueryKind.COUNTS:
                counts = Counts(max(self._mvcc.compact_revision, 0), len(self._leases), *self._hub.counts)
                return OK + counts.encode()
            case QueryKind.ALARMS:
                found = self._alarms.of_kind(rpc_pb2.AlarmRequest.FromString(body).alarm)
                return header_only(self._mvcc.revision) + rpc_pb2.AlarmResponse(alarms=found).SerializeToString()
            case QueryKind.HASH_ROWS:
                revision = queries.REVISION.unpack(body)[0]
                self._mvcc.check_revision(revision, self._mvcc.revision)
                return SlicedHash(self._mvcc, revision, read_from_rows)
            case QueryKind.CHECKS:
                return self._checks.feed()
            case QueryKind.TIDIED:
                return Tidied(self._mvcc)
            case QueryKind.TOKEN:
                return self._token(now, body)
        return self._read_auth(kind, body)

    def _gets(self, body: bytes) -> Iterator[bytes]:
        """As many as are answered at once."""
        room = self._limits.range_bytes_at_once
        rows, before = self._mvcc.visible, header(self._mvcc.revision)
        for key in plain_gets(body):
            answer = before + newest_pair(rows, key)
            yield answer
            room -= len(answer)
            if room <= 0:
                return

    def _status(self) -> bytes:
        size = varint(self._mvcc.size_bytes + self._leases.size_bytes)
        standing = map(alarm_text, self._alarms.of_kind(rpc_pb2.NONE))
        alarms = b"".join(field(b"\x42", each.encode()) for each in standing)
        return header_only(self._mvcc.revision) + b"\x18" + size + alarms + b"\x48" + size

    def _read_auth(self, kind: int, body: bytes) -> bytes:
        auth, revision = self._auth, self._mvcc.revision
        answer: Message
        match kind:
            case QueryKind.MAY_ASK | QueryKind.MAY_MANAGE:
                return header_only(revision)
            case QueryKind.AUTH_STATUS:
                answer = rpc_pb2.AuthStatusResponse(enabled=auth.enabled, authRevision=auth.revision)
            case QueryKind.USER_GET:
                answer = rpc_pb2.AuthUserGetResponse(
                    roles=auth.user(rpc_pb2.AuthUserGetRequest.FromString(body).name).roles
                )
            case QueryKind.USER_LIST:
                answer = rpc_pb2.AuthUserListResponse(users=auth.users())
            case QueryKind.ROLE_GET:
                role = auth.role(rpc_pb2.AuthRoleGetRequest.FromString(body).role)
                answer = rpc_pb2.AuthRoleGetResponse(perm=role.keyPermission)
            case QueryKind.ROLE_LIST:
                answer = rpc_pb2.AuthRoleListResponse(roles=auth.roles())
            case QueryKind.PASSWORD:
                return OK + msgspec.msgpack.encode(self._password(body.decode()))
            case _:
                raise ValueError(f"a query of the unknown kind {kind} reached the store")
        return OK + header(revision) + answer.SerializeToString()

    def _password(self, user: str) -> Password:
        return Password(self._auth.enabled, self._auth.revision, self._auth.password(user))

    def _token(self, now: int, token_hash: bytes) -> bytes:
        return OK + msgspec.msgpack.encode(
            Holder(self._auth.enabled, self._tokens.user(now, token_hash), self._auth.revision)
        )

    def _state(self) -> Continuation:
        revision, view, counted = self._mvcc.revision, self._space.view(), self._space.view()
        count = RangeRead(self._mvcc.visible_in(counted), ALL_KEYS, revision)
        bytes_about = self._mvcc.size_bytes // 2  # the newest pair of a key is held twice, and travels once
        reader = snapshot.read_state(view, self._limits)
        state = SlicedState(reader, view, SlicedRange(counted, count, b""), revision, bytes_about)
        self._open_states.add(state)
        return state

    def _range(self, request: rpc_pb2.RangeRequest) -> bytes | Continuation:
        newest = self._mvcc.revision
        if is_of_newest(request):
            return OK + newest_of(self._mvcc.visible, request.key, newest)
        if request.revision > 0:
            self._mvcc.check_revision(request.revision, newest)
        view = self._space.view()
        read = RangeRead(self._mvcc.visible_in(view), request, newest)
        begun = b""
        if self._rows_left > 0:
            begun = read.advance(self._rows_at_once, self._limits.range_bytes_at_once)
            self._rows_left -= read.looked
        if read.finished:
            view.close()
            return OK + begun
        return SlicedRange(view, read, begun)

    @property
    def _rows_at_once(self) -> int:
        """How many rows a read may look at before it goes on in later turns."""
        return min(self._limits.range_rows_at_once, self._rows_left)

    def _read_txn(self, request: rpc_pb2.TxnRequest) -> bytes | Continuation:
        view = self._space.view()
        read = TxnRead(self._mvcc.visible_in(view), self._mvcc, request)
        if self._rows_left > 0:
            read.advance(self._rows_at_once, self._limits.range_bytes_at_once)
            self._rows_left -= read.looked
        if read.answer is not None:
            view.close()
            return read.answer
        return SlicedTxn(view, read)

    def _all_leases(self) -> bytes | Continuation:
        listed = SlicedLeases(self._mvcc.revision, self._leases.ids())
        return listed if len(self._leases) > self._limits.range_rows_at_once else listed.whole()

    def _hash_kv(self, revision: int) -> bytes | Continuation:
        newest = self._mvcc.revision
        if revision > 0:
            self._mvcc.check_revision(revision, newest)
        return SlicedHash(self._mvcc, revision if revision > 0 else newest, recorded)

    # -- what only the leader answers -----------------------------------------------------------------------------

    def _keep_alive(self, now: int, lease: int) -> bytes:
        ttl = self._lessor.keep_alive(now, lease)
        response = rpc_pb2.LeaseKeepAliveResponse(ID=lease, TTL=ttl)
        return OK + header(self._mvcc.revision) + response.SerializeToString()

    def _time_to_live(self, now: int, request: rpc_pb2.LeaseTimeToLiveRequest) -> bytes:
        remaining, row = self._lessor.remaining_us(now, request.ID), self._leases.get(request.ID)
        response = rpc_pb2.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
        if remaining is not None and row is not None:
            response.TTL = remaining // SECOND
            response.grantedTTL = row.ttl
            if request.keys:
                response.keys.extend(sorted(filter(None, self._mvcc.attached(request.ID))))
        return OK + header(self._mvcc.revision) + response.SerializeToString()
