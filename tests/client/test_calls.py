"""Requests as etcd wants them."""

from __future__ import annotations

import pytest

from ratified.client import Do, When, calls, compare_value, compare_version
from ratified.wire.etcd import rpc_pb2


@pytest.mark.parametrize(
    ("key", "prefix", "end", "range_end"),
    [
        (b"a", False, None, b""),
        (b"a", True, None, b"b"),
        (b"a\xff", True, None, b"b"),
        (b"\xff\xff", True, None, b"\0"),
        (b"", True, None, b"\0"),
        (b"a", False, "c", b"c"),
    ],
)
def test_a_prefix_ends_behind_its_last_key(key: bytes, prefix: bool, end: str | None, range_end: bytes) -> None:
    assert calls.range_end(key, prefix=prefix, end=end) == range_end


def test_a_prefix_and_an_end_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="not both"):
        calls.range_request("a", prefix=True, end="b")


def test_everything_begins_at_the_zero_byte() -> None:
    request = calls.range_request("", prefix=True)
    assert (request.key, request.range_end) == (b"\0", b"\0")


def test_text_is_utf_8() -> None:
    assert calls.put_request("ä", "ö").key == "ä".encode()


def test_only_reads_may_be_repeated() -> None:
    assert calls.ranged(calls.range_request("a")).repeatable
    assert not calls.put(calls.put_request("a", "b")).repeatable
    assert not calls.delete(calls.delete_request("a")).repeatable
    assert not calls.txn([], [Do.get("a")], [Do.put("a", "b")]).repeatable
    assert not calls.txn([], [Do.nested(When().otherwise(Do.delete("a")))], []).repeatable
    assert calls.txn([], [Do.nested(When().then(Do.get("a")))], [Do.get("a")]).repeatable
    assert not calls.lease_grant(1, 0).repeatable


def test_a_transaction_carries_its_conditions_and_branches() -> None:
    call = calls.txn(
        [compare_value("k", "==", "v"), compare_version("k", ">", 3)], [Do.put("k", "w")], [Do.get("k"), Do.delete("x")]
    )
    request = rpc_pb2.TxnRequest.FromString(call.request)
    assert [compare.result for compare in request.compare] == [rpc_pb2.Compare.EQUAL, rpc_pb2.Compare.GREATER]
    assert request.compare[0].value == b"v"
    assert request.compare[1].version == 3
    assert request.success[0].request_put.value == b"w"
    assert [operation.WhichOneof("request") for operation in request.failure] == [
        "request_range",
        "request_delete_range",
    ]


def test_an_unknown_relation_is_refused() -> None:
    with pytest.raises(ValueError, match="'=' is no relation; use one of ==, !=, <, >"):
        compare_version("k", "=", 1)


def test_the_branch_taken_is_read_operation_by_operation() -> None:
    answer = rpc_pb2.TxnResponse(succeeded=True)
    answer.header.revision = 7
    answer.responses.add().response_put.header.revision = 7
    pair = answer.responses.add().response_range.kvs.add()
    pair.key, pair.value = b"k", b"v"
    answer.responses.add().response_delete_range.deleted = 2
    result = calls.txn([], [], []).read(answer.SerializeToString())
    put, found, gone = result.results
    assert (result.revision, result.succeeded) == (7, True)
    assert (put.revision, found.pairs[0].value, gone.deleted) == (7, b"v", 2)  # type: ignore[union-attr]
