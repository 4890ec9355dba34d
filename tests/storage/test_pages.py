"""LMDB's file read without LMDB: it says what LMDB says of a sound one, and knows one that is not."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ratified.storage.lmdb import DATA_FILE, LmdbEnvironment
from ratified.storage.pages import StoredRows, StoreFile, StoreUnsound, reading

SPACES = (0, 1, 0xFFFFFFFF)
TABLES = ("a", "b", "c")
SECTOR = 512
HEADER_BYTES = 16


class Undo(Exception):
    """What a test raises to have a block undone."""


class Writer:
    """Does to an environment whatever a store may do to one, drawn."""

    def __init__(self, path: Path, seed: int) -> None:
        self.draw = random.Random(seed)
        self.environment = LmdbEnvironment(path, map_bytes=1 << 30)
        self._keys = self.draw.choice([20, 500, 3000])
        self._key_bytes_more = self.draw.choice([0, 0, 100, 480])
        self._value_bytes = self.draw.choice([[1, 10], [10, 100, 300], [10, 2000, 5000, 100_000]])

    def key(self) -> bytes:
        return b"%05d" % self.draw.randrange(self._keys) + b"k" * self.draw.randint(0, self._key_bytes_more)

    def commit(self) -> None:
        try:
            with self.environment.transaction():
                self._change(self.draw.choice([0, 1, 3, 30, 200]))
                for _ in range(self.draw.randrange(3)):
                    self._savepoint()
                if self.draw.random() < 0.1:
                    raise Undo
        except Undo:
            pass

    def _savepoint(self) -> None:
        try:
            with self.environment.savepoint():
                self._change(self.draw.choice([1, 10, 50]))
                if self.draw.random() < 0.4:
                    raise Undo
        except Undo:
            pass

    def _change(self, count: int) -> None:
        for _ in range(count):
            space = self.environment.space(self.draw.choice(SPACES))
            table, key = self.draw.choice(TABLES), self.key()
            if self.draw.random() < 0.6:
                space.put(table, key, bytes(self.draw.choice(self._value_bytes)))
            else:
                found = [key for key, _ in space.scan(table, key, None)]
                for key in found[: self.draw.choice([1, 1, 20, 200])]:
                    space.delete(table, key)


def every_sound_file_is_found_sound(path: Path) -> None:
    for seed in range(12):
        directory = path / str(seed)
        directory.mkdir()
        writer = Writer(directory, seed)
        for _ in range(25):
            writer.commit()
            info = writer.environment._environment.info()
            with reading(directory / DATA_FILE) as file:
                assert (file.commit.number, file.commit.last_page) == (info["last_txnid"], info["last_pgno"])
                assert file.commit.page_bytes == writer.environment._environment.stat()["psize"]
                file.check_pages()
        check_rows(writer, directory / DATA_FILE)
        writer.environment.close()


def check_rows(writer: Writer, path: Path) -> None:
    """What is read page by page is what LMDB reads."""
    environment = writer.environment
    with reading(path) as file:
        found = set()
        for number in SPACES:
            space, rows = environment.space(number), StoredRows(file, number)
            for table in TABLES:
                whole = list(space.scan(table, b"", None))
                found |= {number} if whole else set()
                assert list(rows.scan(table, b"")) == whole
                for _ in range(10):
                    key = writer.key()
                    assert rows.get(table, key) == space.get(table, key)
                    assert next(rows.scan(table, key), None) == next(space.scan(table, key, None), None)
        assert file.spaces() == sorted(found)
        for table in file.tables:
            for seed in range(10):
                drawn = file.draw(table, seed)
                if drawn is not None:
                    assert environment.space(drawn[0]).get(table, drawn[1]) == drawn[2]


def test_every_sound_file_is_found_sound(tmp_path: Path) -> None:
    every_sound_file_is_found_sound(tmp_path)


def a_file_is_as_long_as_its_pages(path: Path) -> None:
    """A value that one transaction writes and deletes leaves free pages at the end, which LMDB does not write."""
    environment = LmdbEnvironment(path, map_bytes=1 << 30)
    space = environment.space(0)
    for number in range(40):
        with environment.transaction():
            space.put("a", b"%d" % (number % 7), b"small")
            space.put("b", b"big", bytes(200_000 + 10_000 * number))
            space.delete("b", b"big")
            space.put("a", b"%d" % (number % 5), b"small")
        with reading(path / DATA_FILE) as file:
            file.check_pages()
    environment.close()


def test_a_file_is_as_long_as_its_pages(tmp_path: Path) -> None:
    a_file_is_as_long_as_its_pages(tmp_path)


def test_lmdb_alone_leaves_files_that_look_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LmdbEnvironment, "_account_for_commit", lambda environment: None)
    with pytest.raises(StoreUnsound, match="was cut"):
        a_file_is_as_long_as_its_pages(tmp_path)


# ---------------------------------------------------------------------------------------------------------------
# Unsound


class Patched:
    """A sound file of two levels with a large value and free pages, and what a test changes in it."""

    def __init__(self, path: Path) -> None:
        self.path = path / DATA_FILE
        environment = LmdbEnvironment(path, map_bytes=1 << 30)
        for _ in range(3):
            with environment.transaction():
                for number in range(100):
                    environment.space(0).put("a", b"%03d" % number, bytes(200))
                environment.space(0).put("b", b"big", b"v" * 20_000)
        environment.close()
        with reading(self.path) as file:
            self.commit = file.commit
            self.a, self.b = file.tables["a"], file.tables["b"]
            self.children = list(file._children(self.a.root)[1])
            self.free = [node for leaf in file._leaves(file.commit.free.root, 1, b"") for node in leaf]
        assert (self.a.depth, self.b.overflow_pages, len(self.free) > 0) == (2, 5, True)

    def page(self, number: int) -> bytearray:
        with self.path.open("rb") as file:
            file.seek(number * self.commit.page_bytes)
            return bytearray(file.read(self.commit.page_bytes))

    def write(self, number: int, data: bytes | bytearray) -> None:
        with self.path.open("r+b") as file:
            file.seek(number * self.commit.page_bytes)
            file.write(data)

    def pack(self, number: int, offset: int, layout: str, *values: int) -> None:
        page = self.page(number)
        struct.pack_into(layout, page, offset, *values)
        self.write(number, page)

    def node_at(self, number: int, index: int) -> int:
        """Where in the page the node begins."""
        page = self.page(number)
        count = (int(struct.unpack_from("<H", page, 12)[0]) - HEADER_BYTES) // 2
        return int(struct.unpack_from(f"<{count}H", page, HEADER_BYTES)[index])


def _another_number(file: Patched) -> None:
    file.write(file.children[1], file.page(file.children[2]))


def _another_kind(file: Patched) -> None:
    file.pack(file.children[1], 10, "<H", 1)


def _nothing_but_zeros(file: Patched) -> None:
    file.write(file.children[1], bytes(file.commit.page_bytes))


def _a_dirty_page(file: Patched) -> None:
    file.pack(file.children[1], 10, "<H", 2 | 16)


def _bounds_that_cross(file: Patched) -> None:
    file.pack(file.children[1], 12, "<HH", 300, 200)


def _a_node_outside_of_its_page(file: Patched) -> None:
    file.pack(file.children[1], HEADER_BYTES, "<H", file.commit.page_bytes - 4)


def _an_entry_that_is_too_large(file: Patched) -> None:
    file.pack(file.children[1], file.node_at(file.children[1], 0), "<HH", 0, 1)


def _keys_out_of_order(file: Patched) -> None:
    page = file.children[1]
    first, second = file.node_at(page, 0), file.node_at(page, 1)
    file.pack(page, HEADER_BYTES, "<HH", second, first)


def _a_key_that_another_page_should_have(file: Patched) -> None:
    file.pack(file.children[1], file.node_at(file.children[1], -1) + 8 + 4, "<B", ord("9"))


def _a_child_behind_the_last_page(file: Patched) -> None:
    file.pack(file.a.root, file.node_at(file.a.root, 1), "<H", file.commit.last_page + 1)


def _a_child_twice(file: Patched) -> None:
    file.pack(file.a.root, file.node_at(file.a.root, 1), "<H", file.children[0])


def _a_single_child(file: Patched) -> None:
    file.pack(file.a.root, 12, "<H", HEADER_BYTES + 2)


def _an_entry_less(file: Patched) -> None:
    page = file.page(file.children[1])
    file.pack(file.children[1], 12, "<H", struct.unpack_from("<H", page, 12)[0] - 2)


def _a_value_whose_pages_are_gone(file: Patched) -> None:
    (run,) = struct.unpack_from("<Q", file.page(file.b.root), file.node_at(file.b.root, 0) + 8 + 4 + 3)
    file.write(run, bytes(file.commit.page_bytes))


def _a_value_behind_the_last_page(file: Patched) -> None:
    file.pack(file.b.root, file.node_at(file.b.root, 0) + 8 + 4 + 3, "<Q", file.commit.last_page)


def _a_page_that_is_free_and_in_use(file: Patched) -> None:
    root = file.commit.free.root
    file.pack(root, file.node_at(root, 0) + 8 + 8 + 8, "<Q", file.a.root)


def _a_list_of_free_pages_that_is_too_short(file: Patched) -> None:
    root = file.commit.free.root
    file.pack(root, file.node_at(root, 0) + 8 + 8, "<Q", 10_000)


def _a_table_that_is_none(file: Patched) -> None:
    root = file.commit.main.root
    file.pack(root, file.node_at(root, 0) + 4, "<H", 0)


def _a_table_of_duplicates(file: Patched) -> None:
    root = file.commit.main.root
    file.pack(root, file.node_at(root, 0) + 8 + 1 + 4, "<H", 4)


def _no_meta_page(file: Patched) -> None:
    file.write(1, bytes(file.commit.page_bytes))


def _a_later_format(file: Patched) -> None:
    file.pack(0, HEADER_BYTES + 4, "<I", 3)


def _pages_of_no_size(file: Patched) -> None:
    file.pack(0, HEADER_BYTES + 24, "<I", 1000)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_another_number, "says that it is page"),
        (_another_kind, "of kind 1, not 2"),
        (_nothing_but_zeros, "of kind 0, not 2"),
        (_a_dirty_page, "of kind 18, not 2"),
        (_bounds_that_cross, "bounds that do not fit"),
        (_a_node_outside_of_its_page, "outside of its bounds"),
        (_an_entry_that_is_too_large, "does not fit into the page"),
        (_keys_out_of_order, "out of order"),
        (_a_key_that_another_page_should_have, "out of order"),
        (_a_child_behind_the_last_page, "behind the last one"),
        (_a_child_twice, "out of order"),
        (_a_single_child, "a single child"),
        (_an_entry_less, "99 entries"),
        (_a_value_whose_pages_are_gone, "does not begin the value of 20000 bytes"),
        (_a_value_behind_the_last_page, "does not begin the value of 20000 bytes"),
        (_a_page_that_is_free_and_in_use, "used twice"),
        (_a_list_of_free_pages_that_is_too_short, "a list of 10000 free pages"),
        (_a_table_that_is_none, "of kind 0"),
        (_a_table_of_duplicates, "is no table"),
        (_no_meta_page, "at byte 4096"),
        (_a_later_format, "data format 3"),
        (_pages_of_no_size, "a page has 1000 bytes"),
    ],
)
def test_what_is_wrong_with_a_page_is_said(damage: Callable[[Patched], None], said: str, tmp_path: Path) -> None:
    file = Patched(tmp_path)
    damage(file)
    with pytest.raises(StoreUnsound, match=said), reading(file.path) as damaged:
        damaged.check_pages()


def test_a_file_that_was_cut_anywhere_is_known_before_any_of_its_pages_is_read(tmp_path: Path) -> None:
    file = Patched(tmp_path)
    needed = (file.commit.last_page + 1) * file.commit.page_bytes
    assert file.path.stat().st_size == needed
    for size in reversed(range(0, needed, SECTOR)):
        os.truncate(file.path, size)
        with pytest.raises(StoreUnsound, match=r"was cut|too short"), reading(file.path):
            pass


def test_a_file_that_is_longer_is_sound(tmp_path: Path) -> None:
    file = Patched(tmp_path)
    os.truncate(file.path, file.path.stat().st_size + 12_345)
    with reading(file.path) as longer:
        longer.check_pages()


def test_the_newer_commit_counts_whichever_page_it_is_in(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path, map_bytes=1 << 30)
    numbers = []
    for number in range(4):
        with environment.transaction():
            environment.space(0).put("a", b"key", b"%d" % number)
        with reading(tmp_path / DATA_FILE) as file:
            numbers.append(file.commit.number)
            assert StoredRows(file, 0).get("a", b"key") == b"%d" % number
    assert numbers == [1, 2, 3, 4]
    environment.close()


def test_an_empty_environment_has_no_rows(tmp_path: Path) -> None:
    LmdbEnvironment(tmp_path, map_bytes=1 << 30).close()
    with reading(tmp_path / DATA_FILE) as file:
        file.check_pages()
        assert (file.tables, file.spaces()) == ({}, [])
        assert StoredRows(file, 0).get("a", b"key") is None


# ---------------------------------------------------------------------------------------------------------------
# A rule that is taken out is missed: each case above fails for want of the look that finds it.


def _not_at_bounds(low: bytes | None, keys: object, high: bytes | None) -> bool:
    return True


def _not_at_what_is_reached(file: StoreFile, first: int, pages: int, reached: bytearray) -> None:
    pass


def _not_at_lists(file: StoreFile, listed: bytes, reached: bytearray) -> None:
    pass


@pytest.mark.parametrize(
    ("owner", "look", "mutant", "damage"),
    [
        ("ratified.storage.pages", "_ascend", _not_at_bounds, _keys_out_of_order),
        ("ratified.storage.pages.StoreFile", "_reach", _not_at_what_is_reached, _a_page_that_is_free_and_in_use),
        ("ratified.storage.pages.StoreFile", "_check_free", _not_at_lists, _a_list_of_free_pages_that_is_too_short),
    ],
)
def test_a_look_that_is_taken_out_is_missed(
    owner: str,
    look: str,
    mutant: object,
    damage: Callable[[Patched], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = Patched(tmp_path)
    damage(file)
    monkeypatch.setattr(f"{owner}.{look}", mutant)
    with reading(file.path) as damaged:
        damaged.check_pages()
