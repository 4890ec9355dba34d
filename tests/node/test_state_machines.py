"""A user's state machine under a node: its log is cut, and a start, or who was away, goes on from what was saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from ratified import machine_store
from ratified.consensus.engines import ENGINES
from ratified.machine import StateMachine
from ratified.machine_store import SavedMachineStore
from ratified.node.config import NodeLimits
from ratified.storage.space import Space
from tests.node.cluster import MS, SECOND, Cluster, Journal

LIMITS = NodeLimits(
    checkpoint_entries=10, snapshot_catchup_entries=1, snapshot_piece_bytes=300, checkpoint_retry_us=100 * MS
)


class Counted(Journal):
    """Counts what is applied since it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.applied = 0

    def apply(self, command: bytes) -> bytes:
        self.applied += 1
        return super().apply(command)

    def snapshot(self) -> Iterator[bytes]:  # type: ignore[override]
        yield from self.commands

    def restore(self, pieces: Iterable[bytes]) -> None:
        self.commands = list(pieces)


def saved(space: Space) -> SavedMachineStore:
    return SavedMachineStore(Counted(), space, chunk_bytes=100)


def cluster_of(size: int, engine: str = "raft") -> Cluster:
    cluster = Cluster(size=size, limits=LIMITS, engine=engine, durable=saved)
    cluster.elect()
    return cluster


def machine(cluster: Cluster, member: int) -> Counted:
    found = cluster.machine(member)
    assert isinstance(found, Counted)
    return found


def write(cluster: Cluster, count: int) -> None:
    for number in range(count):
        cluster.propose(cluster.leader(), b"%d" % number + b"x" * 50)
        cluster.run(20 * MS)


def notices(cluster: Cluster) -> list[str]:
    return [notice.text for notice in cluster.processes[1].notices]


def base(cluster: Cluster, member: int) -> int:
    return cluster.node(member).status().groups[0].engine.base


@pytest.mark.parametrize("engine", ENGINES)
def test_its_log_is_cut_and_a_restart_replays_what_was_not_saved(engine: str) -> None:
    cluster = cluster_of(3, engine)
    write(cluster, 35)
    cluster.run(SECOND)
    assert all(base(cluster, member) > 10 for member in cluster.members)
    before = machine(cluster, 1).commands
    cluster.kill(1)
    cluster.start(1)
    cluster.run(SECOND)
    assert machine(cluster, 1).commands[: len(before)] == before
    assert machine(cluster, 1).applied < 20


@pytest.mark.parametrize("engine", ENGINES)
def test_who_was_away_gets_what_was_saved_and_then_what_follows(engine: str) -> None:
    cluster = cluster_of(3, engine)
    write(cluster, 5)
    away = cluster.follower()
    cluster.kill(away)
    write(cluster, 40)
    assert base(cluster, cluster.leader()) > 10
    cluster.start(away)
    cluster.run(3 * SECOND)
    write(cluster, 3)
    cluster.run(SECOND)
    assert len({tuple(machine(cluster, member).commands) for member in cluster.members}) == 1
    assert machine(cluster, away).applied < 30


def test_a_snapshot_that_raises_is_said_and_nothing_is_cut_and_serving_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raises(machine: StateMachine) -> Iterator[bytes]:
        raise OSError("no room to think")

    cluster = cluster_of(1)
    monkeypatch.setattr(machine_store, "pieces_of", raises)  # and not where digests are compared
    write(cluster, 30)
    assert len(machine(cluster, 1).commands) == 30
    assert base(cluster, 1) == 0
    said = {text for text in notices(cluster) if "not saved" in text}
    assert said == {
        "the state machine of group 0 is not saved, and the group's log is not cut: its snapshot raised OSError: no "
        "room to think"
    }
    assert len([text for text in notices(cluster) if "not saved" in text]) < 10, "it is not tried at each entry"
    monkeypatch.undo()
    write(cluster, 20)
    cluster.run(SECOND)
    assert base(cluster, 1) > 20
