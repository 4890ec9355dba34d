"""One rule of log leases broken each (rule 9 of the contract), between bare engines whose clocks drift."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.consensus.contract import Durable, Kind, Limbo, Options
from ratified.consensus.paxos.candidate import Candidate
from ratified.consensus.paxos.leader import Leader
from ratified.consensus.replication import log_leases
from ratified.consensus.replication.log_leases import LogLease
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.reads import ReadRounds
from ratified.consensus.zab import zxid
from ratified.consensus.zab.link import Lane
from ratified.consensus.zab.messages import UpToDate
from ratified.consensus.zab.progress import PeerProgress, Stage
from ratified.consensus.zab.sender import Sender
from ratified.machine import Touches
from ratified.node.reads import LinearizableReads
from tests.consensus.lease_worlds import log_lease_world, wild_log_lease_world
from tests.consensus.world import World
from tests.mutants.leases import lease_mutant
from tests.mutants.mutant import Break, EngineMutant, Mutant


def commits_as_soon_as_it_is_elected() -> AbstractContextManager[Any]:
    """Not before what came last has been there for a lease."""
    return patch.object(LogLease, "begin", lambda lease, last: None)


def counts_from_when_the_log_began() -> AbstractContextManager[Any]:
    """What came last counts."""
    return patch.object(Member, "receive", lambda member: None)


def a_restart_counts_nothing_anew() -> AbstractContextManager[Any]:
    """It does not know when what it finds came."""
    right = Member.__init__

    def begin(member: Member[Any], now: int, options: Options, durable: Durable) -> None:
        right(member, now, options, durable)
        member.received_at = None

    return patch.object(Member, "__init__", begin)


def subtracts_no_drift_from_what_it_made() -> AbstractContextManager[Any]:
    """The clock of who reads may be slow, and that of who waits fast."""
    return patch.object(log_leases, "held_us", lambda lease_us, drift_ppm_max: lease_us)


def reads_by_what_is_not_committed() -> AbstractContextManager[Any]:
    """Only what is committed is with whoever is elected next."""

    def is_held(lease: LogLease, commit: int) -> bool:
        return bool(lease._made) and lease._member.now < lease._made[-1][1] + lease._held_us

    return patch.object(LogLease, "is_held", is_held)


def reads_whatever_is_in_limbo() -> AbstractContextManager[Any]:
    """What was acknowledged and is not known to be committed lies there."""
    right = ReadRounds.advance

    def advance(rounds: ReadRounds, **arguments: Any) -> bool:
        begins = right(rounds, **arguments)
        rounds._limbo = None
        return begins

    return patch.object(ReadRounds, "advance", advance)


def limbo_ends_an_entry_too_early() -> AbstractContextManager[Any]:
    """It goes on to the last entry that was there."""

    def readable(lease: LogLease) -> Limbo | None:
        return Limbo(lease.limbo.last - 1, lease.limbo.era) if lease.limbo is not None and lease.waits else None

    return patch.object(LogLease, "readable_limbo", property(readable))


def a_hand_over_ends_no_log_lease() -> AbstractContextManager[Any]:
    """Whoever is handed the lead does not wait."""
    return patch.object(LogLease, "end", lambda lease, index: None)


def takes_any_no_op_for_the_end_of_a_lease() -> AbstractContextManager[Any]:
    """A leader begins with one, and reads on."""
    return patch.object(log_leases, "ends_lease", lambda entry: entry.kind is Kind.NOOP)


def what_phase_1_finds_was_there_before() -> AbstractContextManager[Any]:
    """What a proposer is told of it did not have."""
    right = Candidate.on_promise

    def on_promise(candidate: Candidate, *arguments: Any) -> int | None:
        with patch.object(Member, "receive", lambda member: None):
            return right(candidate, *arguments)

    return patch.object(Candidate, "on_promise", on_promise)


def counts_as_chosen_while_it_waits() -> AbstractContextManager[Any]:
    """What phase 1 found is chosen again when the wait is over."""

    def advance(leader: Leader) -> None:
        core = leader._core
        while (reach := leader._quorum_reach(slot := leader.first_open())) >= slot:
            core.choose_to(reach)

    return patch.object(Leader, "advance_commit", advance)


def says_up_to_date_while_it_waits() -> AbstractContextManager[Any]:
    """UPTODATE commits the initial history."""
    right = Sender.tell_commit

    def tell_commit(sender: Sender, member: int, follower: PeerProgress) -> None:
        waits = sender._core.log.commit < sender._origin
        if waits and follower.stage is Stage.SYNCHRONISED:
            follower.stage = Stage.UP_TO_DATE
            link = follower.link
            sender._core.outbox.send(
                member, UpToDate(link.number, link.next(Lane.AT_ONCE), zxid.pack(sender._epoch, 0))
            )
        elif not waits:
            right(sender, member, follower)

    return patch.object(Sender, "tell_commit", tell_commit)


def serves_what_it_does_not_have_of_limbo() -> AbstractContextManager[Any]:
    """A follower must have the leader's entries."""
    right = LinearizableReads._what_touches

    def what_touches(reads: LinearizableReads, index: int, within: Limbo) -> Touches:
        return right(reads, index, within) or (lambda request: False)

    return patch.object(LinearizableReads, "_what_touches", what_touches)


def _node_mutant(engine: str, breaks: Break, caught_by: int) -> Mutant:
    return Mutant(
        name=breaks.__name__.replace("_", " "),
        breaks=breaks,
        engine=engine,
        caught_by=caught_by,
        scenario="log-leases",
        network="session",
        seeds=300,
    )


def _mutant(
    engine: str, breaks: Break, caught_by: int, world: Callable[[str, int], World] = log_lease_world
) -> EngineMutant:
    return lease_mutant(
        engine, breaks, caught_by, world, scenario="bare engines with leases in the log, whose clocks drift"
    )


MUTANTS: list[Mutant | EngineMutant] = [
    _node_mutant("raft", serves_what_it_does_not_have_of_limbo, 94),
    _mutant("raft", commits_as_soon_as_it_is_elected, 1),
    _mutant("raft", counts_from_when_the_log_began, 1),
    _mutant("raft", a_restart_counts_nothing_anew, 71),
    _mutant("raft", subtracts_no_drift_from_what_it_made, 11, wild_log_lease_world),
    _mutant("raft", reads_by_what_is_not_committed, 4),
    _mutant("raft", reads_whatever_is_in_limbo, 2),
    _mutant("raft", limbo_ends_an_entry_too_early, 1),
    _mutant("raft", a_hand_over_ends_no_log_lease, 4),
    _mutant("raft", takes_any_no_op_for_the_end_of_a_lease, 13),
    _mutant("paxos", commits_as_soon_as_it_is_elected, 1),
    _mutant("paxos", counts_from_when_the_log_began, 1),
    _mutant("paxos", a_restart_counts_nothing_anew, 50),
    _mutant("paxos", subtracts_no_drift_from_what_it_made, 123, wild_log_lease_world),
    _mutant("paxos", reads_by_what_is_not_committed, 2),
    _mutant("paxos", reads_whatever_is_in_limbo, 2),
    _mutant("paxos", limbo_ends_an_entry_too_early, 1),
    _mutant("paxos", a_hand_over_ends_no_log_lease, 9),
    _mutant("paxos", takes_any_no_op_for_the_end_of_a_lease, 2),
    _mutant("zab", commits_as_soon_as_it_is_elected, 2),
    _mutant("zab", counts_from_when_the_log_began, 2),
    _mutant("zab", a_restart_counts_nothing_anew, 38),
    _mutant("zab", subtracts_no_drift_from_what_it_made, 129, wild_log_lease_world),
    _mutant("zab", reads_by_what_is_not_committed, 19),
    _mutant("zab", reads_whatever_is_in_limbo, 1),
    _mutant("zab", limbo_ends_an_entry_too_early, 1),
    _mutant("zab", a_hand_over_ends_no_log_lease, 1),
    _mutant("zab", takes_any_no_op_for_the_end_of_a_lease, 13),
    _mutant("paxos", what_phase_1_finds_was_there_before, 67),
    _mutant("paxos", counts_as_chosen_while_it_waits, 1),
    _mutant("zab", says_up_to_date_while_it_waits, 13),
]
