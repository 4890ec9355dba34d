"""Changing the configuration, as far as all protocols do it alike (rule 6 of the contract).

Rules of this file:

1. One change at a time, and none before the leader has committed something of its own era (the error of 2015 in Raft's
   single-server changes: two leaders in a row, each with a change that is not committed, could count disjoint
   majorities).
2. Raft and ZAB change voters through a *joint* configuration, in which both the old and the new voters decide. The
   *final* one follows when the joint one is committed. Where the voters stay the same every quorum stays the same, and
   the final one comes at once.
3. What a change is checked for here is what counting needs. Who the members are, and whether they can be reached, is
   the caller's to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec.structs import replace

from ratified.consensus.contract import Change, Membership, Proposal, RefusedReason
from ratified.consensus.entry import EntryFormatError, decode_change


def change_of(proposal: Proposal) -> Change | RefusedReason:
    """What the proposal asks for, or why it asks for nothing that can be done."""
    try:
        change = decode_change(proposal.data)
    except EntryFormatError:
        return RefusedReason.UNFIT_CONFIGURATION
    if not change.after.voters:
        return RefusedReason.NO_VOTER
    if change.after.outgoing or not is_well_formed(change.after):
        return RefusedReason.UNFIT_CONFIGURATION
    return change


def is_well_formed(membership: Membership) -> bool:
    """Is every list ascending, and nobody a learner who votes by ``voters`` too?"""
    lists = (membership.voters, membership.outgoing, membership.learners)
    return all(map(_is_ascending, lists)) and not {*membership.voters} & {*membership.learners}


def _is_ascending(members: Sequence[int]) -> bool:
    return all(member < following for member, following in pairwise(members))


def first_step(before: Membership, after: Membership) -> Membership:
    """The joint configuration; where the voters stay, the final one."""
    return after if before.voters == after.voters else replace(after, outgoing=before.voters)


def last_step(joint: Membership) -> Membership:
    """The final configuration."""
    return replace(joint, outgoing=())
