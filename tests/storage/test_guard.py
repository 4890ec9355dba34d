"""Which store may be used: the decision, and the real files."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from ratified.storage import guard
from ratified.storage.guard import RowChecks, StoreMark, distrust, open_store, store_usable
from ratified.storage.lmdb import DATA_FILE, LmdbEnvironment
from ratified.storage.pages import StoredRows, StoreUnsound

HERE = StoreMark(b"boot one", 1, 2, clean=False, commit=8)
SECTOR = 512


@pytest.mark.parametrize(
    ("recorded", "why_not"),
    [
        (None, "no readable mark"),
        (StoreMark(b"boot two", 1, 2, clean=False), "may be torn"),
        (StoreMark(b"boot one", 9, 2, clean=False), "a copy"),
        (StoreMark(b"boot one", 1, 9, clean=False), "a copy"),
        (StoreMark(b"boot two", 1, 9, clean=True), "a copy"),
        (StoreMark(b"boot one", 1, 2, clean=False, commit=9), "commit 9 was made"),
        (StoreMark(b"boot one", 1, 2, clean=False, commit=6), "commit 6 was made"),
        (StoreMark(b"boot one", 1, 2, clean=False, commit=7), None),
        (StoreMark(b"boot one", 1, 2, clean=False, commit=8), None),
        (StoreMark(b"boot two", 1, 2, clean=True, commit=7), "commit 7 was made"),
        (StoreMark(b"boot two", 1, 2, clean=True, commit=8), None),
    ],
)
def test_a_store_is_used_only_where_it_cannot_be_torn(recorded: StoreMark | None, why_not: str | None) -> None:
    reason = store_usable(recorded, HERE)
    assert reason is None if why_not is None else reason is not None and why_not in reason


def filled(path: Path, boot_id: bytes = b"boot one") -> LmdbEnvironment:
    environment, fresh = open_store(path, boot_id)
    assert fresh == "there is none yet"
    with environment.transaction():
        environment.space(0).put("live", b"key", b"value")
    return environment


def value(environment: LmdbEnvironment) -> bytes | None:
    return environment.space(0).get("live", b"key")


def test_after_a_clean_stop_the_store_is_used_on_any_boot(tmp_path: Path) -> None:
    filled(tmp_path).close()
    environment, fresh = open_store(tmp_path, b"boot two")
    assert (fresh, value(environment)) == (None, b"value")
    environment.close()


def test_a_store_whose_process_died_is_used_on_the_same_boot(tmp_path: Path) -> None:
    filled(tmp_path).abandon()
    environment, fresh = open_store(tmp_path, b"boot one")
    assert (fresh, value(environment)) == (None, b"value")
    environment.close()


def test_a_process_that_dies_in_a_transaction_leaves_nothing_of_it(tmp_path: Path) -> None:
    environment = filled(tmp_path)
    block = environment.transaction()
    block.__enter__()
    environment.space(0).put("live", b"key", b"never committed")
    environment.abandon()
    environment, fresh = open_store(tmp_path, b"boot one")
    assert (fresh, value(environment)) == (None, b"value")
    environment.close()


def test_a_store_whose_machine_died_is_discarded_whatever_it_looks_like(tmp_path: Path) -> None:
    filled(tmp_path).abandon()
    data = tmp_path / guard.STORE_DIRECTORY / DATA_FILE
    with data.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"scrambled" * 400)
    environment, fresh = open_store(tmp_path, b"boot two")
    assert fresh == "the machine stopped while it was in use, so it may be torn"
    assert value(environment) is None
    environment.close()
    environment, fresh = open_store(tmp_path, b"boot three")
    assert fresh is None
    environment.close()


def test_the_mark_says_unclean_again_once_the_store_is_in_use(tmp_path: Path) -> None:
    filled(tmp_path).close()
    environment, _ = open_store(tmp_path, b"boot one")
    environment.abandon()
    environment, fresh = open_store(tmp_path, b"boot two")
    assert fresh is not None
    environment.close()


def test_a_machine_that_dies_leaves_no_mark_of_an_earlier_clean_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the mark that is left which was synced last, of the store any pages of the commits since: here none."""
    mark, data = (tmp_path / guard.STORE_DIRECTORY / name for name in (guard.MARK_FILE, DATA_FILE))
    synced = b""
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal synced
        real_fsync(descriptor)
        if mark.exists() and os.path.samestat(os.fstat(descriptor), mark.stat()):
            synced = mark.read_bytes()

    monkeypatch.setattr(os, "fsync", fsync)
    filled(tmp_path).close()
    closed = data.read_bytes()
    environment, fresh = open_store(tmp_path, b"boot one")
    assert fresh is None
    with environment.transaction():
        environment.space(0).put("live", b"key", b"new")
    environment.abandon()
    mark.write_bytes(synced)
    data.write_bytes(closed)
    environment, fresh = open_store(tmp_path, b"boot two")
    assert fresh == "the machine stopped while it was in use, so it may be torn"
    environment.close()


OWNERS = (b"1" * 16, b"2" * 16)


@pytest.mark.parametrize("clean", [True, False])
def test_the_store_of_another_directory_is_discarded_although_it_has_made_as_many_commits(
    tmp_path: Path, clean: bool
) -> None:
    for owner in OWNERS:
        (tmp_path / owner.decode()).mkdir()
        environment, _ = open_store(tmp_path / owner.decode(), b"boot one", owner=owner)
        with environment.transaction():
            environment.space(0).put("live", b"key", owner)
        environment.close() if clean else environment.abandon()
    first, second = (tmp_path / owner.decode() / guard.STORE_DIRECTORY / DATA_FILE for owner in OWNERS)
    first.write_bytes(second.read_bytes())
    environment, fresh = open_store(tmp_path / OWNERS[0].decode(), b"boot one", owner=OWNERS[0])
    assert fresh == "its file was exchanged: it is the store of another data directory"
    assert value(environment) is None
    environment.close()
    environment, fresh = open_store(tmp_path / OWNERS[1].decode(), b"boot one", owner=OWNERS[1])
    assert (fresh, value(environment)) == (None, OWNERS[1])
    environment.close()


def test_a_store_from_before_there_were_owners_gets_one(tmp_path: Path) -> None:
    filled(tmp_path).close()
    environment, fresh = open_store(tmp_path, b"boot one", owner=OWNERS[0])
    assert (fresh, value(environment)) == (None, b"value")
    environment.close()
    environment, fresh = open_store(tmp_path, b"boot one", owner=OWNERS[1])
    assert fresh == "its file was exchanged: it is the store of another data directory"
    environment.close()


def test_a_copied_directory_gets_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    environment = filled(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    copy, fresh = open_store(tmp_path / "two", b"boot one")
    assert fresh == "its file is a copy of the one that was in use"
    assert value(copy) is None
    assert value(environment) == b"value"
    copy.close()
    environment.close()


def test_a_file_that_cannot_be_synced_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path).abandon()
    real_fsync = os.fsync

    def failing_once(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", real_fsync)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing_once)
    environment, fresh = open_store(tmp_path, b"boot one")
    assert fresh == "its file cannot be synced: Input/output error"
    assert value(environment) is None
    environment.close()


def test_a_marked_file_that_is_no_store_is_discarded(tmp_path: Path) -> None:
    filled(tmp_path).abandon()
    data = tmp_path / guard.STORE_DIRECTORY / DATA_FILE
    with data.open("r+b") as file:
        file.write(b"\xff" * 8192)
    environment, fresh = open_store(tmp_path, b"boot one")
    assert fresh is not None
    assert "its file does not say" in fresh
    environment.close()


def test_every_wrong_byte_of_the_mark_discards_the_store_or_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path).abandon()
    mark = tmp_path / guard.STORE_DIRECTORY / guard.MARK_FILE
    whole = mark.read_bytes()
    for at in range(len(whole)):
        mark.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        assert guard._recorded(mark.parent) is None
        mark.write_bytes(whole[:at])
        assert guard._recorded(mark.parent) is None
    mark.write_bytes(whole)
    assert guard._recorded(mark.parent) is not None


def mark_of(path: Path) -> StoreMark:
    found = guard._recorded(path / guard.STORE_DIRECTORY)
    assert found is not None
    return found


def data_of(path: Path) -> Path:
    return path / guard.STORE_DIRECTORY / DATA_FILE


def write(environment: LmdbEnvironment, times: int = 1) -> None:
    for _ in range(times):
        with environment.transaction():
            environment.space(0).put("live", b"key", b"value")


def test_each_commit_is_marked(tmp_path: Path) -> None:
    environment = filled(tmp_path)
    for commit in (2, 3, 4):
        write(environment)
        assert (mark_of(tmp_path).commit, mark_of(tmp_path).clean) == (commit, False)
    environment.close()
    assert (mark_of(tmp_path).commit, mark_of(tmp_path).clean) == (4, True)
    environment, _ = open_store(tmp_path, b"boot one")
    assert (mark_of(tmp_path).commit, mark_of(tmp_path).clean) == (4, False)
    environment.abandon()


def test_a_process_may_die_between_a_commit_and_its_mark(tmp_path: Path) -> None:
    environment = filled(tmp_path)
    before = (tmp_path / guard.STORE_DIRECTORY / guard.MARK_FILE).read_bytes()
    write(environment)
    environment.abandon()
    (tmp_path / guard.STORE_DIRECTORY / guard.MARK_FILE).write_bytes(before)
    environment, fresh = open_store(tmp_path, b"boot one")
    assert fresh is None
    environment.close()


@pytest.mark.parametrize("clean", [True, False])
def test_an_older_copy_that_was_put_in_the_files_place_is_known(clean: bool, tmp_path: Path) -> None:
    environment = filled(tmp_path)
    older = data_of(tmp_path).read_bytes()
    write(environment)
    (environment.close if clean else environment.abandon)()
    data_of(tmp_path).write_bytes(older)
    environment, fresh = open_store(tmp_path, b"boot one")
    assert fresh == "its file was exchanged: it ends with commit 1, and commit 2 was made"
    assert value(environment) is None
    environment.close()


@pytest.mark.parametrize("clean", [True, False])
def test_a_file_that_was_cut_anywhere_is_known(clean: bool, tmp_path: Path) -> None:
    environment = filled(tmp_path)
    sizes = list(range(0, data_of(tmp_path).stat().st_size, SECTOR))
    assert len(sizes) > 20
    for size in sizes:
        write(environment)
        (environment.close if clean else environment.abandon)()
        os.truncate(data_of(tmp_path), size)
        environment, fresh = open_store(tmp_path, b"boot one")
        assert fresh is not None
        assert "was cut" in fresh or "too short" in fresh
        assert value(environment) is None
    environment.close()


def test_a_file_whose_disk_does_not_read_it_is_discarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path).close()

    def failing(descriptor: int, length: int, offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", failing)
        environment, fresh = open_store(tmp_path, b"boot one")
    assert fresh == "its file cannot be read: Input/output error"
    environment.close()


def test_a_file_that_may_not_be_read_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path).close()

    def failing(descriptor: int, length: int, offset: int) -> bytes:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", failing)
        with pytest.raises(OSError, match="Permission denied"):
            open_store(tmp_path, b"boot one")
    environment, fresh = open_store(tmp_path, b"boot one")
    assert (fresh, value(environment)) == (None, b"value")
    environment.close()


def test_a_store_that_failed_its_process_is_discarded(tmp_path: Path) -> None:
    environment = filled(tmp_path)
    distrust(tmp_path)
    environment.abandon()
    environment, fresh = open_store(tmp_path, b"boot one")
    assert fresh is not None
    environment.close()


class Looks:
    """What a store's rows are asked, and which of them are said to be wrong."""

    def __init__(self, wrong: str = "") -> None:
        self.asked: set[str] = set()
        self.rows: set[tuple[str, bytes, bytes]] = set()
        self.checks = RowChecks(
            lambda _: self._look("whole", wrong), lambda _: self._look("sums", wrong), self._look_at_row
        )
        self._wrong = wrong

    def _look(self, what: str, wrong: str) -> None:
        self.asked.add(what)
        if what == wrong:
            raise StoreUnsound(f"{what} is wrong")

    def _look_at_row(self, rows: StoredRows, table: str, key: bytes, value: bytes) -> None:
        assert rows.get(table, key) == value
        self.rows.add((table, key, value))
        self._look("row", self._wrong)


@pytest.mark.parametrize(("whole_bytes_max", "asked"), [(guard.WHOLE_CHECK_BYTES_MAX, {"whole"}), (0, {"sums", "row"})])
def test_all_rows_of_a_small_file_and_drawn_ones_of_a_large_one_are_checked(
    whole_bytes_max: int, asked: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "WHOLE_CHECK_BYTES_MAX", whole_bytes_max)
    environment = filled(tmp_path)
    with environment.transaction():
        for number in range(200):
            environment.space(7).put("history", b"%d" % number, bytes(100))
    environment.close()
    looks = Looks()
    environment, fresh = open_store(tmp_path, b"boot one", looks.checks)
    assert (fresh, looks.asked) == (None, asked)
    if "row" in asked:
        assert ("live", b"key", b"value") in looks.rows
        assert len(looks.rows) > 50
    environment.close()


@pytest.mark.parametrize(
    ("whole_bytes_max", "wrong"), [(guard.WHOLE_CHECK_BYTES_MAX, "whole"), (0, "sums"), (0, "row")]
)
def test_rows_that_are_wrong_discard_the_store(
    whole_bytes_max: int, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "WHOLE_CHECK_BYTES_MAX", whole_bytes_max)
    filled(tmp_path).close()
    environment, fresh = open_store(tmp_path, b"boot one", Looks(wrong).checks)
    assert fresh == f"{wrong} is wrong"
    assert value(environment) is None
    environment.close()


def test_an_interrupted_discard_is_continued(tmp_path: Path) -> None:
    filled(tmp_path).abandon()
    (tmp_path / guard.STORE_DIRECTORY / guard.MARK_FILE).unlink()
    environment, fresh = open_store(tmp_path, b"boot one")
    assert fresh is not None
    assert "no readable mark" in fresh
    assert value(environment) is None
    environment.close()
