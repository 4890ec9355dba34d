"""Concurrent clients: reads and writes on few keys, on every node, with time-outs, retries and abandoned requests.

Rules:

1. A client has one request under way. When that has ended, in whatever way, it thinks for a drawn time and goes on, at
   a drawn node; one that finds nobody there tries another.
2. Every write's bytes are told apart from all others', so that the checks can say at most once.
3. How a request ended goes into the history as it is: done with its answer; refused, so that it never happened; or
   unknown, so that it stays open for ever: also where the process is gone, the client gave up, or nobody answered.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from typing import Protocol

import msgspec

from ratified.check.at_most_once import AtMostOnce
from ratified.check.linearizability import Operation
from ratified.check.register import Call, Delete, Get, Put, Result, Swap
from ratified.check.revisions import Revisions
from ratified.check.watches import Event, Watches
from ratified.node.ports import Cancel, Outcome, Reply, Request, Work
from ratified.sim.process import Machine
from ratified.sim.trace import Trace
from ratified.sim.world import Concern, Stream, World

CLIENT_FIRST = 1_000
"""Clients' ids in the world begin here, behind all members'."""


class Words(Protocol):
    """How the clients speak to one kind of store."""

    def command(self, key: bytes, call: Call, tag: bytes) -> bytes:
        """The command for a write; no other one has these bytes."""

    def read(self, key: bytes) -> bytes:
        """The request for a read."""

    def answer(self, call: Call, reply: bytes) -> tuple[Result, int, bool]:
        """Result, revision, and whether the revision is this call's own."""


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """What clients do; microseconds and millionths."""

    clients: int = 3
    keys: int = 3
    think_most_us: int = 50_000
    timeout_least_us: int = 100_000
    timeout_most_us: int = 5_000_000
    probe_timeout_us: int = 10_000_000
    """What the last writes may take: nobody may time out for being impatient."""
    value_bytes: int = 0
    """What every value is longer than it must be: several sectors make a write that can tear."""
    abandon_chance: int = 30_000
    abandon_most_us: int = 20_000


class Asked(msgspec.Struct):
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


class Clients:
    """All clients of a world, and their history."""

    def __init__(
        self,
        world: World,
        machines: dict[int, Machine],
        requests: dict[int, AtMostOnce],
        words: Words,
        habits: Habits,
        counters: Counter[str],
        trace: Trace,
    ) -> None:
        self.open: dict[int, Asked] = {}
        self.watches = {group: Watches(group) for group in requests}
        self.revisions = {group: Revisions(group) for group in requests}
        self._world = world
        self._machines = machines
        self._members = tuple(machines)
        self._requests = requests
        self._groups = tuple(requests)
        self._words = words
        self._habits = habits
        self._counters = counters
        self._trace = trace
        self._ended_requests: dict[tuple[int, bytes], list[tuple[Asked, int | None, Result, int]]] = {}
        self._made: dict[int, list[tuple[int, bytes]]] = {group: [] for group in requests}
        """Which command made which revision, ascending, as far as answers said so."""
        self._token_last = 0
        self._stopping = False
        self._probes: dict[int, tuple[int, int]] = {}
        self.probed: set[tuple[int, int]] = set()
        self._streams = {
            client: Stream(world.seed, Concern.CLIENT, client)
            for client in range(CLIENT_FIRST, CLIENT_FIRST + habits.clients)
        }

    def start(self) -> None:
        """Everybody begins."""
        for client in self._streams:
            self._think(client)

    def stop(self) -> None:
        """Nobody begins anything new."""
        self._stopping = True

    # -----------------------------------------------------------------------------------------------------------
    # One client

    def _think(self, client: int) -> None:
        delay = 1 + self._streams[client].below(self._habits.think_most_us)
        self._world.at(self._world.now + delay, client, client, self._act, client)

    def _act(self, client: int) -> None:
        if self._stopping:
            return
        draws = self._streams[client]
        member = draws.pick(self._members)
        machine = self._machines[member]
        if not machine.up:
            self._counters["clients found nobody"] += 1
            self._think(client)
            return
        self._token_last += 1
        token = self._token_last
        group = draws.pick(self._groups)
        key = b"k%d" % draws.below(self._habits.keys)
        call = self._draw_call(draws, token)
        timeout = draws.between(self._habits.timeout_least_us, self._habits.timeout_most_us)
        self._ask(client, token, machine, group, key, call, timeout)
        if draws.chance(self._habits.abandon_chance):
            delay = draws.below(self._habits.abandon_most_us)
            self._world.at(self._world.now + delay, client, member, self._abandon, token)
        # A process that does not even refuse is given up a while after the deadline it was given.
        self._world.at(self._world.now + 2 * timeout, client, member, self._abandon, token)

    def _draw_call(self, draws: Stream, token: int) -> Call:
        kind = draws.below(100)
        value = b"v%d" % token + b"." * self._habits.value_bytes
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
            work, data = Work.READ, self._words.read(key)
        else:
            work = Work.PROPOSE
            data = command = self._words.command(key, call, b"%d" % token)
            self._requests[group].requested(data)
        floor = self.revisions[group].highest
        self.open[token] = Asked(token, client, machine.member, group, key, call, command, self._world.executed, floor)
        self._counters["requests"] += 1
        if self._trace.on:
            self._trace.event(
                self._world.now,
                machine.member,
                "request",
                client=client,
                token=token,
                key=key.decode(),
                call=repr(call),
            )
        machine.offer(Request(token, group, work, data, self._world.now + timeout))

    # -----------------------------------------------------------------------------------------------------------
    # How requests end

    def replied(self, member: int, reply: Reply) -> None:
        """A node replied."""
        asked = self.open.get(reply.token)
        if asked is None:
            return
        if reply.outcome is Outcome.CHUNK:
            asked.chunks.append(reply.data)
            return
        del self.open[reply.token]
        assert asked.member == member, "a reply comes from the node that was asked"
        if self._trace.on:
            self._trace.event(self._world.now, member, "reply", token=reply.token, outcome=reply.outcome.value)
        match reply.outcome:
            case Outcome.DONE:
                self._done(asked, b"".join(asked.chunks) + reply.data)
            case Outcome.REFUSED:
                self._counters[f"refused: {reply.why}"] += 1
                if isinstance(asked.call, Get):
                    self._counters["reads refused"] += 1
                elif asked.command is not None:
                    self._requests[asked.group].refused(asked.command)
            case Outcome.UNKNOWN:
                self._unknown(asked)
        self._ended(asked, reply.outcome is Outcome.DONE)

    def _done(self, asked: Asked, data: bytes) -> None:
        result, revision, changed = self._words.answer(asked.call, data)
        self._counters["requests done"] += 1
        if asked.command is not None:
            self._requests[asked.group].done(asked.command)
        self.revisions[asked.group].answered(asked.floor, revision, changed, f"request {asked.token}")
        if changed:
            value = asked.call.value if isinstance(asked.call, Put | Swap) else None
            self.watches[asked.group].written(Event(revision, asked.key, value))
        self._record(asked, self._world.executed, result, revision, changed)

    def _unknown(self, asked: Asked) -> None:
        if not isinstance(asked.call, Get):
            self._counters["requests of unknown outcome"] += 1
            self._record(asked, None, None, 0, changed=False)

    def _record(self, asked: Asked, returned: int | None, result: Result, revision: int, changed: bool) -> None:
        self._ended_requests.setdefault((asked.group, asked.key), []).append((asked, returned, result, revision))
        if changed:
            assert asked.command is not None, "only a write changes something"
            insort(self._made[asked.group], (revision, asked.command))

    def histories(self) -> dict[tuple[int, bytes], list[Operation[Call, Result]]]:
        """What the clients saw of each group's keys. The place of a write in the log is its hint, and that of the write
        which made what a read saw, the read's: a hint decides what the checker tries first and nothing else."""
        return {
            key: [
                Operation(asked.client, asked.call, asked.invoked, returned, result, self._hint(asked, revision))
                for asked, returned, result, revision in ended
            ]
            for key, ended in sorted(self._ended_requests.items())
        }

    def _hint(self, asked: Asked, revision: int) -> int | None:
        delivered = self._requests[asked.group].delivered
        if asked.command is not None:
            index = delivered.get(asked.command)
            return None if index is None else 2 * index
        made = self._made[asked.group]
        place = bisect_right(made, revision, key=lambda row: row[0])
        return 2 * delivered[made[place - 1][1]] + 1 if place else None

    def _abandon(self, token: int) -> None:
        asked = self.open.pop(token, None)
        if asked is None:
            return
        self._counters["requests abandoned"] += 1
        self._machines[asked.member].offer(Cancel(token))
        self._unknown(asked)
        self._ended(asked, done=False)

    def process_gone(self, member: int) -> None:
        """All requests open on this member's process ended without a reply."""
        for asked in [asked for asked in self.open.values() if asked.member == member]:
            del self.open[asked.token]
            self._unknown(asked)
            self._ended(asked, done=False)

    def _ended(self, asked: Asked, done: bool) -> None:
        probe = self._probes.pop(asked.token, None)
        if probe is None:
            self._think(asked.client)
        elif done:
            self.probed.add(probe)
        else:
            self._probe_later(*probe)

    # -----------------------------------------------------------------------------------------------------------
    # After the world has healed

    def probe(self, member: int, group: int) -> None:
        """A write on this node that must get through; one that does not is asked again, as another write."""
        if not self._machines[member].up:
            self._probe_later(member, group)
            return
        self._token_last += 1
        token = self._token_last
        self._probes[token] = (member, group)
        machine = self._machines[member]
        self._ask(CLIENT_FIRST, token, machine, group, b"probe", Put(b"v%d" % token), self._habits.probe_timeout_us)

    def _probe_later(self, member: int, group: int) -> None:
        delay = 1 + self._habits.think_most_us
        self._world.at(self._world.now + delay, CLIENT_FIRST, member, self.probe, member, group)
