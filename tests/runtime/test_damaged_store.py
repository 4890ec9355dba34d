"""A host whose store was damaged: recognised at its start or while it serves, said in one line, and rebuilt."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ratified import Host, HostFailed, OutcomeUnknown
from ratified.kv import commands, queries
from ratified.kv.check import KV_CHECKS
from ratified.kv.store import KvStore
from ratified.storage.guard import STORE_DIRECTORY
from ratified.storage.lmdb import DATA_FILE
from ratified.storage.pages import reading
from ratified.wire.etcd import rpc_pb2
from tests.runtime.cluster import alone
from tests.runtime.loops import run

KEYS = 300
SECTOR = 512
PAGE_HEADER_BYTES = 16


async def start(path: Path) -> Host:
    return await Host.start(alone(path), lambda group, space: KvStore(space), KV_CHECKS)


def data_of(path: Path) -> Path:
    return path / STORE_DIRECTORY / DATA_FILE


def put(key: bytes, value: bytes) -> bytes:
    return commands.put(rpc_pb2.PutRequest(key=key, value=value).SerializeToString())


async def fill(host: Host, value: bytes) -> None:
    await asyncio.gather(*(host.propose(put(b"k%04d" % number, value)) for number in range(KEYS)))


async def count(host: Host, value: bytes) -> int:
    """How many keys have this value."""
    request = rpc_pb2.RangeRequest(key=b"k", range_end=b"l")
    answer = await host.query(queries.range_(request.SerializeToString()))
    return sum(pair.value == value for pair in rpc_pb2.RangeResponse.FromString(answer[1:]).kvs)


def built_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if "the store is built from the log" in record.getMessage()
    ]


@pytest.mark.parametrize("clean", [True, False])
def test_a_store_that_was_cut_is_rebuilt(clean: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        host = await start(tmp_path)
        await fill(host, b"x" * 400)
        await (host.close() if clean else host.abort())
        for sectors_left in (0, 1, 8, 9, 16, -100, -8, -1):
            size = data_of(tmp_path).stat().st_size
            os.truncate(data_of(tmp_path), sectors_left * SECTOR % size)
            caplog.clear()
            host = await start(tmp_path)
            found = await count(host, b"x" * 400)
            await (host.close() if clean else host.abort())
            assert found == KEYS
            (line,) = built_lines(caplog)
            assert "was cut" in line or "too short" in line

    with caplog.at_level(logging.INFO, "ratified"):
        run(main())


@pytest.mark.parametrize("clean", [True, False])
def test_a_copy_that_was_made_under_writes_and_restored_in_place_is_not_used(
    clean: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        host = await start(tmp_path / "data")
        await fill(host, b"old" * 100)
        pieces: list[bytes] = []
        size = data_of(tmp_path / "data").stat().st_size
        with data_of(tmp_path / "data").open("rb") as file:
            for offset in range(0, size, 1 << 15):
                pieces.append(os.pread(file.fileno(), 1 << 15, offset))
                await host.propose(put(b"k%04d" % (len(pieces) * 7 % KEYS), b"new" * 100))
        await fill(host, b"new" * 100)
        await (host.close() if clean else host.abort())
        with data_of(tmp_path / "data").open("r+b") as file:
            file.write(b"".join(pieces))
            file.truncate()
        caplog.clear()
        async with await start(tmp_path / "data") as host:
            assert await count(host, b"new" * 100) == KEYS
        (line,) = built_lines(caplog)
        assert "its file was exchanged" in line

    with caplog.at_level(logging.INFO, "ratified"):
        run(main())


def test_a_directory_that_was_copied_under_writes_and_restored_in_place_is_whole(tmp_path: Path) -> None:
    """The mark is then as old as the copy, so only the rows can tell."""

    async def main() -> None:
        host = await start(tmp_path / "data")
        await fill(host, b"old" * 100)
        for attempt in range(5):
            copy = tmp_path / f"copy{attempt}"
            writing = asyncio.create_task(fill(host, b"%03d" % attempt * 100))
            await asyncio.to_thread(shutil.copytree, tmp_path / "data" / STORE_DIRECTORY, copy)
            await writing
            await host.abort()
            for file in copy.iterdir():
                with (tmp_path / "data" / STORE_DIRECTORY / file.name).open("r+b") as place:
                    place.write(file.read_bytes())
                    place.truncate()
            host = await start(tmp_path / "data")
            assert await count(host, b"%03d" % attempt * 100) == KEYS
        await host.close()

    run(main())


def lose_the_leaves(path: Path) -> None:
    """Have the root of the live keys' tree point to pages that there are not."""
    with reading(data_of(path)) as file:
        tree, page_bytes = file.tables["live"], file.commit.page_bytes
    assert tree.depth == 2
    with data_of(path).open("r+b") as data:
        data.seek(tree.root * page_bytes)
        page = bytearray(data.read(page_bytes))
        pointers = (struct.unpack_from("<H", page, 12)[0] - PAGE_HEADER_BYTES) // 2
        for at in struct.unpack_from(f"<{pointers}H", page, PAGE_HEADER_BYTES):
            page[at : at + 4] = b"\xff\xff\xff\x7f"
        data.seek(tree.root * page_bytes)
        data.write(page)


async def read_one(host: Host) -> None:
    await host.query(queries.range_(rpc_pb2.RangeRequest(key=b"k0200").SerializeToString()))


async def read_many(host: Host) -> None:
    await count(host, b"")


async def write_one(host: Host) -> None:
    await host.propose(put(b"k0200", b"new"))


@pytest.mark.parametrize("meet", [read_one, read_many, write_one])
def test_a_store_that_rots_while_it_serves_ends_the_host_in_one_line_and_is_rebuilt_by_the_next_start(
    meet: Callable[[Host], Awaitable[None]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        host = await start(tmp_path)
        await fill(host, b"x" * 400)
        lose_the_leaves(tmp_path)
        caplog.clear()
        with pytest.raises(OutcomeUnknown):
            await meet(host)
        with pytest.raises(HostFailed, match=r"its store is damaged: .* start again; nothing is lost"):
            await host.ended()
        await host.close()
        assert len(caplog.records) == 1
        async with await start(tmp_path) as again:
            assert await count(again, b"x" * 400) >= KEYS - 1
        assert len(built_lines(caplog)) == 1

    with caplog.at_level(logging.INFO, "ratified"):
        run(main())
