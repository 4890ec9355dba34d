"""A state read in pieces from one store is the state of the store that loads them, in everything; or it is refused."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ratified.kv import queries
from ratified.kv.history import EVENTS
from ratified.kv.limits import KvLimits
from ratified.kv.tables import META, TABLES
from ratified.machine import SnapshotDamaged, TidyFirst, load_all
from ratified.sim.machine import CommitKill, KillableEnvironment, Killed
from ratified.storage.group_spaces import SERVING, SERVING_KEY, GroupSpaces
from ratified.storage.lmdb import LmdbEnvironment
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.space import Environment, Space
from ratified.wire.etcd.rpc_pb2 import (
    HashKVRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    WatchCreateRequest,
)
from tests.kv.driver import Driver, LongDriver
from tests.kv.test_model import assert_rows_are_equal
from tests.kv.test_tombstones import EVERYTHING, KEYS, LONG, Step, outcome, seen, steps_of

SLOW = KvLimits(
    tombstone_rows_at_once=1,
    removal_events_at_once=1,
    tombstones_max=3,
    snapshot_rows_at_once=3,
    useless_rows_at_once=2,
)


@contextmanager
def environment_of(in_lmdb: bool) -> Iterator[Environment]:
    if not in_lmdb:
        yield MemoryEnvironment()
        return
    with tempfile.TemporaryDirectory() as directory:
        environment = LmdbEnvironment(Path(directory))
        yield environment
        environment.close()


def play(driver: Driver, steps: Sequence[Step]) -> None:
    for step in steps:
        if step == "tidy":
            driver.tidy()
        elif step == "restart":
            driver.reopen()
        elif isinstance(step, Message):
            outcome(driver, step)


def hashes(driver: Driver) -> list[bytes]:
    first = max(driver.store.compact_revision, 1)
    requests = [HashKVRequest(revision=revision) for revision in range(first, driver.store.revision + 1)]
    return [driver.answer(queries.hash_kv(request.SerializeToString())) for request in requests]


PUT = PutRequest(key=b"a", value=b"1")
GRANT = LeaseGrantRequest(ID=2, TTL=60)
REVOKE = LeaseRevokeRequest(ID=2)


def put_to(key: bytes, lease: int) -> PutRequest:
    return PutRequest(key=key, value=b"1", lease=lease)


# A lease is revoked and granted again while what it had is still walked. A long key joins it, in the group that has
# been collected, and leaves it: its row stayed, and the next revoke of the lease deleted a key that was not its own.
REJOINED: list[Step] = [*[PUT] * 5, GRANT, *[PUT] * 4, put_to(LONG[0], 2), put_to(LONG[0], 0)]
REVOKED: list[Step] = [*[PUT] * 12, GRANT, PUT, PUT, put_to(LONG[1], 2), REVOKE]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@example(steps=REVOKED, others=[PUT] * 13, after=REJOINED, piece_bytes=1, into_lmdb=False)
@given(
    steps=steps_of,
    others=steps_of,
    after=steps_of,
    piece_bytes=st.sampled_from([1, 7, 100, 1 << 16]),
    into_lmdb=st.booleans(),
)
def test_what_is_loaded_is_equal_answers_equally_and_goes_on_equally(
    steps: list[Step], others: list[Step], after: list[Step], piece_bytes: int, into_lmdb: bool
) -> None:
    source = LongDriver(limits=SLOW)
    play(source, steps)
    with environment_of(into_lmdb) as environment:
        copy = LongDriver(environment, limits=SLOW)
        play(copy, others)
        pieces = source.read_state(piece_bytes)
        copy.load_state(pieces, source.index)
        assert (copy.store.digest(), copy.state) == (source.store.digest(), source.state)
        assert seen(copy) == seen(source)
        for step in after:
            if isinstance(step, Message):
                assert outcome(copy, step) == outcome(source, step)
            else:
                play(copy, [step])
        assert seen(copy) == seen(source)
        for driver in (copy, source):
            while untidy(driver):
                driver.tidy()
        assert hashes(copy) == hashes(source)
        assert_rows_are_equal([copy, source])
        assert all(not rows for rows in spare_rows(copy.environment.space(3)).values())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps_of, piece_bytes=st.sampled_from([1, 100]))
def test_memory_and_lmdb_give_the_same_bytes(steps: list[Step], piece_bytes: int) -> None:
    with environment_of(in_lmdb=True) as environment:
        drivers = LongDriver(limits=SLOW), LongDriver(environment, limits=SLOW)
        for driver in drivers:
            play(driver, steps)
        assert drivers[0].read_state(piece_bytes) == drivers[1].read_state(piece_bytes)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps_of, piece_bytes=st.sampled_from([3, 50, 1 << 16]), data=st.data())
def test_whatever_becomes_of_a_piece_the_state_that_serves_is_untouched(
    steps: list[Step], piece_bytes: int, data: st.DataObject
) -> None:
    source = LongDriver(limits=SLOW)
    play(source, steps)
    pieces = source.read_state(piece_bytes)
    at = data.draw(st.integers(0, len(pieces) - 1))
    match data.draw(st.sampled_from(["lost", "repeated", "swapped", "flipped"])):
        case "lost":
            damaged = [*pieces[:at], *pieces[at + 1 :]]
        case "repeated":
            damaged = [*pieces[:at], pieces[at], *pieces[at:]]
        case "swapped":
            damaged = [*pieces[:at], *pieces[at + 1 : at + 2], pieces[at], *pieces[at + 2 :]]
        case _:
            piece, byte = pieces[at], data.draw(st.integers(0, len(pieces[at]) - 1))
            flipped = bytes([piece[byte] ^ 1 << data.draw(st.integers(0, 7))])
            damaged = [*pieces[:at], piece[:byte] + flipped + piece[byte + 1 :], *pieces[at + 1 :]]
    if b"".join(damaged) == b"".join(pieces):
        return
    copy = Driver(limits=SLOW)
    copy.grant(1, 60)
    copy.put(b"mine", b"1", 1)
    before = copy.state
    with pytest.raises(SnapshotDamaged):
        copy.load_state(damaged, source.index)
    assert copy.state == before
    copy.reopen()
    assert copy.state == before
    copy.load_state(pieces, source.index)
    assert copy.store.digest() == source.store.digest()


# ---------------------------------------------------------------------------------------------------------------
# One row, one rule


def filled(**limits: int) -> Driver:
    driver = Driver(limits=KvLimits(**limits))
    driver.grant(1, 60)
    for number in range(200):
        driver.put(b"k%03d" % number, b"v" * 20, 1)
    return driver


def untidy(driver: Driver) -> bool:
    return driver.store.untidy


def spare_rows(first: Space) -> dict[str, list[tuple[bytes, bytes]]]:
    spare = GroupSpaces(first, TABLES).spare
    return {table: list(spare.scan(table, b"", None)) for table in TABLES}


def test_a_piece_is_bounded_in_bytes_and_in_rows_looked_at() -> None:
    driver = filled(snapshot_rows_at_once=10)
    driver.put(b"large", bytes(300_000))
    assert max(map(len, driver.read_state(bytes_max=1000))) == 1000
    environment = driver.environment
    assert isinstance(environment, MemoryEnvironment)
    for number in range(200):
        driver.put(b"k%03d" % number)
    driver.compact(driver.store.revision)
    reader = driver.store.read_state()
    touched, pieces = environment.rows_touched, 0
    while reader.read(1 << 16) is not None:
        assert environment.rows_touched - touched < 100, "what a compaction drops is looked at, too"
        touched, pieces = environment.rows_touched, pieces + 1
    assert pieces > 40


def test_what_is_applied_meanwhile_does_not_show() -> None:
    driver = filled(snapshot_rows_at_once=10, removal_events_at_once=1000)
    whole, index = driver.state, driver.index
    reader = driver.store.read_state()
    pieces = [reader.read(100) or b""]
    driver.delete(b"k", b"l")
    driver.put(b"k050", b"new")
    driver.compact(driver.store.revision)
    driver.tidy()
    pieces += iter(lambda: reader.read(100), None)
    reader.close()
    assert (reader.index, reader.era) == (index, (1, 0))
    copy = Driver()
    copy.load_state(pieces, index)
    assert copy.state == whole


def test_a_row_that_has_rotted_does_not_travel() -> None:
    driver = filled()
    at, row = next(driver.space.scan(EVENTS, b"", None))
    with driver.environment.transaction():
        driver.space.put(EVENTS, at, row[:-1] + b"?")
    with pytest.raises(SnapshotDamaged, match="rotted where it began"):
        Driver().load_state(driver.read_state(), driver.index)


def test_what_a_tombstone_covers_is_deleted_in_what_travels() -> None:
    source = LongDriver(limits=SLOW)
    for key in KEYS:
        source.put(key, b"old")
    source.delete(b"a", b"e")
    source.tidy()
    assert source.store.pending_tombstones
    copy = Driver()
    copy.load_state(source.read_state(), source.index)
    assert copy.keys() == []
    assert not copy.store.pending_tombstones


def test_what_a_compaction_drops_does_not_travel() -> None:
    source = Driver(limits=SLOW)
    for number in range(10):
        source.put(b"k", b"%d" % number)
    source.compact(9)
    assert source.store.untidy
    copy = Driver()
    copy.load_state(source.read_state(), source.index)
    assert len(list(copy.space.scan(EVENTS, b"", None))) == 3


def test_what_is_of_no_use_is_removed_in_slices_and_found_again_after_a_restart() -> None:
    driver = filled(useless_rows_at_once=50)
    other = Driver()
    other.put(b"other")
    driver.load_state(other.read_state(), other.index)
    assert untidy(driver)
    slices = 0
    while untidy(driver):
        before = sum(map(len, spare_rows(driver.environment.space(3)).values()))
        driver.tidy()
        assert before - sum(map(len, spare_rows(driver.environment.space(3)).values())) <= 50
        driver.reopen()
        slices += 1
    assert slices > 10
    assert driver.keys() == [b"other"]


def test_a_state_that_was_half_loaded_is_found_again_after_a_restart() -> None:
    driver = filled()
    other = filled()
    loader = driver.begin_to_load(1)
    with driver.environment.transaction():
        loader.load(other.read_state(1000)[0])
    assert not untidy(driver), "it is being loaded"
    driver.reopen()
    assert untidy(driver)
    with pytest.raises(TidyFirst):
        driver.store.load_state(1, (1, 0))
    driver.tidy()
    assert not untidy(driver)
    driver.store.load_state(1, (1, 0))


@pytest.mark.parametrize("end", ["abandon", "another"])
def test_a_loader_that_was_given_up_switches_to_nothing(end: str) -> None:
    driver = filled()
    other = Driver()
    other.put(b"other")
    loader = driver.begin_to_load(other.index)
    if end == "abandon":
        loader.abandon()
    with driver.environment.transaction():
        for piece in other.read_state():
            if end == "another":
                loader.load(piece)
    if end == "another":
        driver.begin_to_load(other.index)
    with pytest.raises(SnapshotDamaged), driver.environment.transaction():
        loader.switch()
    assert len(driver.keys()) == 200


def test_a_watch_that_lacks_what_is_gone_is_told_where_it_can_begin_again() -> None:
    source, copy = Driver(), Driver()
    for driver in (source, copy):
        driver.put(b"k", b"first")
    watches = [copy.watch(WatchCreateRequest(key=b"k", start_revision=start)) for start in (0, 50)]
    copy.turn()
    for number in range(20):
        source.put(b"k", b"%d" % number)
    source.compact(12)
    copy.load_state(source.read_state(), source.index)
    source.put(b"k", b"last")
    copy.turn()
    behind, ahead = watches
    assert behind.finished
    assert behind.responses[-1].canceled
    assert behind.responses[-1].compact_revision == 12
    assert not ahead.finished
    assert not ahead.events


def test_a_watch_gets_what_is_left_once_and_then_what_is_applied() -> None:
    source, copy = Driver(), Driver()
    for driver in (source, copy):
        driver.put(b"k", b"0")
    watch = copy.watch(EVERYTHING)
    copy.turn()
    for number in range(1, 20):
        source.put(b"k", b"%d" % number)
    copy.load_state(source.read_state(), source.index)
    copy.put(b"k", b"20")
    copy.turn(rows_max=2)
    assert [value for _, _, value in watch.events] == [b"%d" % number for number in range(21)]


def test_leases_follow_and_live_their_whole_time_under_the_next_leader() -> None:
    source, copy = Driver(), Driver()
    copy.grant(5, 1)
    source.grant(7, 10)
    source.put(b"k", b"", 7)
    copy.load_state(source.read_state(), source.index)
    copy.lead(1_000_000, (2, 1))
    assert copy.keep_alive(1_000_000, 5) == 0
    assert copy.time_to_live(2_000_000, 7, keys=True).keys == [b"k"]
    assert copy.do_duties(10_999_999) == 0
    assert copy.do_duties(11_000_000) == 1
    assert copy.keys() == []


def test_a_read_that_goes_on_sees_the_state_that_it_began_with() -> None:
    driver = filled(range_rows_at_once=1)
    other = Driver()
    other.put(b"other")
    answer = driver.store.read(0, queries.range_(b"\x0a\x01\x00\x12\x01\x00"))
    assert not isinstance(answer, bytes)
    driver.load_state(other.read_state(), other.index)
    while untidy(driver):
        driver.tidy()
    chunks: list[bytes] = []
    finished = False
    while not finished:
        piece = answer.advance(0, 10, 1 << 20)
        chunks += piece.chunks
        finished = piece.finished
    assert b"".join(chunks).count(b"v" * 20) == 200


# ---------------------------------------------------------------------------------------------------------------
# A process that dies


def install(driver: Driver, pieces: Sequence[bytes], index: int) -> None:
    load_all(driver.begin_to_load(index), pieces, driver.environment.transaction)
    while untidy(driver):
        driver.tidy()


@pytest.mark.parametrize("kill", CommitKill)
def test_whenever_a_process_dies_the_old_state_or_the_new_one_is_there_whole(kill: CommitKill) -> None:
    other = filled()
    other.compact(100)
    pieces = other.read_state(1_000)
    new, index = other.state, other.index
    found = []
    for commits in range(200):
        memory = MemoryEnvironment()
        driver = Driver(memory, limits=KvLimits(useless_rows_at_once=10))
        for key in KEYS:
            driver.put(key, b"mine")
        old = driver.state
        driver.environment = killable = KillableEnvironment(memory)
        finished = dies_after(killable, kill, commits, lambda: install(driver, pieces, index))  # noqa: B023
        memory.abandon()
        driver = Driver(memory, limits=KvLimits(useless_rows_at_once=10))
        assert driver.state in (old, new)
        found.append(driver.state == new)
        install(driver, pieces, index)
        assert driver.state == new
        assert not untidy(driver)
        if finished:
            break
    assert found == sorted(found), "once it is switched to, the new state stays"
    assert {False, True} == set(found)
    assert len(found) > len(pieces) + 3, "every commit was one to die at"


def dies_after(environment: KillableEnvironment, kill: CommitKill, commits: int, act: Callable[[], None]) -> bool:
    """Whether it came to its end before."""
    transaction = environment.transaction
    left = commits

    @contextmanager
    def counted() -> Iterator[None]:
        nonlocal left
        environment.kill = kill if left == 0 else None
        left -= 1
        with transaction():
            yield

    environment.transaction = counted  # type: ignore[method-assign]
    try:
        act()
    except Killed:
        return False
    return True


def test_which_space_serves_is_one_row_of_the_first() -> None:
    environment = MemoryEnvironment()
    first = environment.space(3)
    driver = Driver(environment)
    other = Driver()
    other.put(b"other")
    for serves in (b"\x01", b"\x00", b"\x01"):
        driver.load_state(other.read_state(), other.index)
        assert first.get(SERVING, SERVING_KEY) == serves
        assert (first.get(META, b"state") is None) != (first.second().get(META, b"state") is None) or untidy(driver)
        while untidy(driver):
            driver.tidy()
        driver.reopen()
        assert driver.keys() == [b"other"]
