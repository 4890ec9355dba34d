"""What nodes do for members that come and go, broken; in whole nodes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.node.claims import Claims
from ratified.node.forwarding import LeaderForwards
from ratified.node.peers import PeerSessions
from ratified.storage.checkpoint import Claim
from tests.mutants.mutant import Mutant


def cuts_what_a_removed_member_lacks() -> AbstractContextManager[Any]:
    """The log is cut by the claims of the members, of whom it is none."""

    def of_members(claims: Claims, members: Iterable[int]) -> Claim | None:
        _, *others = members
        return lowest(claims, others)

    lowest = Claims._lowest
    return patch.object(Claims, "_lowest", of_members)


def dials_nobody_who_should_dial() -> AbstractContextManager[Any]:
    """Who was removed while it was down never hears of it."""
    return patch.object(PeerSessions, "on_missed", lambda peers, member: None)


def keeps_forwards_of_who_has_left() -> AbstractContextManager[Any]:
    """Those that wait for an earlier one, which never comes."""
    return patch.object(LeaderForwards, "table_changed", lambda forwards, members: None)


def tells_nobody_of_its_table() -> AbstractContextManager[Any]:
    """Who was away while the leader was added knows of no leader."""
    return patch.object(PeerSessions, "_tell_table", lambda peers, now, connection: None)


MUTANTS = [
    Mutant("cuts what a removed member lacks", cuts_what_a_removed_member_lacks, "members", "session", 6, seeds=500),
    Mutant("dials nobody who should dial", dials_nobody_who_should_dial, "members", "datagram", 7, seeds=500),
    Mutant("tells nobody of its table", tells_nobody_of_its_table, "members", "session", 196, rests=False),
    Mutant(
        "keeps forwards of who has left",
        keeps_forwards_of_who_has_left,
        "members",
        "session",
        5,
        seeds=500,
        engine="paxos",
    ),
]
