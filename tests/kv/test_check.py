"""The rows of every store there can be are found sound; of an unsound one they are not, and nobody dies of it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from typing_extensions import override

from ratified.kv import order
from ratified.kv.check import KV_CHECKS
from ratified.kv.history import EVENTS, HISTORY
from ratified.kv.limits import KvLimits
from ratified.kv.names import position, read_position
from ratified.kv.tables import ATTACHED, LIVE, META, ORDER
from ratified.storage import guard
from ratified.storage.guard import StoreMark, open_store
from ratified.storage.lmdb import DATA_FILE, LmdbEnvironment
from ratified.storage.pages import StoredRows, StoreUnsound, reading
from tests.kv.driver import Driver, LongDriver, refused
from tests.kv.test_model import outcome, writes

SPACE = 3
TABLES = (ATTACHED, EVENTS, HISTORY, LIVE, META, ORDER, "leases")
BOOT = b"boot"
PAGE_BYTES = 4096


def check_whole(path: Path) -> None:
    with reading(path) as file:
        file.check_pages()
        for space in guard.serving_spaces(file):
            KV_CHECKS.whole(StoredRows(file, space))


def check_each_row(path: Path, table: str) -> None:
    with reading(path) as file:
        for space in guard.serving_spaces(file):
            rows = StoredRows(file, space)
            for key, value in rows.scan(table, b""):
                KV_CHECKS.row(rows, table, key, value)


def check_sums(path: Path) -> None:
    with reading(path) as file:
        for space in guard.serving_spaces(file):
            KV_CHECKS.sums(StoredRows(file, space))


def assert_sound(path: Path) -> None:
    check_whole(path)
    check_sums(path)
    for table in TABLES:
        check_each_row(path, table)


class Stores(RuleBasedStateMachine):
    """A store that removes what is compacted one event at a time, and one that its snapshots come from."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.environment = LmdbEnvironment(self.directory)
        self.driver = self.opened()
        self.other = Driver()

    def opened(self) -> Driver:
        return Driver(self.environment, KvLimits(removal_events_at_once=1))

    def teardown(self) -> None:
        self.environment.close()
        shutil.rmtree(self.directory)

    @rule(request=writes)
    def write(self, request: Message) -> None:
        if refused(request) is None:
            assert outcome(lambda: self.driver.do(request)) == outcome(lambda: self.other.do(request))

    @rule()
    def tidy(self) -> None:
        self.driver.tidy()

    @rule()
    def restart(self) -> None:
        self.environment.close()
        self.environment = self.driver.environment = LmdbEnvironment(self.directory)
        self.driver.reopen()

    @precondition(lambda self: self.driver.index)
    @rule()
    def restore(self) -> None:
        self.driver.load_state(self.other.read_state(), self.other.index)

    @invariant()
    def it_is_sound(self) -> None:
        assert_sound(self.directory / DATA_FILE)


TestStores = Stores.TestCase


class LongStores(Stores):
    """The same where every command is long: tombstones are pending."""

    @override
    def opened(self) -> Driver:
        return LongDriver(self.environment, KvLimits(removal_events_at_once=1, tombstone_rows_at_once=1))


TestLongStores = LongStores.TestCase
TestLongStores.settings = TestStores.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_store_is_sound_when_all_is_removed_that_one_revision_replaced(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path)
    driver = Driver(environment)
    for key in (b"a", b"b", b"c"):
        driver.put(key)
    driver.delete(b"a", b"z")
    driver.compact(driver.store.revision)
    driver.apply([])
    assert not driver.store.untidy
    environment.close()
    assert_sound(tmp_path / DATA_FILE)


# ---------------------------------------------------------------------------------------------------------------
# Rows that are not what they should be


class Kept(NamedTuple):
    """A store in a directory as its last process left it, and what its file was like at some earlier commits."""

    path: Path
    earlier: list[bytes]

    @property
    def data(self) -> Path:
        return self.path / guard.STORE_DIRECTORY / DATA_FILE


def kept(path: Path, seed: int = 1) -> Kept:
    """A store with some of everything."""
    draw = random.Random(seed)
    environment, _ = open_store(path, BOOT, KV_CHECKS)
    driver = Driver(environment)
    found = Kept(path, [])
    driver.grant(7, 60)
    for number in range(60):
        for _ in range(20):
            key = b"k%04d" % draw.randrange(600)
            if draw.random() < 0.9:
                driver.put(key, draw.randbytes(draw.choice([10, 200, 5000])), draw.choice([0, 0, 7]))
            else:
                driver.delete(key, key[:-1] + b":")
        if number in (30, 50):
            driver.compact(driver.store.revision - 100)
        if number % 7 == 0:
            found.earlier.append(found.data.read_bytes())
    environment.abandon()
    return found


@contextmanager
def changing(path: Path) -> Iterator[tuple[Driver, Path]]:
    """A small store whose rows are then changed behind its back."""
    environment = LmdbEnvironment(path)
    driver = Driver(environment)
    driver.grant(7, 60)
    for number in range(5):
        driver.put(b"a", b"%d" % number)
        driver.put(b"b", b"%d" % number, lease=7)
    driver.delete(b"a")
    driver.compact(4)
    driver.put(b"c", b"c")
    yield driver, path / DATA_FILE
    environment.close()


def _change(driver: Driver, table: str, key: bytes, change: Callable[[bytes], bytes | None]) -> None:
    space = driver.space
    with driver.environment.transaction():
        changed = change(space.get(table, key) or b"")
        if changed is None:
            space.delete(table, key)
        else:
            space.put(table, key, changed)


def _first(table: str) -> Callable[[Driver], bytes]:
    return lambda driver: next(driver.space.scan(table, b"", None))[0]


def _last_event(driver: Driver) -> bytes:
    return position(driver.store.revision, 0)


def _gone(_: bytes) -> None:
    return None


def _other_end(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


def _other_begin(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


@pytest.mark.parametrize(
    ("table", "key", "change", "said", "by_a_row_of"),
    [
        (EVENTS, _last_event, _gone, "end at revision", HISTORY),
        (EVENTS, _last_event, _other_end, "not have the sum", EVENTS),
        (EVENTS, _last_event, _other_begin, "not have the sum", EVENTS),
        (EVENTS, _first(EVENTS), _other_end, "not have the sum", None),
        (EVENTS, _last_event, lambda row: b"\2" + row[1:], "event at revision", EVENTS),
        (EVENTS, _last_event, lambda row: row[:4], "event at revision", EVENTS),
        (EVENTS, _last_event, lambda row: row[:1] + b"\xff", "cannot be read", EVENTS),
        (HISTORY, _first(HISTORY), _gone, "history is not that", EVENTS),
        (HISTORY, _first(HISTORY), _other_end, "history is not that", EVENTS),
        (HISTORY, _first(HISTORY), _other_end, "history is not that", HISTORY),
        (LIVE, _first(LIVE), _gone, "missing", EVENTS),
        (LIVE, _first(LIVE), _gone, "missing", ATTACHED),
        (LIVE, _first(LIVE), _other_end, "not the value of its newest event", EVENTS),
        (LIVE, _first(LIVE), _other_end, "not the value of its newest event", LIVE),
        (LIVE, lambda _: b"z", lambda _: b"", "not the value of its newest event", LIVE),
        (ATTACHED, _first(ATTACHED), _gone, "keys of its leases are missing", None),
        (ATTACHED, _first(ATTACHED), _other_end, "attached to a lease", ATTACHED),
        (ATTACHED, lambda _: b"\0\0\0\0\0\0\0\7c", lambda _: b"c", "attached to a lease", ATTACHED),
        ("leases", _first("leases"), _gone, "its leases, users, roles and alarms do not", None),
        ("leases", _first("leases"), _other_end, "its leases, users, roles and alarms do not", None),
        (META, lambda _: b"state", _gone, "says of itself", None),
        (META, lambda _: b"state", _other_end, "its leases, users, roles and alarms do not", None),
        (META, lambda _: b"state", lambda row: row[:7] + b"\1" + row[8:], "revision", None),
        (META, lambda _: b"state", lambda row: row[:9], "cannot be read", None),
        (META, lambda _: b"removal", _other_end, "not have the sum", None),
        (META, lambda _: b"removal", lambda row: row[:19] + bytes([row[19] ^ 1]) + row[20:], "bytes", None),
        (META, lambda _: b"applied", _gone, "says of itself", None),
    ],
)
def test_a_row_that_is_wrong_is_found(
    table: str,
    key: Callable[[Driver], bytes],
    change: Callable[[bytes], bytes | None],
    said: str,
    by_a_row_of: str | None,
    tmp_path: Path,
) -> None:
    with changing(tmp_path) as (driver, file):
        assert_sound(file)
        _change(driver, table, key(driver), change)
        assert_found(file, said, by_a_row_of)


def assert_found(file: Path, said: str, by_a_row_of: str | None) -> None:
    """By who reads all rows, and by who looks at each one of a table."""
    with pytest.raises(StoreUnsound, match=said):
        check_whole(file)
    if by_a_row_of is not None:
        with pytest.raises(StoreUnsound):
            check_each_row(file, by_a_row_of)


LONG_NAMED = b"s" * 476


def _of_gone(driver: Driver) -> bytes:
    """The row of a key that is not in ``live``."""
    return next(row for row, value in driver.space.scan(ORDER, b"", None) if value and not order.is_live(value))


@pytest.mark.parametrize(
    ("table", "key", "change", "said", "by_a_row_of"),
    [
        (ORDER, _first(ORDER), _gone, "order of its long keys", LIVE),
        (ORDER, _first(ORDER), _other_end, "order of its long keys", LIVE),
        (ORDER, lambda _: b"\0" * 16 + b"a\0", lambda _: LONG_NAMED, "order of its long keys", ORDER),
        (ORDER, lambda _: b"\0" * 16 + b"a\0", lambda _: b"h" * 16, "order of its long keys", None),
        (ORDER, lambda _: b"\0" * 16 + b"a\2", lambda _: b"h" * 16, "order of its long keys", ORDER),
        (ORDER, lambda _: b"\0" * 16 + b"a\3", lambda _: b"h" * 16, "order of its long keys", ORDER),
        (ORDER, lambda _: b"\0" * 16 + b"a\0", lambda _: b"h" * 15, "order of its long keys", ORDER),
        (ORDER, lambda _: b"\0" * 16 + b"a\2", lambda _: b"", "order of its long keys", None),
        (ORDER, _first(ORDER), lambda name: name + b"\0", "order of its long keys", LIVE),
        (ORDER, _of_gone, lambda value: value[:-1], "order of its long keys", EVENTS),
        (META, lambda _: order.MARK, _other_end, "cannot be read", None),
    ],
)
def test_an_order_that_is_not_that_of_the_long_keys_is_found(
    table: str,
    key: Callable[[Driver], bytes],
    change: Callable[[bytes], bytes | None],
    said: str,
    by_a_row_of: str | None,
    tmp_path: Path,
) -> None:
    with changing(tmp_path) as (driver, file):
        for end in (b"1", b"2", b"3" * 1_000 + b"1", b"3" * 1_000 + b"2"):
            driver.put(LONG_NAMED + end)
        driver.delete(LONG_NAMED + b"2")
        assert_sound(file)
        _change(driver, table, key(driver), change)
        assert_found(file, said, by_a_row_of)


def test_an_order_that_an_earlier_program_has_not_kept_is_not_looked_at(tmp_path: Path) -> None:
    with changing(tmp_path) as (driver, file):
        driver.put(LONG_NAMED + b"1")
        mark = driver.space.get(META, order.MARK)
        driver.put(LONG_NAMED + b"2")
        _change(driver, META, order.MARK, lambda _: mark)
        _change(driver, ORDER, _first(ORDER)(driver), lambda _: LONG_NAMED)  # as another program may have had it
        assert_sound(file)


def test_a_store_without_its_newest_events_or_with_later_ones_is_found_by_what_it_has_recorded(tmp_path: Path) -> None:
    with changing(tmp_path) as (driver, file):
        newest = _last_event(driver)
        row = driver.space.get(EVENTS, newest)
        assert row is not None
        revision, _ = read_position(newest)
        _change(driver, EVENTS, position(revision + 1, 0), lambda _: row)
        with pytest.raises(StoreUnsound, match="later events"):
            check_sums(file)
        _change(driver, EVENTS, position(revision + 1, 0), _gone)
        _change(driver, EVENTS, newest, _gone)
        with pytest.raises(StoreUnsound, match="do not end"):
            check_sums(file)


# ---------------------------------------------------------------------------------------------------------------
# Files that are not what they should be, opened one after another by a process that must survive them all


def _bit(draw: random.Random, data: bytearray, store: Kept) -> None:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _bits_of_a_page(draw: random.Random, data: bytearray, store: Kept) -> None:
    page = draw.randrange(0, len(data), PAGE_BYTES)
    for _ in range(20):
        data[page + draw.randrange(PAGE_BYTES)] ^= 1 << draw.randrange(8)


def _begin_of_a_page(draw: random.Random, data: bytearray, store: Kept) -> None:
    data[draw.randrange(0, len(data), PAGE_BYTES) + draw.randrange(56)] = draw.randrange(256)


def _noise(draw: random.Random, data: bytearray, store: Kept) -> None:
    page = draw.randrange(0, len(data), PAGE_BYTES)
    data[page : page + PAGE_BYTES] = draw.randbytes(PAGE_BYTES)


def _zeros(draw: random.Random, data: bytearray, store: Kept) -> None:
    page = draw.randrange(0, len(data), PAGE_BYTES)
    data[page : page + PAGE_BYTES] = bytes(PAGE_BYTES)


def _another_page(draw: random.Random, data: bytearray, store: Kept) -> None:
    page, other = (draw.randrange(2 * PAGE_BYTES, len(data), PAGE_BYTES) for _ in range(2))
    data[page : page + PAGE_BYTES] = data[other : other + PAGE_BYTES]


def _older_pages(draw: random.Random, data: bytearray, store: Kept) -> None:
    older = draw.choice(store.earlier)
    for _ in range(draw.choice([1, 1, 5, 50])):
        page = draw.randrange(2 * PAGE_BYTES, len(older), PAGE_BYTES)
        data[page : page + PAGE_BYTES] = older[page : page + PAGE_BYTES]


def _half_a_page_that_is_older(draw: random.Random, data: bytearray, store: Kept) -> None:
    older = draw.choice(store.earlier)
    page = draw.randrange(2 * PAGE_BYTES, len(older), PAGE_BYTES)
    end = page + 512 * draw.randrange(1, 8)
    data[page:end] = older[page:end]


def _copied_while_it_was_written(draw: random.Random, data: bytearray, store: Kept) -> None:
    """The end of the file as of later commits than its begin, which says what the newest commit is."""
    older = draw.choice(store.earlier)
    page = draw.randrange(2 * PAGE_BYTES, len(older), PAGE_BYTES)
    data[:page] = older[:page]


def _free_pages(draw: random.Random, data: bytearray, store: Kept) -> None:
    """The list of free pages, which no row is on."""
    older = draw.choice(store.earlier)
    with reading(store.data) as file:
        page = file.commit.free.root * PAGE_BYTES
    kinds = [bytes(PAGE_BYTES), draw.randbytes(PAGE_BYTES), older[page : page + PAGE_BYTES]]
    data[page : page + PAGE_BYTES] = draw.choice(kinds)


def _cut(draw: random.Random, data: bytearray, store: Kept) -> None:
    del data[draw.randrange(len(data)) :]


DAMAGES = [
    _bit,
    _bits_of_a_page,
    _begin_of_a_page,
    _noise,
    _zeros,
    _another_page,
    _older_pages,
    _half_a_page_that_is_older,
    _copied_while_it_was_written,
    _free_pages,
    _cut,
]


def open_damaged(path: Path, seed: int, trials: int) -> None:
    """Damage a store in a drawn way, open it, and see that it is either discarded or whole; again and again.

    The mark says each time that it is the file, and its newest commit the one, that was in use.
    """
    store = kept(path, seed)
    environment, why_empty = open_store(path, BOOT, KV_CHECKS)
    assert why_empty is None
    whole = all_rows(environment)
    environment.abandon()
    sound = store.data.read_bytes()
    draw = random.Random(seed)
    used = 0
    for trial in range(trials):
        store.data.write_bytes(sound)
        data = bytearray(sound)
        damage = draw.choice(DAMAGES)
        damage(draw, data, store)
        store.data.write_bytes(data)
        mark_as_last_used(store)
        environment, why_empty = open_store(path, BOOT, KV_CHECKS)
        if why_empty is None:
            assert all_rows(environment) == whole, (seed, trial, damage.__name__)
            used += 1
            driver = Driver(environment)
            for number in range(5):
                driver.put(b"k%04d" % (100 * number), bytes(300))
            check_whole(store.data)
        else:
            assert "\n" not in why_empty
            assert all_rows(environment) == []
        environment.abandon()
    assert 0 < used < trials, "some damage is to a page that nobody needs"


def mark_as_last_used(store: Kept) -> None:
    status = store.data.stat()
    try:
        with reading(store.data) as file:
            commit = file.commit.number
    except StoreUnsound:
        commit = 0
    mark = StoreMark(BOOT, status.st_dev, status.st_ino, clean=False, commit=commit)
    (store.data.parent / guard.MARK_FILE).write_bytes(guard._encode(mark))


def all_rows(environment: LmdbEnvironment) -> list[tuple[str, bytes, bytes]]:
    space = environment.space(SPACE)
    return [(table, key, value) for table in TABLES for key, value in space.scan(table, b"", None)]


SURVIVAL = (
    "import sys; from pathlib import Path; from tests.kv import test_check as t; {before}; t.open_damaged({arguments})"
)


def survive(path: Path, seed: int, trials: int, before: str = "pass") -> subprocess.CompletedProcess[str]:
    arguments = f"Path({str(path)!r}), {seed}, {trials}"
    return subprocess.run(
        [sys.executable, "-c", SURVIVAL.format(before=before, arguments=arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happened_to_the_file_the_store_is_discarded_or_whole(seed: int, tmp_path: Path) -> None:
    done = survive(tmp_path, seed, 150)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("mutant", "damage", "ends_with"),
    [
        ("t.guard._check = lambda *_: None", "_cut", -signal.SIGBUS),
        ("t.guard.StoreFile.check_pages = lambda _: None", "_free_pages", 1),
        ("t.KV_CHECKS = t.guard.PAGES_ONLY", "_copied_while_it_was_written", 1),
        ("from ratified.kv.check import _Events as e; e.compare = lambda *_: None", "_bit", 1),
    ],
)
def test_a_look_that_is_taken_out_is_missed(mutant: str, damage: str, ends_with: int, tmp_path: Path) -> None:
    done = survive(tmp_path, 1, 300, f"{mutant}; t.DAMAGES[:] = [t.{damage}]")
    assert done.returncode == ends_with, done.stderr
