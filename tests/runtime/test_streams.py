"""Reads that answer in parts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from ratified import Host, RequestRefused
from ratified.machine import Command, Slice, StateMachineStore
from ratified.runtime import Why
from ratified.runtime.host import STREAM_BYTES_MAX
from tests.runtime.cluster import Journal, alone
from tests.runtime.loops import run, until


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
            return Slice([bytes(1 << 20)], False)
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

    def apply(self, commands: Sequence[Command], last_index: int) -> Sequence[bytes]:
        return super().apply(commands, last_index)

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


def test_a_reader_that_falls_too_far_behind_is_told_so(tmp_path: Path) -> None:
    store = Followed()

    async def main() -> None:
        async with await Host.start(alone(tmp_path), lambda group, space: store) as host:
            await host.propose(b"one")
            stream = host.stream(b"flood")
            assert len(await anext(stream)) == 1 << 20
            await until(lambda: store.followers[0].cancelled)
            with pytest.raises(RequestRefused) as refusal:
                assert len([chunk async for chunk in stream]) <= STREAM_BYTES_MAX >> 20
            assert refusal.value.why is Why.OVERLOADED

    run(main())
