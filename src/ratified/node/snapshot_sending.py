"""Snapshots that a group sends to members which lack what is gone from its log.

Rules:

1. Each that the engine asks for ends with one ``snapshot_sent``, whatever becomes of sessions and of who leads. A node
   sends few at a time; what is one too many has failed at once, and is asked for again. So has what a member of an
   earlier version would be sent, which knows none.
2. A snapshot is read from one view of the store, in pieces; the next one is read when the receiver has the one before
   durably. So no more than one piece of it is ever on its way, and its place is behind heartbeats and answers.
3. The offer says what it is of, and the first piece that can still be sent. It is repeated in each new session, and
   where no answer came for a while although everything has arrived; the receiver answers with the piece that it lacks.
4. What makes no step for ``snapshot_patience_us`` has failed. So has what the receiver lacks and was let go of: it is
   begun anew.
5. Until it is over, and that has been said, the log is not cut beyond it (rule 5 of ``claims``): what comes next must
   still be there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain

from ratified.consensus.contract import Base, Membership, Size, Sizes, SnapshotTo
from ratified.consensus.draws import mix
from ratified.machine import StateReader, Store
from ratified.node.config import NodeLimits
from ratified.node.peers import GroupLinks, Session
from ratified.node.send_queue import WINDOW_FRAMES
from ratified.storage.format import ClusterRecord, encode_base, encode_cluster
from ratified.storage.snapshot_file import checksum
from ratified.wire.peer import SnapshotOffer, SnapshotOver, SnapshotPiece, SnapshotWanted


class SnapshotIds:
    """Names this start's snapshots, for all groups, and counts those that are being sent."""

    def __init__(self, member: int, incarnation: int) -> None:
        self._member = member
        self._incarnation = incarnation
        self._last = 0
        self.sent_now = 0

    def next(self) -> int:
        self._last += 1
        return mix(self._member, self._incarnation, self._last) | 1


class _Sending:
    """One on its way to one member."""

    __slots__ = ("base", "heard_at", "number", "offer_at", "piece", "reader", "table")

    def __init__(self, base: Base, table: bytes, reader: StateReader, now: int) -> None:
        self.base = base
        self.table = table
        self.reader: StateReader | None = reader
        """None: all was read, and the receiver has it."""
        self.number = 0
        self.piece: bytes | None = None
        """The one with this number, until the receiver has it."""
        self.heard_at = now
        self.offer_at: int | None = None

    @property
    def first(self) -> int:
        """The first one that can still be sent."""
        return max(self.number, 1) if self.reader is not None else self.number + 1


class SnapshotSending:
    """Of one replica."""

    def __init__(
        self,
        store: Store,
        ids: SnapshotIds,
        limits: NodeLimits,
        links: GroupLinks,
        *,
        membership_at: Callable[[int], Membership],
        table: Callable[[], ClusterRecord | None],
        resend_us: int,
    ) -> None:
        self._store = store
        self._ids = ids
        self._limits = limits
        self._links = links
        self._membership_at = membership_at
        self._table = table
        """The cluster table, for the group that has it."""
        self._resend_us = resend_us
        self._to: dict[int, _Sending] = {}
        self._over: list[tuple[int, int, bool]] = []

    # ---- inputs

    def asked(self, now: int, asked: SnapshotTo) -> None:
        """The engine asks for one."""
        assert asked.member not in self._to, f"a second snapshot to member {asked.member} is asked for"
        session = self._links.session(asked.member)
        speaks = session is None or session.takes_snapshots
        if not speaks or self._ids.sent_now >= self._limits.snapshots_sent_max:
            self._over.append((asked.member, asked.index, False))
            return
        self._ids.sent_now += 1
        reader = self._store.read_state()
        assert reader.index >= asked.index, f"{asked} is asked for, and {reader.index} is applied"
        base = Base(reader.index, reader.era, self._membership_at(reader.index), self._ids.next())
        table = self._table()
        sending = self._to[asked.member] = _Sending(base, b"" if table is None else encode_cluster(table), reader, now)
        self._offer(now, asked.member, sending)

    def on_session(self, now: int, session: Session) -> None:
        sending = self._to.get(session.member)
        if sending is not None and session.takes_snapshots:
            self._offer(now, session.member, sending)
        elif sending is not None:
            self._end(session.member, ok=False)

    def on_wanted(self, now: int, session: Session, wanted: SnapshotWanted) -> None:
        """The receiver has all pieces before this one."""
        sending = self._to.get(session.member)
        if sending is None or wanted.snapshot != sending.base.snapshot:
            return
        if not sending.first <= wanted.next <= sending.number + 1:
            return  # it was said before something that came first; what cannot be sent any more is said to be over
        sending.heard_at = now
        sending.offer_at = now + self._resend_us
        if sending.reader is not None and wanted.next > sending.number:
            if sending.piece == b"":
                self._let_go(sending)
                return
            sending.number = wanted.next
            sending.piece = sending.reader.read(self._piece_bytes(session)) or b""
        if sending.piece is not None:
            self._send(session, sending)

    def on_over(self, session: Session, over: SnapshotOver) -> None:
        sending = self._to.get(session.member)
        if sending is not None and over.snapshot == sending.base.snapshot:
            self._end(session.member, ok=over.ok)

    def on_time(self, now: int) -> None:
        for member, sending in list(self._to.items()):
            if now >= sending.heard_at + self._limits.snapshot_patience_us:
                self._end(member, ok=False)
            elif sending.offer_at is not None and now >= sending.offer_at:
                if self._links.is_clear(member):
                    self._offer(now, member, sending)
                else:
                    sending.offer_at = now + self._resend_us  # a piece is on its way, over a slow link

    def table_changed(self, members: Collection[int]) -> None:
        """Who is no member any more needs nothing."""
        for member in [member for member in self._to if member not in members]:
            self._end(member, ok=False)

    # ---- once a turn

    def drain_over(self) -> Iterable[tuple[int, int, bool]]:
        """What ended since the last call: to whom, up to which index, and whether it is there."""
        if not self._over:
            return ()
        over, self._over = self._over, []
        return over

    @property
    def is_due(self) -> bool:
        """Has something ended that was not drained?"""
        return bool(self._over)

    @property
    def deadline(self) -> int | None:
        return min(self._deadlines(), default=None)

    @property
    def lowest(self) -> int | None:
        """Up to where the log may be cut; None: nothing is sent."""
        arrived = (index for _, index, ok in self._over if ok)
        return min(chain((sending.base.index for sending in self._to.values()), arrived), default=None)

    def close(self) -> None:
        """Nothing more is sent."""
        for member in list(self._to):
            self._end(member, ok=False)
        self._over.clear()

    def sizes(self) -> Sizes:
        return {"snapshots on their way": Size(len(self._to) + len(self._over))}

    # ----

    def _deadlines(self) -> Iterator[int]:
        for sending in self._to.values():
            yield sending.heard_at + self._limits.snapshot_patience_us
            if sending.offer_at is not None:
                yield sending.offer_at

    def _offer(self, now: int, member: int, sending: _Sending) -> None:
        session = self._links.session(member)
        if session is None:
            sending.offer_at = None
            return
        sending.offer_at = now + self._resend_us
        self._links.put(session, SnapshotOffer(encode_base(sending.base), sending.first, sending.table))

    def _send(self, session: Session, sending: _Sending) -> None:
        assert sending.piece is not None, "there is one to send"
        snapshot, number, piece = sending.base.snapshot, sending.number, sending.piece
        self._links.put(session, SnapshotPiece(snapshot, number, checksum(snapshot, number, piece), piece))

    def _piece_bytes(self, session: Session) -> int:
        """As much as the window holds, and more than one of its frames: so it fills the window, which then grows."""
        return max(min(self._limits.snapshot_piece_bytes, session.queue.window), WINDOW_FRAMES)

    def _let_go(self, sending: _Sending) -> None:
        """The receiver has all of it."""
        if sending.reader is not None:
            sending.reader.close()
            sending.reader = None
            self._ids.sent_now -= 1
        sending.piece = None

    def _end(self, member: int, *, ok: bool) -> None:
        sending = self._to.pop(member)
        self._let_go(sending)
        self._over.append((member, sending.base.index, ok))
