"""What was at a revision is found without walking through all that there ever was."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratified.kv import history, names
from ratified.kv.history import HISTORY, names_at
from ratified.kv.tombstones import VisibleRows
from ratified.storage.memory import MemorySpace
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import RangeRequest
from tests.kv.driver import Driver

KEYS = [b"a", b"a\x00", b"a\x00b", b"b", b"c" * 476 + b"1", b"c" * 476 + b"2", b"d"]
changes_of = st.lists(st.tuples(st.sampled_from(KEYS), st.booleans()), max_size=60)


def changed(changes: Sequence[tuple[bytes, bool]]) -> Driver:
    """A store with these puts and deletions, each at a revision of its own."""
    driver = Driver()
    for key, is_put in changes:
        if is_put:
            driver.put(key, b"%d" % driver.store.revision)
        else:
            driver.delete(key)
    return driver


@settings(deadline=None)
@given(changes_of, st.integers(1, 3), st.integers(1, 8), st.data())
def test_each_key_that_ever_was_comes_once_with_its_pair_at_the_revision(
    changes: Sequence[tuple[bytes, bool]], walked_max: int, keys_max: int, data: st.DataObject
) -> None:
    driver = changed(changes)
    rows = VisibleRows(driver.space)
    revision = data.draw(st.integers(1, driver.store.revision))
    then = {
        pair.key: pair for pair in driver.range(RangeRequest(key=b"\x00", range_end=b"\x00", revision=revision)).kvs
    }
    assert then == {key: pair for key in KEYS if (pair := at(driver, key, revision)) is not None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "CHANGES_WALKED_MAX", walked_max)
        patch.setattr(history, "_KEYS_MAX", walked_max * keys_max)
        found = list(names_at(rows, b"", None, revision))
    changed_names = sorted({names.name(key) for key in KEYS if driver_knows(driver, key)})
    assert [name for name, _ in found] == changed_names
    pairs = {name: pair for name, pair in found if pair is not None}
    assert pairs == {names.name(key): pair.SerializeToString() for key, pair in then.items()}


def driver_knows(driver: Driver, key: bytes) -> bool:
    name = names.name(key)
    return any(history.name_of(change) == name for change, _ in driver.space.scan(HISTORY, b"", None))


def at(driver: Driver, key: bytes, revision: int) -> KeyValue | None:
    pairs = driver.range(RangeRequest(key=key, revision=revision)).kvs
    return pairs[0] if pairs else None


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many keys were read, each time that some were."""
    sizes: list[int] = []
    keys = MemorySpace.keys

    def counted(space: MemorySpace, table: str, first: bytes, last: bytes | None, keys_max: int) -> list[bytes]:
        found = keys(space, table, first, last, keys_max)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(MemorySpace, "keys", counted)
    return sizes


def test_keys_that_were_not_there_yet_are_passed_over_many_at_once(read: list[int]) -> None:
    driver = changed([(b"k%04d" % number, True) for number in range(2_000)])
    rows = VisibleRows(driver.space)
    read.clear()
    found = list(history.changes_at(rows, b"", None, 1))
    assert all(isinstance(each, list) for each in found)
    assert len(read) < 20
    assert sum(read) == 2_000


def test_of_a_long_history_only_a_few_changes_are_walked(read: list[int]) -> None:
    driver = changed([(b"k%d" % (number % 10), True) for number in range(5_000)])
    rows = VisibleRows(driver.space)
    for revision in (1, 2_500, 5_000):
        read.clear()
        assert len(list(names_at(rows, b"", None, revision))) == 10
        assert sum(read) <= 10 * 2 * history.CHANGES_WALKED_MAX + 256
