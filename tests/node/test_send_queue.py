"""What one session sends: in which order, in which pieces, how much at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from ratified.consensus.raft.messages import AppendEntries, Heartbeat, Message
from ratified.node.config import NodeLimits
from ratified.node.send_queue import MESSAGE_BYTES, QUESTION_BYTES_SHORT, SendQueue
from ratified.wire.codec import Assembly, FrameError, MessageCodec
from ratified.wire.peer import Barrier, Batch, Fragment, Frame, Mark, Question, SnapshotPiece
from tests.node.cluster import MS, SECOND, Cluster

CODEC = MessageCodec(Message)
LIMITS = NodeLimits(frame_bytes_max=1000, window_bytes_first=4000, window_bytes_min=2000, window_bytes_max=64_000)
BEAT = Heartbeat(1, 0, 0)
DELAY_US = 100 * MS


def send_queue(limits: NodeLimits = LIMITS) -> SendQueue:
    return SendQueue(limits, CODEC, DELAY_US)


def entries(*sizes: int) -> AppendEntries:
    return AppendEntries(1, 0, 0, 0, 0, [bytes(size) for size in sizes])


def messages(frames: Sequence[Frame]) -> list[object]:
    return [message for frame in frames if isinstance(frame, Batch) for _, message in frame.messages]


def marks(frames: Sequence[Frame]) -> list[int]:
    return [frame.number for frame in frames if isinstance(frame, Mark)]


def size_of(frames: Sequence[Frame]) -> int:
    fragments = sum(len(frame.data) for frame in frames if isinstance(frame, Fragment))
    return fragments + sum(
        MESSAGE_BYTES + sum(map(len, message.entries))
        for message in messages(frames)
        if isinstance(message, AppendEntries)
    )


def test_what_is_short_leaves_first_and_at_once_however_much_waits() -> None:
    out = send_queue()
    for number in range(20):
        out.put(0, entries(900 + number))
    out.put(0, BEAT)
    frames = out.take(0)
    assert messages(frames)[0] == BEAT
    assert out.waiting_bytes > 0
    out.put(3, Barrier(5))
    assert out.take(1) == [Batch([(3, Barrier(5))])]


def test_all_of_a_turn_is_one_frame_while_it_is_small() -> None:
    out = send_queue()
    out.put(0, entries(10))
    out.put(1, BEAT)
    out.put(0, entries(20))
    assert out.take(0) == [Batch([(1, BEAT), (0, entries(10)), (0, entries(20))])]
    assert out.is_clear, "so little needs no mark"


def test_no_more_is_under_way_than_the_window_and_one_frame() -> None:
    out = send_queue()
    for _ in range(100):
        out.put(0, entries(500))
    frames = out.take(0)
    assert LIMITS.window_bytes_first <= size_of(frames) < LIMITS.window_bytes_first + LIMITS.frame_bytes_max
    assert len(marks(frames)) == 1
    assert out.take(1) == [], "everything else waits for the mark"
    assert not out.is_clear
    out.on_mark(2, marks(frames)[0])
    assert out.take(2)


def test_groups_take_turns_and_each_keeps_its_order() -> None:
    out = send_queue()
    for number in range(3):
        out.put(0, entries(300 + number))
    out.put(7, entries(400))
    out.put(7, entries(401))
    order = [
        (group, len(message.entries[0]))
        for frame in out.take(0)
        if isinstance(frame, Batch)
        for group, message in frame.messages
    ]
    assert order == [(0, 300), (7, 400), (0, 301), (7, 401), (0, 302)]


def test_a_long_message_is_cut_and_put_together_again() -> None:
    out = send_queue()
    long = entries(5_000, 3_000)
    out.put(4, long)
    assembly = Assembly(CODEC)
    found: list[object] = []
    now = 0
    while not out.is_clear:
        now += MS
        out.put(0, BEAT)
        frames = out.take(now)
        assert messages(frames) == [BEAT], "short messages pass between the pieces"
        for frame in frames:
            if isinstance(frame, Fragment):
                assert len(frame.data) <= LIMITS.frame_bytes_max
                found += filter(None, [assembly.add(frame)])
        for number in marks(frames):
            out.on_mark(now + 1, number)
    assert found == [(4, long)]
    assert out.waiting_bytes == 0


@pytest.mark.parametrize(
    "wrong",
    [
        [Fragment(1, 10, b"abc"), Fragment(2, 7, b"abc")],
        [Fragment(1, 10, b"abc"), Fragment(1, 7, b"ab")],
        [Fragment(1, 10, b"")],
        [Fragment(1, 1 << 40, b"abc")],
        [Fragment(1, 0, b"\xc1")],
    ],
    ids=["another group", "a gap", "no bytes", "too long", "no message"],
)
def test_fragments_that_do_not_fit_together_are_refused(wrong: list[Fragment]) -> None:
    assembly = Assembly(CODEC)
    *fit, last = wrong
    for fragment in fit:
        assembly.add(fragment)
    with pytest.raises(FrameError):
        assembly.add(last)


def drive(out: SendQueue, bytes_per_us: float, seconds: float) -> list[int]:
    """Keep it full over a link of this rate; how long each mark took to come back."""
    now, free_at = 0, 0.0
    took: list[int] = []
    arriving: list[tuple[float, int, int]] = []
    while now < seconds * 1e6:
        while out.waiting_bytes < 200_000:
            out.put(0, entries(500))
        frames = out.take(now)
        free_at = max(free_at, now) + size_of(frames) / bytes_per_us
        arriving += [(free_at + MS, number, now) for number in marks(frames)]
        at, number, sent = arriving.pop(0)
        now = int(at)
        took.append(now - sent)
        out.on_mark(now, number)
    return took


def test_the_window_grows_on_a_fast_link() -> None:
    out = send_queue()
    drive(out, bytes_per_us=100, seconds=0.2)
    assert out.window == LIMITS.window_bytes_max


def test_the_window_keeps_a_slow_link_short_and_full() -> None:
    out = send_queue(replace(LIMITS, window_bytes_max=8 << 20))
    took = drive(out, bytes_per_us=0.125, seconds=20)
    assert max(took[20:]) < 4 * DELAY_US
    assert out.window > 0.125 * DELAY_US / 4


def test_one_late_mark_shrinks_the_window_once() -> None:
    out = send_queue()
    out.put(0, entries(900, 900, 900, 900, 900))
    first = out.take(0)
    out.on_mark(10, marks(first)[-1])
    before = out.window
    for _ in range(20):
        out.put(0, entries(500))
    frames = out.take(20)
    late = marks(frames)
    out.on_mark(20 + 2 * DELAY_US, late[-1])
    assert LIMITS.window_bytes_min <= out.window < before
    again = out.window
    out.on_mark(20 + 9 * DELAY_US, late[-1])
    assert out.window == again


def test_marks_that_were_under_way_when_the_window_shrank_do_not_shrink_it_again() -> None:
    out = send_queue(replace(LIMITS, window_bytes_min=1))
    out.put(0, entries(900, 900, 900, 900, 900))
    out.on_mark(10, marks(out.take(0))[-1])
    before = out.window
    late: list[int] = []
    for at in (20, 21, 22):
        out.put(0, entries(before // 4))
        late += marks(out.take(at))
    assert len(late) == 3
    out.on_mark(20 + 2 * DELAY_US, late[0])
    shrunk = out.window
    assert shrunk < before
    out.on_mark(20 + 4 * DELAY_US, late[1])
    out.on_mark(20 + 6 * DELAY_US, late[2])
    assert out.window == shrunk, "they tell of the window before"
    out.put(0, entries(shrunk))
    (number,) = marks(out.take(SECOND))
    out.on_mark(SECOND + 3 * DELAY_US, number)
    assert out.window < shrunk


def test_who_has_no_credit_is_told_when_there_is_some() -> None:
    out = send_queue()
    assert out.has_credit(5)
    while out.has_credit(5):
        out.put(5, entries(700))
    assert out.take_refused() == []
    frames = out.take(0)
    while out.waiting_bytes >= out.window:
        out.on_mark(1, marks(frames)[-1])
        frames = out.take(1)
    assert out.take_refused() == [5]
    assert out.take_refused() == []


def test_a_question_is_short_as_long_as_it_is() -> None:
    out = send_queue()
    out.put(0, entries(100))
    out.put(0, Question(1, bytes(QUESTION_BYTES_SHORT)))
    out.put(0, Question(2, bytes(QUESTION_BYTES_SHORT - 1 + 2)))
    tokens = [message.token for message in messages(out.take(0)) if isinstance(message, Question)]
    assert tokens == [1]
    assert not out.is_clear


def test_too_much_waiting_ends_the_session_and_is_counted() -> None:
    cluster = Cluster(limits=NodeLimits(send_queue_bytes_max=100_000, window_bytes_first=1000, window_bytes_max=1000))
    leader = cluster.elect()
    peers = cluster.node(leader)._peers
    session = peers.session(cluster.follower())
    assert session is not None
    for _ in range(200):
        session.queue.put(0, entries(1_000))
    cluster.submit(leader, b"a turn")
    cluster.run_until(lambda: not session.open)
    assert peers.overflows == 1
    assert any("send_queue_bytes_max" in notice.text for notice in cluster.processes[leader].notices)


def test_a_piece_of_a_snapshot_takes_its_turn_as_one_more_group() -> None:
    out = send_queue()
    piece = SnapshotPiece(7, 1, 0, bytes(900))
    out.put(0, entries(800))
    out.put(0, entries(801))
    out.put(0, piece)
    out.put(1, entries(802))
    out.put(0, entries(803))
    first = messages(out.take(0))
    sizes = [size_of([Batch([(0, each)])]) - MESSAGE_BYTES if each is not piece else 900 for each in first]
    assert sizes == [800, 900, 802, 801, 803]
