"""Up to where the members of a group have checkpoints, and where its log may be cut.

Rules:

1. What is durable in a member's own checkpoint it tells the others, and again in each new session. A log is cut at
   the lowest of all members' claims: then nobody needs from another what is gone, for who restarts has its checkpoint
   at least. A member that is away, or behind, holds the cut for ``snapshot_catchup_entries`` below the own checkpoint;
   then it is cut without that member, which is sent a snapshot when it is back. It holds nothing where twice as much
   log is below the checkpoint as lets another one begin (rule 1 of ``checkpoints``): a group in which nothing happens
   would else keep that of all others.
2. What is cut a majority has in checkpoints, in each half of a joint configuration, and has said so in a session that
   lasts. Where no majority can be reached nothing is cut that all have not claimed. Who is no member any more, or not
   yet, cuts nothing that it lacks itself.
3. A log is cut at an index for which a checkpoint was claimed, the own or another member's: with each index goes the
   era with which its entry was delivered, which nothing else may imply.
4. A member that spoke a version without snapshots when it was met last holds the cut for as long as it takes: nothing
   could be sent to it in place of what is gone.
5. To whom a snapshot is or was sent needs what comes next: its leader cuts nothing above the snapshot while it is on
   its way, and then nothing that such a member has not acknowledged, until it lacks no more than who is away may lack.
   So one snapshot is enough for who takes entries faster than they are written. Once the snapshot is there it holds
   nothing where so much log is kept as rule 1 says, nor when it has acknowledged nothing new for
   ``snapshot_patience_us``. (Cut beyond a snapshot on its way, where writes are many and the link is slow, the log
   would be too short for each one that is sent.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ratified.consensus.contract import Membership, Status
from ratified.node.config import NodeLimits
from ratified.storage.checkpoint import Claim

CLAIMS_KEPT = 64
"""So many of its own a node remembers; of more, every other one."""


class _CatchingUp(NamedTuple):
    """A member that was sent a snapshot."""

    acknowledged: int
    since: int


class Claims:
    """Up to where each member of a group has a durable checkpoint, and where the log may be cut."""

    def __init__(self, member: int, own: Claim | None, limits: NodeLimits) -> None:
        self._member = member
        self._limits = limits
        self.holds_much = False
        """So much log is kept that who is away holds no more of it (rule 1)."""
        self._latest: dict[int, Claim] = {}
        self._without_snapshots: dict[int, None] = {}
        """Who could not be sent one."""
        self._own: list[Claim] = []
        """Ascending: the present one, and those before it at which the log was not cut."""
        self._catching_up: dict[int, _CatchingUp] = {}
        if own is not None:
            self.take(member, own)

    @property
    def own(self) -> Claim | None:
        return self._latest.get(self._member)

    def take(self, member: int, claim: Claim) -> None:
        """A member's claims ascend for as long as its process lives."""
        known = self._latest.get(member)
        if known is not None and claim.index <= known.index:
            return
        self._latest[member] = claim
        if member == self._member:
            self._own.append(claim)
            if len(self._own) > CLAIMS_KEPT:
                del self._own[:-1:2]

    def forget(self, member: int) -> None:
        """It may come back with another data directory."""
        self._latest.pop(member, None)

    def takes_snapshots(self, member: int, *, takes: bool) -> None:
        """Could it be sent a snapshot, when it was met last?"""
        self._without_snapshots.pop(member, None)
        if not takes:
            self._without_snapshots[member] = None

    def snapshot_sent(self, now: int, member: int, index: int) -> None:
        """This member has installed a snapshot of that index."""
        self._catching_up[member] = _CatchingUp(index, now)

    def held(self, now: int, status: Status, sending: int | None) -> int | None:
        """Rule 5: no higher may the log be cut; None: that holds nothing.

        ``sending`` is the lowest index of the snapshots that are on their way.
        """
        if self.holds_much or status.leader != status.member:
            self._catching_up.clear()
        members = list(_members(status.membership))
        for member, known in list(self._catching_up.items()):
            progress = status.progress.get(member)
            if progress is not None and progress.acknowledged > known.acknowledged:
                known = self._catching_up[member] = _CatchingUp(progress.acknowledged, now)
            is_near = known.acknowledged + self._limits.snapshot_catchup_entries >= status.commit
            if is_near or member not in members or now >= known.since + self._limits.snapshot_patience_us:
                del self._catching_up[member]
        held = [known.acknowledged for known in self._catching_up.values()]
        return min(held if sending is None else [*held, sending], default=None)

    def cut(self, membership: Membership, most: int | None) -> Claim | None:
        """Where the log may be cut, no higher than ``most``; None: nowhere."""
        lowest = self._lowest((self._member, *_members(membership)))
        if lowest is None or (most is not None and lowest.index > most):
            lowest = None
        without = self._without_some(membership, most)
        found = max((claim for claim in (lowest, without) if claim is not None), key=_index, default=None)
        if found is not None:
            self._own = [claim for claim in self._own if claim.index > found.index]
        return found

    def _lowest(self, members: Iterable[int]) -> Claim | None:
        """What all of them have; None: one has said nothing, or there is nobody yet."""
        claims = [self._latest.get(member) for member in members]
        said = [claim for claim in claims if claim is not None]
        return min(said, key=_index) if said and len(said) == len(claims) else None

    def _without_some(self, membership: Membership, most: int | None) -> Claim | None:
        """Rules 1 and 2: the highest index that was claimed, and that may be cut whatever a minority lacks."""
        own = self.own
        if own is None or not membership.voters:
            return None
        catchup_entries = 0 if self.holds_much else self._limits.snapshot_catchup_entries
        limit = min(self._most_have(membership.voters), own.index - catchup_entries)
        if membership.outgoing:
            limit = min(limit, self._most_have(membership.outgoing))
        if most is not None:
            limit = min(limit, most)
        for member in _members(membership):
            if member in self._without_snapshots:
                claim = self._latest.get(member)
                limit = min(limit, 0 if claim is None else claim.index)
        known = [*self._own, *self._latest.values()]
        return max((claim for claim in known if claim.index <= limit), key=_index, default=None)

    def _most_have(self, voters: Sequence[int]) -> int:
        """Up to where a majority of them has checkpoints."""
        claims = [self._latest.get(member) for member in voters]
        indexes = sorted(0 if claim is None else claim.index for claim in claims)
        return indexes[(len(indexes) - 1) // 2]


def _index(claim: Claim) -> int:
    return claim.index


def _members(membership: Membership) -> Iterable[int]:
    return (*membership.voters, *membership.outgoing, *membership.learners)
