"""The checkpoint port: a thread for each checkpoint, which carries out its operations one after another.

1. It is not the disk's thread: a copy takes seconds, and no write of the log waits for it. It has files of its own.
2. What fails, or is stopped, leaves nothing behind. A copy that fails is no reason to stop: the node tries again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from ratified.node.ports import CheckpointDone
from ratified.storage.checkpoint import discard
from ratified.storage.durations import Durations
from ratified.storage.files import Directory, Op, perform

COPY_UP_TO_S = tuple(0.1 * 2**power for power in range(10))
"""From 0.1 s to 51.2 s, as etcd counts the durations of snapshots of its store."""


class CheckpointLane:
    """Takes the checkpoints of one data directory, one at a time; ``on_done`` is called on the loop."""

    def __init__(
        self, path: Path, loop: asyncio.AbstractEventLoop, on_done: Callable[[CheckpointDone], None], name: str
    ) -> None:
        self.copies = Durations(COPY_UP_TO_S)
        """How long each checkpoint took that was taken."""
        self._path = path
        self._loop = loop
        self._on_done = on_done
        self._name = name
        self._abandoned = False
        self._ended = asyncio.Event()
        self._ended.set()

    def begin(self, ops: Iterator[Op]) -> None:
        """Carry out these; answered by one ``CheckpointDone``."""
        self._ended.clear()
        threading.Thread(target=self._run, args=(ops,), name=f"ratified-checkpoint-{self._name}", daemon=True).start()

    async def abandon(self) -> None:
        """End after the operation that is under way, and wait for that; nothing is reported any more."""
        self._abandoned = True
        await self._ended.wait()

    def _run(self, ops: Iterator[Op]) -> None:
        done = CheckpointDone("the thread that copies has failed")
        try:
            done = self._carry_out(ops)
        finally:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._end, done)

    def _carry_out(self, ops: Iterator[Op]) -> CheckpointDone:
        files = Directory(self._path)
        began = perf_counter()
        try:
            for op in ops:
                if self._abandoned:
                    discard(files)
                    break
                perform(files, op)
        except OSError as error:
            discard(files)
            return CheckpointDone(str(error))
        finally:
            files.close()
        self.copies.add(perf_counter() - began)
        return CheckpointDone()

    def _end(self, done: CheckpointDone) -> None:
        self._ended.set()
        if not self._abandoned:
            self._on_done(done)
