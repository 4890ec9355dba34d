"""A snapshot that a group receives, loads and installs, and the file that holds it.

Rules:

1. At most one is received at a time. The engine judges it when it is offered, and again when all of it is here.
   Another one takes its place where its sender has begun anew, is gone, or has been quiet: it may have let go of it.
2. A piece is acknowledged when it is in the file durably. After a break the next piece that is lacking is asked for;
   where that cannot be sent any more, all of it is given up, and another one is asked for in its place.
3. When the last piece is durable they are loaded, one in each turn, into a space beside the one that serves. Only what
   was loaded whole is handed to the engine: what turns out to be damaged before costs nothing but the time.
4. From there on it is the log that says what holds. Group 0's cluster table is written ahead of the base. When the base
   is durable the open proposals end unknown; when all that was delivered before is applied, the space is switched.
5. The file stays until the log's base is not its snapshot's any more, or a durable checkpoint has that state: until
   then a machine that is lost needs it (``storage.recovery`` and ``node.boot`` load it again).
6. What makes no step for ``snapshot_patience_us`` is given up, and its file is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from ratified.consensus.contract import Base, Engine, RefusedReason, Size, Sizes
from ratified.machine import SnapshotDamaged, StateLoader, Store
from ratified.node.cluster_table import ClusterFormatError, decode_table
from ratified.node.config import NodeLimits
from ratified.node.peers import GroupLinks, Session
from ratified.node.ports import Notice
from ratified.storage.files import Op
from ratified.storage.format import ClusterRecord, RecordFormatError, decode_base, decode_cluster
from ratified.storage.snapshot_file import (
    SnapshotHead,
    SnapshotUnsound,
    StoredSnapshot,
    addition,
    checksum,
    creation,
    first_piece_at,
    piece_in,
    read_piece,
    removal,
)
from ratified.wire.peer import SnapshotOffer, SnapshotOver, SnapshotPiece, SnapshotWanted

SPOILT = "was given up, and is asked for again"
"""In what is said of a snapshot that was damaged."""
QUIET_RESENDS = 3
"""Who sends is heard of at least once in the time after which it repeats itself; after so many it is quiet."""
_NOT_NEEDED = RefusedReason.NOT_NEEDED


class Stage(Enum):
    """How far a snapshot is."""

    RECEIVING = "receiving"
    LOADING = "loading"
    LOADED = "loaded"
    """The engine is to be asked."""
    ACCEPTED = "accepted"
    """The base is being written."""
    DURABLE = "durable"
    """The base is: the store is to be switched."""


class _Incoming:
    __slots__ = (
        "alive_at",
        "end",
        "head",
        "heard_at",
        "job",
        "loader",
        "longest",
        "next",
        "on_done",
        "piece",
        "read_at",
        "reading",
        "stage",
        "ticket",
    )

    def __init__(self, head: SnapshotHead, now: int) -> None:
        self.head = head
        self.stage = Stage.RECEIVING
        self.next = 1
        self.end = 0
        """Where the next piece goes in the file."""
        self.longest = 0
        self.heard_at = now
        """When a piece came last; then when anything came of its sender about it."""
        self.alive_at = now
        self.job: int | None = None
        """The one that is under way for it."""
        self.on_done: Callable[[int, Sequence[bytes | None]], None] = lambda now, results: None
        self.loader: StateLoader | None = None
        self.reading = 1
        """The number of the piece that is read or loaded next, and where it is."""
        self.read_at = 0
        self.piece: bytes | None = None
        """What was read, and is to be loaded."""
        self.ticket: int | None = None

    @property
    def snapshot(self) -> int:
        return self.head.base.snapshot


class FoundSnapshots:
    """What a start has found of one group's snapshots."""

    __slots__ = ("begun", "kept")

    def __init__(self, kept: SnapshotHead | None = None, begun: StoredSnapshot | None = None) -> None:
        self.kept = kept
        """Its base is the log's, and no checkpoint has that state."""
        self.begun = begun
        """It is not installed."""


class SnapshotReceiving:
    """Of one replica."""

    def __init__(
        self,
        now: int,
        group: int,
        engine: Engine,
        store: Store,
        links: GroupLinks,
        limits: NodeLimits,
        *,
        carry_out: Callable[[Sequence[Op]], int],
        write_table: Callable[[ClusterRecord], None] | None,
        found: FoundSnapshots,
        resend_us: int,
    ) -> None:
        """``write_table``: of the group that has the cluster table."""
        self._group = group
        self._engine = engine
        self._store = store
        self._links = links
        self._limits = limits
        self._carry_out = carry_out
        self._write_table = write_table
        self._resend_us = resend_us
        self._kept = found.kept
        self._over: SnapshotOver | None = None
        """What was said of the last one."""
        self._incoming: _Incoming | None = None
        self._notices: list[Notice] = []
        if found.begun is not None:
            self._resume(now, found.begun)

    # ---- inputs

    def on_offer(self, now: int, session: Session, offer: SnapshotOffer, *, has_room: bool) -> None:
        head = self._head(session, offer)
        if head is None:
            return
        snapshot = head.base.snapshot
        incoming = self._incoming
        if incoming is not None and incoming.snapshot == snapshot:
            incoming.alive_at = now
            if incoming.stage is Stage.RECEIVING and offer.first > incoming.next:
                self._give_up(ok=False)
            elif incoming.job is None or incoming.stage is not Stage.RECEIVING:
                self._want(incoming)
        elif self._over is not None and self._over.snapshot == snapshot:
            self._links.put(session, self._over)
        elif not has_room or not self._is_free(now, session.member):
            self._links.put(session, SnapshotOver(snapshot, ok=False))
        elif (refused := self._engine.snapshot_offered(now, session.member, head.base)) is not None:
            self._links.put(session, SnapshotOver(snapshot, ok=refused.reason is _NOT_NEEDED))
        elif offer.first > 1:
            self._links.put(session, SnapshotOver(snapshot, ok=False))
        else:
            self._begin(now, head)

    def on_piece(self, now: int, session: Session, piece: SnapshotPiece) -> None:
        incoming = self._incoming
        if incoming is None or incoming.snapshot != piece.snapshot:
            if self._over is not None and self._over.snapshot == piece.snapshot:
                self._links.put(session, self._over)
            return
        incoming.alive_at = now
        if incoming.stage is not Stage.RECEIVING or incoming.job is not None or piece.number > incoming.next:
            return
        if piece.number < incoming.next:
            self._want(incoming)
            return
        if piece.crc != checksum(piece.snapshot, piece.number, piece.data):
            self._spoilt(f"piece {piece.number} was damaged on its way")
            return
        incoming.heard_at = now
        ops, end = addition(incoming.head, piece.number, piece.data, incoming.end)
        length = len(piece.data)

        def durable(now: int, results: Sequence[bytes | None]) -> None:
            incoming.next += 1
            incoming.end = end
            incoming.longest = max(incoming.longest, length)
            incoming.heard_at = now
            self._want(incoming)
            if not length:
                self._load(incoming)

        self._give_out(incoming, ops, durable)

    def on_job(self, now: int, job: int, results: Sequence[bytes | None]) -> None:
        """A job of this group's on other files than the log's was carried out."""
        incoming = self._incoming
        if incoming is not None and incoming.job == job:
            incoming.job = None
            incoming.on_done(now, results)

    def on_persisted(self, ticket: int) -> bool:
        """Is this what makes the base durable?"""
        incoming = self._incoming
        if incoming is None or incoming.stage is not Stage.ACCEPTED:
            return False
        if incoming.ticket is None or ticket < incoming.ticket:
            return False
        incoming.stage = Stage.DURABLE
        return True

    def on_time(self, now: int) -> None:
        deadline = self.deadline
        if deadline is not None and now >= deadline:
            self._give_up(ok=False)

    def checkpointed(self, index: int) -> None:
        """A durable checkpoint has the state at ``index``, at least."""
        if self._kept is not None and self._kept.base.index <= index:
            self._carry_out(removal([self._kept.file]))
            self._kept = None

    # ---- once a turn

    def judge(self, now: int) -> None:
        """Does the engine want it still, once all of it is here? What came by other ways meanwhile is not needed."""
        incoming = self._incoming
        if incoming is None:
            return
        if incoming.stage is Stage.RECEIVING and incoming.head.base.index <= self._store.applied:
            self._give_up(ok=True)
        if incoming.stage is not Stage.LOADED:
            return
        head = incoming.head
        refused = self._engine.snapshot_received(now, head.sender, head.base)
        if refused is not None:
            self._give_up(ok=refused.reason is _NOT_NEEDED)
            return
        incoming.stage = Stage.ACCEPTED
        if self._write_table is not None and head.table is not None:
            self._write_table(head.table)

    def writes_base(self, ticket: int) -> None:
        """The base is in the write with this ticket."""
        assert self._incoming is not None, "a snapshot is being installed"
        self._incoming.ticket = ticket

    @property
    def has_piece(self) -> bool:
        """Is there a piece to be loaded?"""
        return self._incoming is not None and self._incoming.piece is not None

    @property
    def is_durable(self) -> bool:
        """Is the store to be switched?"""
        return self._incoming is not None and self._incoming.stage is Stage.DURABLE

    @property
    def is_loaded(self) -> bool:
        """Is the engine to be asked?"""
        return self._incoming is not None and self._incoming.stage is Stage.LOADED

    @property
    def deadline(self) -> int | None:
        incoming = self._incoming
        if incoming is None or incoming.stage is not Stage.RECEIVING:
            return None
        return incoming.heard_at + self._limits.snapshot_patience_us

    def load(self) -> None:
        """Load the piece that was read, in the open transaction. Raises ``SnapshotDamaged``."""
        incoming = self._incoming
        assert incoming is not None, "a piece was read"
        assert incoming.piece is not None, "a piece was read"
        base = incoming.head.base
        if incoming.loader is None:
            incoming.loader = self._store.load_state(base.index, base.era)
        incoming.loader.load(incoming.piece)

    def loaded(self) -> None:
        """The transaction is committed: go on with the next piece."""
        incoming = self._incoming
        assert incoming is not None, "a piece was loaded"
        incoming.piece = None
        self._read_next(incoming)

    def damaged(self, error: SnapshotDamaged) -> None:
        """The transaction was undone."""
        self._spoilt(str(error))

    def switch(self) -> Base:
        """Switch the store to what was loaded, in the open transaction. Raises ``SnapshotDamaged``."""
        incoming = self._incoming
        assert incoming is not None, "its base is durable"
        assert incoming.loader is not None, "all of it is loaded"
        incoming.loader.switch()
        return incoming.head.base

    def switched(self) -> None:
        """The transaction is committed."""
        incoming = self._incoming
        assert incoming is not None, "its base is durable"
        if self._kept is not None:
            self._carry_out(removal([self._kept.file]))
        self._kept = incoming.head
        self._incoming = None
        self._say(incoming, f"goes on from the snapshot of entry {incoming.head.base.index}")
        self._say_over(incoming, ok=True)

    def drain_notices(self) -> Sequence[Notice]:
        notices, self._notices = self._notices, []
        return notices

    def close(self) -> None:
        """Nothing more is received."""
        self._incoming = None

    def sizes(self) -> Sizes:
        return {"snapshots received": Size(int(self._incoming is not None))}

    # ---- receiving

    def _head(self, session: Session, offer: SnapshotOffer) -> SnapshotHead | None:
        """What is offered; None: it makes no sense."""
        try:
            base = decode_base(offer.base).base
            table = decode_cluster(offer.table) if offer.table and self._write_table is not None else None
            if table is not None:
                decode_table(table.data)
        except (RecordFormatError, ClusterFormatError):
            return None
        return SnapshotHead(self._group, session.member, base, table) if base.snapshot else None

    def _is_free(self, now: int, sender: int) -> bool:
        """May another one take the place of what is received now?"""
        incoming = self._incoming
        if incoming is None:
            return True
        if incoming.stage is not Stage.RECEIVING:
            return False
        present = incoming.head.sender
        is_quiet = now >= incoming.alive_at + QUIET_RESENDS * self._resend_us
        return present == sender or is_quiet or self._links.session(present) is None

    def _begin(self, now: int, head: SnapshotHead) -> None:
        if self._incoming is not None:
            self._drop(self._incoming)
        incoming = self._incoming = _Incoming(head, now)
        self._say(
            incoming, f"is behind what others' logs still hold, and receives a snapshot of entry {head.base.index}"
        )
        ops, incoming.end = creation(head)
        self._give_out(incoming, ops, lambda now, results: self._want(incoming))

    def _resume(self, now: int, found: StoredSnapshot) -> None:
        """A start has found it."""
        incoming = self._incoming = _Incoming(found.head, now)
        incoming.next, incoming.end, incoming.longest = found.next, found.end, found.longest
        if found.is_whole:
            self._load(incoming)

    def _give_out(
        self, incoming: _Incoming, ops: Sequence[Op], on_done: Callable[[int, Sequence[bytes | None]], None]
    ) -> None:
        incoming.job, incoming.on_done = self._carry_out(ops), on_done

    def _want(self, incoming: _Incoming) -> None:
        """Say what is durable here."""
        self._tell(incoming.head.sender, SnapshotWanted(incoming.snapshot, incoming.next))

    def _tell(self, member: int, message: object) -> None:
        session = self._links.session(member)
        if session is not None and session.takes_snapshots:
            self._links.put(session, message)

    # ---- loading

    def _load(self, incoming: _Incoming) -> None:
        incoming.stage = Stage.LOADING
        incoming.read_at = first_piece_at(incoming.head)
        self._read_next(incoming)

    def _read_next(self, incoming: _Incoming) -> None:
        def read(now: int, results: Sequence[bytes | None]) -> None:
            (found,) = results
            self._on_read(incoming, found or b"")

        self._give_out(incoming, [read_piece(incoming.head.file, incoming.read_at, incoming.longest)], read)

    def _on_read(self, incoming: _Incoming, found: bytes) -> None:
        try:
            piece, incoming.read_at = piece_in(incoming.snapshot, incoming.reading, incoming.read_at, found)
        except SnapshotUnsound as unsound:
            self._spoilt(str(unsound))
            return
        incoming.reading += 1
        if piece:
            incoming.piece = piece
        elif incoming.loader is None:
            self._spoilt("it has no piece")
        else:
            incoming.stage = Stage.LOADED

    # ---- the end

    def _say(self, incoming: _Incoming, what: str) -> None:
        text = f"group {self._group} {what}, from member {incoming.head.sender:x}"
        self._notices.append(Notice(text, self._group))

    def _spoilt(self, why: str) -> None:
        assert self._incoming is not None, "something of it was read"
        sender = self._incoming.head.sender
        self._notices.append(
            Notice(
                f"a snapshot of group {self._group} from member {sender:x} {SPOILT}: {why}",
                self._group,
            )
        )
        self._give_up(ok=False)

    def _give_up(self, *, ok: bool) -> None:
        """It is of no use, or (``ok``) not needed any more."""
        incoming, self._incoming = self._incoming, None
        assert incoming is not None, "one is received"
        self._drop(incoming)
        self._say_over(incoming, ok=ok)

    def _drop(self, incoming: _Incoming) -> None:
        if incoming.loader is not None:
            incoming.loader.abandon()
        self._carry_out(removal([incoming.head.file]))

    def _say_over(self, incoming: _Incoming, *, ok: bool) -> None:
        self._over = SnapshotOver(incoming.snapshot, ok)
        self._tell(incoming.head.sender, self._over)
