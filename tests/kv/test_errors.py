"""What cannot be done is answered with etcd's code and etcd's text, and changes nothing."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from ratified.kv import commands, encoding, requests
from ratified.kv.errors import EtcdError
from ratified.machine import ApplyFailed
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from tests.kv.driver import Driver, Failed, refused

EMPTY_KEY = (3, "etcdserver: key is not provided")
DUPLICATE = (3, "etcdserver: duplicate key given in txn request")
TOO_MANY = (3, "etcdserver: too many operations in txn request")


def put(key: bytes, **options: bool) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, **options))  # type: ignore[arg-type]  # flags only


def delete(key: bytes, range_end: bytes = b"") -> RequestOp:
    return RequestOp(request_delete_range=DeleteRangeRequest(key=key, range_end=range_end))


def get(key: bytes, revision: int = 0) -> RequestOp:
    return RequestOp(request_range=RangeRequest(key=key, revision=revision))


def nested(*success: RequestOp, failure: list[RequestOp] | None = None) -> RequestOp:
    return RequestOp(request_txn=TxnRequest(success=success, failure=failure))


REFUSED: list[tuple[str, Message, tuple[int, str]]] = [
    ("put without a key", PutRequest(), EMPTY_KEY),
    ("delete without a key", DeleteRangeRequest(), EMPTY_KEY),
    (
        "a value that is to be ignored",
        PutRequest(key=b"k", value=b"v", ignore_value=True),
        (3, "etcdserver: value is provided"),
    ),
    (
        "a lease that is to be ignored",
        PutRequest(key=b"k", lease=1, ignore_lease=True),
        (3, "etcdserver: lease is provided"),
    ),
    ("a lease too long", LeaseGrantRequest(TTL=9_000_000_001), (11, "etcdserver: too large lease TTL")),
    ("put without a key in a transaction", TxnRequest(success=[put(b"")]), EMPTY_KEY),
    ("get without a key in a transaction", TxnRequest(failure=[get(b"")]), EMPTY_KEY),
    ("compare without a key", TxnRequest(compare=[Compare()]), EMPTY_KEY),
    ("an operation that is none", TxnRequest(success=[RequestOp()]), (3, "etcdserver: key not found")),
    ("129 operations", TxnRequest(success=[get(b"k")] * 129), TOO_MANY),
    ("129 compares", TxnRequest(compare=[Compare(key=b"k")] * 129), TOO_MANY),
    ("more below than above leaves", TxnRequest(success=[get(b"k")] * 127 + [nested(get(b"k"))]), TOO_MANY),
    ("10,650 operations in all", TxnRequest(success=[nested(*[nested(*[get(b"k")] * 16)] * 25)] * 25), TOO_MANY),
    ("two puts of one key", TxnRequest(success=[put(b"k"), put(b"k")]), DUPLICATE),
    ("two puts on the other branch", TxnRequest(failure=[put(b"k"), put(b"k")]), DUPLICATE),
    ("put and delete", TxnRequest(success=[put(b"k"), delete(b"k")]), DUPLICATE),
    ("put in a deleted range", TxnRequest(success=[delete(b"a", b"z"), put(b"k")]), DUPLICATE),
    ("put here and below", TxnRequest(success=[put(b"k"), nested(put(b"k"))]), DUPLICATE),
    ("delete here, put below", TxnRequest(success=[delete(b"k"), nested(put(b"k"))]), DUPLICATE),
    ("delete below, put here", TxnRequest(success=[nested(delete(b"k")), put(b"k")]), DUPLICATE),
    ("puts in two nested", TxnRequest(success=[nested(put(b"k")), nested(failure=[put(b"k")])]), DUPLICATE),
]
ALLOWED: list[tuple[str, Message]] = [
    ("128 operations", TxnRequest(success=[get(b"k")] * 128)),
    ("9,816 operations in all", TxnRequest(success=[nested(*[nested(*[get(b"k")] * 16)] * 24)] * 24)),
    ("as many below as above leaves", TxnRequest(success=[get(b"k")] * 126 + [nested(get(b"k"))])),
    ("one key on two branches", TxnRequest(success=[put(b"k")], failure=[put(b"k")])),
    ("one key on two nested branches", TxnRequest(success=[nested(put(b"k"), failure=[put(b"k")])])),
    ("two deletes of one key", TxnRequest(success=[delete(b"k"), delete(b"a", b"z")])),
    ("a put beside a deleted range", TxnRequest(success=[delete(b"a", b"k"), put(b"k")])),
    ("etcd does not look into deletes without an end", TxnRequest(success=[delete(b"a", b"\x00"), put(b"k")])),
    ("a nested put, then a nested delete", TxnRequest(success=[nested(put(b"k")), nested(delete(b"k"))])),
    ("the longest lease", LeaseGrantRequest(TTL=9_000_000_000)),
]


@pytest.mark.parametrize(("request_", "error"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused_before_it_is_proposed(request_: Message, error: tuple[int, str]) -> None:
    failure = refused(request_)
    assert failure is not None
    assert (failure.code, failure.text) == error
    assert encoding.failure(failure) == b"\x01" + bytes([error[0]]) + error[1].encode()


@pytest.mark.parametrize("request_", [case[1] for case in ALLOWED], ids=[case[0] for case in ALLOWED])
def test_allowed(request_: Message) -> None:
    assert refused(request_) is None
    Driver().do(request_)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (RangeRequest(), EMPTY_KEY),
        (RangeRequest(key=b"k", sort_order=7), (3, "etcdserver: invalid sort option")),  # type: ignore[arg-type]
        (RangeRequest(key=b"k", sort_target=7), (3, "etcdserver: invalid sort option")),  # type: ignore[arg-type]
    ],
)
def test_reads_refused_before_they_are_asked(request_: RangeRequest, error: tuple[int, str]) -> None:
    with pytest.raises(EtcdError) as caught:
        requests.check_range(request_)
    assert (caught.value.code, caught.value.text) == error


@pytest.mark.parametrize(
    "message", [PutRequest, TxnRequest, CompactionRequest, RangeRequest, LeaseKeepAliveRequest, LeaseLeasesRequest]
)
def test_bytes_that_are_no_request_are_refused(message: type[Message]) -> None:
    with pytest.raises(EtcdError, match=rf"error unmarshalling request: {message.DESCRIPTOR.full_name}: ") as caught:
        requests.decode(message, b"\xff\xff\xff")
    assert caught.value.code == errors.INTERNAL


def test_nesting_without_end_is_refused_and_recurses_nowhere() -> None:
    operation = get(b"k")
    for _ in range(40):
        operation = nested(operation)
    failure = refused(TxnRequest(success=[operation]))
    assert failure is not None
    assert failure.text == TOO_MANY[1]


def failing(driver: Driver, request: Message) -> tuple[int, str]:
    """What a request fails with when it is applied; nothing may have changed."""
    before = driver.store.digest(), driver.store.revision
    with pytest.raises(Failed) as caught:
        driver.do(request)
    assert (driver.store.digest(), driver.store.revision) == before
    return caught.value.code, caught.value.text


def test_errors_that_depend_on_the_state() -> None:
    driver = Driver()
    for number in range(5):
        driver.put(b"k", b"%d" % number)
    compacted = (11, "etcdserver: mvcc: required revision has been compacted")
    future = (11, "etcdserver: mvcc: required revision is a future revision")
    no_lease = (5, "etcdserver: requested lease not found")
    not_found = (3, "etcdserver: key not found")
    driver.compact(4)
    assert failing(driver, CompactionRequest(revision=4)) == compacted
    assert failing(driver, CompactionRequest(revision=7)) == future
    assert failing(driver, PutRequest(key=b"k", lease=5)) == no_lease
    assert failing(driver, LeaseRevokeRequest(ID=5)) == no_lease
    assert failing(driver, PutRequest(key=b"new", ignore_value=True)) == not_found
    assert failing(driver, PutRequest(key=b"new", ignore_lease=True)) == not_found
    assert failing(driver, TxnRequest(success=[put(b"a"), put(b"new", ignore_value=True)])) == not_found
    assert failing(driver, TxnRequest(success=[put(b"a"), get(b"k", revision=3)])) == compacted
    assert failing(driver, TxnRequest(success=[put(b"a"), get(b"k", revision=7)])) == future
    driver.grant(9, 10)
    assert failing(driver, LeaseGrantRequest(ID=9, TTL=1)) == (9, "etcdserver: lease already exists")
    for revision, error in ((3, compacted), (7, future)):
        with pytest.raises(Failed) as caught:
            driver.range(RangeRequest(key=b"k", revision=revision))
        assert (caught.value.code, caught.value.text) == error
    assert driver.get(b"k", revision=4) == b"2"


def test_keeping_the_value_of_a_key_that_the_transaction_deletes_fails_as_a_whole() -> None:
    """etcd's check of keys that are changed twice lets both through; etcd 3.5 itself crashes while it applies them."""
    driver = Driver()
    driver.put(b"k", b"v")
    keep = put(b"k", ignore_value=True)
    not_found = (3, "etcdserver: key not found")
    assert failing(driver, TxnRequest(success=[delete(b"a", b"\x00"), keep])) == not_found
    assert failing(driver, TxnRequest(success=[delete(b"a", b"\x00"), nested(keep)])) == not_found
    driver.txn(TxnRequest(success=[nested(keep), nested(delete(b"k"))]))
    assert driver.keys() == []


def test_a_check_on_a_branch_that_is_not_taken_fails_nothing() -> None:
    driver = Driver()
    request = TxnRequest(compare=[Compare(key=b"k", version=0)], success=[put(b"k")], failure=[get(b"k", revision=99)])
    assert driver.txn(request).succeeded


def test_a_command_that_cannot_be_understood_stops_the_replica() -> None:
    """It was not built here, so it is no client's mistake: to go on would be to differ from whoever understands it."""
    driver = Driver()
    request = PutRequest(key=b"k").SerializeToString()
    assert commands.put(request) == b"\x01\x00" + request
    for data in (b"\x63\x00" + request, b"\x01\x03who" + request, b"\x01\x00\xff\xff", b"\x01", b""):
        with pytest.raises(ApplyFailed, match="applying the entry with index"):
            driver.apply([data])
    assert driver.store.revision == 1


def test_a_put_on_any_branch_makes_the_store_grow() -> None:
    assert requests.has_put(TxnRequest(success=[put(b"k")]))
    assert requests.has_put(TxnRequest(failure=[nested(put(b"k"))]))
    assert not requests.has_put(TxnRequest(success=[get(b"k"), delete(b"k")], failure=[nested(delete(b"k"))]))


def test_a_transaction_of_reads_can_be_asked() -> None:
    reads = TxnRequest(success=[get(b"k")], failure=[get(b"k")])
    assert requests.is_read_only(reads)
    assert not requests.is_read_only(TxnRequest(success=[get(b"k")], failure=[put(b"k")]))
    assert not requests.is_serializable(reads)
    assert requests.is_serializable(
        TxnRequest(success=[RequestOp(request_range=RangeRequest(key=b"k", serializable=True))])
    )
