"""An operator who raises NOSPACE, finds that nothing is put while it stands, and takes it back.

Each round raises the alarm of another member. Once that is acknowledged, and before it is taken back, no put may be
acknowledged, on whatever node. An alarm whose raising had an unknown outcome may still come up later: the operator
takes back all that stand, and goes on looking to the end.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from ratified.check.violation import Violation
from ratified.kv import commands, queries
from ratified.node.ports import Outcome, Work
from ratified.sim.cluster import Cluster
from ratified.sim.workload.kv_api import NO_SPACE, body_of
from ratified.sim.workload.requester import Requester
from ratified.wire.etcd.rpc_pb2 import NOSPACE, AlarmRequest, AlarmResponse, PutRequest

PUTS_MAX = 4
"""That a round tries."""


class _Step(Enum):
    RAISE = "raise an alarm"
    PUT = "put while it stands"
    LOOK = "look which alarms stand"
    TAKE_BACK = "take one back"


class AlarmOperator:
    def __init__(self, number: int, group: int, cluster: Cluster) -> None:
        self.requester = Requester(number, group, cluster, self._ended)
        self._world = cluster.world
        self._timeout_us = cluster.options.election_timeout_us
        self._step = _Step.RAISE
        self._round = 1
        self._puts_left = 0
        self._standing: deque[int] = deque()
        self._is_last = False
        """No alarm is raised any more."""
        self._stands_none = False

    def act(self) -> None:
        requester = self.requester
        if not requester.find_process():
            self._later()
            return
        work = Work.READ if self._step is _Step.LOOK else Work.PROPOSE
        requester.ask(work, self._request(), self._timeout_us)
        requester.give_up_after(2 * self._timeout_us)

    def stop(self) -> None:
        self._is_last = True
        if self.requester.open:
            self.requester.end(Outcome.UNKNOWN)
        self._step = _Step.LOOK

    def waiting(self) -> str | None:
        return None if self._stands_none else "the operator of alarms does not know yet that none stands"

    def _request(self) -> bytes:
        match self._step:
            case _Step.RAISE:
                return self._change(AlarmRequest.ACTIVATE, self._round)
            case _Step.PUT:
                return commands.put(PutRequest(key=b"full", value=b"%d" % self.requester.token).SerializeToString())
            case _Step.LOOK:
                return queries.alarms(AlarmRequest(alarm=NOSPACE).SerializeToString())
            case _Step.TAKE_BACK:
                return self._change(AlarmRequest.DEACTIVATE, self._standing[0])

    def _change(self, action: AlarmRequest.AlarmAction.ValueType, member: int) -> bytes:
        return commands.alarm(AlarmRequest(action=action, memberID=member, alarm=NOSPACE).SerializeToString())

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        if outcome is Outcome.DONE:
            self._done(b"".join(parts))
        self._later()

    def _done(self, answer: bytes) -> None:
        match self._step:
            case _Step.RAISE:
                self._world.counters["alarms raised"] += 1
                self._step, self._puts_left = _Step.PUT, 1 + self.requester.draws.below(PUTS_MAX)
            case _Step.PUT:
                if answer != NO_SPACE:
                    raise Violation("alarms", f"a put is acknowledged while the alarm of {self._round} stands")
                self._world.counters["puts refused by alarms"] += 1
                self._puts_left -= 1
                if not self._puts_left:
                    self._step = _Step.LOOK
            case _Step.LOOK:
                found = AlarmResponse.FromString(body_of(answer)).alarms
                self._standing = deque(each.memberID for each in found)
                self._stands_none = self._is_last and not self._standing
                self._go_on()
            case _Step.TAKE_BACK:
                body_of(answer)
                self._standing.popleft()
                self._go_on()

    def _go_on(self) -> None:
        if self._standing:
            self._step = _Step.TAKE_BACK
        elif self._is_last or self._step is _Step.TAKE_BACK:
            self._step = _Step.LOOK
        else:
            self._round += 1
            self._step = _Step.RAISE

    def _later(self) -> None:
        self.requester.later(self._timeout_us // 2, self.act)
