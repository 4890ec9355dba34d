"""Users, and nobody, who watch keys that users put, on one node after the other: none is sent what it may not read."""

from __future__ import annotations

from ratified.check.users import Users
from ratified.kv import queries
from ratified.kv.identity import Identity
from ratified.node.ports import Outcome, Work
from ratified.sim.cluster import Cluster
from ratified.sim.workload.kv_api import body_of
from ratified.sim.workload.requester import Requester
from ratified.sim.workload.users import KEYS, USERS
from ratified.wire.etcd.rpc_pb2 import WatchCreateRequest, WatchResponse

STAY_TIMEOUTS = 20
"""Election timeouts that a watch may last: meanwhile who watches may have lost its permission."""


class UserWatcher:
    """Watches one key after the other."""

    def __init__(self, number: int, group: int, cluster: Cluster, users: Users) -> None:
        self.requester = Requester(number, group, cluster, self._ended, self._got)
        self._world = cluster.world
        self._users = users
        self._stay_most_us = STAY_TIMEOUTS * cluster.options.election_timeout_us
        self._user: str | None = None
        self._key = KEYS[0]

    def act(self) -> None:
        requester = self.requester
        if not requester.find_process():
            self._later()
            return
        draws, stage = requester.draws, self._users.stage
        self._key = KEYS[draws.below(len(KEYS))]
        self._user = USERS[draws.below(len(USERS))] if stage.enabled else None
        query = queries.watch(requester.number, WatchCreateRequest(key=self._key).SerializeToString())
        if self._user is not None:
            query = queries.asked_by(Identity(self._user, stage.revision), query)
        requester.ask(Work.READ_LOCAL, query, self._stay_most_us)
        self._world.at(
            self._world.now + 1 + draws.below(self._stay_most_us),
            requester.number,
            requester.member,
            self._leave,
            requester.token,
        )

    def stop(self) -> None:
        self.requester.stop()

    def waiting(self) -> str | None:
        return None

    def _got(self, part: bytes) -> None:
        response = WatchResponse.FromString(body_of(part))
        if response.canceled and not response.created:
            self._world.counters["users: watches ended"] += 1
        for event in response.events:
            self._users.sent(self._user, self._key, event.kv.value)

    def _leave(self, token: int) -> None:
        if self.requester.open and token == self.requester.token:
            self.requester.cancel()
            self.requester.end(Outcome.UNKNOWN)

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        self._later()

    def _later(self) -> None:
        self.requester.later(self._stay_most_us // 10, self.act)
