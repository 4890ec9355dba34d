"""Names fit the space, tell keys apart, and sort as keys do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ratified.kv import names
from ratified.kv.intervals import Interval, interval
from ratified.kv.limits import KvLimits
from ratified.kv.names import NAME_BYTES_MAX
from ratified.kv.tombstones import VisibleRows
from ratified.kv.walks import live
from ratified.storage.space import KEY_BYTES_MAX
from ratified.wire.etcd.rpc_pb2 import RangeRequest
from tests.kv.driver import Driver

short = st.lists(st.sampled_from([0, 1, 97, 254, 255]), max_size=4).map(bytes)
shared = st.sampled_from([b"", b"p" * (NAME_BYTES_MAX - 1), b"p" * NAME_BYTES_MAX, b"\x00" * (NAME_BYTES_MAX // 2)])
keys = st.tuples(shared, short).map(b"".join)


@given(keys, keys)
def test_a_key_is_found_inside_its_bounds_and_no_whole_key_outside(one: bytes, other: bytes) -> None:
    name = names.name(other)
    if one <= other:
        assert names.first_name(one) <= name
    elif names.is_whole(name):
        assert name < names.first_name(one)
    if other < one:
        assert name < names.last_name(one)
    elif names.is_whole(name):
        assert names.last_name(one) <= name


@given(keys, keys)
def test_histories_of_two_keys_do_not_mix(one: bytes, other: bytes) -> None:
    if one == other:
        return
    mine = [names.history_key(names.name(one), revision, 0) for revision in (0, 2**63 - 1)]
    assert not mine[0] <= names.history_key(names.name(other), 7, 1) <= mine[1]
    assert names.split_history_key(mine[1]) == (names.name(one), 2**63 - 1, 0)


@given(keys)
def test_names_fit_and_whole_ones_can_be_read_back(key: bytes) -> None:
    name = names.name(key)
    assert len(names.history_key(name, 2**63 - 1, 2**32 - 1)) <= KEY_BYTES_MAX
    assert len(b"leaseid8" + name) <= KEY_BYTES_MAX
    if names.is_whole(name):
        assert names.key_of(name) == key
    else:
        first, last = names.group_of(name)
        assert first <= name < last


@given(st.lists(keys.filter(bool), unique=True, max_size=12), keys.filter(bool), keys)
def test_long_keys_sort_among_all_others_in_every_range(present: list[bytes], key: bytes, range_end: bytes) -> None:
    driver = Driver(limits=KvLimits(range_rows_at_once=1))
    for one in present:
        driver.put(one, b"v" + one)
    wanted = interval(key, range_end)
    expected = [one for one in sorted(present) if wanted.holds(one)]
    assert driver.keys(key, range_end) == expected
    assert driver.keys(key, range_end, revision=driver.store.revision - 1) == [
        one for one in expected if one != present[-1]
    ]
    for one in present:
        assert driver.get(one) == b"v" + one
    sliced = driver.range(RangeRequest(key=key, range_end=range_end), rows_max=1)
    assert [pair.key for pair in sliced.kvs] == expected


def test_keys_of_ten_thousand_bytes_work() -> None:
    driver = Driver()
    present = [b"k" * 10_000 + bytes([last]) for last in (3, 1, 2)]
    for key in present:
        driver.put(key, key[-1:])
    assert driver.keys() == sorted(present)
    assert driver.delete(present[0]) == 1
    assert driver.keys() == sorted(present[1:])
    assert list(live(VisibleRows(driver.space), Interval(b"b", b"a"))) == []
