"""One rule broken each of which data directory counts, and of who is believed to be a member."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.node import peers
from ratified.node.admission import Admission
from ratified.node.directories import Directories
from ratified.node.peers import PeerSessions
from ratified.wire.peer import Hello, OwnTable
from tests.mutants.mutant import Mutant


def takes_any_directory() -> AbstractContextManager[Any]:
    """A node that has begun replaces the directory of a member that comes with another one."""
    return patch.object(Directories, "admits", lambda directories, member, directory, begun: True)


def takes_old_copies() -> AbstractContextManager[Any]:
    """A start that a later one has overtaken is believed."""
    return patch.object(Admission, "why_overtaken", lambda admission, hello: None)


def names_no_earlier_starts() -> AbstractContextManager[Any]:
    """A Hello does not say which starts its directory knows."""
    return patch.object(peers, "STARTS_BEFORE_MAX", 0)


def begins_alone() -> AbstractContextManager[Any]:
    """A fresh node votes before all members hold its directory."""
    return patch.object(PeerSessions, "waits_for", lambda peers: [])


def begins_with_claims() -> AbstractContextManager[Any]:
    """A fresh node begins with whoever claims to be a member, be it answered at the member's own address or not."""
    return patch.object(PeerSessions, "_is_confirmed", lambda peers, connection: True)


def believes_claims_for_ever() -> AbstractContextManager[Any]:
    """What anybody claims counts as what answered at the member's own address."""
    admit = PeerSessions._admit

    def admits_and_confirms(peers: PeerSessions, now: int, connection: Any, hello: Hello) -> None:
        admit(peers, now, connection, hello)
        peers._directories.confirm(hello.member, hello.directory, hello.incarnation, hello.start)

    return patch.object(PeerSessions, "_admit", admits_and_confirms)


def believes_tables_of_claims() -> AbstractContextManager[Any]:
    """Whoever claims to be a member says who is met."""

    def believe(peers: PeerSessions, now: int, connection: Any, own: OwnTable) -> None:
        if connection.session is not None:
            connection.dialled = connection.session.member
        believe_whom_we_dialled(peers, now, connection, own)

    believe_whom_we_dialled = PeerSessions._on_table
    return patch.object(PeerSessions, "_on_table", believe)


MUTANTS: list[Mutant] = [
    Mutant("takes any directory of a member", takes_any_directory, "replaced-directories", "session", 3),
    Mutant("believes an overtaken start", takes_old_copies, "replaced-directories", "session", 2),
    Mutant("names no earlier starts", names_no_earlier_starts, "replaced-directories", "session", 48),
    Mutant("begins before all members have met", begins_alone, "replaced-directories", "session", 4),
    Mutant("begins with whoever claims to be a member", begins_with_claims, "strangers", "session", 32),
    Mutant("believes a stranger's claim for ever", believes_claims_for_ever, "strangers", "session", 4),
    Mutant("believes tables of whoever claims to be a member", believes_tables_of_claims, "strangers", "session", 2),
]
