"""The disk port: one thread that carries out jobs, one after another, in the order in which they were given out.

1. The thread sits in one system call at a time and decides nothing; the loop's thread never touches the log's files
   while this one runs.
2. Completions that come while the loop is busy are handed over together, with one wake-up.
3. A job that failed is reported once with its error, and nothing is carried out after it: pages that a failing fsync
   has dropped are never written again by this process (docs/guarantees.md, Disks). The node answers with a fatal
   notice.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import perf_counter

from ratified.node.ports import JobDone
from ratified.storage.durations import Durations
from ratified.storage.files import Files, Job, Op, SyncData, perform


class DiskThread:
    """Carries out jobs on ``files``; ``on_done`` is called on the loop with what has completed, in order."""

    def __init__(
        self, files: Files, loop: asyncio.AbstractEventLoop, on_done: Callable[[Sequence[JobDone]], None], name: str
    ) -> None:
        self.syncs = Durations()
        """How long each sync of the log's files took."""
        self._files = files
        self._loop = loop
        self._on_done = on_done
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._done: deque[JobDone] = deque()
        self._wake_up_sent = False
        self._abandoned = False
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"ratified-disk-{name}", daemon=True)
        self._thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Give out jobs; each is answered by one ``JobDone``."""
        for job in jobs:
            self._jobs.put(job)

    async def close(self) -> None:
        """Carry out what was given out, then end the thread and wait for it."""
        self._jobs.put(None)
        await self._ended.wait()
        self._thread.join()

    async def abandon(self) -> None:
        """End after the operation that is under way, and wait for that; nothing more is carried out or reported."""
        self._abandoned = True
        await self.close()

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self._call_on_loop(self._ended.set)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            done = self._carry_out(job)
            if done is None:
                return
            self._report(done)
            if done.error is not None:
                return

    def _carry_out(self, job: Job) -> JobDone | None:
        results: list[bytes | None] = []
        for op in job.ops:
            if self._abandoned:
                return None
            try:
                results.append(self._perform(op))
            except OSError as error:
                return JobDone(job.id, results, f"{type(op).__name__}: {error}")
            except BaseException as error:
                self._report(JobDone(job.id, results, f"{type(op).__name__}: {type(error).__name__}: {error}"))
                raise
        return JobDone(job.id, results)

    def _perform(self, op: Op) -> bytes | None:
        if not isinstance(op, SyncData):
            return perform(self._files, op)
        began = perf_counter()
        result = perform(self._files, op)
        self.syncs.add(perf_counter() - began)
        return result

    def _report(self, done: JobDone) -> None:
        # Appending comes before the look at the flag here, clearing it before the drain in _drain: a completion is
        # either seen by the drain that is about to run, or asks for a wake-up of its own.
        self._done.append(done)
        if not self._wake_up_sent:
            self._wake_up_sent = True
            self._call_on_loop(self._drain)

    def _call_on_loop(self, callback: Callable[[], None]) -> None:
        if not self._loop.is_closed():  # a loop that was closed around a running host waits for nothing any more
            self._loop.call_soon_threadsafe(callback)

    def _drain(self) -> None:
        self._wake_up_sent = False
        done: list[JobDone] = []
        while self._done:
            done.append(self._done.popleft())
        if done and not self._abandoned:
            self._on_done(done)
