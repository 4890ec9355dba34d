"""One rule broken each of how a snapshot travels from node to node, is kept, and takes the store's place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any
from unittest.mock import patch

from ratified.consensus.contract import Base, Ready
from ratified.machine import Store
from ratified.node import snapshot_receiving
from ratified.node.cluster_log import ClusterLog
from ratified.node.ports import Reason
from ratified.node.proposals import Proposals
from ratified.node.replica import Replica
from ratified.node.snapshot_directory import SnapshotDirectory
from ratified.node.snapshot_receiving import SnapshotReceiving
from ratified.node.snapshot_sending import SnapshotSending
from ratified.storage.files import Op, SyncData
from ratified.storage.snapshot_file import SnapshotHead, StoredSnapshot, addition
from ratified.storage.space import Environment
from tests.mutants.mutant import Mutant

SCENARIO = "absences"


def acknowledges_what_is_not_synced() -> AbstractContextManager[Any]:
    """A piece is said to be durable when it is written."""
    right = addition

    def unsynced(head: SnapshotHead, number: int, data: bytes, offset: int) -> tuple[Sequence[Op], int]:
        ops, end = right(head, number, data, offset)
        return [op for op in ops if not isinstance(op, SyncData)], end

    return patch.object(snapshot_receiving, "addition", unsynced)


def switches_before_the_base_is_durable() -> AbstractContextManager[Any]:
    """The store may be ahead of its log then."""
    load, act = Replica.load, Replica.act

    def loads(replica: Replica, now: int, transaction: Any) -> Base | None:
        replica._proposals.end_addressed(Reason.INSTALLED)
        return load(replica, now, transaction)

    def acts(replica: Replica, now: int, ready: Ready) -> None:
        act(replica, now, ready)
        replica.again |= ready.install is not None

    def accepted(receiving: SnapshotReceiving) -> bool:
        incoming = receiving._incoming
        return incoming is not None and incoming.ticket is not None

    stack = ExitStack()
    stack.enter_context(patch.object(Replica, "load", loads))
    stack.enter_context(patch.object(Replica, "act", acts))
    stack.enter_context(patch.object(SnapshotReceiving, "is_durable", property(accepted)))
    return stack


def leaves_proposals_open() -> AbstractContextManager[Any]:
    """What the snapshot holds is taken for lost when something behind it is delivered, and proposed again."""
    return patch.object(Proposals, "end_addressed", lambda proposals, reason: None)


def sends_no_table() -> AbstractContextManager[Any]:
    """What entries below the base said of the cluster is gone."""
    return patch.object(ClusterLog, "install", lambda log, record: None)


def starts_without_switching() -> AbstractContextManager[Any]:
    """A start leaves a store that is behind its log as it is."""

    def install(found: SnapshotDirectory, group: int, base: Base, store: Store, environment: Environment) -> None:
        pass

    return patch.object(SnapshotDirectory, "install", install)


def removes_the_file_at_once() -> AbstractContextManager[Any]:
    """The file goes when the store is switched; no checkpoint has its state yet."""
    right = SnapshotReceiving.switched

    def switched(receiving: SnapshotReceiving) -> None:
        right(receiving)
        assert receiving._kept is not None
        receiving.checkpointed(receiving._kept.base.index)

    return patch.object(SnapshotReceiving, "switched", switched)


def resumes_at_the_wrong_piece() -> AbstractContextManager[Any]:
    """A start goes on behind the piece that it lacks."""
    right = SnapshotReceiving._resume

    def resume(receiving: SnapshotReceiving, now: int, found: StoredSnapshot) -> None:
        right(receiving, now, found if found.is_whole else found._replace(next=found.next + 1))

    return patch.object(SnapshotReceiving, "_resume", resume)


def says_nothing_of_what_failed() -> AbstractContextManager[Any]:
    """The engine waits for ever for what has become of it."""
    right = SnapshotSending.drain_over

    def drain_over(sending: SnapshotSending) -> Iterable[tuple[int, int, bool]]:
        return [each for each in right(sending) if each[2]]

    return patch.object(SnapshotSending, "drain_over", drain_over)


def offers_nothing_in_a_new_session() -> AbstractContextManager[Any]:
    return patch.object(SnapshotSending, "on_session", lambda sending, now, session: None)


def keeps_who_is_quiet() -> AbstractContextManager[Any]:
    """A half received snapshot keeps its place although its sender has let go of it."""

    def is_free(receiving: SnapshotReceiving, now: int, sender: int) -> bool:
        return receiving._incoming is None

    return patch.object(SnapshotReceiving, "_is_free", is_free)


_mutant = partial(Mutant, scenario=SCENARIO, network="session", seeds=500, nodes=3, duration_us=2_000_000)

MUTANTS: list[Mutant] = [
    _mutant("acknowledges pieces that are not synced", acknowledges_what_is_not_synced, caught_by=4),
    _mutant("switches before the base is durable", switches_before_the_base_is_durable, caught_by=114),
    _mutant(
        "leaves proposals open over a snapshot", leaves_proposals_open, caught_by=59, nodes=None, duration_us=3_000_000
    ),
    _mutant("takes no cluster table with a snapshot", sends_no_table, caught_by=5),
    _mutant("starts without switching", starts_without_switching, caught_by=4),
    _mutant("removes a snapshot before the checkpoint", removes_the_file_at_once, caught_by=48, rests=False),
    _mutant("resumes at the wrong piece", resumes_at_the_wrong_piece, caught_by=3),
    _mutant("says nothing of a snapshot that failed", says_nothing_of_what_failed, caught_by=3),
    _mutant("offers nothing in a new session", offers_nothing_in_a_new_session, caught_by=19),
    _mutant("keeps a snapshot whose sender is quiet", keeps_who_is_quiet, caught_by=19),
]
