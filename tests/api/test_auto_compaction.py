"""When history is compacted by itself, and that it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ratified.api.auto_compaction import ByRevisions, ByTime, Policy, compact_for_ever
from ratified.api.service import Service
from ratified.kv import commands
from ratified.kv.store import KvStore
from ratified.runtime import Host, HostConfig
from ratified.wire.etcd import rpc_pb2

HOUR = 3600


def kept(policy: Policy, looks: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """When, of these looks at these revisions, it compacts, and where."""
    found = []
    for at_s, revision in looks:
        wanted = policy.look(at_s, revision)
        if wanted is not None:
            policy.compacted(at_s, wanted)
            found.append((at_s, wanted))
    return found


def test_what_is_older_than_the_period_goes_once_a_period() -> None:
    looks = [(float(second), 100 + second) for second in range(40)]
    assert kept(ByTime(10), looks) == [(10, 100), (20, 110), (30, 120)]


def test_over_long_periods_it_goes_once_an_hour() -> None:
    looks = [(float(minute * 60), minute) for minute in range(0, 6 * 60, 6)]
    found = kept(ByTime(2 * HOUR), looks)
    assert found == [(2 * HOUR + 360, 6), (3 * HOUR + 360, 66), (4 * HOUR + 360, 126), (5 * HOUR + 360, 186)]


def test_where_nothing_is_written_nothing_is_compacted_again() -> None:
    assert kept(ByTime(10), [(float(second), 7) for second in range(50)]) == [(10, 7)]


def test_what_failed_is_tried_again_at_the_next_look() -> None:
    policy = ByTime(10)
    found = [policy.look(float(second), second) for second in range(13)]
    assert found == [*[None] * 11, 1, 2]


def test_it_is_noted_ten_times_in_a_period_but_every_six_minutes() -> None:
    assert [ByTime(period_s).looks_every_s for period_s in (10, HOUR, 48 * HOUR)] == [1, 360, 360]


def test_all_but_the_last_revisions_go() -> None:
    looks = [(0.0, 50), (300.0, 120), (600.0, 120), (900.0, 121)]
    assert kept(ByRevisions(100), looks) == [(300, 20), (900, 21)]


class Often:
    """Keeps two revisions, and looks all the time."""

    looks_every_s = 0.001

    def __init__(self) -> None:
        self._policy = ByRevisions(2)
        self.done: list[int] = []
        self.wanted = 0

    def look(self, now_s: float, revision: int) -> int | None:
        found = self._policy.look(now_s, revision)
        self.wanted += found is not None
        return found

    def compacted(self, now_s: float, revision: int) -> None:
        self.done.append(revision)
        self._policy.compacted(now_s, revision)


@pytest.mark.parametrize("leads", [True, False])
def test_the_member_that_leads_compacts_its_history(
    tmp_path: Path, leads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        config = HostConfig(data_dir=tmp_path / "data", heartbeat_us=10_000, election_timeout_us=50_000)
        async with asyncio.timeout(30), await Host.start(config, lambda group, space: KvStore(space)) as host:
            service = Service(
                host, election_timeout_s=0.05, request_bytes_max=2000, quota_bytes=1 << 20, lease_ttl_min_s=1
            )
            policy = Often()
            if not leads:
                monkeypatch.setattr(Host, "leader", lambda host, group=0: host.member + 1)
            compacting = asyncio.ensure_future(compact_for_ever(service, policy))
            for number in range(10):
                put = rpc_pb2.PutRequest(key=b"a", value=b"%d" % number)
                answer = await service.propose(commands.put(put.SerializeToString()))
            revision = rpc_pb2.PutResponse.FromString(answer).header.revision
            if leads:
                while not policy.done or policy.done[-1] < revision - 2:
                    await asyncio.sleep(0.001)
            else:
                while policy.wanted < 10:
                    await asyncio.sleep(0.001)
                assert policy.done == []
            compacting.cancel()

    asyncio.run(run())
