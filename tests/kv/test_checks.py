"""What a replica says of itself for one point of the log."""

from __future__ import annotations

import msgspec
import pytest

from ratified.kv import commands, queries
from ratified.kv.checks import CHECKS_MAX, Check, Report, Said, decode
from ratified.kv.encoding import OK, response
from ratified.kv.history import EVENTS
from ratified.kv.tables import LIVE
from ratified.wire.etcd.rpc_pb2 import HashKVRequest, HashKVResponse
from tests.kv.driver import Driver

SAID = Said(5, -1, b"digest")


def checks(driver: Driver) -> list[Check]:
    """As somebody is told who asks now."""
    feed = driver.store.read(0, queries.checks())
    assert not isinstance(feed, bytes)
    chunks, finished = feed.advance(0, 1, 1)
    assert not finished
    feed.cancel()
    return decode(response(b"".join(chunks)))


def begin(driver: Driver) -> int:
    (answer,) = driver.apply([commands.check()])
    return int.from_bytes(response(answer))


def report(driver: Driver, index: int, member: int) -> None:
    driver.apply([commands.checked(msgspec.msgpack.encode(Report(index, member, SAID)))])


def rows_hash(driver: Driver, revision: int) -> int:
    return HashKVResponse.FromString(response(driver.answer(queries.hash_rows(revision), rows_max=3))).hash


def filled() -> Driver:
    driver = Driver()
    for number in range(20):
        driver.put(b"k%d" % (number % 7), b"v%d" % number)
    driver.delete(b"k3")
    driver.compact(10)
    driver.put(b"later", b"v")
    return driver


def test_all_that_members_say_is_told_and_whoever_waits_is_woken() -> None:
    driver = filled()
    feed = driver.store.read(0, queries.checks())
    assert not isinstance(feed, bytes)
    deadlines = [feed.deadline]
    feed.advance(0, 1, 1)
    deadlines.append(feed.deadline)
    assert deadlines == [0, None], "what is known already is told at once"
    index = begin(driver)
    assert feed in driver.store.woken(0)
    report(driver, index, 2)
    report(driver, index + 100, 3)
    (check,) = checks(driver)
    assert (check.index, check.revision, check.said) == (index, driver.store.revision, {2: SAID})
    feed.cancel()
    report(driver, index, 3)
    assert feed not in driver.store.woken(0)
    assert checks(driver)[0].said == {2: SAID, 3: SAID}


def test_replicas_have_one_digest_at_one_point_and_only_the_last_points_are_remembered() -> None:
    drivers = filled(), filled()
    drivers[1].tidy()
    for _ in range(CHECKS_MAX + 1):
        first, second = (begin(driver) for driver in drivers)
        assert first == second
    one, other = (checks(driver) for driver in drivers)
    assert one == other
    assert len(one) == CHECKS_MAX
    assert one[-1].digest == drivers[0].store.digest(), "a check is no part of the state"


@pytest.mark.parametrize("revision", [12, 22, 23])
def test_rows_that_are_as_they_were_written_add_up_to_what_is_recorded(revision: int) -> None:
    driver = filled()
    asked = queries.hash_kv(HashKVRequest(revision=revision).SerializeToString())
    expected = HashKVResponse.FromString(response(driver.answer(asked))).hash
    assert rows_hash(driver, revision) == expected
    driver.tidy()
    assert rows_hash(driver, revision) == expected


@pytest.mark.parametrize("change", ["event", "live", "live gone", "live again"])
def test_a_row_that_changed_by_itself_shows(change: str) -> None:
    driver = filled()
    revision = driver.store.revision
    expected = rows_hash(driver, revision)
    (name, pair), *_ = driver.space.scan(LIVE, b"", None)
    (*_, (at, event)) = driver.space.scan(EVENTS, b"", None)
    with driver.environment.transaction():
        match change:
            case "event":
                driver.space.put(EVENTS, at, event[:-1] + b"x")
            case "live":
                driver.space.put(LIVE, name, pair[:-1] + b"x")
            case "live gone":
                driver.space.delete(LIVE, name)
            case "live again":
                driver.space.put(LIVE, b"k3", pair)
    assert rows_hash(driver, revision) != expected


def test_what_cannot_be_read_any_more_is_refused() -> None:
    assert filled().answer(queries.hash_rows(5))[:1] != OK
