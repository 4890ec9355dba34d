"""The key-value store under a host: its LMDB file is used again, or built from the log, and never wrong."""

from __future__ import annotations

import asyncio
import logging
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ratified import Host, HostFailed, OutcomeUnknown, RequestRefused, StartRefused
from ratified.kv import commands, queries
from ratified.kv.store import KvStore
from ratified.machine import Store
from ratified.storage.space import Space
from ratified.wire.etcd import rpc_pb2
from tests.runtime.cluster import alone, running
from tests.runtime.loops import run, until


def open_store(group: int, space: Space) -> Store:
    return KvStore(space)


def put(key: bytes) -> bytes:
    return commands.put(rpc_pb2.PutRequest(key=key, value=b"value of " + key).SerializeToString())


def test_replicas_of_the_store_have_one_digest(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, open_store) as cluster:
            for number in range(30):
                await cluster.hosts["abc"[number % 3]].propose(put(b"%d" % number))
            await until(lambda: len({host.status().node.groups[0].applied for host in cluster.hosts.values()}) == 1)
            assert len({host.digest() for host in cluster.hosts.values()}) == 1

    run(main())


@pytest.mark.parametrize("clean", [True, False])
def test_the_store_is_used_again_after_a_clean_end_and_after_a_kill(
    tmp_path: Path, clean: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        host = await Host.start(alone(tmp_path), open_store)
        await host.propose(put(b"one"))
        await (host.close() if clean else host.abort())
        caplog.clear()
        async with await Host.start(alone(tmp_path), open_store) as again:
            assert again.status().node.groups[0].applied > 0
            await again.propose(put(b"two"))

    with caplog.at_level(logging.INFO, "ratified"):
        run(main())
    assert "built from the log" not in caplog.text


def test_a_store_that_cannot_be_written_ends_the_host_with_what_to_do_and_nothing_lost(tmp_path: Path) -> None:
    def put_long(key: bytes) -> bytes:
        return commands.put(rpc_pb2.PutRequest(key=key, value=bytes(100_000)).SerializeToString())

    done: list[bytes] = []

    async def fill(host: Host) -> None:
        while True:  # the log's segments stay below the limit, the store does not
            key = b"%d" % len(done)
            await host.propose(put_long(key))
            done.append(key)

    async def main() -> None:
        host = await Host.start(alone(tmp_path), open_store)
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        with file_size_limit(1 << 20), pytest.raises((OutcomeUnknown, RequestRefused)):
            await fill(host)
        with pytest.raises(HostFailed, match=r"its store failed: .* start again"):
            await host.ended()
        await host.close()
        assert reported == [], "one clear line, and no traceback beside it"
        assert done
        async with await Host.start(alone(tmp_path), open_store) as again:
            for key in done:
                answer = await again.query(queries.range_(rpc_pb2.RangeRequest(key=key).SerializeToString()))
                assert rpc_pb2.RangeResponse.FromString(answer[1:]).count == 1

    run(main())


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond it meanwhile; Python ignores the signal, so the write fails."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def test_a_copied_directory_builds_its_store_from_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        host = await Host.start(alone(tmp_path / "original"), open_store)
        result = await host.propose(put(b"one"))
        await host.close()
        shutil.copytree(tmp_path / "original", tmp_path / "copy")
        caplog.clear()
        async with await Host.start(alone(tmp_path / "copy"), open_store) as copy:
            assert await copy.propose(put(b"two")) > result

    with caplog.at_level(logging.INFO, "ratified"):
        run(main())
    assert "built from the log: its file is a copy" in caplog.text


def test_a_store_that_cannot_be_opened_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no directory")

    async def main() -> None:
        with pytest.raises(StartRefused, match="its store does not open") as refusal:
            await Host.start(alone(tmp_path), open_store)
        assert str(tmp_path) in str(refusal.value)
        (tmp_path / "store").unlink()
        async with await Host.start(alone(tmp_path), open_store) as host:
            await host.propose(put(b"one"))

    run(main())
