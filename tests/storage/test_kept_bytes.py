"""How much room an open view keeps from being used again, by what LMDB's own counts say of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratified.storage.lmdb import DATA_FILE, LmdbEnvironment
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.pages import reading
from ratified.storage.space import Environment
from tests.storage.test_pages import Writer

ROWS = 2_000


def unused_bytes(path: Path) -> int:
    """Of the pages of the file: those that its newest commit does not reach."""
    with reading(path / DATA_FILE) as file:
        trees = (file.commit.free, file.commit.main, *file.tables.values())
        used = 2 + sum(tree.branch_pages + tree.leaf_pages + tree.overflow_pages for tree in trees)
        return file.size_bytes - used * file.commit.page_bytes


@pytest.mark.parametrize("seed", range(12))
def test_a_view_keeps_what_no_commit_since_reaches_and_none_may_use(tmp_path: Path, seed: int) -> None:
    writer = Writer(tmp_path, seed)
    for _ in range(10):
        writer.commit()
    before = unused_bytes(tmp_path)
    view = writer.environment.space(0).view()
    for _ in range(25):
        writer.commit()
        unused = unused_bytes(tmp_path)
        # What was free before may have been used since, or not.
        assert unused - before <= view.kept_bytes <= unused
    assert view.kept_bytes > 0
    view.close()
    writer.environment.close()


def write(environment: Environment, times: int = 1) -> None:
    for _ in range(times):
        for first in range(0, ROWS, 100):
            with environment.transaction():
                for number in range(first, first + 100):
                    environment.space(0).put("rows", b"%06d" % number, bytes(100))


@pytest.mark.parametrize("kind", ["lmdb", "memory"])
def test_each_view_counts_from_its_own_beginning_until_it_is_closed(tmp_path: Path, kind: str) -> None:
    environment: Environment = LmdbEnvironment(tmp_path) if kind == "lmdb" else MemoryEnvironment()
    of_nothing = environment.space(0).view()
    write(environment)
    of_nothing.close()
    first = environment.space(0).view()
    assert first.kept_bytes == 0
    write(environment)
    kept = first.kept_bytes
    assert kept > 100 * ROWS
    second = environment.space(0).view()
    assert second.kept_bytes == 0
    write(environment)
    assert second.kept_bytes > 100 * ROWS
    assert first.kept_bytes >= kept
    first.close()
    assert first.kept_bytes == 0
    assert second.kept_bytes > 100 * ROWS
    second.close()
    environment.close()


def test_what_a_closed_view_kept_is_used_again(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path)
    write(environment)
    view = environment.space(0).view()
    write(environment, times=10)
    view.close()
    size = environment.size_bytes
    write(environment, times=5)
    assert environment.size_bytes == size
    assert environment.views == 0
    environment.close()
