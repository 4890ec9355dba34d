"""Clients that read and write few keys on every node, with time-outs, retries and abandoned requests."""

from __future__ import annotations

import msgspec

from ratified.check.register import Call, Delete, Get, Put, Swap
from ratified.check.watches import Event
from ratified.node.ports import Cancel, Outcome, Reply, Request, Work
from ratified.sim.cluster import Cluster
from ratified.sim.machine import Machine
from ratified.sim.options import WorkloadOptions
from ratified.sim.workload.answers import Answers
from ratified.sim.workload.api import RegisterApi
from ratified.sim.workload.history import Ended, History
from ratified.sim.workload.kv_api import NO_SPACE
from ratified.sim.world import Concern, Draws

CLIENT_FIRST = 1_000
"""Clients' ids in the world begin here, behind all members'."""


class OpenCall(msgspec.Struct):
    """A request under way."""

    token: int
    client: int
    member: int
    group: int
    key: bytes
    call: Call
    command: bytes | None
    """None: a read."""
    invoked: int
    floor: int
    chunks: list[bytes] = []
    """What came so far of an answer in pieces."""


class RegisterClients:
    """All of them together: they share keys, and tokens."""

    def __init__(
        self, cluster: Cluster, answers: dict[int, Answers], api: RegisterApi, options: WorkloadOptions
    ) -> None:
        self.open: dict[int, OpenCall] = {}
        self.histories = {group: History(group, requests) for group, requests in cluster.checkers.requests.items()}
        self._world = cluster.world
        self._counters = cluster.world.counters
        self._machines = cluster.machines
        self._cluster = cluster
        self._requests = cluster.checkers.requests
        self._groups = tuple(cluster.checkers.requests)
        self._answers = answers
        self._api = api
        self._options = options
        self._token_last = 0
        self._stopping = False
        self._probes: dict[int, tuple[int, int]] = {}
        self._not_probed: set[tuple[int, int]] = set()
        self._draws = {
            client: Draws(self._world.seed, Concern.CLIENT, client)
            for client in range(CLIENT_FIRST, CLIENT_FIRST + options.clients)
        }

    def start(self) -> None:
        for client in self._draws:
            self._think(client)

    def stop(self) -> None:
        """Begin nothing new but one write on every node of every group, which must get through."""
        self._stopping = True
        for member in self._cluster.members:
            for group in self._groups:
                self._not_probed.add((member, group))
                self._probe(member, group)

    def waiting(self) -> list[str]:
        return [
            f"request {call.token} of client {call.client} waits for member {call.member} in group {call.group}"
            for call in self.open.values()
        ] + [
            f"no write got through on member {member} in group {group}"
            for member, group in sorted(self._not_probed)
            if member in self._cluster.members
        ]

    # -----------------------------------------------------------------------------------------------------------
    # One client

    def _think(self, client: int) -> None:
        delay = 1 + self._draws[client].below(self._options.think_most_us)
        self._world.at(self._world.now + delay, client, client, self._act, client)

    def _act(self, client: int) -> None:
        if self._stopping:
            return
        draws = self._draws[client]
        member = draws.pick(self._cluster.members)
        machine = self._machines[member]
        if not machine.up:
            self._counters["requests without a process"] += 1
            self._think(client)
            return
        self._token_last += 1
        token = self._token_last
        group = draws.pick(self._groups)
        key = b"k%d" % draws.below(self._options.keys)
        call = self._draw_call(draws, token)
        timeout = draws.between(self._options.timeout_least_us, self._options.timeout_most_us)
        self._ask(client, token, machine, group, key, call, timeout)
        if draws.chance(self._options.abandon_chance):
            delay = draws.below(self._options.abandon_most_us)
            self._world.at(self._world.now + delay, client, member, self._abandon, token)
        # A process that does not even refuse is given up a while after the deadline it was given.
        self._world.at(self._world.now + 2 * timeout, client, member, self._abandon, token)

    def _draw_call(self, draws: Draws, token: int) -> Call:
        kind = draws.below(100)
        value = b"v%d" % token + b"." * self._options.value_bytes
        if kind < 40:
            return Put(value)
        if kind < 75:
            return Get()
        if kind < 88:
            return Swap(draws.below(4), value)
        return Delete()

    def _ask(self, client: int, token: int, machine: Machine, group: int, key: bytes, call: Call, timeout: int) -> None:
        command: bytes | None = None
        if isinstance(call, Get):
            work, data = Work.READ, self._api.query(key)
        else:
            work = Work.PROPOSE
            data = command = self._api.command(key, call, b"%d" % token)
            self._requests[group].requested(data)
        floor = self._answers[group].revisions.highest
        member = machine.member
        self.open[token] = OpenCall(token, client, member, group, key, call, command, self._world.executed, floor)
        self._counters["requests"] += 1
        if self._world.traced:
            self._world.trace(member, "request", client=client, token=token, key=key.decode(), call=repr(call))
        machine.offer(Request(token, group, work, data, self._world.now + timeout))

    # -----------------------------------------------------------------------------------------------------------
    # How requests end

    def replied(self, member: int, reply: Reply) -> None:
        call = self.open.get(reply.token)
        if call is None:
            return
        if reply.outcome is Outcome.CHUNK:
            call.chunks.append(reply.data)
            return
        del self.open[reply.token]
        assert call.member == member, "a reply comes from the node that was asked"
        self._world.trace(member, "reply", token=reply.token, outcome=reply.outcome.value)
        is_done = False
        match reply.outcome:
            case Outcome.DONE:
                answer = b"".join(call.chunks) + reply.data
                is_done = answer != NO_SPACE
                if is_done:
                    self._done(call, answer)
                else:
                    self._refused_by_alarm(call)
            case Outcome.REFUSED:
                self._counters[f"refused: {reply.reason}"] += 1
                if call.command is None:
                    self._counters["reads refused"] += 1
                else:
                    self._requests[call.group].refused(call.command)
            case Outcome.UNKNOWN:
                self._unknown(call)
        self._ended(call, is_done)

    def _done(self, call: OpenCall, data: bytes) -> None:
        result, revision, changed = self._api.answer(call.call, data)
        answers = self._answers[call.group]
        self._counters["requests done"] += 1
        if call.command is not None:
            self._requests[call.group].done(call.command)
        lags = call.command is None and self._options.headers_lag
        answers.revisions.answered(0 if lags else call.floor, revision, changed, f"request {call.token}")
        if changed:
            value = call.call.value if isinstance(call.call, Put | Swap) else None
            answers.watches.written(Event(revision, call.key, value))
        returned = self._world.executed
        ended = Ended(call.client, call.call, call.command, call.invoked, returned, result, revision)
        self.histories[call.group].ended(call.key, ended, changed=changed)

    def _refused_by_alarm(self, call: OpenCall) -> None:
        """It is in the log, and in no history: who reads what it would have written has read what nobody wrote."""
        assert call.command is not None, "reads are answered whatever alarm stands"
        self._requests[call.group].done(call.command)
        self._counters["requests refused by alarms"] += 1

    def _unknown(self, call: OpenCall) -> None:
        if call.command is not None:
            self._counters["requests of unknown outcome"] += 1
            ended = Ended(call.client, call.call, call.command, call.invoked, None)
            self.histories[call.group].ended(call.key, ended)

    def _abandon(self, token: int) -> None:
        call = self.open.pop(token, None)
        if call is None:
            return
        self._counters["requests abandoned"] += 1
        self._machines[call.member].offer(Cancel(token))
        self._unknown(call)
        self._ended(call, done=False)

    def process_gone(self, member: int) -> None:
        for call in [call for call in self.open.values() if call.member == member]:
            del self.open[call.token]
            self._unknown(call)
            self._ended(call, done=False)

    def _ended(self, call: OpenCall, done: bool) -> None:
        probe = self._probes.pop(call.token, None)
        if probe is None:
            self._think(call.client)
        elif done:
            self._not_probed.discard(probe)
        else:
            self._probe_later(*probe)

    # -----------------------------------------------------------------------------------------------------------
    # After the world has healed

    def _probe(self, member: int, group: int) -> None:
        """A write on this node that must get through; one that does not is asked again, as another write."""
        machine = self._machines[member]
        if not machine.up:
            self._probe_later(member, group)
            return
        self._token_last += 1
        token = self._token_last
        self._probes[token] = (member, group)
        self._ask(CLIENT_FIRST, token, machine, group, b"probe", Put(b"v%d" % token), self._options.probe_timeout_us)

    def _probe_later(self, member: int, group: int) -> None:
        delay = 1 + self._options.think_most_us
        self._world.at(self._world.now + delay, CLIENT_FIRST, member, self._probe, member, group)
