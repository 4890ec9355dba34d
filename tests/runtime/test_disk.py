"""The disk thread: in order, together, and never again after a failure."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from ratified.node.ports import JobDone
from ratified.runtime.disk import DiskThread
from ratified.storage.files import Create, Directory, Job, ReadAt, SyncData, WriteAt
from tests.runtime.loops import run, until


class BlockedDirectory(Directory):
    """A disk whose fdatasync waits until it is let go, as a slow one does."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.syncing = threading.Event()
        self.go_on = threading.Event()

    def sync_data(self, file: str) -> None:
        self.syncing.set()
        assert self.go_on.wait(10)
        super().sync_data(file)


class FailingDirectory(Directory):
    """A disk whose fdatasync fails, as the kernel reports it once and then forgets."""

    def sync_data(self, file: str) -> None:
        raise OSError(5, os.strerror(5), file)


def test_jobs_are_carried_out_in_the_order_in_which_they_were_given_out(tmp_path: Path) -> None:
    async def main() -> None:
        done: list[JobDone] = []
        disk = DiskThread(Directory(tmp_path), asyncio.get_running_loop(), done.extend, "a")
        disk.submit([Job(1, [Create("log", 8), WriteAt("log", 0, b"older"), SyncData("log")])])
        disk.submit([Job(2, [WriteAt("log", 0, b"newer"), ReadAt("log", 0, 5)]), Job(3, [ReadAt("log", 4, 100)])])
        await until(lambda: len(done) == 3)
        await disk.close()
        assert done == [JobDone(1, [None] * 3), JobDone(2, [None, b"newer"]), JobDone(3, [b"r\0\0\0"])]

    run(main())


def test_close_waits_for_what_was_given_out(tmp_path: Path) -> None:
    async def main() -> None:
        disk = DiskThread(Directory(tmp_path), asyncio.get_running_loop(), lambda _: None, "a")
        disk.submit([Job(n, [Create(f"file{n}", n)]) for n in range(50)])
        await disk.close()
        assert len(os.listdir(tmp_path)) == 50

    run(main())
    assert not any(thread.name.startswith("ratified-disk") for thread in threading.enumerate())


def test_completions_that_come_while_the_loop_is_busy_are_handed_over_together(tmp_path: Path) -> None:
    async def main() -> None:
        handed: list[int] = []
        all_done = threading.Event()

        class Watched(Directory):
            def create(self, file: str, length: int) -> None:
                super().create(file, length)
                if file == "file9":
                    all_done.set()

        def on_done(done: Sequence[JobDone]) -> None:
            handed.append(len(done))

        disk = DiskThread(Watched(tmp_path), asyncio.get_running_loop(), on_done, "a")
        disk.submit([Job(n, [Create(f"file{n}", 1)]) for n in range(10)])
        assert all_done.wait(10)  # the loop's thread is busy all that time
        await disk.close()
        assert sum(handed) == 10
        assert len(handed) <= 2

    run(main())


def test_after_a_failed_sync_nothing_more_is_carried_out(tmp_path: Path) -> None:
    async def main() -> None:
        done: list[JobDone] = []
        disk = DiskThread(FailingDirectory(tmp_path), asyncio.get_running_loop(), done.extend, "a")
        disk.submit([Job(1, [Create("log", 8), SyncData("log"), WriteAt("log", 0, b"x")])])
        disk.submit([Job(2, [Create("another", 1)])])
        await disk.close()
        assert [(each.job, each.results) for each in done] == [(1, [None])]
        assert done[0].error == "SyncData: [Errno 5] Input/output error: 'log'"
        assert os.listdir(tmp_path) == ["log"]

    run(main())


def test_abandoning_waits_for_the_operation_under_way_and_does_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        done: list[JobDone] = []
        files = BlockedDirectory(tmp_path)
        disk = DiskThread(files, asyncio.get_running_loop(), done.extend, "a")
        disk.submit([Job(1, [Create("log", 8), SyncData("log"), Create("after", 1)]), Job(2, [Create("later", 1)])])
        assert files.syncing.wait(10)
        abandoning = asyncio.ensure_future(disk.abandon())
        await asyncio.sleep(0)
        files.go_on.set()
        await abandoning
        assert os.listdir(tmp_path) == ["log"]
        assert done == []

    run(main())
