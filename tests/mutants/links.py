"""Rules broken each of a session's send queue, over links slow for what is sent, and of disks that are full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from ratified.consensus.contract import Limits, Proposal, Refused, Taken
from ratified.consensus.replication.engine import Engine
from ratified.consensus.replication.liveness import Liveness
from ratified.node.config import NodeLimits
from ratified.node.peers import GroupLinks, PeerSessions
from ratified.node.replica import Replica
from ratified.node.room import DiskRoom
from ratified.node.send_queue import SendQueue
from ratified.sim import simulation
from ratified.sim.arguments import Arguments
from ratified.sim.draw import SLOW_LINK, SimulationOptions, draw_options
from ratified.sim.options import MEASURED
from tests.mutants.mutant import Mutant

_NO_LIMIT = 1 << 40


def cuts_no_message() -> AbstractContextManager[Any]:
    """A long message is one frame: what is short waits behind it."""
    return patch.object(SendQueue, "_frame_bytes", property(lambda queue: _NO_LIMIT))


@contextmanager
def has_no_window() -> Iterator[None]:
    """Everything is sent at once: it waits in the network, and what is short behind it."""
    with (
        cuts_no_message(),
        patch.object(SendQueue, "window", property(lambda queue: _NO_LIMIT, lambda queue, window: None)),
    ):
        yield


@contextmanager
def sends_again_what_is_on_its_way() -> Iterator[None]:
    """Engines send again by the clock, whatever waits: the same entries fill the link again and again."""
    with (
        patch.object(GroupLinks, "is_clear", lambda links, member: True),
        patch.object(GroupLinks, "has_credit", lambda links, member: True),
    ):
        yield


@contextmanager
def slow_links() -> Iterator[None]:
    """Links that carry 64 KiB in an election timeout, entries of 30 KB, and a server's limits of what is sent."""

    def options(arguments: Arguments) -> SimulationOptions:
        drawn = draw_options(arguments)
        cluster = drawn.cluster
        rate = SLOW_LINK * 1_000_000 // cluster.election_timeout_us
        return replace(
            drawn,
            cluster=replace(
                cluster,
                network=replace(cluster.network, bytes_per_second=rate),
                computing=MEASURED,
                limits=replace(cluster.limits, engine=Limits(), node=NodeLimits()),
            ),
            unreliable_network=replace(drawn.unreliable_network, bytes_per_second=rate),
            workload=replace(drawn.workload, value_bytes=30_000),
        )

    with patch.object(simulation, "draw_options", options):
        yield


def keeps_the_lead_that_it_won_without_room() -> AbstractContextManager[Any]:
    """Rule 2 of ``room``: who was elected without room leads for good, though others have some."""
    right = Replica._successors
    return patch.object(Replica, "_successors", lambda replica: [] if replica._room.is_full else right(replica))


@contextmanager
def keeps_the_lead_on_a_full_disk() -> Iterator[None]:
    """Rule 11, and rule 2 of ``room``: a leader whose disk is full gives the lead away while it can."""
    with (
        patch.object(Liveness, "_disk_has_filled", lambda liveness: False),
        keeps_the_lead_that_it_won_without_room(),
    ):
        yield


def takes_what_would_fill_the_disks_of_a_majority() -> AbstractContextManager[Any]:
    """Rule 3 of ``room``: a leader knows of no disk but its own."""
    return patch.object(DiskRoom, "is_needed_of", lambda room, membership, reached: False)


def says_nothing_of_its_disk() -> AbstractContextManager[Any]:
    """Rule 3 of ``room``, of the others."""
    return patch.object(PeerSessions, "room_changed", lambda peers, now: None)


def keeps_what_a_lost_session_said_of_a_disk() -> AbstractContextManager[Any]:
    """Rule 3 of ``room``: a full disk is remembered when its member is away, or back with room."""
    right = DiskRoom.heard

    def heard(room: DiskRoom, member: int, *, has_room: bool) -> None:
        if not has_room:
            right(room, member, has_room=False)

    return patch.object(DiskRoom, "heard", heard)


def takes_whatever_is_not_committed() -> AbstractContextManager[Any]:
    """Rule 10: while the others' disks hang a leader takes so much, and no more."""
    right = Engine.propose

    def propose(engine: Engine[Any], now: int, proposals: Sequence[Proposal]) -> Taken | Refused:
        member, options = engine._member, engine._member.options
        member.options = replace(options, limits=replace(options.limits, uncommitted_bytes_max=_NO_LIMIT))
        try:
            return right(engine, now, proposals)
        finally:
            member.options = options

    return patch.object(Engine, "propose", propose)


MUTANTS = [
    Mutant("takes whatever is not committed", takes_whatever_is_not_committed, "disks", "session", 9, seeds=300),
    Mutant("keeps the lead on a full disk", keeps_the_lead_on_a_full_disk, "disks", "session", 54),
    Mutant(
        "takes what would fill the disks of a majority",
        takes_what_would_fill_the_disks_of_a_majority,
        "disks",
        "session",
        1,
    ),
    Mutant(
        "keeps the lead that it won without room",
        keeps_the_lead_that_it_won_without_room,
        "disks",
        "session",
        54,
        engine="zab",
    ),
    Mutant("says nothing of its disk", says_nothing_of_its_disk, "disks", "session", 1),
    Mutant("keeps what a lost session said of a disk", keeps_what_a_lost_session_said_of_a_disk, "disks", "session", 1),
    Mutant("cuts no long message", cuts_no_message, "leader-failures", "session", 3, world=slow_links, engine="paxos"),
    Mutant("sends without a window", has_no_window, "leader-failures", "session", 26, world=slow_links),
    Mutant(
        "sends again what is on its way",
        sends_again_what_is_on_its_way,
        "crashes",
        "session",
        1,
        world=slow_links,
        engine="paxos",
    ),
]
