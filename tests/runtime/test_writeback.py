"""What a store has written is on its way to the disk soon, not half a minute later with everything else."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from ratified import Host
from ratified.kv.store import KvStore
from ratified.runtime import writeback
from ratified.runtime.writeback import WriteBack
from ratified.storage.guard import STORE_DIRECTORY
from ratified.storage.lmdb import DATA_FILE
from tests.runtime.cluster import alone
from tests.runtime.loops import run, until

WAIT_S = 30.0


def mounted_at(path: Path) -> str:
    """The kind of file system that this is in."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    inside = [line for line in lines if path.is_relative_to(line[1])]
    return max(inside, key=lambda line: len(line[1]))[2]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writeback, "LOOKS_EVERY_S", 0.001)
    monkeypatch.setattr(writeback, "WRITE_BACK_BYTES", 0)
    monkeypatch.setattr(writeback, "PIECE_EVERY_S_MIN", 0)
    monkeypatch.setattr(writeback, "ONCE_THROUGH_S_MIN", 0)


def test_it_asks_again_and_again_until_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a page")
    asked: list[int] = []
    often_enough = threading.Event()

    def begin(descriptor: int, offset: int, length: int) -> None:
        assert os.fstat(descriptor).st_ino == file.stat().st_ino
        asked.append(descriptor)
        if len(asked) == 3:
            often_enough.set()

    with WriteBack(file, "n", begin):
        assert often_enough.wait(WAIT_S)
    assert not any(thread.name == "ratified-write-back-n" for thread in threading.enumerate())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(asked[0])


def test_it_asks_only_where_much_was_written_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"a page")
    monkeypatch.setattr(writeback, "WRITE_BACK_BYTES", 100)
    counts = [99, 100, 199, 250, 349, 350]
    seen: list[int] = []
    asked_at: list[int] = []
    over = threading.Event()

    def dirtied() -> int:
        if len(seen) < len(counts):
            seen.append(counts[len(seen)])
        else:
            over.set()
        return seen[-1]

    monkeypatch.setattr(writeback, "bytes_dirtied", dirtied)
    with WriteBack(tmp_path / "file", "n", lambda *_: asked_at.append(seen[-1])):
        assert over.wait(WAIT_S)
    assert asked_at == [100, 250, 350]


@pytest.mark.skipif(writeback.begin_writing is None, reason="it is Linux that counts this")
def test_what_is_written_is_counted(tmp_path: Path) -> None:
    before = writeback.bytes_dirtied()
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
    in_memory = mounted_at(tmp_path) in ("tmpfs", "overlay")
    assert writeback.bytes_dirtied() - before >= (0 if in_memory else 1 << 20)


@pytest.mark.parametrize(("size", "pieces"), [(10, 1), (3 << 20, 3), ((3 << 20) + 1, 4)])
def test_a_file_is_gone_through_in_pieces(
    tmp_path: Path, size: int, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(size)
    monkeypatch.setattr(writeback, "WRITE_BACK_BYTES", 1)
    monkeypatch.setattr(writeback, "bytes_dirtied", lambda: 1)
    asked: list[tuple[int, int]] = []
    whole = threading.Event()

    def begin(descriptor: int, offset: int, length: int) -> None:
        asked.append((offset, length))
        if offset + length >= size:
            whole.set()

    with WriteBack(tmp_path / "file", "n", begin):
        assert whole.wait(WAIT_S)
    assert asked == [(number << 20, 1 << 20) for number in range(pieces)]


def test_a_file_system_that_cannot_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"a page")
    asked = threading.Event()

    def begin(descriptor: int, offset: int, length: int) -> None:
        assert not asked.is_set()
        asked.set()
        raise OSError(22, "Invalid argument")

    with caplog.at_level(logging.WARNING), WriteBack(tmp_path / "file", "n", begin):
        assert asked.wait(WAIT_S)
    assert "when the kernel does it" in caplog.text


@pytest.mark.skipif(writeback.begin_writing is None, reason="there is no sync_file_range here")
def test_the_kernel_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(1 << 20))
    with file.open("rb") as opened:
        assert writeback.begin_writing is not None
        writeback.begin_writing(opened.fileno(), 0, 1 << 20)


def test_a_host_asks_for_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(writeback, "begin_writing", lambda descriptor, *_: asked.append(os.fstat(descriptor).st_ino))

    async def main() -> None:
        async with await Host.start(alone(tmp_path), lambda group, space: KvStore(space)) as host:
            await until(lambda: bool(asked))
            store = Path(host.data_dir) / STORE_DIRECTORY / DATA_FILE
            assert set(asked) == {store.stat().st_ino}

    run(main())
