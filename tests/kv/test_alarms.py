"""Alarms: what they refuse, and that all replicas have the same ones."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from ratified.kv import commands, queries
from ratified.kv.alarms import ALARMS_MAX
from ratified.kv.encoding import OK, failure, response
from ratified.kv.errors import EtcdError
from ratified.kv.store import KvStore
from ratified.wire.etcd import errors, rpc_pb2
from ratified.wire.etcd.rpc_pb2 import CORRUPT, NONE, NOSPACE, AlarmMember, AlarmRequest, AlarmResponse, AlarmType
from tests.kv.driver import Driver, build

ERA = (3, 0)
PUT = rpc_pb2.PutRequest(key=b"k", value=b"v")
GROWS = rpc_pb2.RequestOp(request_put=PUT)
DELETES = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=b"k"))
GROWING: list[Message] = [
    PUT,
    rpc_pb2.LeaseGrantRequest(ID=9, TTL=60),
    rpc_pb2.TxnRequest(success=[GROWS]),
    rpc_pb2.TxnRequest(failure=[GROWS], success=[DELETES]),
    rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_txn=rpc_pb2.TxnRequest(failure=[GROWS]))]),
]
OTHERS: list[Message] = [
    rpc_pb2.DeleteRangeRequest(key=b"k"),
    rpc_pb2.TxnRequest(success=[DELETES]),
    rpc_pb2.CompactionRequest(revision=2),
    rpc_pb2.LeaseRevokeRequest(ID=7),
]


def change(driver: Driver, action: AlarmRequest.AlarmAction.ValueType, member: int, kind: AlarmType.ValueType) -> bytes:
    request = AlarmRequest(action=action, memberID=member, alarm=kind)
    (answer,) = driver.apply([commands.alarm(request.SerializeToString())])
    return answer


def raised(driver: Driver, member: int, kind: AlarmType.ValueType) -> list[AlarmMember]:
    return list(AlarmResponse.FromString(response(change(driver, AlarmRequest.ACTIVATE, member, kind))).alarms)


def taken_back(driver: Driver, member: int, kind: AlarmType.ValueType) -> list[AlarmMember]:
    return list(AlarmResponse.FromString(response(change(driver, AlarmRequest.DEACTIVATE, member, kind))).alarms)


def standing(driver: Driver, kind: AlarmType.ValueType = NONE) -> list[tuple[int, int]]:
    answer = driver.answer(queries.alarms(AlarmRequest(alarm=kind).SerializeToString()))
    return [(each.memberID, each.alarm) for each in AlarmResponse.FromString(response(answer)).alarms]


def full() -> Driver:
    """With a key, a lease, and an alarm of a member that it is not."""
    driver = Driver()
    driver.put(b"k", b"v")
    driver.put(b"k", b"w")
    driver.grant(7, 60)
    raised(driver, 5, NOSPACE)
    return driver


def refused(driver: Driver, request: Message) -> bytes:
    before = driver.store.digest(), driver.store.revision
    (answer,) = driver.apply([build(request)])
    if answer[0] != OK[0]:
        assert (driver.store.digest(), driver.store.revision) == before, "what is refused changes nothing"
    return answer


@pytest.mark.parametrize("request_", GROWING, ids=str)
def test_while_no_space_stands_nothing_grows_until_it_is_taken_back(request_: Message) -> None:
    driver = full()
    assert refused(driver, request_) == failure(EtcdError(*errors.NO_SPACE))
    assert taken_back(driver, 5, NOSPACE) == [AlarmMember(memberID=5, alarm=NOSPACE)]
    assert refused(driver, request_)[0] == OK[0]


@pytest.mark.parametrize("request_", OTHERS, ids=str)
def test_while_no_space_stands_there_can_be_made_room(request_: Message) -> None:
    assert refused(full(), request_)[0] == OK[0]


def test_a_plain_put_behind_an_alarm_in_one_turn_is_refused() -> None:
    driver = Driver()
    alarm = commands.alarm(AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=1, alarm=NOSPACE).SerializeToString())
    put = commands.put(PUT.SerializeToString())
    answers = driver.apply([put, alarm, put])
    assert [answer[0] == OK[0] for answer in answers] == [True, True, False]
    assert driver.store.revision == 2


def test_puts_that_are_one_command_are_refused_as_one() -> None:
    driver = full()
    put = commands.put(PUT.SerializeToString())
    revision = driver.store.revision
    assert driver.apply([commands.puts([put, put])]) == [failure(EtcdError(*errors.NO_SPACE))]
    raised(driver, 2, CORRUPT)
    assert driver.apply([commands.puts([put, put])]) == [failure(EtcdError(*errors.CORRUPT))]
    assert driver.store.revision == revision


def test_a_long_transaction_is_refused_too() -> None:
    driver = full()
    answer = driver.apply_in_pieces(commands.txn(rpc_pb2.TxnRequest(success=[GROWS]).SerializeToString()), 1)
    assert answer == failure(EtcdError(*errors.NO_SPACE))


@pytest.mark.parametrize("request_", [*GROWING, *OTHERS], ids=str)
def test_while_corrupt_stands_no_key_and_no_lease_changes(request_: Message) -> None:
    driver = full()
    raised(driver, 2, CORRUPT)
    assert refused(driver, request_) == failure(EtcdError(*errors.CORRUPT))
    assert driver.get(b"k") == b"w", "reads go on"


def test_alarms_are_raised_and_taken_back_once() -> None:
    driver = Driver()
    untouched = driver.store.digest()
    for _ in range(2):
        assert raised(driver, 2, NOSPACE) == [AlarmMember(memberID=2, alarm=NOSPACE)]
    raised(driver, 1, CORRUPT)
    raised(driver, 1, NOSPACE)
    assert standing(driver) == [(1, NOSPACE), (2, NOSPACE), (1, CORRUPT)]
    assert standing(driver, CORRUPT) == [(1, CORRUPT)]
    status = rpc_pb2.StatusResponse.FromString(response(driver.answer(queries.status())))
    assert list(status.errors) == [
        "memberID:1 alarm:NOSPACE ",
        "memberID:2 alarm:NOSPACE ",
        "memberID:1 alarm:CORRUPT ",
    ]
    for member, kind in ((2, NOSPACE), (1, NOSPACE), (1, CORRUPT)):
        assert driver.store.digest() != untouched
        assert len(taken_back(driver, member, kind)) == 1
        assert taken_back(driver, member, kind) == []
    assert standing(driver) == []
    assert driver.store.digest() == untouched


def test_a_snapshot_has_the_alarms_and_so_has_a_store_that_is_opened_again() -> None:
    driver, other = full(), Driver()
    raised(driver, 2, CORRUPT)
    other.load_state(driver.read_state(), driver.store.applied)
    driver.reopen()
    assert driver.store.digest() == other.store.digest()
    for each in (driver, other):
        assert standing(each) == [(5, NOSPACE), (2, CORRUPT)]
        taken_back(each, 2, CORRUPT)
        assert refused(each, PUT) == failure(EtcdError(*errors.NO_SPACE))


def test_a_lease_whose_end_was_refused_ends_once_the_alarm_is_gone() -> None:
    driver = Driver()
    driver.grant(7, 10)
    driver.lead(0, ERA)
    raised(driver, 2, CORRUPT)
    driver.do_duties(11_000_000)
    assert 7 in leases(driver.store)
    taken_back(driver, 2, CORRUPT)
    driver.do_duties(12_000_000)
    assert 7 in leases(driver.store), "it has run out anew since"
    driver.do_duties(22_000_000)
    assert 7 not in leases(driver.store)


def leases(store: KvStore) -> list[int]:
    answer = store.read(0, queries.leases())
    assert isinstance(answer, bytes)
    return [each.ID for each in rpc_pb2.LeaseLeasesResponse.FromString(response(answer)).leases]


def test_there_are_only_so_many() -> None:
    driver = Driver()
    for member in range(ALARMS_MAX):
        raised(driver, member, NOSPACE)
    assert change(driver, AlarmRequest.ACTIVATE, ALARMS_MAX, NOSPACE) == failure(EtcdError(*errors.TOO_MANY_ALARMS))
    assert raised(driver, 0, NOSPACE), "one that stands already is no further one"
