"""One rule of changing the members broken each (rule 6 of the contract), between bare engines that come and go.

Each sentence of the rule is one without which something is lost, or nobody gets on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from ratified.consensus import membership as configurations
from ratified.consensus.contract import Change, Durable, Membership, RefusedReason
from ratified.consensus.membership import Configurations
from ratified.consensus.paxos.candidate import Candidate
from ratified.consensus.paxos.engine import Paxos
from ratified.consensus.paxos.leader import Leader as Proposer
from ratified.consensus.paxos.messages import Prepare
from ratified.consensus.quorum import is_quorum, quorum_value
from ratified.consensus.raft import leader as raft_leader
from ratified.consensus.replication.engine import Engine, Leading
from ratified.consensus.replication.journal import Journal
from ratified.consensus.replication.member import Member
from ratified.consensus.zab import leader as zab_leader
from tests.consensus.member_worlds import member_world
from tests.consensus.networks import Datagrams, Sessions
from tests.consensus.world import World
from tests.mutants.mutant import Break, EngineMutant


@contextmanager
def _counts(of: Callable[[Membership], Membership]) -> Iterator[None]:
    """Engines count in another configuration than they have; the checks do not."""
    with (
        patch.object(configurations, "is_quorum", lambda membership, members: is_quorum(of(membership), members)),
        patch.object(configurations, "quorum_value", lambda membership, value: quorum_value(of(membership), value)),
    ):
        yield


def counts_the_new_half_alone() -> AbstractContextManager[Any]:
    """While joint, the old voters decide too."""
    return _counts(lambda membership: replace(membership, outgoing=()))


def counts_the_old_half_alone() -> AbstractContextManager[Any]:
    """While joint, the new voters decide too."""
    return _counts(lambda membership: replace(membership, voters=membership.outgoing or membership.voters, outgoing=()))


def counts_learners() -> AbstractContextManager[Any]:
    """Learners get everything and count nowhere."""

    def reached_by_any(membership: Membership, value: Callable[[int], int]) -> int:
        """What as many reach as are a majority of the voters, whoever they are."""
        reached = sorted(map(value, (*membership.voters, *membership.learners)), reverse=True)
        return reached[len(membership.voters) // 2]

    return patch.object(configurations, "quorum_value", reached_by_any)


@contextmanager
def counts_in_the_committed_configuration() -> Iterator[None]:
    """A configuration counts when it is appended, not when it is committed: who leads by the old one may be the second
    to lead."""
    with (
        patch.object(Configurations, "is_quorum", lambda self, members: is_quorum(self.committed, members)),
        patch.object(Configurations, "quorum_value", lambda self, value: quorum_value(self.committed, value)),
    ):
        yield


def the_final_one_follows_at_once() -> AbstractContextManager[Any]:
    """No final configuration before the joint one is committed."""
    return patch.object(Configurations, "latest_is_committed", True)


@contextmanager
def no_joint_configuration() -> Iterator[None]:
    """Two majorities may have nobody in common."""
    with (
        patch.object(raft_leader, "first_step", lambda before, after: after),
        patch.object(zab_leader, "first_step", lambda before, after: after),
    ):
        yield


@contextmanager
def changes_while_one_is_under_way() -> Iterator[None]:
    """No change before the last one is committed, nor before something of the own era is: the next one would know
    nothing of a configuration that is not committed and may be."""

    def why_no_change(engine: Engine[Any], leading: Leading, change: Change) -> RefusedReason | None:
        return None

    with patch.object(Engine, "why_no_change", why_no_change):
        yield


@contextmanager
def the_error_of_2015() -> Iterator[None]:
    """Single steps, and none waits for a commit of the leader's own era (Ongaro, raft-dev, July 2015)."""

    def why_no_change(engine: Engine[Any], leading: Leading, change: Change) -> RefusedReason | None:
        one = len({*change.before.voters} ^ {*change.after.voters}) <= 1
        fits = one and change.before == engine._member.configurations.latest
        return None if fits else RefusedReason.CHANGE_UNDER_WAY

    with no_joint_configuration(), patch.object(Engine, "why_no_change", why_no_change):
        yield


def forgotten_by_a_restart() -> AbstractContextManager[Any]:
    """The log says which configurations hold."""
    right = Journal.__init__

    def forgets(self: Journal[Any], member: Member[Any], durable: Durable, claimed: Any) -> None:
        right(self, member, replace(durable, memberships=()), claimed)

    return patch.object(Journal, "__init__", forgets)


def only_the_latest_voters_campaign() -> AbstractContextManager[Any]:
    """A leader on its way out may be the only one that can be elected."""
    return patch.object(Configurations, "may_campaign", property(lambda self: self.is_voter(self.own)))


# ------------------------------------------------------------------------------------------------------------- Paxos


def no_drain() -> AbstractContextManager[Any]:
    """A change waits until all below it is chosen."""
    return patch.object(Proposer, "is_drained", lambda leader: True)


def proposes_above_a_configuration() -> AbstractContextManager[Any]:
    """Nothing stands above one that is not chosen, neither what was found nor the opening."""
    return patch.object(Proposer, "_has_open_configuration", False)


def phase_1_in_the_old_configuration_suffices() -> AbstractContextManager[Any]:
    """A quorum of the new configuration has to promise too."""
    return patch.object(Proposer, "may_propose", lambda leader: not leader._has_open_configuration)


def old_reports_are_dropped() -> AbstractContextManager[Any]:
    """What the old quorum has reported above the configuration stays considered."""
    right = Candidate.ask_those_who_joined

    def ask(candidate: Candidate) -> None:
        since = candidate._core.configurations.since
        if since >= candidate.first:
            candidate._highest = {slot: entry for slot, entry in candidate._highest.items() if slot <= since}
        right(candidate)

    return patch.object(Candidate, "ask_those_who_joined", ask)


def acceptors_ask_whether_they_vote() -> AbstractContextManager[Any]:
    """No acceptor checks configurations: it may be the last to hear of its own."""
    right = Paxos._on_prepare

    def on_prepare(paxos: Paxos, sender: int, message: Prepare) -> None:
        if paxos.core.configurations.is_voter(paxos.core.member.id):
            right(paxos, sender, message)

    return patch.object(Paxos, "_on_prepare", on_prepare)


def _on_sessions(engine: str, seed: int) -> World:
    return member_world(engine, Sessions, seed)


def _on_datagrams(engine: str, seed: int) -> World:
    return member_world(engine, Datagrams, seed)


def _mutant(engine: str, breaks: Break, caught_by: int, *, sessions: bool = True) -> EngineMutant:
    return EngineMutant(
        name=breaks.__name__.replace("_", " "),
        breaks=breaks,
        engine=engine,
        caught_by=caught_by,
        seeds=500,
        steps=1500,
        scenario="bare engines, members that come and go",
        network="sessions" if sessions else "datagram",
        world=_on_sessions if sessions else _on_datagrams,
    )


MUTANTS = [
    _mutant("raft", counts_the_new_half_alone, 6),
    _mutant("raft", counts_the_old_half_alone, 2),
    _mutant("raft", counts_learners, 2),
    _mutant("raft", counts_in_the_committed_configuration, 1),
    _mutant("raft", the_final_one_follows_at_once, 2),
    _mutant("raft", no_joint_configuration, 4),
    _mutant("raft", changes_while_one_is_under_way, 6),
    _mutant("raft", the_error_of_2015, 3),
    _mutant("zab", counts_the_new_half_alone, 1),
    _mutant("zab", counts_the_old_half_alone, 1),
    _mutant("zab", counts_learners, 1),
    _mutant("zab", counts_in_the_committed_configuration, 1),
    _mutant("zab", the_final_one_follows_at_once, 1),
    _mutant("zab", no_joint_configuration, 3),
    _mutant("zab", changes_while_one_is_under_way, 1),
    _mutant("zab", forgotten_by_a_restart, 1),
    _mutant("paxos", no_drain, 1, sessions=False),
    _mutant("paxos", proposes_above_a_configuration, 1, sessions=False),
    _mutant("paxos", phase_1_in_the_old_configuration_suffices, 1, sessions=False),
    _mutant("paxos", old_reports_are_dropped, 4, sessions=False),
    _mutant("paxos", counts_learners, 1, sessions=False),
    _mutant("paxos", acceptors_ask_whether_they_vote, 5, sessions=False),
    _mutant("paxos", only_the_latest_voters_campaign, 40, sessions=False),
]
