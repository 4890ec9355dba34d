"""A member crashes at every point of receiving a snapshot, installing it, and cutting its log.

A crash falls between any two operations of its disk; the process is killed, or the machine is lost, and with it the
store, and what was not synced is kept, dropped or torn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

import pytest

from ratified.consensus.raft.messages import AppendEntriesResponse
from ratified.node.boot import build
from ratified.node.config import NodeLimits
from ratified.sim.disk import Disk
from ratified.storage import checkpoint
from ratified.storage.format import LogLimits
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.recovery import recover
from ratified.storage.snapshot_file import scan, snapshot_files
from tests.node.cluster import MS, Cluster, DurableStore, Journal
from tests.storage.crashes import contents, losses

LIMITS = NodeLimits(checkpoint_entries=8, snapshot_catchup_entries=1, snapshot_piece_bytes=1_500)
WRITES = 30


class WatchedDisk(Disk):
    """Tells of each operation, when it was carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.on_operation: Callable[[], None] = lambda: None

    def _done(self) -> None:
        self.operations += 1
        self.on_operation()

    def write(self, file: str, offset: int, data: bytes) -> None:
        super().write(file, offset, data)
        self._done()

    def sync_data(self, file: str) -> None:
        super().sync_data(file)
        self._done()

    def create(self, file: str, length: int) -> None:
        super().create(file, length)
        self._done()

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        self._done()

    def remove(self, file: str) -> None:
        super().remove(file)
        self._done()

    def sync_directory(self) -> None:
        super().sync_directory()
        self._done()


class Return(NamedTuple):
    """A cluster in which a member is back that lacks what the others have cut."""

    cluster: Cluster
    member: int
    disk: WatchedDisk


def returns() -> Return:
    """Nothing of the snapshot has reached its disk yet."""
    with patch("ratified.sim.machine.Disk", WatchedDisk):
        cluster = Cluster(limits=LIMITS, durable=True)
    cluster.elect()
    away = cluster.follower()
    for number in range(WRITES):
        if number == 3:
            cluster.kill(away)
        cluster.propose(cluster.leader(), b"%d" % number + b"x" * 400)
        cluster.run(10 * MS)
    cluster.start(away)
    disk = cluster.processes[away].disk
    assert isinstance(disk, WatchedDisk)
    cluster.run_until(lambda: bool(snapshot_files(disk)))
    return Return(cluster, away, disk)


def is_over(of: Return) -> bool:
    """It has the state, and a checkpoint of it, so that the file is gone, and its log was cut."""
    if snapshot_files(of.disk) or not of.cluster.processes[of.member].up:
        return False
    status = of.cluster.node(of.member).status().groups[0]
    return status.applied > WRITES and status.engine.base > 10


class State(NamedTuple):
    """What a crash leaves."""

    disk: Disk
    store: bytes
    acknowledged: int


def states() -> tuple[Cluster, int, list[State]]:
    """After each operation of the member that is back, until all is over."""
    of = returns()
    cluster, member = of.cluster, of.member
    found: list[State] = []

    def acknowledged() -> int:
        said = [each for sender, _, _, each in cluster.sent if sender == member]
        return max((each.index for each in said if isinstance(each, AppendEntriesResponse) and each.success), default=0)

    def seen() -> None:
        copy = cluster.processes[member].environment.copy()
        found.append(State(of.disk.fork(), copy.read(0, copy.length), acknowledged()))

    of.disk.on_operation = seen
    cluster.run_until(lambda: is_over(of))
    cluster.run(100 * MS)
    return cluster, member, found


@contextmanager
def booted(cluster: Cluster, member: int, disk: Disk, environment: MemoryEnvironment) -> Iterator[DurableStore]:
    """A node on this disk and this store."""
    config = cluster.config(member)
    stores: list[DurableStore] = []

    def opened(group: int, space: object) -> DurableStore:
        stores.append(DurableStore(environment.space(group)))
        return stores[-1]

    build(
        cluster.now,
        recover(disk, config.log_limits),
        config,
        environment,
        opened,
        files=disk,
        checkpoint=checkpoint.find(disk, config.directory),
    )
    yield stores[0]


def check(cluster: Cluster, member: int, disk: Disk, found: Callable[[], MemoryEnvironment], acknowledged: int) -> None:
    """What a start finds is a prefix of what all have, and has what the member has acknowledged."""
    whole = cluster.machine(cluster.leader()).commands
    for _ in range(2):  # the second start finds what the first has left, and the same store
        with booted(cluster, member, disk, found()) as store:
            log = recover(disk.fork(), cluster.config(member).log_limits).groups[0]
            assert isinstance(store._machine, Journal)
            commands = store._machine.commands
            assert commands == whole[: len(commands)]
            assert store.applied >= log.base.index
            assert log.last >= acknowledged
            assert len(snapshot_files(disk)) <= 1


def of_checkpoint(disk: Disk, directory: bytes) -> MemoryEnvironment:
    """What a store that is discarded begins as."""
    if checkpoint.CHECKPOINT_FILE not in disk.names():
        return MemoryEnvironment()
    return MemoryEnvironment.of_copy(b"".join(checkpoint.pieces(disk, directory)))


def lacks_state(disk: Disk, environment: MemoryEnvironment, limits: LogLimits) -> bool:
    """Does the log begin ahead of the store?"""
    return DurableStore(environment.space(0)).applied < recover(disk.fork(), limits).groups[0].base.index


def test_a_start_finds_a_whole_state_after_each_operation() -> None:
    cluster, member, found = states()
    directory = cluster.config(member).directory
    tried = installed = 0
    seen: set[object] = set()
    for state in found:
        killed = partial(MemoryEnvironment.of_copy, state.store)
        check(cluster, member, state.disk.fork(), killed, state.acknowledged)
        for lost in losses(state.disk, 40):
            key = (contents(lost), state.acknowledged)
            if key in seen:
                continue
            seen.add(key)
            tried += 1
            rebuilt = partial(of_checkpoint, lost, directory)
            installed += lacks_state(lost, rebuilt(), cluster.config(member).log_limits)
            check(cluster, member, lost, rebuilt, state.acknowledged)
    assert len(found) > 30
    assert tried > 100
    assert installed > 5, "no start had to switch to the snapshot"


@pytest.mark.parametrize("sync_fails", [False, True])
def test_what_a_start_resumes_outlasts_the_loss_of_the_machine(*, sync_fails: bool) -> None:
    """A process was killed before a piece was synced, the next one took it for durable and installed the snapshot; then
    the power went, and the file was not whole (seed 53 of members with several groups)."""
    cluster, member, found = states()
    resumed = 0
    for state in found:
        disk = state.disk.fork()
        for file in snapshot_files(disk) if sync_fails else ():
            disk.fail_sync(file)
        with booted(cluster, member, disk, MemoryEnvironment.of_copy(state.store)):
            held = {file: scan(disk, file) for file in snapshot_files(disk)}
        disk.lose_machine(lambda choices: 0)
        assert {file: scan(disk, file) for file in snapshot_files(disk)} == held
        resumed += bool(held)
    assert resumed > 10


def crash(at: int, *, is_lost: bool) -> None:
    """Behind this operation; then the member catches up."""
    cluster, member, disk = returns()
    machine, until = cluster.processes[member], disk.operations + at
    cluster.run_until(lambda: disk.operations >= until)
    if is_lost:
        machine.lose()
    else:
        machine.kill()
    machine.start()
    cluster.propose(cluster.leader(), b"and on")

    def has_all() -> bool:
        return machine.up and cluster.machine(member).commands == cluster.machine(cluster.leader()).commands

    cluster.run_until(lambda: has_all() and not snapshot_files(disk))


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_member_that_crashes_anywhere_catches_up_all_the_same(is_lost: bool) -> None:
    _, _, found = states()
    for number in range(1, len(found)):
        crash(number, is_lost=is_lost)
