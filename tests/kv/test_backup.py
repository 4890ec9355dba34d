"""The whole state as a read: of one commit, whatever is applied meanwhile."""

from __future__ import annotations

from ratified.kv import commands, queries
from ratified.kv.backup import StateHead, decode_head
from ratified.kv.store import KvStore
from ratified.machine import Continuation, load_all
from ratified.storage.memory import MemoryEnvironment
from ratified.wire.etcd.rpc_pb2 import LeaseKeepAliveRequest, LeaseKeepAliveResponse
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
    return decode_head(found[0]), found[1:]


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
