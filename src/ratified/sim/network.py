"""The simulated network: connections between machines, two models of what happens to messages, and cuts.

Rules:

1. *Session*: what TCP gives. Frames of a connection arrive in order; where a link is cut they wait,
   as TCP sends again, until it heals, or until the connection breaks; then what has not arrived never will.
2. *Datagram*: every message of a ``Batch`` goes its own way and may be lost, duplicated, delayed, reordered.
   Hello, Goodbye and Ping keep the session model and their order, so that a handshake means what it says.
3. A cut is directed, from one member to another, and counted: two partitions that overlap heal one by one.
4. The two ends of a connection learn of its end at different times. An end that knows neither sends nor receives.
5. A node's outputs say whom it dials: of two members the one with the lower id, mostly. It dials again until somebody
   answers.
6. A *challenge* is a connection of its own, on which the dialler sends nothing and hears one Hello.
7. A *stranger* reaches every machine that is up, whatever is cut, and hears nothing of what is said to it, but for one
   who asks to join. It says frames, or bytes, which the codec of ``wire`` reads as they come; where they are none the
   connection ends.
8. A link carries ``bytes_per_second``, one frame after another; whoever waits for a long frame hears that bytes arrive.
   What a connection had under way is gone from the link when the next one is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from ratified.node.ports import Challenged, Connected, Disconnected, Heard, Input, Received
from ratified.sim.options import NetworkModel, NetworkOptions
from ratified.sim.world import Concern, Draws, World
from ratified.wire.codec import PeerCodec
from ratified.wire.peer import Batch, Forward, Fragment, Frame, Hello

HEARD_EVERY_US = 10_000
"""How often somebody who waits for a long frame hears bytes of it."""
MESSAGE_BYTES = 40
"""What a message takes on a link beside entries and commands, roughly."""

Carry = Callable[[int, int, Frame], Frame | None]
"""``(source, target, frame)`` -> what travels in the frame's place; None: it is lost."""


class Endpoint(Protocol):
    """A machine, as the network sees it."""

    @property
    def up(self) -> bool:
        """A process listens."""

    def offer(self, given: Input) -> None:
        """An input for the node on it."""

    def dials(self, member: int) -> bool:
        """Whether its node wants a connection to this member from its own side."""

    def receive(self, connection: int, codec: PeerCodec, data: bytes) -> bool:
        """Bytes came on a connection, which ``codec`` reads; False: they are no frames, so it ends."""


class Bytes(NamedTuple):
    """What a stranger sends."""

    data: bytes
    piece_bytes: int
    """How many come at once."""
    every_us: int
    """How long it is from one piece to the next."""


class _Flow:
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


STRANGER = 0
"""Stands where a member's id stands, for whoever dials and is no member."""


class _Purpose(Enum):
    MEMBERS = 1
    """The one connection that two members keep up."""
    CHALLENGE = 2
    STRANGER = 3


class _Connection:
    """Two ends and two flows; ``open`` says per end whether it knows of no end."""

    __slots__ = ("broken", "dialer", "flows", "id", "open", "purpose", "target")

    def __init__(self, number: int, dialer: int, target: int, purpose: _Purpose) -> None:
        self.id = number
        self.dialer = dialer
        self.target = target
        self.purpose = purpose
        self.open = {dialer: True, target: True}
        self.broken = False
        """Nothing that is sent from now on arrives."""
        self.flows = {dialer: _Flow(dialer, target), target: _Flow(target, dialer)}

    def other(self, member: int) -> int:
        return self.target if member == self.dialer else self.dialer


class Network:
    """All links of one world."""

    def __init__(
        self,
        world: World,
        members: tuple[int, ...],
        model: NetworkModel,
        options: NetworkOptions,
        carry: Carry | None = None,
        make_codec: Callable[[], PeerCodec] | None = None,
    ) -> None:
        self.options = options
        self._make_codec = make_codec
        self._world = world
        self._model = model
        self._carry = carry
        self._counters = world.counters
        self._endpoints: dict[int, Endpoint] = {}
        self._connections: dict[int, _Connection] = {}
        self._connection_last = 0
        self._listeners: dict[int, Callable[[Frame], None]] = {}
        """By connection, who hears what is said to a stranger."""
        self._dialed: dict[tuple[int, int], int] = {}
        self._dialing: dict[tuple[int, int], int] = {}
        pairs = [(a, b) for a in (STRANGER, *members) for b in (STRANGER, *members) if a != b]
        self._cuts = dict.fromkeys(pairs, 0)
        self._dialers = [(a, b) for a in members for b in members if a < b]
        seed = world.seed
        self._latency = {pair: Draws(seed, Concern.LATENCY, *pair) for pair in pairs}
        self._loss = {pair: Draws(seed, Concern.LOSS, *pair) for pair in pairs}
        self._duplicate = {pair: Draws(seed, Concern.DUPLICATE, *pair) for pair in pairs}
        self._break = {pair: Draws(seed, Concern.BREAK, *pair) for pair in pairs}
        self._dial = {pair: Draws(seed, Concern.DIAL, *pair) for pair in pairs}
        self._free_at = dict.fromkeys(pairs, 0)
        """When each link will have carried all that was given to it."""

    def attach(self, member: int, endpoint: Endpoint) -> None:
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

    def dial(self, dialer: int, target: int) -> None:
        """The dialler's node wants a connection to this member now."""
        if (dialer, target) not in self._dialed:
            self._redial((dialer, target))

    def _redial(self, pair: tuple[int, int]) -> None:
        attempt = self._dialing.get(pair, 0) + 1
        self._dialing[pair] = attempt
        delay = self._dial[pair].between(self.options.redial_least_us, self.options.redial_most_us)
        self._world.at(self._world.now + delay, *pair, self._try_dial, pair, attempt)

    def _try_dial(self, pair: tuple[int, int], attempt: int) -> None:
        dialer, target = pair
        if attempt != self._dialing[pair] or not self._endpoints[dialer].up or pair in self._dialed:
            return
        if not self._endpoints[dialer].dials(target):
            return
        if self._cuts[pair] or self._cuts[target, dialer] or not self._endpoints[target].up:
            self._redial(pair)
            return
        connection = self._connect(dialer, target, _Purpose.MEMBERS)
        self._dialed[pair] = connection.id
        self._free_at[pair] = self._free_at[target, dialer] = self._world.now
        self._endpoints[dialer].offer(Connected(connection.id, target))
        self._endpoints[target].offer(Connected(connection.id, None))
        self._counters["connections"] += 1

    def challenge(self, dialer: int, target: int) -> None:
        """``dialer`` wants to hear once who answers at ``target``'s address."""
        self._world.at(
            self._world.now + self._delay(dialer, target), dialer, target, self._try_challenge, dialer, target
        )

    def _try_challenge(self, dialer: int, target: int) -> None:
        if not self._endpoints[dialer].up:
            return
        if self._cuts[dialer, target] or self._cuts[target, dialer] or not self._endpoints[target].up:
            self._endpoints[dialer].offer(Challenged(target, None))
            return
        self._counters["challenges"] += 1
        connection = self._connect(dialer, target, _Purpose.CHALLENGE)
        self._endpoints[target].offer(Connected(connection.id, None))

    def stranger(self, target: int, frames: Sequence[Frame], stays_us: int) -> None:
        """Somebody who is no member dials ``target``, says this, and hangs up so much later."""
        if not self._endpoints[target].up:
            return
        self._counters["strangers"] += 1
        connection = self._connect(STRANGER, target, _Purpose.STRANGER)
        self._endpoints[target].offer(Connected(connection.id, None))
        for frame in frames:
            self.send(STRANGER, connection.id, frame)
        self._world.at(self._world.now + stays_us, STRANGER, target, self.hang_up, STRANGER, connection.id)

    def ask(self, target: int, question: Frame, answered: Callable[[Frame], None]) -> None:
        """Somebody who is no member yet dials ``target``, and hears what is said to it."""
        if self._endpoints[target].up:
            connection = self._connect(STRANGER, target, _Purpose.STRANGER)
            self._listeners[connection.id] = answered
            self._endpoints[target].offer(Connected(connection.id, None))
            self.send(STRANGER, connection.id, question)

    def stranger_bytes(self, target: int, sent: Bytes, stays_us: int) -> None:
        """The same with bytes, piece by piece, before or behind which the stranger hangs up."""
        assert self._make_codec is not None, "nobody here reads bytes"
        if not self._endpoints[target].up:
            return
        connection = self._connect(STRANGER, target, _Purpose.STRANGER)
        self._endpoints[target].offer(Connected(connection.id, None))
        self._receive_piece(connection, self._make_codec(), sent)
        at = self._world.now + stays_us + len(sent.data) // sent.piece_bytes * sent.every_us
        self._world.at(at, STRANGER, target, self.hang_up, STRANGER, connection.id)

    def _receive_piece(self, connection: _Connection, codec: PeerCodec, sent: Bytes) -> None:
        target = connection.target
        if not connection.open[target]:
            self._counters["strangers put out"] += bool(sent.data)
            return
        piece = sent.data[: sent.piece_bytes]
        if not self._endpoints[target].receive(connection.id, codec, piece):
            self._close_end(connection, target, tell=True)
        elif len(sent.data) > len(piece):
            rest = sent._replace(data=sent.data[len(piece) :])
            self._world.at(
                self._world.now + sent.every_us, STRANGER, target, self._receive_piece, connection, codec, rest
            )

    def _connect(self, dialer: int, target: int, purpose: _Purpose) -> _Connection:
        self._connection_last += 1
        connection = _Connection(self._connection_last, dialer, target, purpose)
        self._connections[connection.id] = connection
        return connection

    # -----------------------------------------------------------------------------------------------------------
    # Frames

    def peer_of(self, member: int, number: int) -> int | None:
        """Who is at the other end of this member's connection; None: it is closed."""
        connection = self._connections.get(number)
        return connection.other(member) if connection is not None and connection.open.get(member) else None

    def send(self, member: int, number: int, frame: Frame) -> None:
        """``member`` sends on its connection; on a closed one nothing happens."""
        connection = self._connections.get(number)
        if connection is None or not connection.open[member] or connection.broken:
            return
        flow = connection.flows[member]
        pair = (flow.source, flow.target)
        if self._break[pair].chance(self.options.break_chance):
            self._counters["connections broken"] += 1
            self._break_off(connection)
            return
        if self._carry is not None:
            carried = self._carry(flow.source, flow.target, frame)
            if carried is None:
                return
            frame = carried
        if self._model is NetworkModel.DATAGRAM and isinstance(frame, Batch):
            for message in frame.messages:
                self._send_datagram(connection, flow, Batch((message,)))
        else:
            self._send_in_order(connection, flow, frame)

    def _send_in_order(self, connection: _Connection, flow: _Flow, frame: Frame) -> None:
        if flow.waiting or self._cuts[flow.source, flow.target]:
            flow.waiting.append(frame)
            if len(flow.waiting) == 1:
                delay = self._stall(flow.source, flow.target)
                self._world.at(
                    self._world.now + delay, flow.source, flow.target, self._stalled, connection, flow, frame
                )
            return
        # Events of one flow at one time keep their order, so an arrival may not come before the last one.
        carried = self._carried(connection, flow, frame) + self._delay(flow.source, flow.target)
        flow.ordered = flow.arrival = max(flow.arrival, carried)
        self._world.at(flow.arrival, flow.source, flow.target, self._arrive, connection, flow.target, frame)

    def _send_datagram(self, connection: _Connection, flow: _Flow, frame: Batch) -> None:
        pair = (flow.source, flow.target)
        copies = 1
        if self._cuts[pair]:
            self._counters["messages cut off"] += 1
            return
        if self._loss[pair].chance(self.options.loss_chance):
            self._counters["messages lost"] += 1
            return
        if self._duplicate[pair].chance(self.options.duplicate_chance):
            self._counters["messages duplicated"] += 1
            copies = 2
        for _ in range(copies):
            arrival = max(flow.ordered, self._carried(connection, flow, frame) + self._delay(*pair))
            if arrival < flow.arrival:
                self._counters["messages reordered"] += 1
            flow.arrival = max(flow.arrival, arrival)
            self._world.at(arrival, *pair, self._arrive, connection, flow.target, frame)

    def _carried(self, connection: _Connection, flow: _Flow, frame: Frame) -> int:
        """When the link has carried this frame."""
        now, pair = self._world.now, (flow.source, flow.target)
        rate = self.options.bytes_per_second
        if not rate:
            return now
        begins = max(now, self._free_at.get(pair, 0))
        ends = self._free_at[pair] = begins + _size(frame) * 1_000_000 // rate
        for at in range(begins + HEARD_EVERY_US, ends, HEARD_EVERY_US):
            self._world.at(at + self.options.latency_least_us, *pair, self._hear, connection, flow.target)
        return ends

    def _hear(self, connection: _Connection, target: int) -> None:
        if connection.open[target]:
            self._counters["bytes heard before their frame"] += 1
            self._endpoints[target].offer(Heard(connection.id))

    def _arrive(self, connection: _Connection, target: int, frame: Frame) -> None:
        if connection.purpose is _Purpose.CHALLENGE:
            self._answer(connection, target, frame)
        elif target == STRANGER and connection.id in self._listeners:
            self._listeners[connection.id](frame)
        elif connection.open[target] and target != STRANGER:
            self._counters["frames delivered"] += 1
            self._endpoints[target].offer(Received(connection.id, frame))

    def _answer(self, connection: _Connection, target: int, frame: Frame) -> None:
        if target == connection.dialer and connection.open[target]:
            self._endpoints[target].offer(Challenged(connection.target, frame if isinstance(frame, Hello) else None))
            self.hang_up(target, connection.id)

    def hang_up(self, member: int, number: int) -> None:
        """``member`` closes its connection, behind what it has sent on it."""
        connection = self._connections.get(number)
        if connection is None or not connection.open[member]:
            return
        peer = connection.other(member)
        flow = connection.flows[member]
        delay = self._stall(member, peer) if self._cuts[member, peer] else self._delay(member, peer)
        arrival = max(flow.arrival, self._world.now + delay)
        self._world.at(arrival, member, peer, self._end, connection, peer)
        self._close_end(connection, member, tell=False)

    # -----------------------------------------------------------------------------------------------------------
    # Cuts

    @property
    def cut_links(self) -> tuple[tuple[int, int], ...]:
        """Directed: from whom to whom nothing gets."""
        return tuple(pair for pair, cuts in self._cuts.items() if cuts)

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
            flow = connection.flows.get(source)
            if flow is not None and flow.target == target and flow.waiting:
                waiting, flow.waiting = flow.waiting, []
                for frame in waiting:
                    self._send_in_order(connection, flow, frame)

    def break_all(self, member: int) -> None:
        for connection in [c for c in self._connections.values() if c.open.get(member)]:
            self._counters["connections broken"] += 1
            self._break_off(connection)

    def break_between(self, one: int, other: int) -> None:
        self._break_off(self._connections[self._dialed[min(one, other), max(one, other)]])

    def _stalled(self, connection: _Connection, flow: _Flow, frame: Frame) -> None:
        if flow.waiting and flow.waiting[0] is frame:
            self._counters["connections stalled"] += 1
            self._break_off(connection)

    def _break_off(self, connection: _Connection) -> None:
        """Both ends will learn that the connection is gone, each in its own time."""
        connection.broken = True
        for member in (connection.dialer, connection.target):
            delay = self._delay(connection.other(member), member)
            self._world.at(self._world.now + delay, connection.other(member), member, self._end, connection, member)

    def _end(self, connection: _Connection, member: int) -> None:
        if connection.open[member]:
            self._close_end(connection, member, tell=True)

    def _close_end(self, connection: _Connection, member: int, *, tell: bool) -> None:
        connection.open[member] = False
        connection.flows[member].waiting = []
        if connection.purpose is _Purpose.CHALLENGE and member == connection.dialer:
            if tell:
                self._endpoints[member].offer(Challenged(connection.target, None))
        elif tell and member != STRANGER:
            self._endpoints[member].offer(Disconnected(connection.id))
        if member == connection.dialer and connection.purpose is _Purpose.MEMBERS:
            pair = (connection.dialer, connection.target)
            del self._dialed[pair]
            if self._endpoints[member].up:
                self._redial(pair)
        if not connection.open[connection.other(member)]:
            del self._connections[connection.id]

    # -----------------------------------------------------------------------------------------------------------
    # Draws

    def _delay(self, source: int, target: int) -> int:
        options = self.options
        draw = self._latency[source, target].draw()
        most = options.latency_most_us
        if options.slow_chance and (draw >> 40) % 1_000_000 < options.slow_chance:
            most = options.slow_most_us
        delay = options.latency_least_us + (draw & 0xFFFFFFFF) % (most - options.latency_least_us + 1)
        return delay - delay % options.grain_us

    def _stall(self, source: int, target: int) -> int:
        return self._latency[source, target].between(self.options.stall_least_us, self.options.stall_most_us)


def _size(frame: Frame) -> int:
    """What a frame takes on a link, roughly: encoding each to know would cost more than all else here."""
    match frame:
        case Batch(messages):
            return sum(MESSAGE_BYTES + _carried_bytes(message) for _, message in messages)
        case Fragment():
            return MESSAGE_BYTES + len(frame.data)
        case _:
            return MESSAGE_BYTES


def _carried_bytes(message: object) -> int:
    if isinstance(message, Forward):
        return sum(len(data or b"") for _, data, _ in message.proposals)
    return sum(map(len, getattr(message, "entries", ())))
