"""A long command is applied in pieces, and until its end nobody can tell that it has begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from google.protobuf.message import Message

from ratified.kv import commands, queries, writes
from ratified.kv.limits import KvLimits
from ratified.machine import Command
from ratified.storage.lmdb import LmdbEnvironment
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.space import Environment
from ratified.wire.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    HashKVRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
)
from tests.kv.driver import Driver, Failed, build, decode

KEYS = 20
LEASE = 9
LONG = b"k" * 500
DELETE = commands.delete_range(DeleteRangeRequest(key=b"k", range_end=b"l", prev_kv=True).SerializeToString())
REVOKE = commands.lease_revoke(LeaseRevokeRequest(ID=LEASE).SerializeToString())

TXN = commands.txn(
    TxnRequest(
        compare=[Compare(key=b"k", range_end=b"l", target=Compare.MOD, result=Compare.GREATER)],
        success=[
            RequestOp(request_put=PutRequest(key=b"zz", value=b"new")),
            RequestOp(request_range=RangeRequest(key=b"a", range_end=b"zzz")),
            RequestOp(request_delete_range=DeleteRangeRequest(key=b"k", range_end=b"l")),
            RequestOp(request_range=RangeRequest(key=b"a", range_end=b"zzz")),
        ],
    ).SerializeToString()
)


def in_memory(path: Path) -> Environment:
    return MemoryEnvironment()


def in_lmdb(path: Path) -> Environment:
    return LmdbEnvironment(path)


@pytest.fixture(params=[in_memory, in_lmdb])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    build: Callable[[Path], Environment] = request.param
    one = filled(build(tmp_path))
    yield one
    one.environment.close()


def filled(environment: Environment) -> Driver:
    driver = Driver(environment, limits=KvLimits(deletes_at_once=1, tombstones_max=0))  # key by key
    driver.do(LeaseGrantRequest(ID=LEASE, TTL=60))
    for number in range(KEYS):
        driver.put((LONG if number % 4 == 0 else b"k") + b"%02d" % number, b"value", LEASE)
    driver.put(b"other")
    return driver


def seen(driver: Driver) -> tuple[object, ...]:
    everything = queries.range_(RangeRequest(key=b"\x00", range_end=b"\x00").SerializeToString())
    hashed = queries.hash_kv(HashKVRequest().SerializeToString())
    store = driver.store
    return (
        driver.answer(everything, 1000, 1 << 20),
        driver.answer(hashed, 1000, 1 << 20),
        store.revision,
        store.applied,
        store.digest(),
        driver.state,
    )


@pytest.mark.parametrize("command", [DELETE, REVOKE, TXN])
def test_until_its_end_all_reads_see_the_state_before(driver: Driver, command: bytes) -> None:
    before = seen(driver)
    pieces = []

    def look() -> None:
        pieces.append(1)
        assert seen(driver) == before

    result = driver.apply_in_pieces(command, 3, look)
    assert len(pieces) >= KEYS, "what deletes one pair costs more than 3"
    whole = filled(MemoryEnvironment())
    assert whole.apply([command]) == [result]
    assert seen(driver) == seen(whole), "the state does not depend on the pieces"
    driver.reopen()
    assert seen(driver) == seen(whole)


def put_op(key: bytes) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key))


def cost(driver: Driver, request: Message) -> int:
    return driver.store.cost(build(request), 1_000)


def test_what_a_command_costs_is_known_before_it_is_applied(driver: Driver) -> None:
    a_put = cost(driver, PutRequest(key=b"new"))
    assert 0 < a_put < 10
    assert cost(driver, DeleteRangeRequest(key=b"k", range_end=b"l")) > 2 * KEYS
    assert cost(driver, LeaseRevokeRequest(ID=LEASE)) > 2 * KEYS
    assert cost(driver, DeleteRangeRequest(key=b"other")) < 10
    assert driver.store.cost(DELETE, 7) == 7
    assert driver.store.cost(DELETE[:2] + b"\xff", 1_000) < 10, "applying it says what is wrong"
    driver.delete(b"k", b"l")
    assert cost(driver, DeleteRangeRequest(key=b"k", range_end=b"l")) < 10
    assert cost(driver, LeaseRevokeRequest(ID=LEASE)) < 10


def test_a_transaction_costs_what_is_in_it_and_in_those_nested_in_it(driver: Driver) -> None:
    first, end = b"k", b"l"
    puts = TxnRequest(success=[put_op(b"a"), put_op(b"b")], failure=[put_op(b"c")])
    assert cost(driver, puts) >= 3 * cost(driver, PutRequest(key=b"a"))
    more = TxnRequest(failure=[put_op(b"d")])
    nested = TxnRequest(success=[RequestOp(request_txn=puts), RequestOp(request_txn=more)])
    assert cost(driver, nested) > cost(driver, puts)
    compared = TxnRequest(compare=[Compare(key=first, range_end=end)] * 2, success=puts.success)
    assert cost(driver, compared) >= 2 * KEYS
    ranged = TxnRequest(success=[RequestOp(request_range=RangeRequest(key=first, range_end=end)), *puts.success])
    assert cost(driver, ranged) >= KEYS
    deleted = TxnRequest(success=[RequestOp(request_delete_range=DeleteRangeRequest(key=first, range_end=end))])
    assert cost(driver, deleted) > 2 * KEYS


def test_a_watch_that_begins_in_the_middle_gets_the_whole_revision(driver: Driver) -> None:
    wanted = WatchCreateRequest(key=b"k", range_end=b"l")
    driver.watch(wanted)
    driver.turn()

    def begin() -> None:
        if len(driver.watches) < KEYS:
            driver.watch(wanted)
            driver.turn()

    driver.apply_in_pieces(DELETE, 3, begin)
    driver.turn()
    assert len(driver.watches) > 10
    for watch in driver.watches:
        keys = [key for _, key, _ in watch.events]
        assert len(keys) == KEYS
        assert keys == sorted(keys)
        assert {revision for revision, _, _ in watch.events} == {driver.store.revision}


def test_a_process_that_dies_in_the_middle_has_done_nothing() -> None:
    environment = MemoryEnvironment()
    driver = filled(environment)
    before = seen(driver)
    pieces = driver.store.apply_in_pieces(Command(driver.index + 1, DELETE), (1, 0), KEYS + 5)
    open_levels = ExitStack()
    open_levels.enter_context(environment.transaction())
    open_levels.enter_context(environment.savepoint())
    next(pieces)
    environment.suspend()
    environment.abandon()
    driver.reopen()
    assert seen(driver) == before
    assert driver.delete(b"k", b"l") == KEYS


def test_a_delete_whose_answer_is_too_large_does_nothing(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "TXN_RESPONSE_BYTES_MAX", 1_000)
    before = driver.state
    answer = driver.apply_in_pieces(DELETE, 1000, lambda: None)
    with pytest.raises(Failed, match="request is too large"):
        decode(DeleteRangeResponse, answer)
    assert driver.state == before
