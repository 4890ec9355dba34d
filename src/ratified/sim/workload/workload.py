"""All clients of one cluster: who they are, and the way of a reply to whom it is for."""

from __future__ import annotations

from itertools import count
from typing import Protocol

from ratified.check.linearizability import Operation
from ratified.check.register import Call, Result
from ratified.check.users import Users
from ratified.node.ports import Reply
from ratified.sim.cluster import Cluster
from ratified.sim.options import WorkloadOptions
from ratified.sim.workload.alarm_operator import AlarmOperator
from ratified.sim.workload.answers import Answers
from ratified.sim.workload.api import RegisterApi
from ratified.sim.workload.batch_writer import BatchWriter
from ratified.sim.workload.large_requests import LargeRequests
from ratified.sim.workload.lease_holder import LeaseHolder
from ratified.sim.workload.member_operator import MemberOperator
from ratified.sim.workload.quota_writer import QuotaWriter
from ratified.sim.workload.range_reader import RangeReader
from ratified.sim.workload.registers import RegisterClients
from ratified.sim.workload.requester import NUMBER_SHIFT, Requester
from ratified.sim.workload.together import Together
from ratified.sim.workload.user_watcher import UserWatcher
from ratified.sim.workload.users import UserClient, UserOperator
from ratified.sim.workload.watcher import Watcher

NUMBER_FIRST = 2_000
"""The numbers of all other clients begin behind those of the register clients."""


class Client(Protocol):
    """A client that is alone with its requests."""

    requester: Requester

    def act(self) -> None:
        """Do the next thing, on a drawn node."""

    def stop(self) -> None:
        """The end is near: make nothing more that others would have to wait for."""

    def waiting(self) -> str | None:
        """What it still waits for after that; None: nothing."""


class Workload:
    """All of them, as the machines see them."""

    def __init__(self, cluster: Cluster, api: RegisterApi, options: WorkloadOptions) -> None:
        groups = cluster.options.memberships
        answers = {group: Answers(group) for group in groups}
        self._registers = RegisterClients(cluster, answers, api, options)
        watchers: list[Client] = []
        lease_holders: list[Client] = []
        range_readers: list[Client] = []
        batch_writers: list[Client] = []
        numbers = count(NUMBER_FIRST)
        for group in groups:
            for _ in range(options.watchers):
                watchers.append(Watcher(next(numbers), group, cluster, answers[group]))
            for _ in range(options.lease_holders):
                lease_holders.append(LeaseHolder(next(numbers), group, cluster))
            for _ in range(options.range_readers):
                lags = options.headers_lag
                range_readers.append(RangeReader(next(numbers), group, cluster, answers[group], lags=lags))
        # On one group: a turn's slices are bounded for each group, and a watch sends a revision whole.
        first = next(iter(groups))
        for _ in range(options.batch_writers):
            batch_writers.append(BatchWriter(next(numbers), first, cluster, answers[first]))
        quota_writers: list[Client] = []
        if options.quota is not None:
            quota_writers.append(QuotaWriter(next(numbers), first, cluster, options.quota))
        large_requests = [
            LargeRequests(next(numbers), first, cluster, answers[first], large=options.large_values)
            for _ in range(options.large_requests)
        ]
        together = [
            Together(next(numbers), group, cluster, answers[group]) for group in groups for _ in range(options.together)
        ]
        users: list[Client] = []
        if options.users:
            judge = Users(cluster.checkers.groups[first])
            users += [UserOperator(next(numbers), first, cluster, judge) for _ in range(options.user_operators)]
            users += [UserClient(next(numbers), first, cluster, judge) for _ in range(options.users)]
            users += [UserWatcher(next(numbers), first, cluster, judge) for _ in range(options.users)]
        operators = [MemberOperator(next(numbers), cluster) for _ in range(options.member_operators)]
        alarm_operators = [AlarmOperator(next(numbers), first, cluster) for _ in range(options.alarm_operators)]
        clients = (
            *watchers,
            *lease_holders,
            *range_readers,
            *batch_writers,
            *quota_writers,
            *large_requests,
            *together,
            *users,
            *operators,
            *alarm_operators,
        )
        self._clients = {client.requester.number: client for client in clients}

    def start(self) -> None:
        self._registers.start()
        for client in self._clients.values():
            client.act()

    def stop(self) -> None:
        """The world has healed: begin nothing new but what must get through."""
        for client in self._clients.values():
            client.stop()
        self._registers.stop()

    def waiting(self) -> list[str]:
        """Who waits for whom; nobody: all is settled."""
        waiting = (client.waiting() for client in self._clients.values())
        return self._registers.waiting() + [text for text in waiting if text is not None]

    def histories(self) -> dict[tuple[int, bytes], list[Operation[Call, Result]]]:
        """By group and key."""
        return {
            (group, key): operations
            for group, history in self._registers.histories.items()
            for key, operations in history.operations().items()
        }

    def leave(self) -> None:
        """Nobody waits for anything any more."""
        for client in self._clients.values():
            client.requester.leave()

    def judge(self) -> None:
        """Judge what can only be judged at the end. Raises ``Violation``."""
        for history in self._registers.histories.values():
            history.judge()

    def replied(self, member: int, reply: Reply) -> None:
        """A node replied."""
        number = reply.token >> NUMBER_SHIFT
        if number == 0:
            self._registers.replied(member, reply)
            return
        self._clients[number].requester.replied(reply)

    def process_gone(self, member: int) -> None:
        self._registers.process_gone(member)
        for client in self._clients.values():
            client.requester.process_gone(member)
