"""The simulated network: connections between machines, two models of what happens to messages, and cuts.

Rules:

1. *Session*: what TCP gives. Frames of a connection arrive in order; where a link is cut they wait,
   as TCP sends again, until it heals, or until the connection breaks; then what has not arrived never will.
2. *Datagram*: every message of a ``Batch`` goes its own way and may be lost, doubled, delayed, overtaken. Hello,
   Goodbye and Ping keep the session model and are not overtaken, so that a handshake means what it says.
3. A cut is directed, from one member to another, and counted: two partitions that overlap heal one by one.
4. The two ends of a connection learn of its end at different times. An end that knows neither sends nor receives.
5. Of two members the one with the lower id dials, and dials again until somebody answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from ratified.node.ports import Connected, Disconnected, Input, Received
from ratified.sim.world import Concern, Stream, World
from ratified.wire.peer import Batch, Frame


class Model(StrEnum):
    """What happens to messages under way."""

    SESSION = "session"
    DATAGRAM = "datagram"


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """How the network behaves; times in microseconds, chances in millionths."""

    grain_us: int = 1
    """Latencies are multiples of it: the coarser, the more happens at one instant, in a drawn order."""
    latency_least_us: int = 200
    latency_most_us: int = 2_000
    slow_chance: int = 0
    """A message that takes up to ``slow_most_us`` instead."""
    slow_most_us: int = 200_000
    loss_chance: int = 0
    duplicate_chance: int = 0
    break_chance: int = 0
    """A connection breaks instead of taking a frame."""
    stall_least_us: int = 200_000
    stall_most_us: int = 2_000_000
    """How long frames wait at a cut before their connection breaks."""
    redial_least_us: int = 10_000
    redial_most_us: int = 200_000


class Endpoint(Protocol):
    """A machine, as the network sees it."""

    @property
    def up(self) -> bool:
        """Somebody answers the phone."""

    def offer(self, given: Input) -> None:
        """An input for the node on it."""


class _Way:
    """One direction of a connection."""

    __slots__ = ("arrival", "ordered", "source", "target", "waiting")

    def __init__(self, source: int, target: int) -> None:
        self.source = source
        self.target = target
        self.arrival = 0
        """When the last frame of all that were sent arrives."""
        self.ordered = 0
        """When the last of those arrives that keep their order."""
        self.waiting: list[Frame] = []


class _Connection:
    """Two ends and two ways; ``open`` says per end whether it still believes in it."""

    __slots__ = ("dialer", "id", "open", "target", "ways")

    def __init__(self, number: int, dialer: int, target: int) -> None:
        self.id = number
        self.dialer = dialer
        self.target = target
        self.open = {dialer: True, target: True}
        self.ways = {dialer: _Way(dialer, target), target: _Way(target, dialer)}

    def other(self, member: int) -> int:
        return self.target if member == self.dialer else self.dialer


class Network:
    """All links of one world."""

    def __init__(
        self,
        world: World,
        members: tuple[int, ...],
        model: Model,
        weather: Weather,
        through_wire: Callable[[Frame], Frame] | None,
        counters: Counter[str],
    ) -> None:
        self.weather = weather
        self._world = world
        self._members = members
        self._model = model
        self._through_wire = through_wire
        self._counters = counters
        self._endpoints: dict[int, Endpoint] = {}
        self._connections: dict[int, _Connection] = {}
        self._connection_last = 0
        self._dialed: dict[tuple[int, int], int] = {}
        self._dialing: dict[tuple[int, int], int] = {}
        pairs = [(a, b) for a in members for b in members if a != b]
        self._cuts = dict.fromkeys(pairs, 0)
        self._dialers = [pair for pair in pairs if pair[0] < pair[1]]
        seed = world.seed
        self._latency = {pair: Stream(seed, Concern.LATENCY, *pair) for pair in pairs}
        self._loss = {pair: Stream(seed, Concern.LOSS, *pair) for pair in pairs}
        self._duplicate = {pair: Stream(seed, Concern.DUPLICATE, *pair) for pair in pairs}
        self._break = {pair: Stream(seed, Concern.BREAK, *pair) for pair in pairs}
        self._dial = {pair: Stream(seed, Concern.DIAL, *pair) for pair in pairs}

    def attach(self, member: int, endpoint: Endpoint) -> None:
        """This machine has this member's address."""
        self._endpoints[member] = endpoint

    # -----------------------------------------------------------------------------------------------------------
    # Machines come and go

    def machine_up(self, member: int) -> None:
        """A process was started: it dials whom it has to dial, and others reach it at their next attempt."""
        for pair in self._dialers:
            if pair[0] == member:
                self._redial(pair)

    def machine_down(self, member: int, *, silent: bool) -> None:
        """The process is gone. Its peers notice at once where its kernel says so, late where it is ``silent``."""
        for connection in [c for c in self._connections.values() if c.open.get(member)]:
            self._close_end(connection, member, tell=False)
            peer = connection.other(member)
            delay = self._stall(member, peer) if silent else self._delay(member, peer)
            self._world.at(self._world.now + delay, member, peer, self._end, connection, peer)

    def _redial(self, pair: tuple[int, int]) -> None:
        attempt = self._dialing.get(pair, 0) + 1
        self._dialing[pair] = attempt
        delay = self._dial[pair].between(self.weather.redial_least_us, self.weather.redial_most_us)
        self._world.at(self._world.now + delay, *pair, self._try_dial, pair, attempt)

    def _try_dial(self, pair: tuple[int, int], attempt: int) -> None:
        dialer, target = pair
        if attempt != self._dialing[pair] or not self._endpoints[dialer].up or pair in self._dialed:
            return
        if self._cuts[pair] or self._cuts[target, dialer] or not self._endpoints[target].up:
            self._redial(pair)
            return
        self._connection_last += 1
        connection = _Connection(self._connection_last, dialer, target)
        self._connections[connection.id] = connection
        self._dialed[pair] = connection.id
        self._endpoints[dialer].offer(Connected(connection.id, target))
        self._endpoints[target].offer(Connected(connection.id, None))
        self._counters["connections"] += 1

    # -----------------------------------------------------------------------------------------------------------
    # Frames

    def peer_of(self, member: int, number: int) -> int | None:
        """Who is at the other end of this member's connection; None: it is closed."""
        connection = self._connections.get(number)
        return connection.other(member) if connection is not None and connection.open.get(member) else None

    def send(self, member: int, number: int, frame: Frame) -> None:
        """``member`` sends on its connection; on a closed one nothing happens."""
        connection = self._connections.get(number)
        if connection is None or not connection.open[member]:
            return
        way = connection.ways[member]
        pair = (way.source, way.target)
        if self._break[pair].chance(self.weather.break_chance):
            self._counters["connections broken"] += 1
            self._break_off(connection)
            return
        if self._through_wire is not None:
            frame = self._through_wire(frame)
        if self._model is Model.DATAGRAM and isinstance(frame, Batch):
            for message in frame.messages:
                self._send_datagram(connection, way, Batch((message,)))
        else:
            self._send_in_order(connection, way, frame)

    def _send_in_order(self, connection: _Connection, way: _Way, frame: Frame) -> None:
        if way.waiting or self._cuts[way.source, way.target]:
            way.waiting.append(frame)
            if len(way.waiting) == 1:
                delay = self._stall(way.source, way.target)
                self._world.at(self._world.now + delay, way.source, way.target, self._stalled, connection, way, frame)
            return
        # Events of one way at one time keep their order, so an arrival may not come before the last one.
        way.ordered = way.arrival = max(way.arrival, self._world.now + self._delay(way.source, way.target))
        self._world.at(way.arrival, way.source, way.target, self._arrive, connection, way.target, frame)

    def _send_datagram(self, connection: _Connection, way: _Way, frame: Batch) -> None:
        pair = (way.source, way.target)
        copies = 1
        if self._cuts[pair]:
            self._counters["messages cut off"] += 1
            return
        if self._loss[pair].chance(self.weather.loss_chance):
            self._counters["messages lost"] += 1
            return
        if self._duplicate[pair].chance(self.weather.duplicate_chance):
            self._counters["messages doubled"] += 1
            copies = 2
        for _ in range(copies):
            arrival = max(way.ordered, self._world.now + self._delay(*pair))
            if arrival < way.arrival:
                self._counters["messages overtaken"] += 1
            way.arrival = max(way.arrival, arrival)
            self._world.at(arrival, *pair, self._arrive, connection, way.target, frame)

    def _arrive(self, connection: _Connection, target: int, frame: Frame) -> None:
        if connection.open[target]:
            self._counters["frames delivered"] += 1
            self._endpoints[target].offer(Received(connection.id, frame))

    def hang_up(self, member: int, number: int) -> None:
        """``member`` closes its connection, behind what it has sent on it."""
        connection = self._connections.get(number)
        if connection is None or not connection.open[member]:
            return
        peer = connection.other(member)
        way = connection.ways[member]
        delay = self._stall(member, peer) if self._cuts[member, peer] else self._delay(member, peer)
        arrival = max(way.arrival, self._world.now + delay)
        self._world.at(arrival, member, peer, self._end, connection, peer)
        self._close_end(connection, member, tell=False)

    # -----------------------------------------------------------------------------------------------------------
    # Cuts

    def cut(self, source: int, target: int) -> None:
        """From now on nothing gets from ``source`` to ``target``; what is under way does."""
        self._cuts[source, target] += 1

    def heal(self, source: int, target: int) -> None:
        """Undo one ``cut``."""
        self._cuts[source, target] -= 1
        assert self._cuts[source, target] >= 0, "a cut is healed once"
        if self._cuts[source, target]:
            return
        for connection in self._connections.values():
            way = connection.ways.get(source)
            if way is not None and way.target == target and way.waiting:
                waiting, way.waiting = way.waiting, []
                for frame in waiting:
                    self._send_in_order(connection, way, frame)

    def break_all(self, member: int) -> None:
        """Every connection of this member breaks."""
        for connection in [c for c in self._connections.values() if c.open.get(member)]:
            self._counters["connections broken"] += 1
            self._break_off(connection)

    def _stalled(self, connection: _Connection, way: _Way, frame: Frame) -> None:
        if way.waiting and way.waiting[0] is frame:
            self._counters["connections stalled"] += 1
            self._break_off(connection)

    def _break_off(self, connection: _Connection) -> None:
        """Both ends will learn that the connection is gone, each in its own time."""
        for member in (connection.dialer, connection.target):
            delay = self._delay(connection.other(member), member)
            self._world.at(self._world.now + delay, connection.other(member), member, self._end, connection, member)

    def _end(self, connection: _Connection, member: int) -> None:
        if connection.open[member]:
            self._close_end(connection, member, tell=True)

    def _close_end(self, connection: _Connection, member: int, *, tell: bool) -> None:
        connection.open[member] = False
        connection.ways[member].waiting = []
        if tell:
            self._endpoints[member].offer(Disconnected(connection.id))
        if member == connection.dialer:
            pair = (connection.dialer, connection.target)
            del self._dialed[pair]
            if self._endpoints[member].up:
                self._redial(pair)
        if not connection.open[connection.other(member)]:
            del self._connections[connection.id]

    # -----------------------------------------------------------------------------------------------------------
    # Draws

    def _delay(self, source: int, target: int) -> int:
        weather = self.weather
        draw = self._latency[source, target].draw()
        most = weather.latency_most_us
        if weather.slow_chance and (draw >> 40) % 1_000_000 < weather.slow_chance:
            most = weather.slow_most_us
        delay = weather.latency_least_us + (draw & 0xFFFFFFFF) % (most - weather.latency_least_us + 1)
        return delay - delay % weather.grain_us

    def _stall(self, source: int, target: int) -> int:
        return self._latency[source, target].between(self.weather.stall_least_us, self.weather.stall_most_us)
