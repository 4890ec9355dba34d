"""What the leader of group 0 does for members that come and go, and leaders of other groups to follow it.

Rules:

1. It binds the data directory of a member that was added, once that has answered at the member's own address.
2. It lets a learner vote that was added to vote, once it has caught up.
3. It says that a leaving member has left, once no group needs it: group 0 has a configuration without it, which is
   settled, and no group is behind. Until none is, the member learns in group 0.
4. The leader of a group that is behind has it take over the configuration of group 0: who is to vote, and is no member
   of the group yet, learns first. It goes by a table that is as late as the time at which this leader has seen the
   group's own configuration (a read barrier of group 0). By an older one it would take the group back, to members that
   have left. For the same reason it proposes that itself, once, and lets nobody else propose it.
5. When that is settled its leader says so in group 0, to whose table it belongs. It asks before whether it leads still
   (a read barrier of the group), with the table known for which it will say that: a later leader could go by an earlier
   table else, where a configuration comes again that there was before.
6. Once all members know what a table can say of other groups, the leader of group 0 has that kept.
7. It looks every heartbeat while there is something of this to do, at ``GROUPS_A_LOOK`` groups of each kind at most.
   One proposal of it is open at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ratified.consensus.contract import Change, Era, Kind, Membership, Status
from ratified.node.changes import encoded, has_caught_up, promotion, without
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import (
    CLUSTER_GROUP,
    Bind,
    Follow,
    Keep,
    Leave,
    encode_change,
    encode_context,
    wanted_of,
)
from ratified.node.config import NodeConfig
from ratified.node.directories import Directories
from ratified.node.requests import OpenRequest, Requests
from ratified.node.timers import Timer, Timers

DEADLINE_TIMEOUTS = 8
"""How long one proposal may take, in election timeouts."""


GROUPS_A_LOOK = 128
"""Of those that this node leads, so many that have followed and so many that have not; others when these are done."""


class Seen(NamedTuple):
    """A group as its leader had it when it asked for a barrier, and the table."""

    era: Era
    membership: Membership
    since: int
    """Of the configuration that the table wants; 0: it may be a later one."""


class Barrier(NamedTuple):
    """A read barrier that is under way, and for what."""

    token: int
    of: int
    """Whose barrier it is: group 0's for its table, a group's own for who leads it."""
    seen: dict[int, Seen]


class Chores(NamedTuple):
    """What a node is to ask of its groups in this turn."""

    requests: list[OpenRequest]
    following: Mapping[int, Change]
    """The configuration to propose, by group; this node leads each of them."""


class Steward:
    def __init__(
        self, config: NodeConfig, cluster: ClusterLog, directories: Directories, requests: Requests, timers: Timers
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._directories = directories
        self._requests = requests
        self._timers = timers
        self._open: OpenRequest | None = None
        """A proposal in group 0."""
        self._barriers: dict[int, Barrier] = {}
        """Those that are under way, by group."""
        self._late: dict[int, Seen] = {}
        """For which groups the table is late enough."""
        self._confirmed: dict[int, Seen] = {}
        """Which groups this node has led with a table known."""
        self._next_at = 0

    def ended(self, token: int, *, done: bool) -> None:
        """One of the node's own requests has ended: it is one of these, or not."""
        if self._open is not None and self._open.token == token:
            self._open = None
            return
        barrier = next((each for each in self._barriers.values() if each.token == token), None)
        if barrier is None:
            return
        del self._barriers[barrier.of]
        if done:
            (self._late if barrier.of == CLUSTER_GROUP else self._confirmed).update(barrier.seen)
            if not self._barriers:
                self._next_at = 0

    def looks(self, now: int) -> bool:
        """Is it time to look again, and is there anything to look for?"""
        if not self._has_chores or now < self._next_at:
            return False
        self._next_at = now + self._config.heartbeat_us
        self._timers.set(Timer.STEWARD, 0, self._next_at)
        return True

    def due(self, now: int, led: Callable[[int], Status | None], *, all_know: bool) -> Chores:
        """What this node's groups are to do; ``led`` gives the status of a group that this node leads. ``all_know``: do
        all members know what a table can say of other groups?"""
        deadline = now + DEADLINE_TIMEOUTS * self._config.election_timeout_us
        target, since = self._cluster.table.configuration, self._cluster.table.since
        there: dict[int, Status] = {}
        others: dict[int, Status] = {}
        for group in self._cluster.table.behind:
            status = led(group)
            if status is not None and status.settled:
                kind = there if status.membership == target else others
                if len(kind) < GROUPS_A_LOOK:
                    kind[group] = status
        requests = self._ask(CLUSTER_GROUP, {group: _seen(each, 0) for group, each in others.items()}, deadline)
        for group, each in there.items():
            requests += self._ask(group, {group: _seen(each, since)}, deadline)
        if self._open is None:
            first = led(CLUSTER_GROUP)
            chore = None if first is None else self._chore(first) or (self._keep(first) if all_know else None)
            chore = chore or self._say_who_has_followed(there, since)
            if chore is not None:
                self._open = self._requests.open_own(CLUSTER_GROUP, *chore, deadline)
                requests.append(self._open)
        return Chores(requests, self._follow(others, target))

    def _ask(self, of: int, seen: dict[int, Seen], deadline: int) -> list[OpenRequest]:
        """Ask for a read barrier of this group, on behalf of these, unless that is known or under way."""
        known = self._late if of == CLUSTER_GROUP else self._confirmed
        if of in self._barriers or all(known.get(group) == each for group, each in seen.items()):
            return []
        request = self._requests.open_own_barrier(of, deadline)
        self._barriers[of] = Barrier(request.token, of, seen)
        return [request]

    @property
    def _has_chores(self) -> bool:
        table = self._cluster.table
        rows = table.members.values()
        return (
            self._is_to_be_kept
            or bool(table.behind)
            or any(row.leaving or row.directory == b"" or row.votes_soon for row in rows)
        )

    def _chore(self, status: Status) -> tuple[Kind, bytes] | None:
        """In group 0, which this node leads."""
        for member, row in self._cluster.table.members.items():
            if row.leaving:
                if (step := self._let_go(member, status)) is not None:
                    return step
                continue
            if row.directory == b"" and (found := self._directories.unbound.get(member)) is not None:
                return Kind.NODE, encode_change(Bind(member, found.directory))
            is_learner = row.votes_soon and member in status.membership.learners
            if is_learner and status.settled and has_caught_up(status, member):
                return Kind.MEMBERSHIP, encoded(promotion(status.membership, member))
        return None

    def _let_go(self, member: int, status: Status) -> tuple[Kind, bytes] | None:
        """The next step of a member's leaving, if it can be made."""
        table, membership = self._cluster.table, status.membership
        if not status.settled or member in membership.voters:
            return None
        if self._cluster.others and (table.behind or table.configuration != wanted_of(table, membership)):
            return None
        if member in membership.learners:
            return Kind.MEMBERSHIP, encoded(without(membership, member))
        return Kind.NODE, encode_change(Leave(member))

    # ---- other groups

    def _keep(self, status: Status) -> tuple[Kind, bytes] | None:
        """The same configuration once more: nothing else can come between what is seen here and what is kept."""
        if not self._is_to_be_kept or not status.settled:
            return None
        return Kind.MEMBERSHIP, encoded(Change(status.membership, status.membership, encode_context(Keep())))

    @property
    def _is_to_be_kept(self) -> bool:
        return bool(self._cluster.others) and self._cluster.table.configuration is None

    def _say_who_has_followed(self, there: Mapping[int, Status], since: int) -> tuple[Kind, bytes] | None:
        followed = [group for group, each in there.items() if self._confirmed.get(group) == _seen(each, since)]
        if not followed:
            return None
        for group in followed:
            del self._confirmed[group]
        return Kind.NODE, encode_change(Follow(tuple(followed), since))

    def _follow(self, others: Mapping[int, Status], target: Membership | None) -> Mapping[int, Change]:
        """The next configurations of those groups that are as they were when the table was made late enough."""
        late, self._late = self._late, {}
        return {
            group: Change(each.membership, _towards(target, each.membership))
            for group, each in others.items()
            if target is not None and late.get(group) == _seen(each, 0)
        }


def _seen(status: Status, since: int) -> Seen:
    return Seen(status.era, status.membership, since)


def _towards(target: Membership, membership: Membership) -> Membership:
    """Who is to vote, and is no member yet, learns first."""
    strangers = set(target.voters) - _all(membership)
    if not strangers:
        return target
    learners = tuple(sorted({*membership.learners, *strangers}))
    return Membership(membership.voters, (), learners, membership.apply_version)


def _all(membership: Membership) -> set[int]:
    return {*membership.voters, *membership.outgoing, *membership.learners}
