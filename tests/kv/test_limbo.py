"""Which reads could commands change that may or may not be applied next?"""

from __future__ import annotations

import pytest

from ratified.kv import commands, queries
from ratified.kv.limbo import touched_by
from ratified.machine import StateMachineStore, Touches
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from tests.node.cluster import Journal


def put(key: bytes) -> bytes:
    return commands.put(PutRequest(key=key, value=b"v").SerializeToString())


def delete(key: bytes, end: bytes = b"") -> bytes:
    return commands.delete_range(DeleteRangeRequest(key=key, range_end=end).SerializeToString())


def get(key: bytes, end: bytes = b"", revision: int = 0) -> bytes:
    return queries.range_(RangeRequest(key=key, range_end=end, revision=revision).SerializeToString())


def txn(*operations: RequestOp, otherwise: RequestOp | None = None) -> TxnRequest:
    return TxnRequest(success=operations, failure=[] if otherwise is None else [otherwise])


PUT_B = RequestOp(request_put=PutRequest(key=b"b"))
DELETE_C_TO_E = RequestOp(request_delete_range=DeleteRangeRequest(key=b"c", range_end=b"e"))
GET_B = RequestOp(request_range=RangeRequest(key=b"b"))
NESTED = RequestOp(request_txn=txn(PUT_B))
TRANSACTION = commands.txn(txn(otherwise=PUT_B).SerializeToString())


@pytest.mark.parametrize(
    "command", [put(b"b"), delete(b"b"), TRANSACTION, commands.txn(txn(NESTED).SerializeToString())]
)
def test_a_key_that_is_written_is_touched_and_no_other_one(command: bytes) -> None:
    touches = touched_by([command])
    assert touches(get(b"b"))
    assert touches(get(b"a", b"c"))
    assert touches(get(b"b", b"\x00")), "all keys from there on"
    assert not touches(get(b"a"))
    assert not touches(get(b"a", b"b"))
    assert not touches(get(b"b\x00", b"\x00"))


@pytest.mark.parametrize("command", [delete(b"c", b"e"), commands.txn(txn(DELETE_C_TO_E).SerializeToString())])
def test_so_is_a_range_that_is_deleted(command: bytes) -> None:
    touches = touched_by([put(b"a"), command])
    assert [touches(get(key)) for key in (b"a", b"b", b"c", b"d", b"e")] == [True, False, True, True, False]
    assert touches(get(b"d", b"z"))
    assert touches(get(b"b", b"d"))
    assert not touches(get(b"e", b"z"))


def test_deleting_from_a_key_on_touches_what_follows() -> None:
    touches = touched_by([delete(b"c", b"\x00")])
    assert touches(get(b"zzz"))
    assert not touches(get(b"b"))


def _untouched(touches: Touches) -> list[bool]:
    reads = TxnRequest(compare=[Compare(key=b"a")], success=[GET_B])
    return [touches(each) for each in (get(b"a"), queries.txn(reads.SerializeToString()))]


def test_a_transaction_of_reads_looks_at_what_it_compares_and_reads() -> None:
    assert _untouched(touched_by([put(b"c")])) == [False, False]
    assert _untouched(touched_by([put(b"b")])) == [False, True]
    assert _untouched(touched_by([put(b"a")])) == [True, True]
    nested = TxnRequest(failure=[RequestOp(request_txn=txn(GET_B))])
    assert touched_by([put(b"b")])(queries.txn(nested.SerializeToString()))


@pytest.mark.parametrize(
    "request_", [get(b"a", revision=3), queries.leases(), queries.status(), queries.state(), queries.hash_kv(b"")]
)
def test_what_reads_no_keys_of_now_is_touched_by_any_command(request_: bytes) -> None:
    """The list of leases once was not by a lease that was granted."""
    assert touched_by([put(b"z")])(request_)
    assert touched_by([commands.lease_grant(LeaseGrantRequest(), 7, 1)])(request_)
    assert not touched_by([])(request_)


def test_ranges_that_overlap_or_touch_are_one() -> None:
    touches = touched_by([delete(b"c", b"e"), put(b"d"), delete(b"e", b"f"), delete(b"a", b"b"), delete(b"z", b"y")])
    assert [touches(get(key)) for key in (b"a", b"b", b"c", b"d", b"e", b"f", b"y", b"z")] == [
        *(True, False, True, True, True, False, False, False)
    ]
    assert touches(get(b"b", b"d"))
    assert not touches(get(b"b", b"c"))
    assert not touches(get(b"f", b"\x00"))


@pytest.mark.parametrize(
    "command",
    [
        commands.compact(CompactionRequest(revision=1).SerializeToString()),
        commands.lease_revoke(LeaseRevokeRequest(ID=1).SerializeToString()),
        commands.lease_expire((1, 0), 1, 1),
        b"\x01\x01a header of a later version",
        commands.put(b"\xff\xff\xff"),
        b"\x63\x00a kind of a later version",
    ],
)
def test_what_cannot_be_judged_touches_everything(command: bytes) -> None:
    assert touched_by([command])(get(b"a"))


def test_granting_a_lease_and_leading_touch_nothing() -> None:
    touches = touched_by([commands.lease_grant(LeaseGrantRequest(), 7, 1), commands.lead((1, 0))])
    assert not touches(get(b"a", b"\x00"))


def test_of_a_users_own_state_machine_every_command_touches_everything() -> None:
    store = StateMachineStore(Journal())
    assert store.touched_by([b"x"])(b"y")
    assert not store.touched_by([])(b"y")
