"""Is there room on the members' disks for what is proposed?

Rules:

1. A disk counts as full while less than ``free_bytes_min`` is left on it: room for what is under way by then.
2. A leader whose disk is full gives the lead away (rule 11 of the contract). Where it leads an election timeout later,
   because nobody else could be elected, it refuses proposals, and hands the lead over, each election timeout anew, to
   who has room and most of the log.
3. Members tell each other whether they have room (``Standing``). A leader that could commit nothing without those that
   have none refuses proposals: to take them would fill their disks to the end. Of a majority that cannot be reached
   nothing is known, and nothing is committed either.
"""

from __future__ import annotations

from collections.abc import Collection

from ratified.consensus.contract import Membership


class DiskRoom:
    """Room on this member's disk, and on those of the members in session."""

    __slots__ = ("full_since", "others_full")

    def __init__(self) -> None:
        self.full_since: int | None = None
        """This member's own; None: it has room."""
        self.others_full: dict[int, None] = {}
        """Who has said so in the present session."""

    @property
    def is_full(self) -> bool:
        return self.full_since is not None

    @property
    def is_short(self) -> bool:
        """Has this member none, or one that it has a session with?"""
        return self.full_since is not None or bool(self.others_full)

    def heard(self, member: int, *, has_room: bool) -> None:
        """What a member says of its disk; without a session nothing counts."""
        self.others_full.pop(member, None)
        if not has_room:
            self.others_full[member] = None

    def is_needed_of(self, membership: Membership, reached: Collection[int]) -> bool:
        """Can those who are reached commit, but not without who has no room?"""
        with_room = [member for member in reached if member not in self.others_full]
        return _decide(membership, reached) and not _decide(membership, with_room)


def _decide(membership: Membership, members: Collection[int]) -> bool:
    """Are they a majority of the voters, and while joint of the outgoing ones?"""
    halves = (membership.voters, membership.outgoing)
    return all(2 * sum(voter in members for voter in half) > len(half) for half in halves if half)
