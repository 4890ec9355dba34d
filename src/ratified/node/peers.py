"""Connections, the handshake, sessions, and the failure detector: one of each per pair of nodes, for all groups.

Rules:

1. One side of each pair dials; which one, the table says (``cluster_table``). A member that was not met for
   ``MISSED_TIMEOUTS`` is dialled by the other side too: its table may not know us yet, or ours does not know that we
   were removed, while one of us was down. Both send Hello first, and nothing else before the other's Hello; no frame
   leaves before this start's incarnation is durable.
2. Where the two do not fit (``admission``) they part with a Goodbye that says why.
3. After the Hello, once it holds the other's directory durably, each side sends its Standing, and again when it has
   begun. A *session* is a connection on which both have begun and hold each other's directories: only there do
   messages for the groups pass. A further connection of the same start replaces the older one. Session numbers are
   this node's own count; a message belongs to one session and is dropped with it.
4. A claim to be a member's latest start is believed for as long as its connection lives. What answers at the member's
   own address is *confirmed* and remembered, durably: whom we dialled, or whom a challenge found there (the port dials
   once and reads the Hello). A claim that is news is challenged. Of two starts alive the older claim stays until the
   challenge has decided; a start that a confirmed one has overtaken is refused. So a stranger delays, at most.
5. Ping when nothing else was sent for a heartbeat. A connection from which nothing came for an election timeout, not
   even bytes of a frame, is hung up, unless frames of it wait in the queue. Until a member is admitted on it, nothing
   prolongs that.
6. What a session sends is scheduled by its ``SendQueue``. Where more waits than ``send_queue_bytes_max`` the session is
   ended, and counted: engines send again in the next one, as much as they have credit for.
7. Members in session tell each other the cluster tables that they hold: when the session opens, and when theirs has
   changed, unless the other one has told it. Else who was away while the present leader was added would refuse that
   one, and hear nothing. It is believed of a member that this node has dialled, and of nobody else, for it says who is
   met, and who has left for good. Who tells, after having dialled us, what is news here an election timeout later too,
   is dialled by this side.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ratified.consensus.contract import Size, Sizes
from ratified.node.admission import Admission, is_start
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import ClusterFormatError, decode_table, encode_table
from ratified.node.config import NodeConfig
from ratified.node.directories import Directories
from ratified.node.peer_counts import PROBE, PROBE_US, PeerCounts
from ratified.node.ports import Admitted, Hangup, Notice, Outgoing
from ratified.node.room import DiskRoom
from ratified.node.send_queue import SendQueue
from ratified.node.timers import Timer, Timers
from ratified.storage.format import BegunRecord, NodesOwn, PeerRecord
from ratified.wire.codec import Assembly, FrameError, MessageCodec
from ratified.wire.peer import (
    PROTOCOL_VERSION_MIN,
    SNAPSHOTS_SINCE,
    STARTS_BEFORE_MAX,
    TABLES_SINCE,
    Fragment,
    Frame,
    Goodbye,
    Hello,
    Join,
    Joined,
    Mark,
    Marked,
    OwnTable,
    Ping,
    Standing,
)

MISSED_TIMEOUTS = 10
"""Election timeouts without a member after which a node dials it even though it should dial us."""
_PING = Timer.PING
_SILENCE = Timer.SILENCE


class Session:
    """A peer whose messages count, on one connection."""

    __slots__ = (
        "assembly",
        "confirmed",
        "connection",
        "counts",
        "hello",
        "incarnation",
        "member",
        "number",
        "open",
        "opened_at",
        "probe_at",
        "probed_at",
        "queue",
        "table_index",
        "takes_snapshots",
        "takes_tables",
        "unbelieved",
    )

    def __init__(
        self,
        now: int,
        connection: int,
        number: int,
        hello: Hello,
        version: int,
        queue: SendQueue,
        assembly: Assembly,
        counts: PeerCounts,
    ) -> None:
        """``version``: the highest that both speak."""
        self.opened_at = now
        self.connection = connection
        self.number = number
        self.hello = hello
        self.member = hello.member
        self.incarnation = hello.incarnation
        self.takes_snapshots = version >= SNAPSHOTS_SINCE
        self.takes_tables = version >= TABLES_SINCE
        self.open = True
        self.confirmed = False
        """This start has answered at the member's own address."""
        self.table_index = 0
        """Of the latest cluster table that one side has told the other; the first one everybody has."""
        self.unbelieved: tuple[int, int] | None = None
        """The index of a table that the other side has told, where we did not dial it, and since when that was news."""
        self.queue = queue
        self.assembly = assembly
        self.counts = counts
        self.probe_at = now + PROBE_US
        """When the next round trip may be measured."""
        self.probed_at: int | None = None
        """When the one that is under way began."""


class _ConnectionEnd:
    __slots__ = ("dialled", "hello", "id", "sent_at", "session", "standing", "told")

    def __init__(self, connection: int, dialled: int | None, now: int) -> None:
        self.id = connection
        self.dialled = dialled
        self.sent_at = now
        self.hello: Hello | None = None
        """As whom the other side has spoken; whether it is believed, ``PeerSessions._members`` says."""
        self.standing: Standing | None = None
        """The other side's, as it said last."""
        self.told: Standing | None = None
        """Ours, as we said last."""
        self.session: Session | None = None


class GroupLinks:
    """The ways to peers as the engine of one group asks about them. Without a session nothing waits."""

    def __init__(self, peers: PeerSessions, group: int) -> None:
        self._peers = peers
        self._group = group

    def has_credit(self, member: int) -> bool:
        session = self._peers.session(member)
        return session is None or session.queue.has_credit(self._group)

    def is_clear(self, member: int) -> bool:
        session = self._peers.session(member)
        return session is None or session.queue.is_clear

    def session(self, member: int) -> Session | None:
        return self._peers.session(member)

    def put(self, session: Session, message: object) -> None:
        """Put it on this very session, if it is still open."""
        if session.open:
            session.queue.put(self._group, message)


class PeerSessions:
    def __init__(
        self,
        config: NodeConfig,
        incarnation: int,
        starts_before: Sequence[int],
        directories: Directories,
        cluster: ClusterLog,
        timers: Timers,
        room: DiskRoom,
        *,
        groups: int = 1,
    ) -> None:
        """``groups``: how many are replicated, as those who join are told."""
        self._config = config
        self._cluster = cluster
        self._groups = groups
        self._directories = directories
        self._timers = timers
        self._room = room
        self._hello = Hello(
            config.cluster,
            config.member,
            config.directory,
            incarnation,
            config.start,
            tuple(starts_before[:STARTS_BEFORE_MAX]),
            config.engine.name,
            PROTOCOL_VERSION_MIN,
            config.protocol_version,
            config.name,
            config.client_urls,
            directories.begun,
            config.priority,
        )
        self._admission = Admission(cluster, self._hello, directories)
        self._changes: list[tuple[int, Session | None]] = []
        self._announced = False
        self._connections: dict[int, _ConnectionEnd] = {}
        self._members: dict[int, _ConnectionEnd] = {}
        """The connection on which each member is believed to be."""
        self._sessions: dict[int, Session] = {}
        self._hellos_held: dict[int, Hello] = {}
        """Hellos that came before ours could be sent, by connection."""
        self._last_number = 0
        self._known: dict[int, Hello] = {}
        """The last Hello of every member that was believed."""
        self.counts: dict[int, PeerCounts] = {}
        """Of every other member with which there was, or should have been, a session."""
        self._challenged_at: dict[int, int] = {}
        self._challenges: list[int] = []
        self._admitted: list[Admitted] = []
        self._frames: list[Outgoing] = []
        self._closes: list[Hangup] = []
        self._codec = MessageCodec(config.engine.message)
        self.notices: list[Notice] = []
        self.missed: dict[int, None] = {}
        """Members that were not met for a while, or that tell what is heard at their own address only: this node dials
        them."""
        self.removed = False
        """A member said at its own address that this one has left the cluster."""
        self.overflows = 0
        """Sessions that were ended because too much waited to be sent."""

    # ---- inputs

    def connected(self, now: int, connection: int, dialled: int | None) -> None:
        self._connections[connection] = _ConnectionEnd(connection, dialled, now)
        self._heard(now, connection)
        if self._announced:
            self._greet(now, self._connections[connection])

    def recorded(self, now: int, record: NodesOwn) -> None:
        """A record of the node's own is durable."""
        if isinstance(record, PeerRecord | BegunRecord):
            self._directories.recorded(record)
            for connection in list(self._members.values()):
                self._stand(now, connection)
                self._review(now, connection)
        else:
            self._announce(now)

    def room_changed(self, now: int) -> None:
        """There is no room on this member's disk, or there is again: say so."""
        for connection in self._members.values():
            self._stand(now, connection)

    def table_changed(self, now: int) -> None:
        """Bindings are written down, who is new is waited for, and who has left is told, and forgotten."""
        self._directories.table_changed()
        self._await_members(now)
        members = self._cluster.latest.members
        for of_members in (self._known, self._challenged_at, self.missed, self.counts):
            for member in [member for member in of_members if member not in members]:
                del of_members[member]
        for connection in list(self._connections.values()):
            hello = connection.hello
            if hello is not None and self._admission.has_left(hello):
                self._part(now, connection, self._admission.why_unfit(hello) or "", removed=True)
        for connection in self._members.values():
            self._tell_table(now, connection)

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

    def fragment(self, now: int, number: int, fragment: Fragment) -> tuple[int, object] | None:
        """Take a fragment; the group and the message that it completes, or None."""
        session = self.session_on(now, number)
        if session is None:
            return None
        try:
            return session.assembly.add(fragment)
        except FrameError as error:
            self._part(now, self._connections[number], str(error))
            return None

    def heard(self, now: int, number: int) -> None:
        """Bytes came, and no frame yet."""
        connection = self._connections.get(number)
        if connection is not None and connection.session is not None:
            self._heard(now, number)

    def received(
        self,
        now: int,
        number: int,
        frame: Hello | Standing | Goodbye | Ping | Mark | Marked | Join | Joined | OwnTable,
    ) -> None:
        """Take any other frame."""
        connection = self._connections.get(number)
        if connection is None:
            return
        if self._is_admitted(connection):
            self._heard(now, number)
        match frame:
            case Hello():
                if self._announced:
                    self._on_hello(now, connection, frame)
                else:
                    self._hellos_held[number] = frame
            case Standing():
                self._on_standing(now, connection, frame)
            case Goodbye():
                if frame.removed and self._is_admitted(connection) and self._is_confirmed(connection):
                    self.removed = True
                self.notices.append(Notice(f"{self._whose(connection)} parted: {frame.reason}"))
                self.hang_up(now, number, f"the peer parted: {frame.reason}")
            case Mark():
                if connection.session is not None:
                    self._send(now, connection, Marked(frame.number))
            case Marked():
                if connection.session is not None:
                    self._on_marked(now, connection.session, frame.number)
            case OwnTable():
                self._on_table(now, connection, frame)
            case Join():
                self._on_join(now, connection, frame)
            case Ping() | Joined():
                pass

    def challenged(self, now: int, member: int, hello: Hello | None) -> None:
        """What answered at a member's own address; None: nobody did."""
        if hello is None or hello.member != member or self._admission.why_unfit(hello) is not None:
            return
        if self._admission.why_overtaken(hello) is None:
            self._confirm(now, hello)

    def disconnected(self, now: int, number: int) -> None:
        connection = self._connections.pop(number, None)
        if connection is not None:
            self._timers.stop(_SILENCE, number)
            self._timers.stop(_PING, number)
            if self._is_admitted(connection):
                assert connection.hello is not None
                del self._members[connection.hello.member]
                self._await_members(now)
            self._lose_session(connection)

    def hang_up(self, now: int, number: int, reason: str) -> None:
        """Close a connection from this side; what still comes on it is ignored."""
        if number in self._connections:
            self._closes.append(Hangup(number, reason))
            self.disconnected(now, number)

    def part_from_all(self, now: int, reason: str) -> None:
        for connection in list(self._connections.values()):
            self._part(now, connection, reason)

    def drain_changes(self) -> Sequence[tuple[int, Session | None]]:
        """Sessions opened, or (None) lost, with their member, since the last call; in order."""
        if not self._changes:
            return ()
        changes, self._changes = self._changes, []
        return changes

    def take_refused(self) -> list[int]:
        """The groups that were refused credit by a session which has some now."""
        return [group for session in self._sessions.values() for group in session.queue.take_refused()]

    # ---- messages

    def members_in_session(self) -> Collection[int]:
        return self._sessions.keys()

    def all_speak(self, version: int) -> bool:
        """Has this process met each other member that stays and has ever started, and did that one speak this version,
        when it was met last?"""
        rows = self._cluster.table.members
        staying = [member for member, row in rows.items() if not row.leaving and row.directory != b""]
        others = [member for member in staying if member != self._config.member]
        return all(member in self._known and self._known[member].version_max >= version for member in others)

    def session(self, member: int) -> Session | None:
        return self._sessions.get(member)

    def sessions(self) -> Collection[Session]:
        return self._sessions.values()

    def counts_of(self, member: int) -> PeerCounts:
        counts = self.counts.get(member)
        if counts is None:
            counts = self.counts[member] = PeerCounts()
        return counts

    def known(self) -> dict[int, Hello]:
        """The last Hello of every member that was ever believed."""
        return self._known

    # ---- once a turn

    def frames_wait(self, now: int, number: int) -> None:
        """Frames that came on this connection wait for a further turn."""
        if number in self._connections:
            self._heard(now, number)

    def on_silence(self, now: int, number: int) -> None:
        self.hang_up(now, number, "silent for an election timeout")

    def on_not_begun(self, now: int) -> None:
        """Say whom this node waits for, now and again, and ask again who answers at the members' own addresses."""
        for member in sorted(self._members):
            if not self._is_confirmed(self._members[member]):
                self._challenge(now, member)
        if self._directories.joins:
            self._say_again(now, "this member joins: it waits until the cluster has bound its data directory")
        elif waits_for := self.waits_for():
            self._say_again(
                now,
                "this data directory is new, so this member does not vote before it and all other members have met "
                f"once; it waits for {'; '.join(waits_for)}",
            )

    def _say_again(self, now: int, text: str) -> None:
        self.notices.append(Notice(text))
        self._timers.set(Timer.NOT_BEGUN, 0, now + self._config.election_timeout_us)

    def drain(self, now: int) -> tuple[list[Outgoing], list[Hangup]]:
        """What leaves in this turn: what each session's queue lets go, a Ping where all was quiet too long."""
        for connection in list(self._members.values()):
            session = connection.session
            frames_of = session.queue.take(now) if session is not None else []
            if frames_of and session is not None:
                for frame in frames_of:
                    self._send(now, connection, frame)
                session.counts.leave(frames_of)
                self._probe(now, connection, session)
            if session is not None and session.queue.waiting_bytes > self._config.limits.send_queue_bytes_max:
                self._overflow(now, session)
            elif not frames_of and connection.sent_at + self._config.heartbeat_us <= now:
                self._send(now, connection, Ping())
                if session is not None:
                    self._probe(now, connection, session)
            if session is not None and session.unbelieved is not None:
                self._dial_who_told(now, session)
        frames, self._frames = self._frames, []
        closes, self._closes = self._closes, []
        return frames, closes

    def _probe(self, now: int, connection: _ConnectionEnd, session: Session) -> None:
        """Measure how long it takes to the member and back, if it is time, while something goes there anyway."""
        if session.probe_at <= now and session.probed_at is None:
            session.probe_at, session.probed_at = now + PROBE_US, now
            self._send(now, connection, Mark(PROBE))

    def _on_marked(self, now: int, session: Session, number: int) -> None:
        if number != PROBE:
            session.queue.on_mark(now, number)
        elif session.probed_at is not None:
            session.counts.round_trips.add((now - session.probed_at) / 1e6)
            session.probed_at = None

    def drain_port(self) -> tuple[Sequence[Admitted], Sequence[int]]:
        """Connections on which a member was admitted, and members to challenge, since the last call."""
        if not self._admitted and not self._challenges:
            return (), ()
        admitted, self._admitted = self._admitted, []
        challenges, self._challenges = self._challenges, []
        return admitted, challenges

    def sizes(self) -> Sizes:
        """Each session's beside the node's own."""
        others = len(self._cluster.latest.members) - 1
        sizes = {
            "connections": Size(len(self._connections), others),
            "members believed": Size(len(self._members), others),
            "Hellos held": Size(len(self._hellos_held)),
            "members met": Size(len(self._known), others),
            "members challenged": Size(len(self._challenged_at), others),
            "members without room": Size(len(self._room.others_full), others),
            "frames and hangups to leave": Size(len(self._frames) + len(self._closes)),
        }
        for member, session in self._sessions.items():
            parts = Size(len(session.assembly))
            for name, size in {**session.queue.sizes(), "bytes of fragments": parts}.items():
                sizes[f"{name}, member {member}"] = size
        return sizes

    # ---- the handshake

    def _announce(self, now: int) -> None:
        """This start's incarnation is durable: from now on frames may leave."""
        self._announced = True
        self._await_members(now)
        for connection in list(self._connections.values()):
            self._greet(now, connection)
        held, self._hellos_held = self._hellos_held, {}
        for number, hello in held.items():
            if number in self._connections:
                self._on_hello(now, self._connections[number], hello)
        if not self._directories.begun:
            self._timers.set(Timer.NOT_BEGUN, 0, now + self._config.election_timeout_us)
            self._begin_if_all_agree()

    def _await_members(self, now: int) -> None:
        """Wait so long for each of those that are not there."""
        for member in self._cluster.latest.members:
            waits = member in self.missed or self._timers.is_set(Timer.MISSED, member)
            if not waits and member not in self._members and member != self._config.member:
                self._timers.set(Timer.MISSED, member, now + MISSED_TIMEOUTS * self._config.election_timeout_us)

    def on_missed(self, member: int) -> None:
        """It was not met for a while."""
        if member in self._cluster.latest.members:
            self.missed[member] = None

    def _greet(self, now: int, connection: _ConnectionEnd) -> None:
        self._send(now, connection, self._hello)

    def _on_hello(self, now: int, connection: _ConnectionEnd, hello: Hello) -> None:
        if connection.hello is not None:
            self._part(now, connection, "a second Hello on one connection")
            return
        reason = self._admission.why_not(hello, connection.dialled)
        if reason is not None:
            self.notices.append(Notice(f"member {self._admission.called(hello.member)} was refused: {reason}"))
            self._part(now, connection, reason, removed=self._admission.has_left(hello))
            return
        connection.hello = hello
        present = self._members.get(hello.member)
        if connection.dialled is not None:
            self._admit(now, connection, hello)
            self._confirm(now, hello)
        elif present is not None and (present.hello is None or not is_start(present.hello, hello)):
            self._challenge(now, hello.member)
        else:
            self._admit(now, connection, hello)
            if not self._admission.is_confirmed(hello):
                self._challenge(now, hello.member)

    def _admit(self, now: int, connection: _ConnectionEnd, hello: Hello) -> None:
        """Believe that this is the member."""
        older = self._members.get(hello.member)
        if older is not None:
            self.hang_up(now, older.id, "replaced by a newer connection")
        self._members[hello.member] = connection
        self._known[hello.member] = hello
        self._admitted.append(Admitted(connection.id, hello.member))
        self.missed.pop(hello.member, None)
        self._timers.stop(Timer.MISSED, hello.member)
        self._heard(now, connection.id)
        self._timers.set(_PING, connection.id, connection.sent_at + self._config.heartbeat_us)
        self._directories.meet(hello.member, hello.directory)
        self._stand(now, connection)
        self._review(now, connection)

    def _stand(self, now: int, connection: _ConnectionEnd) -> None:
        """Say what we hold, if it is durable and news."""
        hello = connection.hello
        assert hello is not None
        if self._directories.holds(hello.member, hello.directory):
            standing = Standing(hello.directory, self._directories.begun, not self._room.is_full)
            if standing != connection.told:
                connection.told = standing
                self._send(now, connection, standing)

    def _on_standing(self, now: int, connection: _ConnectionEnd, standing: Standing) -> None:
        if connection.hello is None:
            self._part(now, connection, "a Standing before the Hello")
            return
        connection.standing = standing
        if self._is_admitted(connection):
            self._review(now, connection)
        if connection.session is not None:
            self._room.heard(connection.session.member, has_room=standing.has_room)

    def _review(self, now: int, connection: _ConnectionEnd) -> None:
        """Something about this connection or about ourselves is news: begin, or open its session."""
        if self._directories.joins:
            self._begin_if_bound(connection)
        elif not self._directories.begun:
            self._begin_if_all_agree()
        elif connection.session is None and self._hold_each_other(connection):
            assert connection.standing is not None
            assert connection.hello is not None
            if connection.standing.begun:
                self._open_session(now, connection, connection.hello)
                self._room.heard(connection.hello.member, has_room=connection.standing.has_room)

    def _open_session(self, now: int, connection: _ConnectionEnd, hello: Hello) -> None:
        self._last_number += 1
        queue = SendQueue(self._config.limits, self._codec, self._config.heartbeat_us)
        version = min(hello.version_max, self._config.protocol_version)
        number, assembly = self._last_number, Assembly(self._codec)
        counts = self.counts_of(hello.member)
        connection.session = Session(now, connection.id, number, hello, version, queue, assembly, counts)
        connection.session.confirmed = self._admission.is_confirmed(hello)
        self._sessions[hello.member] = connection.session
        self._changes.append((hello.member, connection.session))
        self._tell_table(now, connection)

    # ---- the cluster table

    def _tell_table(self, now: int, connection: _ConnectionEnd) -> None:
        """Have the other side know our table, if it may not."""
        session, table = connection.session, self._cluster.table
        if session is not None and session.takes_tables and table.index > session.table_index:
            session.table_index = table.index
            self._send(now, connection, OwnTable(encode_table(table)))

    def _on_table(self, now: int, connection: _ConnectionEnd, own: OwnTable) -> None:
        session = connection.session
        if session is None:
            self._part(now, connection, "a cluster table before the handshake")
            return
        try:
            table = decode_table(own.table)
        except ClusterFormatError as error:
            self._part(now, connection, str(error))
            return
        session.table_index = max(session.table_index, table.index)
        if connection.dialled is None:
            session.unbelieved = session.unbelieved or (table.index, now)
        elif self._config.member in table.members and self._cluster.tell(table):
            self.table_changed(now)

    def _dial_who_told(self, now: int, session: Session) -> None:
        """What was not believed is news still: the log does not bring it, so hear it at the member's own address."""
        assert session.unbelieved is not None
        index, since = session.unbelieved
        latest = self._cluster.latest.index
        if index <= latest:
            session.unbelieved = (session.table_index, now) if session.table_index > latest else None
        elif since + self._config.election_timeout_us <= now:
            self.missed[session.member] = None

    # ---- who joins

    def _on_join(self, now: int, connection: _ConnectionEnd, join: Join) -> None:
        """Tell it what the cluster is, or why it cannot join."""
        if not self._directories.begun:
            self._part(now, connection, "this member has not begun itself")
            return
        table = self._cluster.table
        added = [member for member, row in table.members.items() if {*row.peer_urls} == {*join.peer_urls}]
        if not added:
            urls = ",".join(join.peer_urls)
            self._part(now, connection, f"nobody has added a member with the peer URLs {urls}: use `member add` first")
        elif table.members[added[0]].directory != b"":
            self._part(
                now,
                connection,
                f"member {self._admission.called(added[0])} has joined already with another data directory: start it "
                "with that one, or remove it and add another member",
            )
        else:
            config = self._config
            self._send(
                now,
                connection,
                Joined(
                    config.cluster,
                    added[0],
                    config.engine.name,
                    self._groups,
                    table.index,
                    encode_table(table),
                    self._directories.known,
                ),
            )
            self.hang_up(now, connection.id, "it was told how to join")

    # ---- the first start

    def _begin_if_all_agree(self) -> None:
        if not self._directories.joins and not self.waits_for():
            self._directories.begin()

    def _begin_if_bound(self, connection: _ConnectionEnd) -> None:
        """A member that has begun holds this directory: then the cluster has bound it."""
        standing = connection.standing
        holds_us = standing is not None and standing.begun and self._hold_each_other(connection)
        if holds_us and self._is_confirmed(connection):
            self._directories.begin()

    def waits_for(self) -> list[str]:
        """Whom this node waits for before it begins, and why."""
        if self._directories.begun:
            return []
        if self._directories.joins:
            return ["the cluster (it has not bound this data directory yet)"]
        return [
            f"{self._admission.called(member)} ({why})"
            for member in self._directories.awaited
            if (why := self._why_awaited(self._members.get(member))) is not None
        ]

    def _why_awaited(self, connection: _ConnectionEnd | None) -> str | None:
        if connection is None:
            return "not connected"
        if not self._hold_each_other(connection):
            return "it has not met this one yet"
        return None if self._is_confirmed(connection) else "what claims to be it has not answered at its own address"

    def _hold_each_other(self, connection: _ConnectionEnd) -> bool:
        """Do both sides hold, durably, each other's directory?"""
        hello, standing = connection.hello, connection.standing
        return (
            hello is not None
            and standing is not None
            and standing.holds == self._config.directory
            and self._directories.holds(hello.member, hello.directory)
        )

    # ---- who is believed

    def _confirm(self, now: int, hello: Hello) -> None:
        """This start answered at the member's own address: whoever else claims to be the member is not."""
        self._directories.confirm(hello.member, hello.directory, hello.incarnation, hello.start)
        for connection in list(self._connections.values()):
            claimed = connection.hello
            if claimed is None or claimed.member != hello.member:
                continue
            if not is_start(claimed, hello):
                reason = f"another process answers at the address of member {self._admission.called(hello.member)}"
                self.notices.append(Notice(f"a peer that claimed to be a member was refused: {reason}"))
                self._part(now, connection, reason)
            elif hello.member not in self._members:
                self._admit(now, connection, claimed)
            elif connection.session is not None:
                connection.session.confirmed = True
        if not self._directories.begun:
            for connection in list(self._members.values()):
                self._review(now, connection)

    def challenge_unbound(self, now: int) -> None:
        """Ask again who answers at the addresses of members that were added."""
        for member in self._members:
            if self._directories.is_unbound(member):
                self._challenge(now, member)

    def _challenge(self, now: int, member: int) -> None:
        """Ask the port who answers at the member's own address; for any number of claims, once a heartbeat."""
        last = self._challenged_at.get(member)
        if last is None or last + self._config.heartbeat_us <= now:
            self._challenged_at[member] = now
            self._challenges.append(member)

    def _is_confirmed(self, connection: _ConnectionEnd) -> bool:
        return connection.hello is not None and self._admission.is_confirmed(connection.hello)

    def _is_admitted(self, connection: _ConnectionEnd) -> bool:
        return connection.hello is not None and self._members.get(connection.hello.member) is connection

    def _part(self, now: int, connection: _ConnectionEnd, reason: str, *, removed: bool = False) -> None:
        """Say why, and hang up."""
        if self._announced:
            self._send(now, connection, Goodbye(reason[:1024], removed=removed))
        self.hang_up(now, connection.id, reason)

    def _lose_session(self, connection: _ConnectionEnd) -> None:
        session = connection.session
        if session is not None:
            session.open = False
            session.queue.clear()
            del self._sessions[session.member]
            self._room.heard(session.member, has_room=True)
            self._changes.append((session.member, None))

    def _overflow(self, now: int, session: Session) -> None:
        self.overflows += 1
        limit = self._config.limits.send_queue_bytes_max
        self.notices.append(
            Notice(
                f"the session with member {session.member:x} was ended: more than {limit >> 20} MiB wait to be sent to "
                "it, the limit send_queue_bytes_max; see why it takes so little"
            )
        )
        self.hang_up(now, session.connection, "more bytes wait than send_queue_bytes_max admits")

    def _heard(self, now: int, number: int) -> None:
        self._timers.set(_SILENCE, number, now + self._config.election_timeout_us)

    def _send(self, now: int, connection: _ConnectionEnd, frame: Frame) -> None:
        connection.sent_at = now
        if self._is_admitted(connection):
            self._timers.set(_PING, connection.id, now + self._config.heartbeat_us)
        self._frames.append(Outgoing(connection.id, frame))

    def _whose(self, connection: _ConnectionEnd) -> str:
        hello = connection.hello
        if hello is not None:
            return f"member {self._admission.called(hello.member)}"
        if connection.dialled is not None:
            return f"member {self._admission.called(connection.dialled)}"
        return "a peer that dialled us"
