"""LMDB and memory are the same to a store: held equal under whatever a node may do with them."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ratified.node.config import NodeLimits
from ratified.storage.lmdb import DATA_FILE, READERS_MAX, LmdbEnvironment
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.space import KEY_BYTES_MAX, Copy, Environment, Space, View

MAP_BYTES = 1 << 26
SPACES = (0, 1, 0xFFFFFFFF)
TABLES = ("live", "history", "meta")

_stems = st.binary(min_size=0, max_size=2).map(lambda raw: bytes(byte % 3 * 0x7F for byte in raw))
_lengths = st.sampled_from([0, 0, 0, 1, KEY_BYTES_MAX - 2, KEY_BYTES_MAX])
keys = st.builds(lambda stem, length: (stem + b"k" * length)[:KEY_BYTES_MAX], _stems, _lengths)
bounds = st.builds(lambda key, more: key + b"k" * more, keys, st.sampled_from([0, 0, 1, 100]))
spaces = st.sampled_from(SPACES)
tables = st.sampled_from(TABLES)
values = st.binary(max_size=3) | st.sampled_from([b"v" * 5000])


Rows = dict[tuple[int, str], list[tuple[bytes, bytes]]]


def rows_of(environment: Environment) -> Rows:
    return {
        (number, table): list(environment.space(number).scan(table, b"", None)) for number in SPACES for table in TABLES
    }


def assert_batches_are_those_of_scan(
    rows: Space | View, table: str, first: bytes, last: bytes | None, keys_max: int
) -> None:
    scanned = list(itertools.islice(rows.scan(table, first, last), keys_max))
    assert rows.keys(table, first, last, keys_max) == [key for key, _ in scanned]
    assert rows.columns(table, first, last, keys_max) == ([key for key, _ in scanned], [value for _, value in scanned])


class Undo(Exception):
    """What a test raises to have a block undone."""


class Environments(RuleBasedStateMachine):
    """Does everything to both."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(prefix="ratified-lmdb-"))
        self.both: list[Environment] = []
        self.blocks: list[list[AbstractContextManager[None]]] = []
        self.views: list[tuple[View, View]] = []
        self.scans: list[tuple[Iterator[tuple[bytes, bytes]], Iterator[tuple[bytes, bytes]]]] = []
        self.aside = False
        """Is the open transaction set aside?"""
        self.copies: list[Copy] = []
        self.copied: Rows = {}
        """What was committed when the copies were taken."""

    @initialize()
    def open(self) -> None:
        self.both = [LmdbEnvironment(self.path, map_bytes=MAP_BYTES), MemoryEnvironment()]

    @property
    def writes(self) -> bool:
        return bool(self.blocks) and not self.aside

    def teardown(self) -> None:
        self.drop_copies()
        if self.aside:
            self.resume()
        for block in reversed(self.blocks):
            self.leave(block, Undo())
        for environment in self.both:
            environment.close()
        shutil.rmtree(self.path)

    def of(self, number: int) -> list[Space]:
        return [environment.space(number) for environment in self.both]

    @staticmethod
    def leave(block: list[AbstractContextManager[None]], error: Undo | None) -> None:
        for one in block:
            assert not one.__exit__(type(error) if error else None, error, None)

    @precondition(lambda self: not self.blocks)
    @rule()
    def begin(self) -> None:
        block = [environment.transaction() for environment in self.both]
        for one in block:
            one.__enter__()
        self.blocks.append(block)

    @precondition(lambda self: self.writes and len(self.blocks) < 4)
    @rule()
    def savepoint(self) -> None:
        block = [environment.savepoint() for environment in self.both]
        for one in block:
            one.__enter__()
        self.blocks.append(block)

    @precondition(lambda self: self.writes)
    @rule(undo=st.booleans())
    def end(self, undo: bool) -> None:
        self.leave(self.blocks.pop(), Undo() if undo else None)

    @precondition(lambda self: self.writes)
    @rule()
    def suspend(self) -> None:
        self.scans.clear()
        for environment in self.both:
            environment.suspend()
        self.aside = True

    @precondition(lambda self: self.aside)
    @rule()
    def resume(self) -> None:
        for environment in self.both:
            environment.resume()
        self.aside = False

    @precondition(lambda self: self.writes)
    @rule(number=spaces, table=tables, key=keys, value=values)
    def put(self, number: int, table: str, key: bytes, value: bytes) -> None:
        for space in self.of(number):
            space.put(table, key, value)

    @precondition(lambda self: self.writes)
    @rule(number=spaces, table=tables, key=bounds)
    def delete(self, number: int, table: str, key: bytes) -> None:
        left, right = (space.delete(table, key) for space in self.of(number))
        assert left == right

    @rule(number=spaces, table=tables, key=bounds)
    def get(self, number: int, table: str, key: bytes) -> None:
        left, right = (space.get(table, key) for space in self.of(number))
        assert left == right

    @rule(number=spaces, table=tables, first=bounds, last=bounds | st.none(), reverse=st.booleans())
    def scan(self, number: int, table: str, first: bytes, last: bytes | None, reverse: bool) -> None:
        left, right = (list(space.scan(table, first, last, reverse=reverse)) for space in self.of(number))
        assert left == right

    @rule(number=spaces, table=tables, first=bounds, last=bounds | st.none(), keys_max=st.integers(1, 9))
    def keys(self, number: int, table: str, first: bytes, last: bytes | None, keys_max: int) -> None:
        for space in self.of(number):
            assert_batches_are_those_of_scan(space, table, first, last, keys_max)

    @precondition(lambda self: len(self.views) < 6)
    @rule(number=spaces)
    def view(self, number: int) -> None:
        left, right = (space.view() for space in self.of(number))
        self.views.append((left, right))

    @precondition(lambda self: self.views)
    @rule(data=st.data(), table=tables, key=bounds)
    def view_get(self, data: st.DataObject, table: str, key: bytes) -> None:
        left, right = data.draw(st.sampled_from(self.views))
        assert left.get(table, key) == right.get(table, key)

    @precondition(lambda self: self.views)
    @rule(data=st.data(), table=tables, first=bounds, last=bounds | st.none(), reverse=st.booleans())
    def view_scan(self, data: st.DataObject, table: str, first: bytes, last: bytes | None, reverse: bool) -> None:
        left, right = data.draw(st.sampled_from(self.views))
        self.scans.append(
            (left.scan(table, first, last, reverse=reverse), right.scan(table, first, last, reverse=reverse))
        )

    @precondition(lambda self: self.views)
    @rule(data=st.data(), table=tables, first=bounds, last=bounds | st.none(), keys_max=st.integers(1, 9))
    def view_keys(self, data: st.DataObject, table: str, first: bytes, last: bytes | None, keys_max: int) -> None:
        for view in data.draw(st.sampled_from(self.views)):
            assert_batches_are_those_of_scan(view, table, first, last, keys_max)

    @precondition(lambda self: self.scans)
    @rule(data=st.data(), rows=st.integers(1, 5))
    def go_on_scanning(self, data: st.DataObject, rows: int) -> None:
        left, right = data.draw(st.sampled_from(self.scans))
        assert list(itertools.islice(left, rows)) == list(itertools.islice(right, rows))

    @precondition(lambda self: self.views)
    @rule(data=st.data())
    def close_view(self, data: st.DataObject) -> None:
        pair = data.draw(st.sampled_from(self.views))
        self.views.remove(pair)
        self.scans.clear()
        for view in pair:
            view.close()

    def drop_copies(self) -> None:
        for copy in self.copies:
            copy.close()
        self.copies.clear()

    @precondition(lambda self: not self.copies and (self.aside or not self.blocks))
    @rule()
    def copy(self) -> None:
        self.copied = rows_of(self.both[0])
        self.copies = [environment.copy() for environment in self.both]

    @precondition(lambda self: self.copies)
    @rule()
    def use_copies(self) -> None:
        of_lmdb, of_memory = (copy.read(0, 2) + copy.read(2, copy.length) for copy in self.copies)
        self.drop_copies()
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / DATA_FILE).write_bytes(of_lmdb)
            environment = LmdbEnvironment(Path(name), map_bytes=MAP_BYTES)
            assert rows_of(environment) == self.copied
            environment.close()
        assert rows_of(MemoryEnvironment.of_copy(of_memory)) == self.copied

    @precondition(lambda self: not self.blocks)
    @rule()
    def reopen(self) -> None:
        self.drop_copies()
        self.scans.clear()
        for pair in self.views:
            for view in pair:
                view.close()
        self.views.clear()
        for environment in self.both:
            environment.close()
        self.both[0] = LmdbEnvironment(self.path, map_bytes=MAP_BYTES)

    @invariant()
    def the_rows_are_the_same(self) -> None:
        for number in SPACES:
            left, right = self.of(number)
            for table in TABLES:
                assert list(left.scan(table, b"", None)) == list(right.scan(table, b"", None))

    @invariant()
    def the_open_views_see_the_same(self) -> None:
        for left, right in self.views:
            for table in TABLES:
                assert list(left.scan(table, b"", None)) == list(right.scan(table, b"", None))


TestEnvironments = Environments.TestCase
TestEnvironments.settings = settings(
    max_examples=100, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)


# ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["lmdb", "memory"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    return LmdbEnvironment(tmp_path, map_bytes=MAP_BYTES) if request.param == "lmdb" else MemoryEnvironment()


def test_writing_without_a_transaction_is_an_error(environment: Environment) -> None:
    space = environment.space(1)
    with pytest.raises(RuntimeError, match="no transaction is open"):
        space.put("live", b"key", b"value")
    with pytest.raises(RuntimeError, match="no transaction is open"):
        space.delete("live", b"key")
    with pytest.raises(RuntimeError, match="no transaction is open"), environment.savepoint():
        pass


def test_a_second_transaction_inside_the_first_is_an_error(environment: Environment) -> None:
    with environment.transaction():
        environment.space(1).put("live", b"key", b"value")
        with pytest.raises(RuntimeError, match="open already"), environment.transaction():
            pass
    assert environment.space(1).get("live", b"key") == b"value"


def test_closing_inside_a_transaction_is_an_error(environment: Environment) -> None:
    with environment.transaction(), pytest.raises(RuntimeError, match="while its transaction is open"):
        environment.close()


def test_a_key_that_is_too_long_is_refused(environment: Environment) -> None:
    with environment.transaction():
        environment.space(1).put("live", b"k" * KEY_BYTES_MAX, b"")
        with pytest.raises(ValueError, match="508 bytes"):
            environment.space(1).put("live", b"k" * (KEY_BYTES_MAX + 1), b"")
    assert environment.space(1).get("live", b"k" * KEY_BYTES_MAX) == b""


def test_bounds_may_be_longer_than_keys(environment: Environment) -> None:
    longest = b"k" * KEY_BYTES_MAX
    rows = [(longest, b"1"), (b"l", b"2")]
    space = environment.space(1)
    with environment.transaction():
        for key, value in rows:
            space.put("live", key, value)
    for reverse in (False, True):
        assert list(space.scan("live", longest + b"k", None, reverse=reverse)) == rows[1:]
        assert list(space.scan("live", b"", longest + b"k", reverse=reverse)) == rows[:1]
        assert list(space.scan("live", b"", longest, reverse=reverse)) == []
    assert space.get("live", longest + b"k") is None


def test_a_table_made_in_a_savepoint_is_gone_with_its_transaction(environment: Environment) -> None:
    space = environment.space(1)

    def undone() -> None:
        with environment.transaction():
            with environment.savepoint():
                space.put("new", b"key", b"lost")
            raise Undo

    with pytest.raises(Undo):
        undone()
    assert space.get("new", b"key") is None
    with environment.transaction():
        space.put("other", b"key", b"other")
        space.put("new", b"key", b"kept")
    assert (space.get("new", b"key"), space.get("other", b"key")) == (b"kept", b"other")


def test_nothing_of_a_transaction_that_is_set_aside_is_seen(environment: Environment) -> None:
    space = environment.space(1)
    with environment.transaction():
        space.put("old", b"key", b"before")
    with environment.transaction():
        space.put("old", b"key", b"after")
        space.put("new", b"key", b"after")
        with environment.savepoint():
            space.put("newer", b"key", b"after")
            environment.suspend()
            view = space.view()
            for reader in (space, view):
                found = [reader.get(table, b"key") for table in ("old", "new", "newer")]
                assert found == [b"before", None, None]
                assert list(reader.scan("newer", b"", None)) == []
            environment.resume()
        assert space.get("newer", b"key") == b"after"
    assert [space.get(table, b"key") for table in ("old", "new", "newer")] == [b"after"] * 3
    assert view.get("old", b"key") == b"before"
    view.close()


def test_what_a_killed_process_had_open_never_happened() -> None:
    environment = MemoryEnvironment()
    space = environment.space(1)
    with environment.transaction():
        space.put("live", b"a", b"1")
    block = environment.transaction()
    block.__enter__()
    space.put("live", b"a", b"2")
    space.put("live", b"b", b"2")
    space.view()
    environment.abandon()
    assert list(space.scan("live", b"", None)) == [(b"a", b"1")]
    assert not space.views
    with environment.transaction():
        space.put("live", b"c", b"3")
        block.__exit__(None, None, None)
        space.put("live", b"d", b"4")
    assert [key for key, _ in space.scan("live", b"", None)] == [b"a", b"c", b"d"]


def test_a_scrambled_environment_has_lost_rows_and_gained_none() -> None:
    environment = MemoryEnvironment()
    space = environment.space(1)
    with environment.transaction():
        for number in range(10):
            space.put("live", b"%d" % number, b"value")
    environment.scramble(lambda count: count - 1)
    left = [key for key, _ in space.scan("live", b"", None)]
    assert left == [b"0", b"1"]


def test_views_of_one_commit_share_a_reader_and_end_it_together(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path, map_bytes=MAP_BYTES, readers_max=3)
    space = environment.space(1)
    for value in range(20):
        with environment.transaction():
            space.put("live", b"key", b"%d" % value)
        views = [space.view() for _ in range(10)]
        assert {view.get("live", b"key") for view in views} == {b"%d" % value}
        for view in views:
            view.close()
    with pytest.raises(RuntimeError, match="view is closed"):
        views[0].get("live", b"key")
    environment.close()


def test_there_are_readers_for_all_streams_of_a_node_and_each_may_have_a_commit_of_its_own(tmp_path: Path) -> None:
    others = 100  # snapshots to peers, the checkpoint, who reads the last commit
    assert NodeLimits().streams_max + others <= READERS_MAX
    environment = LmdbEnvironment(tmp_path)
    views = []
    for number in range(4200):
        with environment.transaction():
            environment.space(0).put("meta", b"row", b"%d" % number)
        views.append(environment.space(0).view())
    assert [view.get("meta", b"row") for view in views[::1000]] == [b"%d" % number for number in range(0, 4200, 1000)]
    for view in views:
        view.close()
    environment.close()
