"""Which store may be used: the decision, and the real files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ratified.storage import guard
from ratified.storage.guard import StoreMark, open_store, store_usable
from ratified.storage.lmdb import DATA_FILE, LmdbEnvironment

HERE = StoreMark(b"boot one", 1, 2, clean=False)


@pytest.mark.parametrize(
    ("recorded", "why_not"),
    [
        (None, "no readable mark"),
        (StoreMark(b"boot one", 1, 2, clean=False), None),
        (StoreMark(b"boot one", 1, 2, clean=True), None),
        (StoreMark(b"boot two", 1, 2, clean=True), None),
        (StoreMark(b"boot two", 1, 2, clean=False), "may be torn"),
        (StoreMark(b"boot one", 9, 2, clean=False), "a copy"),
        (StoreMark(b"boot one", 1, 9, clean=False), "a copy"),
        (StoreMark(b"boot two", 1, 9, clean=True), "a copy"),
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
    assert "does not open" in fresh
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


def test_an_interrupted_discard_is_continued(tmp_path: Path) -> None:
    filled(tmp_path).abandon()
    (tmp_path / guard.STORE_DIRECTORY / guard.MARK_FILE).unlink()
    environment, fresh = open_store(tmp_path, b"boot one")
    assert fresh is not None
    assert "no readable mark" in fresh
    assert value(environment) is None
    environment.close()
