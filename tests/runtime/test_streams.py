"""Reads that answer in parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

from ratified import Host
from ratified.machine import Command, Era, Result, Slice, StateMachineStore
from ratified.runtime.host import READER_BYTES_MAX
from tests.runtime.cluster import Journal, alone
from tests.runtime.loops import run, until

CHUNK_BYTES = 1 << 18


class Follower:
    """Yields every line, from the first on, until a line says so; or for ever large chunks."""

    deadline = None

    def __init__(self, owner: Followed, request: bytes) -> None:
        self._owner = owner
        self._request = request
        self._next = 0
        self.cancelled = False

    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        if self._request == b"flood":
            return Slice([bytes(CHUNK_BYTES)], False)
        lines = self._owner.journal.lines[self._next :]
        self._next += len(lines)
        return Slice(lines, b"end" in lines)

    def cancel(self) -> None:
        self.cancelled = True


class Followed(StateMachineStore):
    """A journal whose reads follow it."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.followers: list[Follower] = []
        super().__init__(self.journal)

    def apply(self, commands: Sequence[Command], last_index: int, era: Era) -> Sequence[Result]:
        return super().apply(commands, last_index, era)

    def read(self, now: int, request: bytes) -> Follower:
        self.followers.append(Follower(self, request))
        return self.followers[-1]

    def woken(self, now: int) -> Sequence[Follower]:
        return [each for each in self.followers if not each.cancelled]


async def taken(stream: AsyncGenerator[bytes, None], count: int) -> list[bytes]:
    return [await anext(stream) for _ in range(count)]


def test_a_stream_goes_on_until_its_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Host.start(alone(tmp_path), lambda group, space: Followed()) as host:
            await host.propose(b"one")
            stream = host.stream(b"")
            assert await taken(stream, 1) == [b"one"]
            await host.propose(b"two")
            await host.propose(b"end")
            assert [chunk async for chunk in stream] == [b"two", b"end"]
            assert await host.query(b"") == b"onetwoend"

    run(main())


def test_closing_a_stream_cancels_it(tmp_path: Path) -> None:
    store = Followed()

    async def main() -> None:
        async with await Host.start(alone(tmp_path), lambda group, space: store) as host:
            await host.propose(b"one")
            async with aclosing(host.stream(b"")) as stream:
                await anext(stream)
                assert host.status().open_requests == 1
            await until(lambda: store.followers[0].cancelled)
            assert host.status().open_requests == 0

    run(main())


def test_a_reader_that_takes_nothing_holds_its_streams_up_and_no_others(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Host.start(alone(tmp_path), lambda group, space: Followed()) as host:
            await host.propose(b"one")
            slow = host.reader()
            floods = [host.stream(b"flood", reader=slow) for _ in range(5)]
            chunks = host.status().requests.chunks
            assert {len(chunk) for chunk in await asyncio.gather(*map(anext, floods))} == {CHUNK_BYTES}
            # Every command takes a turn at least, in which each of the five would yield.
            for _ in range(20):
                await host.propose(b"line")
            yielded = host.status().requests.chunks - chunks
            assert yielded <= READER_BYTES_MAX // CHUNK_BYTES + 4 * len(floods)
            async with aclosing(host.stream(b"")) as other:
                assert await anext(other) == b"one"
            for _ in range(yielded // len(floods)):
                await asyncio.gather(*map(anext, floods))
            assert host.status().requests.chunks - chunks > yielded, "it goes on once there is room"
            for flood in floods:
                await flood.aclose()

    run(main())
