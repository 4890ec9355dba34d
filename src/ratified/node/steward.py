"""What the leader of group 0 does for members that come and go, and leaders of other groups to follow it.

Rules:

1. It binds the data directory of a member that was added, once that has answered at the member's own address.
2. It lets a learner vote that was added to vote, once it has caught up.
3. It says that a leaving member has left, once no group on this node needs it: each has a configuration without it,
   which is settled.
4. The leader of any other group has that take over the configuration of group 0, where that is settled.
5. It looks every heartbeat while there is something of this to do. One proposal a group is open at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

from ratified.consensus.contract import Change, Kind, Membership, Status
from ratified.node.changes import encoded, has_caught_up, promotion
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import Bind, Leave, encode_change
from ratified.node.config import NodeConfig
from ratified.node.directories import Directories
from ratified.node.requests import OpenRequest, Requests
from ratified.node.timers import Timer, Timers

DEADLINE_TIMEOUTS = 8
"""How long one proposal may take, in election timeouts."""


class Steward:
    def __init__(
        self, config: NodeConfig, cluster: ClusterLog, directories: Directories, requests: Requests, timers: Timers
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._directories = directories
        self._requests = requests
        self._timers = timers
        self._open: dict[int, OpenRequest] = {}
        """By group."""
        self._next_at = 0

    def ended(self, token: int) -> None:
        """One of the node's own requests has ended: it is one of these, or not."""
        self._open = {group: request for group, request in self._open.items() if request.token != token}

    def due(self, now: int, statuses: Mapping[int, Status], cluster_group: int) -> list[OpenRequest]:
        """What is to be proposed now, by this node's groups as they are."""
        own = self._config.member
        leads = [group for group, status in statuses.items() if status.leader == own and status.serving]
        found: list[OpenRequest] = []
        for group in leads:
            if group in self._open:
                continue
            if group == cluster_group:
                chore = self._chore(statuses, statuses[group])
            else:
                chore = _follow(statuses[group], statuses[cluster_group])
            if chore is not None:
                deadline = now + DEADLINE_TIMEOUTS * self._config.election_timeout_us
                self._open[group] = self._requests.open_own(group, *chore, deadline)
                found.append(self._open[group])
        return found

    def looks(self, now: int, *, several_groups: bool) -> bool:
        """Is it time to look again, and is there anything to look for?"""
        if not several_groups and not self._has_chores:
            return False
        if now < self._next_at:
            return False
        self._next_at = now + self._config.heartbeat_us
        self._timers.set(Timer.STEWARD, 0, self._next_at)
        return True

    @property
    def _has_chores(self) -> bool:
        rows = self._cluster.table.members.values()
        return any(row.leaving or row.directory == b"" or row.votes_soon for row in rows)

    def _chore(self, statuses: Mapping[int, Status], status: Status) -> tuple[Kind, bytes] | None:
        for member, row in self._cluster.table.members.items():
            if row.leaving and all(_is_rid_of(each, member) for each in statuses.values()):
                return Kind.NODE, encode_change(Leave(member))
            if row.directory == b"" and (found := self._directories.unbound.get(member)) is not None:
                return Kind.NODE, encode_change(Bind(member, found.directory))
            is_learner = row.votes_soon and member in status.membership.learners
            if is_learner and status.settled and has_caught_up(status, member):
                return Kind.MEMBERSHIP, encoded(promotion(status.membership, member))
        return None


def _is_rid_of(status: Status, member: int) -> bool:
    return status.settled and member not in _all(status.membership)


def _all(membership: Membership) -> set[int]:
    return {*membership.voters, *membership.outgoing, *membership.learners}


def _follow(status: Status, first: Status) -> tuple[Kind, bytes] | None:
    """Have this group take over the configuration of group 0."""
    if not first.settled or not status.settled or status.membership == first.membership:
        return None
    return Kind.MEMBERSHIP, encoded(Change(status.membership, first.membership))
