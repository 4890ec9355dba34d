"""Which configuration counts where (rule 6 of the contract).

- A sequence (Raft, ZAB): a leader counts everything in the latest configuration of its log. So a joint one, when it is
  committed, may be followed by its final one at once, and what lies between the two is then committed by the new voters
  alone; and no further configuration is there before the one before it is committed. A leader that was the only one to
  have the final one may be gone before anybody delivers what it has committed.
- Slots (Paxos): a configuration counts from the slot behind its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from ratified.consensus.contract import Membership
from ratified.consensus.quorum import quorum_value

Configured = Sequence[tuple[int, Membership]]
"""Configurations by the index from which on they count, ascending, the first one from 0."""


def at(configurations: Configured, index: int) -> Membership:
    return next(membership for first, membership in reversed(configurations) if first <= index)


def everybody(membership: Membership) -> tuple[int, ...]:
    """All members, whatever their role, ascending."""
    return tuple(sorted({*membership.voters, *membership.outgoing, *membership.learners}))


def reach(configurations: Configured, value: Callable[[int], int], committed: int) -> int:
    """Up to where a sequence with these configurations is committed, at the least up to ``committed``, if each member's
    disk holds it up to ``value``."""
    before = configurations[0][0]
    for first, membership in configurations:
        if before > committed and first > before:
            break  # nobody can have counted in this one
        committed = max(committed, quorum_value(membership, value))
        if membership.outgoing and first <= committed:
            committed = max(committed, quorum_value(replace(membership, outgoing=()), value))
        before = first
    return committed


def joined(delivered: Configured, of_log: Configured) -> list[tuple[int, Membership]]:
    """Those of a log, behind those that were delivered before it begins."""
    return [*[each for each in delivered if not of_log or each[0] < of_log[0][0]], *of_log]
