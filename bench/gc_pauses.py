"""How long the garbage collector stops a host that replicates many small entries: ``python bench/gc_pauses.py``.

Counted is the loop thread's processor time, so that other processes do not count. What a collection looks at are the
requests that are open, this program's own tasks and futures; entries must leave nothing for it to look at.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import Any

import uvloop

from ratified import Host, HostConfig, StateMachine

ENTRIES = 200_000
AT_ONCE = 2_000
COMMAND = b"x" * 40


class Counter(StateMachine):
    def __init__(self) -> None:
        self.count = 0

    def apply(self, command: bytes) -> bytes:
        self.count += 1
        return b""

    def query(self, request: bytes) -> bytes:
        return b"%d" % self.count

    def snapshot(self) -> bytes:
        return self.query(b"")

    def restore(self, pieces: Iterable[bytes]) -> None:
        self.count = int(b"".join(pieces))


class Pauses:
    """How long each collection took, by generation."""

    def __init__(self) -> None:
        self.us: dict[int, list[float]] = {0: [], 1: [], 2: []}
        self.left = 0
        """Objects that the collector looks at, more than before."""
        self._began = 0.0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            self.us[info["generation"]].append((time.thread_time() - self._began) * 1e6)


async def load(entries: int) -> Pauses:
    with tempfile.TemporaryDirectory() as directory:
        async with await Host.start(HostConfig(data_dir=directory), Counter) as host:
            await host.propose(COMMAND)
            gc.collect()
            gc.freeze()  # as the server does when it has started
            pauses = Pauses()
            await wave(host)
            before = tracked()
            gc.callbacks.append(pauses)
            for _ in range(entries // AT_ONCE):
                await wave(host)
            gc.callbacks.remove(pauses)
            pauses.left = tracked() - before
            return pauses


async def wave(host: Host) -> None:
    await asyncio.gather(*(host.propose(COMMAND, timeout_s=60) for _ in range(AT_ONCE)))


def tracked() -> int:
    """How many objects the collector looks at."""
    gc.collect()
    return len(gc.get_objects())


def main() -> None:
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        pauses = runner.run(load(entries))
    print(f"{entries} entries, CPython {sys.version.split()[0]}")
    for generation, us in pauses.us.items():
        longest = max(us, default=0.0) / 1000
        print(
            f"generation {generation}: {len(us):5} collections, {sum(us) / 1000:8.1f} ms in all,"
            f" longest {longest:.1f} ms"
        )
    print(f"the entries have left {pauses.left} objects that the collector looks at")


if __name__ == "__main__":
    main()
