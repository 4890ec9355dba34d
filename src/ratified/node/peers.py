"""Connections, the handshake, sessions, and the failure detector: one of each per pair of nodes, for all groups.

Rules:

1. Who dials is the port's matter; one side of each pair is enough. Both send Hello first, and nothing else before the
   other's Hello; no frame leaves before this start's incarnation is durable.
2. Where the two do not fit (cluster, identity, engine, versions, an incarnation that has been overtaken, a second
   start of the same incarnation) they part with a Goodbye that says why.
3. A session is one connection after both Hellos. A further connection of the same start replaces the older one.
   Session numbers are this node's own count; a message belongs to one session and is dropped with it.
4. Ping when nothing else was sent for a heartbeat. A connection from which nothing came for an election timeout is
   hung up, unless frames of it wait in the queue. Before the handshake only the Hello counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.node.config import NodeConfig
from ratified.node.ports import Hangup, Notice, Outgoing
from ratified.node.timers import Timer, Timers
from ratified.wire.peer import PROTOCOL_VERSION, Batch, Frame, Goodbye, Hello, Ping

_PING = Timer.PING
_SILENCE = Timer.SILENCE


class Session:
    """A peer that has shaken hands, on one connection."""

    __slots__ = ("connection", "hello", "incarnation", "member", "number", "open", "outbox")

    def __init__(self, connection: int, number: int, hello: Hello) -> None:
        self.connection = connection
        self.number = number
        self.hello = hello
        self.member = hello.member
        self.incarnation = hello.incarnation
        self.open = True
        self.outbox: list[tuple[int, object]] = []
        """Messages of this turn, with their groups."""


class _Connection:
    __slots__ = ("dialled", "id", "sent_at", "session")

    def __init__(self, connection: int, dialled: int | None, now: int) -> None:
        self.id = connection
        self.dialled = dialled
        self.session: Session | None = None
        self.sent_at = now


class Peers:
    def __init__(self, config: NodeConfig, incarnation: int, timers: Timers) -> None:
        self._config = config
        self._timers = timers
        self._hello = Hello(
            config.cluster,
            config.member,
            config.directory,
            incarnation,
            config.start,
            config.engine.name,
            PROTOCOL_VERSION,
            PROTOCOL_VERSION,
            config.name,
            config.client_urls,
        )
        self._changes: list[tuple[int, Session | None]] = []
        self._announced = False
        self._connections: dict[int, _Connection] = {}
        self._sessions: dict[int, Session] = {}
        self._hellos_held: dict[int, Hello] = {}
        """Hellos that came before ours could be sent, by connection."""
        self._last_number = 0
        self._known: dict[int, Hello] = {}
        """The last good Hello of every member: who started last."""
        self._frames: list[Outgoing] = []
        self._closes: list[Hangup] = []
        self.notices: list[Notice] = []

    # ---- inputs

    def connected(self, now: int, connection: int, dialled: int | None) -> None:
        self._connections[connection] = _Connection(connection, dialled, now)
        self._heard(now, connection)
        if self._announced:
            self._greet(now, self._connections[connection])

    def announce(self, now: int) -> None:
        """This start's incarnation is durable: from now on frames may leave."""
        self._announced = True
        for connection in self._connections.values():
            self._greet(now, connection)
        held, self._hellos_held = self._hellos_held, {}
        for number, hello in held.items():
            if number in self._connections:
                self._on_hello(now, self._connections[number], hello)

    def session_on(self, now: int, number: int) -> Session | None:
        """The session on a connection from which messages for the groups came; without one the two part."""
        connection = self._connections.get(number)
        if connection is None:
            return None
        if connection.session is None:
            self._part(now, connection, "messages before the handshake")
        else:
            self._heard(now, number)
        return connection.session

    def received(self, now: int, number: int, frame: Hello | Goodbye | Ping) -> None:
        """Take any other frame."""
        connection = self._connections.get(number)
        if connection is None:
            return
        if connection.session is not None:
            self._heard(now, number)
        match frame:
            case Hello():
                if self._announced:
                    self._on_hello(now, connection, frame)
                else:
                    self._hellos_held[number] = frame
            case Goodbye():
                self.notices.append(Notice(f"{self._whose(connection)} parted: {frame.reason}"))
                self.hang_up(now, number, f"the peer parted: {frame.reason}")
            case Ping():
                pass

    def disconnected(self, now: int, number: int) -> None:
        connection = self._connections.pop(number, None)
        if connection is not None:
            self._timers.stop(_SILENCE, number)
            self._timers.stop(_PING, number)
            self._lose_session(connection)

    def hang_up(self, now: int, number: int, reason: str) -> None:
        """Close a connection from this side; what still comes on it is ignored."""
        if number in self._connections:
            self._closes.append(Hangup(number, reason))
            self.disconnected(now, number)

    def close(self, now: int) -> None:
        for connection in list(self._connections.values()):
            self._part(now, connection, "the node is stopping")

    def drain_changes(self) -> Sequence[tuple[int, Session | None]]:
        """Sessions opened, or (None) lost, with their member, since the last call; in order."""
        if not self._changes:
            return ()
        changes, self._changes = self._changes, []
        return changes

    # ---- messages

    def session(self, member: int) -> Session | None:
        return self._sessions.get(member)

    def known(self) -> dict[int, Hello]:
        """The last good Hello of every member that was ever met."""
        return self._known

    # ---- once a turn

    def frames_wait(self, now: int, number: int) -> None:
        """Frames that came on this connection wait for a further turn."""
        if number in self._connections:
            self._heard(now, number)

    def on_silence(self, now: int, number: int) -> None:
        self.hang_up(now, number, "silent for an election timeout")

    def drain(self, now: int) -> tuple[list[Outgoing], list[Hangup]]:
        """What leaves in this turn: one batch per session that has messages, a Ping where all was quiet too long."""
        for session in self._sessions.values():
            connection = self._connections[session.connection]
            if session.outbox:
                messages, session.outbox = session.outbox, []
                self._send(now, connection, Batch(messages))
            elif connection.sent_at + self._config.heartbeat_us <= now:
                self._send(now, connection, Ping())
        frames, self._frames = self._frames, []
        closes, self._closes = self._closes, []
        return frames, closes

    # ---- the handshake

    def _greet(self, now: int, connection: _Connection) -> None:
        self._send(now, connection, self._hello)

    def _on_hello(self, now: int, connection: _Connection, hello: Hello) -> None:
        if connection.session is not None:
            self._part(now, connection, "a second Hello on one connection")
            return
        reason = self._why_not(connection, hello)
        if reason is not None:
            self.notices.append(Notice(f"member {hello.member:x} ({hello.name}) was refused: {reason}"))
            self._part(now, connection, reason)
            return
        older = self._sessions.get(hello.member)
        if older is not None:
            self.hang_up(now, older.connection, "replaced by a newer connection")
        self._known[hello.member] = hello
        self._last_number += 1
        connection.session = Session(connection.id, self._last_number, hello)
        self._heard(now, connection.id)
        self._timers.set(_PING, connection.id, connection.sent_at + self._config.heartbeat_us)
        self._sessions[hello.member] = connection.session
        self._changes.append((hello.member, connection.session))

    def _why_not(self, connection: _Connection, hello: Hello) -> str | None:
        """What keeps the two from a session; None: nothing."""
        ours = self._hello
        if hello.cluster != ours.cluster:
            return f"cluster {hello.cluster:x} is not cluster {ours.cluster:x}; check --initial-cluster and its token"
        if hello.member == ours.member:
            return f"member {hello.member:x} is this node's own id; two nodes must not have the same identity"
        if hello.member not in self._config.peers:
            return f"member {hello.member:x} is not a member of this cluster"
        if connection.dialled is not None and hello.member != connection.dialled:
            return f"member {hello.member:x} answers at the address of member {connection.dialled:x}"
        if hello.engine != ours.engine:
            return f"engine {hello.engine} is not engine {ours.engine}; all members must run the same"
        if hello.version_min > ours.version_max or hello.version_max < ours.version_min:
            return (
                f"protocol versions {hello.version_min} to {hello.version_max} and {ours.version_min} to "
                f"{ours.version_max} have none in common; upgrade the older node"
            )
        return self._why_overtaken(hello)

    def _why_overtaken(self, hello: Hello) -> str | None:
        known = self._known.get(hello.member)
        if known is None:
            return None
        if hello.incarnation < known.incarnation:
            return (
                f"incarnation {hello.incarnation} of member {hello.member:x} was overtaken by {known.incarnation}; "
                "an old copy of its data directory must not run"
            )
        if hello.incarnation == known.incarnation and hello.start != known.start:
            return (
                f"incarnation {hello.incarnation} of member {hello.member:x} runs twice; "
                "a copy of its data directory must not run"
            )
        return None

    def _part(self, now: int, connection: _Connection, reason: str) -> None:
        """Say why, and hang up."""
        if self._announced:
            self._send(now, connection, Goodbye(reason[:1024]))
        self.hang_up(now, connection.id, reason)

    def _lose_session(self, connection: _Connection) -> None:
        session = connection.session
        if session is not None:
            session.open = False
            session.outbox = []
            del self._sessions[session.member]
            self._changes.append((session.member, None))

    def _heard(self, now: int, number: int) -> None:
        self._timers.set(_SILENCE, number, now + self._config.election_timeout_us)

    def _send(self, now: int, connection: _Connection, frame: Frame) -> None:
        connection.sent_at = now
        if connection.session is not None:
            self._timers.set(_PING, connection.id, now + self._config.heartbeat_us)
        self._frames.append(Outgoing(connection.id, frame))

    def _whose(self, connection: _Connection) -> str:
        if connection.session is not None:
            return f"member {connection.session.member:x}"
        return f"member {connection.dialled:x}" if connection.dialled is not None else "a peer that dialled us"
