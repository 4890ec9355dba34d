"""A host's state machine over a real LMDB store: a restart replays what was not saved, also where the store is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from ratified import Host, HostConfig, StartRefused
from ratified.machine import StateMachine
from ratified.node.config import NodeLimits
from ratified.storage.guard import distrust
from tests.runtime.cluster import Journal, alone
from tests.runtime.loops import run, until

LIMITS = NodeLimits(checkpoint_entries=20, checkpoint_retry_us=50_000)


class Counted(Journal):
    """Counts what was applied by all of them."""

    applied = 0
    broken = ""

    def apply(self, command: bytes) -> bytes:
        Counted.applied += 1
        return super().apply(command)

    def snapshot(self) -> Iterator[bytes]:  # type: ignore[override]
        for line in self.lines:
            if self.broken == "snapshot":
                raise OSError("no room to think")
            yield line

    def restore(self, pieces: Iterable[bytes]) -> None:
        if self.broken == "restore":
            raise ValueError("unknown format")
        self.lines = list(pieces)


@pytest.fixture(autouse=True)
def _whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "applied", 0)
    monkeypatch.setattr(Counted, "broken", "")


def config(path: Path) -> HostConfig:
    return msgspec.structs.replace(alone(path), node_limits=LIMITS)


async def started(path: Path, machine: type[StateMachine] = Counted) -> Host:
    return await Host.start(config(path), machine)


async def write(host: Host, count: int) -> None:
    for number in range(count):
        await host.propose(b"%d" % number + b"x" * 100)


def base(host: Host) -> int:
    return host.status().node.groups[0].engine.base


@pytest.mark.parametrize("lost", [False, True])
def test_a_restart_replays_only_what_was_not_saved(lost: bool, tmp_path: Path) -> None:
    """Of a store that is lost the checkpoint takes the place."""

    async def main() -> None:
        host = await started(tmp_path)
        await write(host, 110)
        await until(lambda: base(host) > 80)
        await host.close()
        if lost:
            distrust(tmp_path)
        Counted.applied = 0
        host = await started(tmp_path)
        lines = (await host.query(b"")).split(b"\n")
        assert [int(line.rstrip(b"x")) for line in lines] == list(range(110))
        assert Counted.applied < 40
        await host.close()

    run(main())


def test_a_snapshot_that_raises_is_said_in_one_line_and_the_next_one_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        host = await started(tmp_path)
        monkeypatch.setattr(Counted, "broken", "snapshot")
        await write(host, 60)
        assert base(host) == 0
        said = [each.getMessage() for each in caplog.records if "is not saved" in each.getMessage()]
        assert said
        assert all("its snapshot raised OSError: no room to think" in line and "\n" not in line for line in said)
        monkeypatch.setattr(Counted, "broken", "")
        await write(host, 30)
        await until(lambda: base(host) > 60)
        await host.close()

    with caplog.at_level(logging.WARNING, "ratified.host"):
        run(main())


def test_a_machine_that_does_not_take_its_snapshot_back_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        host = await started(tmp_path)
        await write(host, 40)
        await until(lambda: base(host) > 10)
        await host.close()
        monkeypatch.setattr(Counted, "broken", "restore")
        with pytest.raises(StartRefused, match="ValueError: unknown format: start the version of it that"):
            await started(tmp_path)
        monkeypatch.setattr(Counted, "broken", "")
        host = await started(tmp_path)
        assert len((await host.query(b"")).split(b"\n")) == 40
        await host.close()

    run(main())
