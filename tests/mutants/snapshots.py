"""Rules of snapshots, broken: between bare engines that cut whatever others lack, and are away for long."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any
from unittest.mock import PropertyMock, patch

from ratified.consensus.contract import Base, BaseRecord, TruncateRecord
from ratified.consensus.paxos.acceptor import Acceptor
from ratified.consensus.paxos.core import Core as PaxosCore
from ratified.consensus.paxos.engine import Paxos
from ratified.consensus.paxos.learner import Learner
from ratified.consensus.paxos.messages import Accept, Accepted
from ratified.consensus.paxos.slots import Slots
from ratified.consensus.raft.engine import Raft
from ratified.consensus.raft.leader import Leader
from ratified.consensus.raft.progress import Mode, PeerProgress
from ratified.consensus.replication.delivery import Delivery
from ratified.consensus.replication.journal import Journal
from ratified.consensus.replication.snapshots import Snapshots
from ratified.consensus.zab.engine import Zab
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


def joins_a_leader_while_it_installs() -> AbstractContextManager[Any]:
    """What it acknowledges to that leader stands on what may turn out to be damaged."""
    return patch.object(Zab, "_is_installed", PropertyMock(return_value=True))


def asks_for_no_second_snapshot() -> AbstractContextManager[Any]:
    """One that failed is not asked for again."""

    def sent(snapshots: Snapshots, peer: int, now: int, ok: bool) -> None:
        if ok:
            snapshots._to.pop(peer, None)

    return patch.object(Snapshots, "sent", sent)


def promises_while_it_installs() -> AbstractContextManager[Any]:
    """What a promise closes is what may turn out to be damaged."""
    return patch.object(PaxosCore, "is_installed", PropertyMock(return_value=True))


def keeps_the_fence_over_a_snapshot() -> AbstractContextManager[Any]:
    """The fence is that of what was delivered before, and not of exactly the base."""
    right = Paxos.on_installed

    def on_installed(paxos: Paxos, sender: int, base: Base) -> None:
        fence = paxos.core.fence.era
        right(paxos, sender, base)
        paxos.core.fence.era = fence

    return patch.object(Paxos, "on_installed", on_installed)


def forgets_what_is_accepted_above_a_snapshot() -> AbstractContextManager[Any]:
    """An acceptor may have been counted for it: only what is at or below the base is chosen."""
    right = Slots.install

    def install(slots: Slots, base: int) -> None:
        right(slots, base)
        slots._runs.truncate(base + 1)

    return patch.object(Slots, "install", install)


def leaves_an_accept_below_the_base_unanswered() -> AbstractContextManager[Any]:
    """The proposer sends it again and again, and tells the acceptor of nothing that is chosen behind it."""
    right = Acceptor.on_accept

    def on_accept(acceptor: Acceptor, message: Accept) -> Accepted | None:
        outbox = acceptor._core.outbox
        before = list(outbox._send)
        answer = right(acceptor, message)
        outbox._send = before
        return answer

    return patch.object(Acceptor, "on_accept", on_accept)


def teaches_nothing_below_the_base() -> AbstractContextManager[Any]:
    right = Learner.on_learn

    def on_learn(learner: Learner, asker: int, first: int) -> None:
        if first > learner._core.slots.base:
            right(learner, asker, first)

    return patch.object(Learner, "on_learn", on_learn)


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
_paxos = partial(_mutant, "paxos")
_zab = partial(_mutant, "zab")

MUTANTS = [
    _raft("keeps a log that conflicts with a snapshot", keeps_what_conflicts_above_the_base, 23),
    _raft("writes no base of a snapshot", cuts_the_log_behind_the_base_record, 1),
    _raft("delivers while it installs a snapshot", delivers_before_the_store_is_switched, 1),
    _raft("acknowledges a snapshot that is not installed", acknowledges_before_the_store_is_switched, 1),
    _raft("sends no snapshot", sends_no_snapshot, 2),
    _raft("sends no second snapshot where one failed", gives_up_after_a_failure, 4),
    _raft("installs a snapshot of what is known", installs_what_is_known, 11),
    _raft("sends entries beside a snapshot", sends_entries_beside_a_snapshot, 2),
    _paxos("promises while it installs a snapshot", promises_while_it_installs, 1),
    _paxos("keeps the fence over a snapshot", keeps_the_fence_over_a_snapshot, 1),
    _paxos("forgets what is accepted above a snapshot", forgets_what_is_accepted_above_a_snapshot, 7),
    _paxos("leaves an Accept below the base unanswered", leaves_an_accept_below_the_base_unanswered, 65),
    _paxos("teaches nothing below the base, not by a snapshot", teaches_nothing_below_the_base, 1),
    _paxos("delivers while it installs a snapshot", delivers_before_the_store_is_switched, 1),
    _zab("keeps a history that conflicts with a snapshot", keeps_what_conflicts_above_the_base, 78),
    _zab("delivers while it installs a snapshot", delivers_before_the_store_is_switched, 1),
    _zab("joins a leader while it installs a snapshot", joins_a_leader_while_it_installs, 1),
    _zab("asks for no second snapshot where one failed", asks_for_no_second_snapshot, 5),
]
