"""The simulated disk: what survives a process, what survives a machine, and that forks are independent."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratified.sim.disk import Disk, Draw, Sectors
from ratified.storage.files import WriteAt

SECTOR = 512


def drops(count: int) -> int:
    return 0


def keeps(count: int) -> int:
    """The whole directory history, and of every file everything."""
    return 1 if count == 3 else count - 1


def scripted(choices: Sequence[int]) -> Draw:
    rest = iter(choices)
    return lambda count: next(rest)


def sector(letter: str) -> bytes:
    return letter.encode() * SECTOR


def durable_file(length: int = 4 * SECTOR) -> Disk:
    disk = Disk()
    disk.create("file", length)
    disk.sync_data("file")
    disk.sync_directory()
    return disk


def content(disk: Disk) -> bytes:
    return disk.read("file", 0, 1 << 20)


@given(st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=1200)), max_size=12))
def test_what_is_written_is_read_whatever_its_offset_and_length(writes: list[tuple[int, bytes]]) -> None:
    disk = durable_file(100)
    expected = bytearray(100)
    for offset, data in writes:
        disk.write("file", offset, data)
        expected.extend(bytes(max(0, offset + len(data) - len(expected))))
        expected[offset : offset + len(data)] = data
    assert content(disk) == bytes(expected)
    assert disk.size("file") == len(expected)
    for offset in (0, 1, 511, 512, 700, 5000):
        assert disk.read("file", offset, 900) == bytes(expected[offset : offset + 900])


@given(st.lists(st.tuples(st.integers(0, 1 << 18), st.binary(min_size=1, max_size=4)), max_size=50))
def test_sectors_are_a_persistent_map(puts: list[tuple[int, bytes]]) -> None:
    versions = [Sectors()]
    for number, data in puts:
        versions.append(versions[-1].put(number, data))
    model: dict[int, bytes] = {}
    for version, step in zip(versions, [None, *puts], strict=True):
        if step is not None:
            model[step[0]] = step[1]
        for number, _ in puts:
            assert version.get(number) == model.get(number, bytes(SECTOR))


def test_a_killed_process_loses_nothing_that_it_wrote() -> None:
    disk = durable_file()
    disk.write("file", 0, sector("a"))
    disk.kill(WriteAt("file", SECTOR, sector("b") + sector("c")), sectors=1)
    assert content(disk) == sector("a") + sector("b") + bytes(2 * SECTOR)


def test_a_lost_machine_may_lose_or_keep_what_was_not_synced() -> None:
    disk = durable_file()
    disk.write("file", 0, sector("a"))
    disk.sync_data("file")
    disk.write("file", SECTOR, sector("b"))
    dropped, kept = disk.fork(), disk.fork()
    dropped.lose_machine(drops)
    kept.lose_machine(keeps)
    assert content(dropped) == sector("a") + bytes(3 * SECTOR)
    assert content(kept) == sector("a") + sector("b") + bytes(2 * SECTOR)


def test_a_lost_machine_may_tear_a_write_at_every_sector() -> None:
    disk = durable_file()
    disk.write("file", 0, sector("a") + sector("b") + sector("c"))
    seen = set()
    for choices in itertools.product((0, 1), repeat=3):
        torn = disk.fork()
        torn.lose_machine(scripted([2, *choices]))
        seen.add(content(torn))
    assert len(seen) == 8


def test_of_several_unsynced_writes_to_a_sector_any_may_be_what_the_disk_has() -> None:
    disk = durable_file(SECTOR)
    disk.write("file", 0, sector("a"))
    disk.write("file", 0, sector("b"))
    seen = []
    for version in range(3):
        torn = disk.fork()
        torn.lose_machine(scripted([2, version]))
        seen.append(content(torn)[:1])
    assert seen == [b"\0", b"a", b"b"]


def test_a_files_length_is_durable_only_once_it_was_synced() -> None:
    disk = Disk()
    disk.create("file", 3 * SECTOR)
    disk.sync_directory()
    disk.write("file", SECTOR, sector("a"))
    sizes = []
    for choices in ([0], [1], [2, 0, 0], [2, 0, 1], [2, 1, 0]):
        lost = disk.fork()
        lost.lose_machine(scripted(choices))
        sizes.append(lost.size("file"))
    assert sizes == [0, 3 * SECTOR, 0, 2 * SECTOR, 3 * SECTOR]


def test_of_the_directorys_changes_since_its_sync_a_prefix_survives() -> None:
    disk = Disk()
    disk.create("a", 0)
    disk.sync_directory()
    disk.create("b", 0)
    disk.rename("b", "c")
    disk.remove("a")
    seen = []
    for choice in range(4):
        lost = disk.fork()
        lost.lose_machine(scripted([choice]))
        seen.append(list(lost.names()))
    assert seen == [["a"], ["a", "b"], ["a", "c"], ["c"]]


def test_a_failed_sync_leaves_what_was_written_in_the_page_cache_only() -> None:
    disk = durable_file()
    disk.write("file", 0, sector("a"))
    disk.fail_sync("file")
    disk.sync_data("file")
    assert content(disk)[:SECTOR] == sector("a")
    disk.lose_machine(keeps)
    assert content(disk) == bytes(4 * SECTOR)


def test_forks_do_not_see_each_others_changes() -> None:
    disk = durable_file()
    other = disk.fork()
    disk.write("file", 0, sector("a"))
    other.create("new", 0)
    assert content(other) == bytes(4 * SECTOR)
    assert disk.names() == ["file"]


def test_missing_and_existing_files_are_reported_as_a_real_disk_does() -> None:
    disk = durable_file()
    with pytest.raises(FileExistsError):
        disk.create("file", 0)
    for operation in (disk.size, disk.remove, disk.sync_data):
        with pytest.raises(FileNotFoundError):
            operation("missing")
    with pytest.raises(FileNotFoundError):
        disk.rename("missing", "file")
