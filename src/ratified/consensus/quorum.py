"""Majorities, simple and joint."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ratified.consensus.contract import Membership


def majority(count: int) -> int:
    """The least number of ``count`` members that any two choices of must overlap."""
    return count // 2 + 1


def is_quorum(membership: Membership, members: Collection[int]) -> bool:
    """Do ``members`` hold a majority of the voters, and while joint of the outgoing voters too?"""
    return _holds(membership.voters, members) and (not membership.outgoing or _holds(membership.outgoing, members))


def _holds(voters: Sequence[int], members: Collection[int]) -> bool:
    return sum(voter in members for voter in voters) >= majority(len(voters))


def quorum_value(membership: Membership, value: Callable[[int], int]) -> int:
    """The highest number that a quorum's values reach (Raft's commit rule, paper figure 2: matchIndex)."""
    reached = _reached(membership.voters, value)
    if membership.outgoing:
        reached = min(reached, _reached(membership.outgoing, value))
    return reached


def _reached(voters: Sequence[int], value: Callable[[int], int]) -> int:
    return sorted(map(value, voters))[len(voters) - majority(len(voters))]
