"""Plain requests come to what the general way comes to, byte for byte: puts together, and gets."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random

import pytest

from ratified.kv import commands, queries, store
from ratified.kv.commands import AuthKind
from ratified.kv.encoding import OK, failure, header_only, varint
from ratified.kv.errors import EtcdError
from ratified.kv.limits import KvLimits
from ratified.kv.mvcc import plain_pair
from ratified.kv.plain import plain_get, plain_put, split_answers
from ratified.kv.snapshot import APPLIED
from ratified.kv.store import KvStore
from ratified.kv.tables import META, TABLES
from ratified.machine import ApplyFailed, Command
from ratified.storage.memory import MemoryEnvironment
from ratified.wire.etcd import errors
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import (
    AuthRoleAddRequest,
    AuthUserAddRequest,
    AuthUserGrantRoleRequest,
    CompactionRequest,
    DeleteRangeRequest,
    LeaseGrantRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
    WatchResponse,
)
from tests.kv.driver import PLENTY

LEASE = 77
COMMANDS = 400


def put_of(**request: object) -> bytes:
    return commands.put(PutRequest(**request).SerializeToString())  # type: ignore[arg-type]


@pytest.mark.parametrize("key_bytes", [1, 2, 127])
@pytest.mark.parametrize("value_bytes", [1, 127, 128, 255, 256, 16_383])
def test_a_key_and_a_value_alone_are_plain(key_bytes: int, value_bytes: int) -> None:
    key, value = b"k" * key_bytes, b"v" * value_bytes
    assert plain_put(put_of(key=key, value=value)) == (key, varint(value_bytes) + value)


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"\x01\x00",
        put_of(),
        put_of(key=b"k"),
        put_of(value=b"v"),
        put_of(key=b"k" * 128, value=b"v"),
        put_of(key=b"k", value=b"v" * 16_384),
        put_of(key=b"k", value=b"v", lease=1),
        put_of(key=b"k", value=b"v" * 200, lease=1),
        put_of(key=b"k", value=b"v", prev_kv=True),
        put_of(key=b"k", ignore_value=True),
        put_of(key=b"k", value=b"v", ignore_lease=True),
        b"\x01\x00\x0a\x01k\x12\x00",
        b"\x01\x00\x0a\x01k\x12\x81\x00v",
        b"\x01\x00\x0a\x81\x00k\x12\x01v",
        b"\x01\x00\x12\x01v\x0a\x01k",
        b"\x01\x00\x0a\x01k\x12\x02v",
        b"\x01\x00\x0a\x01k\x12\x01v\x12\x01w",
        b"\x01\x01\x0a\x01k\x12\x01v",
        b"\x02\x00\x0a\x01k\x12\x01v",
        b"\x01\x00\x0a\x70k\x12\x01v",
    ],
)
def test_what_says_more_or_says_it_in_other_bytes_is_not_plain(command: bytes) -> None:
    assert plain_put(command) is None


def test_no_byte_cut_off_or_added_leaves_a_put_plain() -> None:
    for size in (1, 127, 128, 300):
        command = put_of(key=b"key", value=bytes(size))
        assert plain_put(command) is not None
        assert plain_put(command + b"\x00") is None
        assert all(plain_put(command[:length]) is None for length in range(len(command)))


def test_pairs_are_the_bytes_that_protobuf_writes() -> None:
    random = Random(1)
    for _ in range(300):
        key, value = random.randbytes(random.randint(1, 127)), random.randbytes(random.choice((1, 127, 128, 300)))
        create, mod, version = (random.getrandbits(random.randint(1, 62)) + 1 for _ in range(3))
        pair = KeyValue(key=key, create_revision=create, mod_revision=mod, version=version, value=value)
        assert plain_pair(key, create, mod, version, varint(len(value)) + value) == pair.SerializeToString()


@pytest.mark.parametrize("key", [b"k", b"\x00", b"k" * 127, b"\x38\x01"])
def test_a_get_of_one_key_is_plain(key: bytes) -> None:
    assert plain_get(RangeRequest(key=key).SerializeToString()) == key
    assert plain_get(RangeRequest(key=key, serializable=True).SerializeToString()) == key


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\x0a\x01",
        b"\x0a\x00",
        b"\x0a\x00\x38\x01",
        b"\x0a\x02k",
        b"\x0a\x81\x00k",
        b"\x0a\x01k\x38",
        b"\x0a\x01k\x38\x00",
        b"\x12\x01k",
        RangeRequest(key=b"k" * 128).SerializeToString(),
        RangeRequest(key=b"k", range_end=b"l").SerializeToString(),
        RangeRequest(key=b"k", revision=1).SerializeToString(),
        RangeRequest(key=b"k", keys_only=True).SerializeToString(),
        RangeRequest(key=b"k", count_only=True).SerializeToString(),
        RangeRequest(key=b"k", limit=1, serializable=True).SerializeToString(),
        RangeRequest(key=b"k", min_mod_revision=1).SerializeToString(),
    ],
)
def test_what_asks_for_more_is_no_plain_get(request_: bytes) -> None:
    assert plain_get(request_) is None


def test_a_plain_get_is_answered_as_by_the_general_way(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = MemoryEnvironment()
    one = KvStore(environment.space(0))
    with environment.transaction():
        one.apply([Command(1, put_of(key=b"k", value=b"v" * 300)), Command(2, put_of(key=b"e", lease=0))], 2, (1, 0))
    asked = [queries.range_(RangeRequest(key=key).SerializeToString()) for key in (b"k", b"e", b"absent")]
    plain = [one.read(0, each) for each in asked]
    monkeypatch.setattr(store, "plain_get", lambda request: None)
    assert [one.read(0, each) for each in asked] == plain


def made_last(made: Sequence[bytes]) -> bytes:
    """The last plain put of these, or another one."""
    return next((each for each in reversed(made) if plain_put(each) is not None), put_of(key=b"f", value=b"f"))


def mixed_commands(random: Random) -> list[bytes]:
    """Mostly plain puts, of few keys, among all else that changes keys."""
    made = [commands.lease_grant(LeaseGrantRequest(ID=LEASE, TTL=60), 0, 1)]
    for number in range(COMMANDS):
        key = random.choice((b"a", b"b\x00", b"b\x00\xff", b"c" * 120, b"d")) + bytes([random.randrange(3)])
        value = random.randbytes(random.choice((1, 100, 200)))
        draw = random.random()
        if draw < 0.7:
            made.append(put_of(key=key, value=value))
        elif draw < 0.8:
            made.append(commands.puts([put_of(key=key, value=value), put_of(key=b"b", value=b"w"), made_last(made)]))
        elif draw < 0.85:
            made.append(put_of(key=key, value=value, lease=LEASE))
        elif draw < 0.88:
            made.append(put_of(key=key, ignore_value=True))
        elif draw < 0.91:
            made.append(put_of(key=key * 40, value=value))
        elif draw < 0.94:
            made.append(commands.delete_range(DeleteRangeRequest(key=key, range_end=b"c").SerializeToString()))
        elif draw < 0.97:
            operation = RequestOp(request_put=PutRequest(key=key, value=value))
            made.append(commands.txn(TxnRequest(success=[operation, operation]).SerializeToString()))
        else:
            made.append(commands.compact(CompactionRequest(revision=number // 2 + 1).SerializeToString()))
    return made


def applied(batches: Sequence[Sequence[bytes]]) -> tuple[object, ...]:
    """All that shows: results, what a watcher is sent, digest and rows."""
    environment = MemoryEnvironment()
    one = KvStore(environment.space(0))
    watch = one.read(
        0, queries.watch(1, WatchCreateRequest(key=b"a", range_end=b"z", prev_kv=True).SerializeToString())
    )
    assert not isinstance(watch, bytes)
    results: list[bytes] = []
    sent: list[bytes] = []
    for batch in batches:
        for command in batch:
            one.cost(command, PLENTY)
        index = one.applied
        with environment.transaction():
            indexed = [Command(index + at, command) for at, command in enumerate(batch, 1)]
            results += one.apply(indexed, index + len(batch), (1, 0))
        sent += watch.advance(0, PLENTY, PLENTY).chunks
        one.woken(0)
    space = environment.space(0)
    rows = {table: list(space.scan(table, b"", None)) for table in TABLES}
    return results, sent, one.digest(), one.size_bytes, rows


@pytest.mark.parametrize("seed", range(8))
def test_they_come_to_what_each_alone_comes_to(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(seed)
    left = mixed_commands(random)
    batches: list[list[bytes]] = []
    while left:
        size = random.choice((1, 2, 30))
        batches.append(left[:size])
        del left[:size]
    together = applied(batches)
    monkeypatch.setattr(store, "plain_puts", lambda command: None)
    assert applied(batches) == together


def test_what_no_replica_applies_any_more_is_not_remembered() -> None:
    environment = MemoryEnvironment()
    one = KvStore(environment.space(0))
    command = put_of(key=b"k", value=b"v")
    one.cost(command, PLENTY)
    with environment.transaction():
        one.apply([Command(1, command), Command(2, command)], 2, (1, 0))
    assert not one._plain_puts


PUTS = [put_of(key=key, value=bytes(size)) for key in (b"a", b"b\x00", b"a", b"k" * 127) for size in (1, 127, 128, 300)]


def rows_of(environment: MemoryEnvironment) -> dict[str, list[tuple[bytes, bytes]]]:
    """All but where the log was applied up to."""
    space = environment.space(0)
    rows = {table: list(space.scan(table, b"", None)) for table in TABLES}
    rows[META] = [(key, value) for key, value in rows[META] if key != APPLIED]
    return rows


def test_puts_in_one_command_come_to_what_they_come_to_each_as_its_own() -> None:
    made = []
    for given in (PUTS, [commands.puts(PUTS)]):
        environment = MemoryEnvironment()
        one = KvStore(environment.space(0))
        with environment.transaction():
            results = one.apply([Command(at, each) for at, each in enumerate(given, 1)], len(given), (1, 0))
        made.append((results[0], one.revision, one.digest(), one.size_bytes, rows_of(environment)))
    assert made[0] == made[1]


@pytest.mark.parametrize("in_pieces", [False, True])
def test_puts_over_what_a_long_delete_covers_and_a_watcher_of_both(in_pieces: bool) -> None:
    """A delete in pieces leaves a tombstone, over which puts are no longer plain; watchers see each revision once."""
    environment = MemoryEnvironment()
    one = KvStore(environment.space(0))
    delete = commands.delete_range(DeleteRangeRequest(key=b"a", range_end=b"z").SerializeToString())
    with environment.transaction():
        one.apply([Command(1, commands.puts(PUTS))], 1, (1, 0))
    watch = one.read(0, queries.watch(1, WatchCreateRequest(key=b"\0", range_end=b"\0").SerializeToString()))
    assert not isinstance(watch, bytes)
    watch.advance(0, PLENTY, PLENTY)
    with environment.transaction():
        deque(one.apply_in_pieces(Command(2, delete), (1, 0), 1), maxlen=0)
    assert one.pending_tombstones
    before = one.revision
    again = commands.puts(PUTS)
    with environment.transaction():
        if in_pieces:
            deque(one.apply_in_pieces(Command(3, again), (1, 0), 1), maxlen=0)
        else:
            assert one.apply([Command(3, again)], 3, (1, 0)) == [header_only(before + 1)]
    while one.untidy:
        with environment.transaction():
            one.tidy()
    sent: list[tuple[int, bytes]] = []
    while one.woken(0):
        for chunk in watch.advance(0, PLENTY, PLENTY).chunks:
            sent += [(each.kv.mod_revision, each.kv.key) for each in WatchResponse.FromString(chunk[1:]).events]
    puts = [plain_put(each) for each in PUTS]
    assert sent[-len(PUTS) :] == [(before + 1 + at, put[0]) for at, put in enumerate(puts) if put is not None]
    assert one.revision == before + len(PUTS)


@pytest.mark.parametrize("cut", [1, 3, 5, 40])
def test_what_are_not_plain_puts_are_no_command(cut: int) -> None:
    """As with any command that cannot be read, the group stops on every member: no API proposes one."""
    environment = MemoryEnvironment()
    one = KvStore(environment.space(0))
    broken = commands.puts(PUTS)[:-cut]
    assert one.cost(broken, PLENTY) > 0
    with environment.transaction(), pytest.raises(ApplyFailed):
        one.apply([Command(1, broken)], 1, (1, 0))


def test_gets_in_one_query_are_answered_as_each_alone_as_far_as_there_is_room() -> None:
    environment = MemoryEnvironment()
    one = KvStore(environment.space(0), KvLimits(range_bytes_at_once=700))
    with environment.transaction():
        one.apply([Command(1, commands.puts(PUTS))], 1, (1, 0))
    asked = [
        queries.range_(RangeRequest(key=key, serializable=is_local).SerializeToString())
        for key in (b"a", b"k" * 127, b"absent", b"8\x01")
        for is_local in (False, True)
    ]
    alone = [one.read(0, each) for each in asked]
    for count in range(1, len(asked) + 1):
        answer = one.read(0, queries.gets(asked[:count]))
        assert isinstance(answer, bytes)
        assert [OK + each for each in split_answers(answer)] == alone[: min(count, 3)]


def test_nobody_puts_and_gets_together_where_users_count() -> None:
    environment = MemoryEnvironment()
    one = KvStore(environment.space(0))
    root = AuthUserAddRequest(name="root", hashedPassword="eHg=").SerializeToString()
    made = [
        commands.auth(AuthKind.ROLE_ADD, AuthRoleAddRequest(name="root").SerializeToString()),
        commands.auth(AuthKind.USER_ADD, root),
        commands.auth(AuthKind.USER_GRANT_ROLE, AuthUserGrantRoleRequest(user="root", role="root").SerializeToString()),
        commands.auth(AuthKind.ENABLE, b""),
        commands.puts(PUTS),
    ]
    with environment.transaction():
        *_, result = one.apply([Command(at, each) for at, each in enumerate(made, 1)], len(made), (1, 0))
    nobody = failure(EtcdError(*errors.USER_EMPTY))
    assert result == nobody
    assert one.read(0, queries.gets([queries.range_(RangeRequest(key=b"a").SerializeToString())])) == nobody
    assert one.revision == 1
