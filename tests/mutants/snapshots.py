"""Rules of snapshots, broken: between bare engines that cut whatever others lack, and are away for long."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any
from unittest.mock import PropertyMock, patch

from ratified.consensus.contract import BaseRecord, TruncateRecord
from ratified.consensus.raft.engine import Raft
from ratified.consensus.raft.leader import Leader
from ratified.consensus.raft.progress import Mode, PeerProgress
from ratified.consensus.replication.delivery import Delivery
from ratified.consensus.replication.journal import Journal
from tests.consensus.networks import Sessions
from tests.consensus.world import World, own_checkpoint
from tests.mutants.mutant import Break, EngineMutant


def members_are_away(engine: str, seed: int) -> World:
    return World(engine, Sessions, seed, 5 if seed % 3 == 2 else 3, cuts=own_checkpoint)


def delivers_before_the_store_is_switched() -> AbstractContextManager[Any]:
    return patch.object(Delivery, "is_held", PropertyMock(return_value=False), create=True)


def _journal_installs(records_of: Any) -> AbstractContextManager[Any]:
    right = Journal.install

    def install(journal: Journal[Any], base: Any) -> None:
        right(journal, base)
        outbox = journal._member.outbox
        outbox.records = records_of(outbox.records)

    return patch.object(Journal, "install", install)


def keeps_what_conflicts_above_the_base() -> AbstractContextManager[Any]:
    """Figure 13, rule 7: the log above the base is kept on disk where it does not hold the base's entry."""
    return _journal_installs(lambda records: [each for each in records if not isinstance(each, TruncateRecord)])


def cuts_the_log_behind_the_base_record() -> AbstractContextManager[Any]:
    """The base is not written together with what it makes of the log."""
    return _journal_installs(lambda records: [each for each in records if not isinstance(each, BaseRecord)])


def acknowledges_before_the_store_is_switched() -> AbstractContextManager[Any]:
    return patch.object(Raft, "_is_installed", PropertyMock(return_value=True))


def sends_no_snapshot() -> AbstractContextManager[Any]:
    """Whoever needs what lies below the base is asked again and again whether it has that."""
    return patch.object(Leader, "needs_snapshot", lambda leader, next_index: False)


def gives_up_after_a_failure() -> AbstractContextManager[Any]:
    return patch.object(PeerProgress, "pause", lambda progress, next_index: None)


def sends_entries_beside_a_snapshot() -> AbstractContextManager[Any]:
    """Nothing is known of the peer's log, and what is sent ahead of the snapshot is refused."""

    def await_snapshot(progress: PeerProgress) -> None:
        progress.mode = Mode.REPLICATE
        progress.next = progress.sendable

    return patch.object(PeerProgress, "await_snapshot", await_snapshot)


def installs_what_is_known() -> AbstractContextManager[Any]:
    return patch.object(Raft, "refuses_snapshot", lambda raft, sender, base: None)


def _mutant(engine: str, name: str, breaks: Break, caught_by: int) -> EngineMutant:
    return EngineMutant(
        name,
        breaks,
        engine,
        caught_by,
        steps=1500,
        scenario="bare engines, members that are away",
        network="sessions",
        world=members_are_away,
    )


_raft = partial(_mutant, "raft")

MUTANTS = [
    _raft("keeps a log that conflicts with a snapshot", keeps_what_conflicts_above_the_base, 23),
    _raft("writes no base of a snapshot", cuts_the_log_behind_the_base_record, 1),
    _raft("delivers while it installs a snapshot", delivers_before_the_store_is_switched, 1),
    _raft("acknowledges a snapshot that is not installed", acknowledges_before_the_store_is_switched, 1),
    _raft("sends no snapshot", sends_no_snapshot, 2),
    _raft("sends no second snapshot where one failed", gives_up_after_a_failure, 4),
    _raft("installs a snapshot of what is known", installs_what_is_known, 11),
    _raft("sends entries beside a snapshot", sends_entries_beside_a_snapshot, 2),
]
