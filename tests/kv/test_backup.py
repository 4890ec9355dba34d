"""The whole state as a read: of one commit, whatever is applied meanwhile; and given up where it keeps too much."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.kv import commands, queries
from ratified.kv.backup import StateHead, decode_head
from ratified.kv.encoding import OK, response
from ratified.kv.errors import EtcdError
from ratified.kv.limits import KvLimits
from ratified.kv.store import KvStore
from ratified.machine import Continuation, load_all
from ratified.storage.memory import MemoryEnvironment, MemorySpace
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import DeleteRangeRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse
from tests.kv.driver import Driver, decode


def begun(driver: Driver) -> Continuation:
    read = driver.store.read(0, queries.state())
    assert not isinstance(read, bytes)
    return read


def busy(driver: Driver) -> None:
    for number in range(30):
        driver.put(b"key%d" % (number % 20), b"%d" % number)
    driver.delete(b"key3")
    driver.compact(10)


def chunks(driver: Driver, read: Continuation, *, meanwhile: bool) -> tuple[StateHead, list[bytes]]:
    """All of it, a few rows and bytes at a time."""
    found: list[bytes] = []
    finished = False
    while not finished:
        more, finished = read.advance(0, 3, 64)
        found += more
        if meanwhile:
            driver.put(b"other", b"meanwhile")
            driver.delete(b"key5")
    return decode_head(found[0]), [response(chunk) for chunk in found[1:]]


def loaded(pieces: list[bytes], index: int) -> KvStore:
    environment = MemoryEnvironment()
    store = KvStore(environment.space(0))
    load_all(store.load_state(index, (4, 0)), pieces, environment.transaction)
    return store


def test_what_is_written_meanwhile_does_not_show() -> None:
    driver = Driver()
    busy(driver)
    digest, applied, revision = driver.store.digest(), driver.store.applied, driver.store.revision
    head, pieces = chunks(driver, begun(driver), meanwhile=True)
    assert (head.index, head.revision, head.keys) == (applied, revision, 19)
    assert len(pieces) > 5
    store = loaded(pieces, applied)
    assert (store.digest(), store.applied, store.revision) == (digest, applied, revision)


def test_an_empty_store_has_a_state_too() -> None:
    driver = Driver()
    head, pieces = chunks(driver, begun(driver), meanwhile=False)
    assert (head.index, head.revision, head.keys) == (0, 1, 0)
    assert loaded(pieces, 1).digest() == driver.store.digest()


def test_one_that_is_cancelled_lets_go() -> None:
    driver = Driver()
    busy(driver)
    for advances in (0, 1, 20):
        read = begun(driver)
        for _ in range(advances):
            read.advance(0, 3, 64)
        read.cancel()


def test_a_new_cluster_begins_without_the_eras_of_the_old_one() -> None:
    driver = Driver()
    busy(driver)
    driver.grant(7, 60)
    driver.apply([commands.lead((9, 0))])
    before = driver.store.revision
    with driver.environment.transaction():
        driver.store.begin_anew(77)
    driver.reopen()
    store = driver.store
    assert (store.applied, store.applied_era, store.revision) == (77, (0, 0), before)
    store.lead(0, (1, 0))
    assert store.duties(0)[0] == [commands.lead((1, 0))], "an earlier era than the old cluster's"
    driver.index = store.applied
    driver.apply([commands.lead((1, 0))])
    left = decode(
        LeaseKeepAliveResponse, store.ask(1, queries.keep_alive(LeaseKeepAliveRequest(ID=7).SerializeToString()))
    )
    assert left.TTL == 60


KEPT_BYTES_MAX = 10_000
ROW_BYTES = 6_000
"""Two of them are too much."""
ROWS = (b"a", b"b", b"c")


def limited() -> Driver:
    """Its store has compacted rows left to remove, and beside it are rows that it knows nothing of."""
    driver = Driver(limits=KvLimits(state_kept_bytes_max=KEPT_BYTES_MAX, removal_events_at_once=1))
    for number in range(30):
        driver.put(b"key", b"%d" % number)
    driver.compact(driver.store.revision)
    assert driver.store.untidy
    overwrite(driver, *ROWS, by=bytes(ROW_BYTES))
    return driver


def overwrite(driver: Driver, *rows: bytes, by: bytes = b"") -> None:
    """What was there before is kept by those that are open."""
    with driver.environment.transaction():
        for row in rows:
            driver.space.put("beside", row, by)


def open_views(driver: Driver) -> int:
    assert isinstance(driver.space, MemorySpace)
    return len(driver.space.views)


def rest(read: Continuation) -> list[bytes]:
    """Its further chunks."""
    finished = False
    chunks: list[bytes] = []
    while not finished:
        more, finished = read.advance(0, 100, 10_000)
        chunks += more
    return chunks


def put(driver: Driver) -> None:
    driver.put(b"key")


def delete_in_pieces(driver: Driver) -> None:
    request = DeleteRangeRequest(key=b"\0", range_end=b"\0", prev_kv=True)
    driver.apply_in_pieces(commands.delete_range(request.SerializeToString()), 10)


@pytest.mark.parametrize("write", [put, delete_in_pieces, Driver.tidy])
@pytest.mark.parametrize("advances", [0, 1, 5])
def test_one_that_keeps_too_much_is_given_up_whatever_is_written_next(
    write: Callable[[Driver], None], advances: int
) -> None:
    """Also where nobody takes what it yields, so that it is not advanced any more."""
    driver = limited()
    before = open_views(driver)
    read = begun(driver)
    for _ in range(advances):
        read.advance(0, 1, 10)
    overwrite(driver, b"a", b"b")
    assert open_views(driver) > before
    write(driver)
    assert open_views(driver) == before
    (last,) = rest(read)
    with pytest.raises(EtcdError) as caught:
        response(last)
    assert (caught.value.code, caught.value.text) == errors.SNAPSHOT_TOO_SLOW


def test_each_may_keep_as_much_from_its_own_beginning() -> None:
    driver = limited()
    first = begun(driver)
    overwrite(driver, b"a")
    second = begun(driver)
    overwrite(driver, b"b")
    revision = driver.store.revision
    put(driver)
    assert len(rest(first)) == 1, "it was given up"
    head, *pieces = [response(chunk) for chunk in rest(second)]
    assert loaded(pieces, decode_head(OK + head).index).revision == revision


def test_beside_a_large_store_one_may_keep_as_much_as_that_holds() -> None:
    driver = limited()
    driver.put(b"large", bytes(ROW_BYTES))
    assert 2 * ROW_BYTES < driver.store.size_bytes < 3 * ROW_BYTES
    before = open_views(driver)
    begun(driver)
    overwrite(driver, b"a", b"b")
    put(driver)
    assert open_views(driver) > before
    overwrite(driver, b"c")
    put(driver)
    assert open_views(driver) == before
