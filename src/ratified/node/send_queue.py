"""What one session has to send: in which order, in which pieces, and how much at a time.

Rules:

1. Two lanes. Short messages (heartbeats, votes, answers) leave in the turn in which they were made, before everything
   else. What carries entries or commands, and what must not overtake that, waits for the *window*; the groups take
   turns, and within a group it keeps its order.
2. The window bounds the bytes that are under way: sent, and not known to have arrived. A ``Mark`` behind them says how
   far they are; the peer gives it back. So nothing grows in the kernel's buffers or the network's, where a heartbeat
   would have to wait behind it.
3. The window follows the link. It begins small in every session, grows by what arrives as long as it is what holds
   things up, and shrinks to what the link carried in ``delay_us`` where marks come back that much later than the
   fastest of this session did.
4. A frame holds at most ``frame_bytes_max``, and at most a quarter of the window; a longer message is cut into
   fragments, and short messages pass between them.
5. A piece of a snapshot waits beside its group's lane and takes its turn as one more group: entries do not wait behind
   it. There is one of each group at a time, no longer than the window.
6. Engines ask ``has_credit`` before they make what carries entries; who was refused is told when there is room again.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ratified.consensus.contract import Size, Sizes
from ratified.consensus.lanes import keeps_order
from ratified.node.config import NodeLimits
from ratified.wire.codec import MessageCodec
from ratified.wire.peer import Batch, Forward, Fragment, Frame, Mark, Question, QuestionAnswer, SnapshotPiece

MESSAGE_BYTES = 64
"""What a message counts beside its entries or commands."""
QUESTION_BYTES_SHORT = 1024
"""A question or its answer up to this size is a short message: their order means nothing."""
WINDOW_FRAMES = 4
"""How many frames a window holds at the least, so that short messages pass between them."""


class _Marked(NamedTuple):
    number: int
    size: int
    """Bytes sent since the mark before it."""
    at: int


class SendQueue:
    """Of one session, from its beginning to its end."""

    __slots__ = (
        "_base_us",
        "_blocked",
        "_bulk",
        "_codec",
        "_cut",
        "_cut_at",
        "_cut_group",
        "_delay_us",
        "_in_flight",
        "_limits",
        "_marks",
        "_marks_sent",
        "_refused",
        "_shrunk_at",
        "_unmarked",
        "_urgent",
        "waiting_bytes",
        "window",
    )

    def __init__(self, limits: NodeLimits, codec: MessageCodec, delay_us: int) -> None:
        self.window = min(limits.window_bytes_first, limits.window_bytes_max)
        self.waiting_bytes = 0
        """Of messages that wait for the window."""
        self._limits = limits
        self._codec = codec
        self._delay_us = delay_us
        self._urgent: list[tuple[int, object]] = []
        self._bulk: dict[int, deque[tuple[object, int]]] = {}
        """By group, in the order of their turns: messages and what they count. Under its complement, its snapshot."""
        self._cut = b""
        """The message that is being sent in fragments."""
        self._cut_at = 0
        self._cut_group = 0
        self._in_flight = 0
        self._unmarked = 0
        self._marks: deque[_Marked] = deque()
        self._marks_sent = 0
        self._base_us: int | None = None
        """The shortest time in which a mark came back."""
        self._shrunk_at = 0
        """Marks up to this one tell of the window before it shrank."""
        self._blocked = False
        """Did the window hold something up since it grew last?"""
        self._refused: dict[int, None] = {}

    def put(self, group: int, message: object) -> None:
        size = _held_back(message)
        if size is None:
            self._urgent.append((group, message))
            return
        size += MESSAGE_BYTES
        self.waiting_bytes += size
        lane = ~group if isinstance(message, SnapshotPiece) else group
        waiting = self._bulk.get(lane)
        if waiting is None:
            waiting = self._bulk[lane] = deque()
        waiting.append((message, size))

    @property
    def is_clear(self) -> bool:
        """Does nothing wait, and has everything arrived that was sent, but for less than a mark stands for?"""
        return not (self._bulk or self._cut or self._marks)

    def has_credit(self, group: int) -> bool:
        """May this group make something that carries entries? If not it is told by ``take_refused``."""
        if self.waiting_bytes < self.window:
            return True
        self._refused[group] = None
        return False

    def take_refused(self) -> list[int]:
        """The groups that were refused credit, now that there is some."""
        if not self._refused or self.waiting_bytes >= self.window:
            return []
        groups, self._refused = list(self._refused), {}
        return groups

    def clear(self) -> None:
        """The session has ended, and with it all that waited."""
        self._urgent = []
        self._bulk = {}
        self._cut = b""
        self._refused = {}
        self.waiting_bytes = 0

    # ---- out

    def take(self, now: int) -> list[Frame]:
        """The frames that may leave now."""
        if not (self._urgent or self._bulk or self._cut):
            return []
        frames: list[Frame] = []
        batch, self._urgent = self._urgent, []
        batch_bytes = 0
        while self._bulk or self._cut:
            if self._in_flight >= self.window:
                self._blocked = True
                break
            frame_bytes = self._frame_bytes
            if self._cut:
                if batch:
                    frames.append(Batch(batch))
                    batch, batch_bytes = [], 0
                frames.append(self._fragment(frame_bytes))
                continue
            group, message, size = self._next()
            if size > frame_bytes + MESSAGE_BYTES:
                self._cut, self._cut_at, self._cut_group = self._codec.encode(message), 0, group
                self.waiting_bytes += len(self._cut) - size
                continue
            if batch_bytes and batch_bytes + size > frame_bytes:
                frames.append(Batch(batch))
                batch, batch_bytes = [], 0
            batch.append((group, message))
            batch_bytes += size
            self._sent(size)
        if batch:
            frames.append(Batch(batch))
        if self._unmarked and (self._blocked or self._unmarked >= self.window // WINDOW_FRAMES):
            frames.append(self._mark(now))
        return frames

    def on_mark(self, now: int, number: int) -> None:
        """The peer gave this mark back: everything before it has arrived."""
        marks = self._marks
        arrived, at = 0, now
        while marks and marks[0].number <= number:
            _, size, at = marks.popleft()
            arrived += size
        if not arrived:
            return
        self._in_flight -= arrived
        took = now - at
        self._base_us = took if self._base_us is None else min(self._base_us, took)
        queued = took - self._base_us
        if queued > self._delay_us:
            if number > self._shrunk_at:
                self._shrunk_at = self._marks_sent
                self.window = max(self.window * self._delay_us // queued, self._limits.window_bytes_min)
        elif self._blocked:
            self._blocked = False
            self.window = min(self.window + arrived, self._limits.window_bytes_max)

    def sizes(self) -> Sizes:
        """Behind the last mark there may be as much as no mark is sent for."""
        window_max = max(self._limits.window_bytes_min, self._limits.window_bytes_max)
        return {
            "messages to send": Size(len(self._urgent) + sum(map(len, self._bulk.values()))),
            "bytes to send": Size(self.waiting_bytes),
            "marks not given back": Size(len(self._marks)),
            "bytes under way": Size(self._in_flight, window_max // WINDOW_FRAMES),
            "groups without credit": Size(len(self._refused)),
        }

    @property
    def _frame_bytes(self) -> int:
        return max(min(self._limits.frame_bytes_max, self.window // WINDOW_FRAMES), 1)

    def _next(self) -> tuple[int, object, int]:
        """Take the next message: the groups take turns."""
        lane = next(iter(self._bulk))
        waiting = self._bulk.pop(lane)
        message, size = waiting.popleft()
        if waiting:
            self._bulk[lane] = waiting
        return max(lane, ~lane), message, size

    def _fragment(self, bytes_max: int) -> Fragment:
        begin = self._cut_at
        data = self._cut[begin : begin + bytes_max]
        self._cut_at += len(data)
        left = len(self._cut) - self._cut_at
        if not left:
            self._cut = b""
        self._sent(len(data))
        return Fragment(self._cut_group, left, data)

    def _sent(self, size: int) -> None:
        self.waiting_bytes -= size
        self._in_flight += size
        self._unmarked += size

    def _mark(self, now: int) -> Mark:
        self._marks_sent += 1
        self._marks.append(_Marked(self._marks_sent, self._unmarked, now))
        self._unmarked = 0
        return Mark(self._marks_sent)


def _held_back(message: object) -> int | None:
    """The bytes that a message of the long lane carries; None: it is a short one."""
    match message:
        case Forward():
            return sum(len(data or b"") for _, data, _ in message.proposals)
        case Question(request=data) | QuestionAnswer(reply=data):
            return len(data) if data is not None and len(data) > QUESTION_BYTES_SHORT else None
        case SnapshotPiece():
            return len(message.data)
    if keeps_order(message):
        return sum(map(len, getattr(message, "entries", ())))
    return None
