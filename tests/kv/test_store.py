"""The store as a replica sees it: one transaction, one applied index, nothing left in memory."""

from __future__ import annotations

from pathlib import Path

from ratified.kv import commands, queries
from ratified.kv.leases import LEASE_BYTES
from ratified.kv.store import KvStore
from ratified.machine import Command, Store
from ratified.storage.lmdb import LmdbEnvironment
from ratified.storage.memory import MemoryEnvironment
from ratified.wire.etcd.rpc_pb2 import PutRequest, StatusResponse
from tests.kv.driver import Driver, decode


def put(key: bytes) -> bytes:
    return commands.put(PutRequest(key=key).SerializeToString())


def test_it_is_a_store() -> None:
    store: Store = KvStore(MemoryEnvironment().space(1))
    assert store.applied == 0


def test_the_applied_index_is_written_in_the_transaction_of_the_data() -> None:
    environment = MemoryEnvironment()
    store = KvStore(environment.space(1))
    killed = environment.transaction()
    killed.__enter__()
    store.apply([Command(1, put(b"a"))], 1, (1, 0))
    environment.abandon()
    reopened = KvStore(environment.space(1))
    assert (reopened.applied, reopened.revision, reopened.size_bytes) == (0, 1, 0)
    with environment.transaction():
        reopened.apply([Command(1, put(b"a"))], 3, (1, 0))
    again = KvStore(environment.space(1))
    assert (again.applied, again.revision) == (3, 2)
    assert again.digest() == reopened.digest()


def test_the_era_is_written_with_the_applied_index_and_is_no_part_of_the_state() -> None:
    environment = MemoryEnvironment()
    store, other = KvStore(environment.space(1)), KvStore(environment.space(2))
    assert store.applied_era == (0, 0)
    with environment.transaction():
        store.apply([Command(1, put(b"a"))], 2, (7, 3))
        other.apply([Command(1, put(b"a"))], 2, (9, 1))
    assert store.digest() == other.digest()
    killed = environment.transaction()
    killed.__enter__()
    store.apply([], 3, (8, 1))
    environment.abandon()
    again = KvStore(environment.space(1))
    assert (again.applied, again.applied_era) == (2, (7, 3))


def test_a_store_of_a_version_that_remembered_no_era_is_read() -> None:
    environment = MemoryEnvironment()
    with environment.transaction():
        environment.space(1).put("meta", b"applied", (17).to_bytes(8))
    store = KvStore(environment.space(1))
    assert (store.applied, store.applied_era) == (17, (0, 0))


def test_entries_that_are_no_commands_count_as_applied() -> None:
    driver = Driver()
    with driver.environment.transaction():
        assert driver.store.apply([], 17, (1, 0)) == []
    driver.reopen()
    assert driver.store.applied == 17


def test_spaces_of_one_environment_do_not_see_each_other(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path)
    one, other = KvStore(environment.space(1)), KvStore(environment.space(2))
    with environment.transaction():
        one.apply([Command(1, put(b"a"))], 1, (1, 0))
        other.apply([Command(1, put(b"b")), Command(2, put(b"c"))], 2, (1, 0))
    assert (one.revision, other.revision) == (2, 3)
    assert (KvStore(environment.space(1)).digest(), KvStore(environment.space(2)).digest()) == (
        one.digest(),
        other.digest(),
    )
    environment.close()


def test_how_commands_are_cut_into_turns_changes_no_digest() -> None:
    datas = [put(b"k%d" % (number % 3)) for number in range(12)]
    digests = set()
    for size in (1, 2, 5, 12):
        driver = Driver()
        for at in range(0, len(datas), size):
            driver.apply(datas[at : at + size])
        digests.add(driver.store.digest())
    assert len(digests) == 1


def test_status_tells_revision_and_size() -> None:
    driver = Driver()
    driver.put(b"k", b"v" * 100)
    status = decode(StatusResponse, driver.answer(queries.status()))
    assert status.header.revision == 2
    assert status.dbSize == status.dbSizeInUse == driver.store.size_bytes > 200
    for lease in range(1, 5):
        driver.grant(lease, 60)
    driver.revoke(3)
    driver.reopen()
    with_leases = decode(StatusResponse, driver.answer(queries.status()))
    assert with_leases.dbSize == with_leases.dbSizeInUse == status.dbSize + 3 * LEASE_BYTES
