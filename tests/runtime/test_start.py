"""Starts that are refused: one clear text, and nothing changed."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

import pytest

from ratified import Host, HostConfig, StartRefused, StateMachine
from ratified.storage import identity
from ratified.storage.files import Directory
from ratified.storage.identity import Identity
from tests.runtime.cluster import LOG_LIMITS, Journal, alone
from tests.runtime.loops import run


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


async def refusal(config: HostConfig, replicated: type[StateMachine] = Journal) -> str:
    with pytest.raises(StartRefused) as refused:
        await Host.start(config, replicated)
    return str(refused.value)


def test_a_used_port_is_refused_by_address(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "{}:{}".format(*taken.getsockname())
            cluster = {"a": address, "b": "127.0.0.1:1"}
            text = await refusal(HostConfig(data_dir=tmp_path / "data", name="a", cluster=cluster))
            assert address in text
            assert "in use" in text
        assert not (tmp_path / "data").exists()

    run(main())


def test_a_locked_directory_is_refused_by_path_and_its_owner_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Host.start(alone(tmp_path), Journal) as host:
            await host.propose(b"one")
            text = await refusal(alone(tmp_path))
            assert str(tmp_path) in text
            assert "in use" in text
            assert await host.propose(b"two") == b"2"

    run(main())


def test_the_lock_ends_with_the_host(tmp_path: Path) -> None:
    async def main() -> None:
        for _ in range(2):
            host = await Host.start(alone(tmp_path), Journal)
            await host.close()
            host = await Host.start(alone(tmp_path), Journal)
            await host.abort()

    run(main())


def test_a_directory_of_another_cluster_or_member_is_refused_unchanged(tmp_path: Path) -> None:
    async def main() -> None:
        host = await Host.start(alone(tmp_path), Journal)
        await host.propose(b"one")
        await host.close()
        before = contents(tmp_path)
        other_cluster = await refusal(alone(tmp_path, token="another"))
        other_member = await refusal(alone(tmp_path, name="another"))
        for text in (other_cluster, other_member):
            assert str(tmp_path) in text
            assert "belongs to cluster" in text
        assert contents(tmp_path) == before

    run(main())


def test_a_new_directory_is_durable_before_its_identity_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that died would come up without it, and the member would vote again in terms in which it had voted."""
    synced: list[tuple[Path, bool]] = []
    sync_directory = Directory.sync_directory

    def record(self: Directory) -> None:
        sync_directory(self)
        synced.append((self.path, (tmp_path / "some/where" / identity.IDENTITY_FILE).exists()))

    async def main() -> None:
        await (await Host.start(alone(tmp_path / "some/where"), Journal)).close()

    monkeypatch.setattr(Directory, "sync_directory", record)
    run(main())
    assert (tmp_path, False) in synced
    assert (tmp_path / "some", False) in synced


def test_a_directory_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a plain file")

    async def main() -> None:
        text = await refusal(HostConfig(data_dir=tmp_path / "file"))
        assert str(tmp_path / "file") in text
        assert (tmp_path / "file").read_text() == "a plain file"

    run(main())


def test_a_directory_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    was_root = os.geteuid() == 0
    if was_root:  # who may read everything
        os.seteuid(65534)

    async def main() -> None:
        text = await refusal(alone(tmp_path / "data"))
        assert str(tmp_path) in text
        assert "Permission denied" in text

    try:
        run(main())
    finally:
        if was_root:
            os.seteuid(0)
        tmp_path.chmod(0o700)


def test_a_directory_of_a_newer_version_is_refused_unchanged(tmp_path: Path) -> None:
    files = Directory(tmp_path)
    newer = Identity(1, 2, bytes(16), "raft", identity.VERSION + 1)
    identity.create(files, newer, {}, LOG_LIMITS)
    files.close()
    before = contents(tmp_path)

    async def main() -> None:
        text = await refusal(alone(tmp_path))
        assert str(tmp_path) in text
        assert f"version {identity.VERSION + 1}" in text

    run(main())
    assert contents(tmp_path) | {"lock": b""} == before | {"lock": b""}


def test_a_damaged_log_is_refused_by_file_and_offset_and_kept(tmp_path: Path) -> None:
    async def main() -> None:
        host = await Host.start(alone(tmp_path), Journal)
        for number in range(20):
            await host.propose(b"%d" % number)
        await host.close()
        (log,) = (
            path for path in tmp_path.iterdir() if path.is_file() and path.stat().st_size == LOG_LIMITS.segment_bytes
        )
        with log.open("r+b") as file:
            file.seek(600)
            file.write(b"\xff" * 8)
        text = await refusal(alone(tmp_path))
        assert log.name in text
        assert any(word.strip(".,:;").isdigit() for word in text.split())
        with (tmp_path / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    run(main())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "x", "cluster": {"a": "127.0.0.1:1"}}, "not in the cluster"),
        ({"cluster": {"default": "nonsense"}}, "not of the form host:port"),
        ({"cluster": {"default": "127.0.0.1:1", "b": ()}}, "has no peer address"),
        ({"groups": 0}, "at least one group"),
        ({"initial_absent": ["x"]}, "the absent member 'x' is not in the cluster"),
        ({"initial_absent": ["default"]}, "'default' cannot be absent itself"),
        ({"initial_absent": ["b"], "cluster": {"default": "a:1", "b": "b:1"}}, "a majority must be there to begin"),
        ({"heartbeat_us": 2_000_000}, "below the election timeout"),
    ],
)
def test_a_configuration_without_sense_is_refused_before_anything_is_touched(
    tmp_path: Path, wrong: dict[str, object], says: str
) -> None:
    async def main() -> None:
        assert says in await refusal(HostConfig(data_dir=tmp_path / "data", **wrong))  # type: ignore[arg-type]

    run(main())
    assert not (tmp_path / "data").exists()
