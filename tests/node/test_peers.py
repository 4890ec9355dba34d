"""Connections, the handshake, sessions, the failure detector."""

from __future__ import annotations

import msgspec
import pytest

from ratified.consensus.engines import ENGINES
from ratified.node.config import NodeConfig
from ratified.node.peers import Peers
from ratified.node.timers import Timer, Timers
from ratified.wire.peer import Barrier, Batch, Frame, Goodbye, Hello, Ping
from tests.node.cluster import MS, SECOND, Cluster

CONFIG = NodeConfig(
    cluster=7,
    member=2,
    name="two",
    directory=bytes(16),
    start=22,
    seed=1,
    engine=ENGINES["raft"],
    peers=(1, 2, 3),
    heartbeat_us=10 * MS,
    election_timeout_us=100 * MS,
)


def hello(**changes: object) -> Hello:
    good = Hello(7, 1, bytes(16), 5, 11, "raft", 1, 1, "one", ("http://one",))
    return msgspec.structs.replace(good, **changes)


class Timed(Peers):
    """With a table of timers of its own, which runs out as a node's does."""

    def __init__(self) -> None:
        self.timers = Timers()
        super().__init__(CONFIG, 1, self.timers)

    def run_timers(self, now: int, frames_wait_on: tuple[int, ...] = ()) -> None:
        for connection in frames_wait_on:
            self.frames_wait(now, connection)
        for timer, connection in self.timers.expired(now):
            if timer is Timer.SILENCE:
                self.on_silence(now, connection)


def peers() -> Timed:
    made = Timed()
    made.announce(0)
    return made


def greeted(made: Peers, connection: int, frame: Hello, dialled: int | None = None) -> list[Frame]:
    """Connect, receive a Hello; everything that was sent on the connection."""
    made.connected(0, connection, dialled)
    made.received(0, connection, frame)
    frames, _ = made.drain(0)
    return [outgoing.frame for outgoing in frames if outgoing.connection == connection]


def reason(frames: list[Frame]) -> str:
    assert len(frames) == 2
    assert isinstance(frames[0], Hello)
    assert isinstance(frames[1], Goodbye)
    return frames[1].reason


def test_both_sides_say_hello_first_and_then_have_a_session() -> None:
    made = peers()
    frames = greeted(made, 1, hello())
    assert frames == [Hello(7, 2, bytes(16), 1, 22, "raft", 1, 1, "two", ())]
    ((member, session),) = made.drain_changes()
    assert session is not None
    assert (member, session.number, session.incarnation) == (1, 1, 5)


def test_no_frame_leaves_before_the_incarnation_is_durable() -> None:
    made = Timed()
    made.connected(0, 1, None)
    made.received(0, 1, hello())
    assert made.drain(SECOND) == ([], [])
    assert not made.drain_changes()
    made.announce(SECOND)
    frames, _ = made.drain(SECOND)
    assert [type(outgoing.frame) for outgoing in frames] == [Hello]
    assert made.session(1) is not None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"cluster": 8}, "cluster 8 is not cluster 7"),
        ({"member": 2}, "this node's own id"),
        ({"member": 9}, "not a member of this cluster"),
        ({"engine": "zab"}, "engine zab is not engine raft"),
        ({"version_min": 2, "version_max": 3}, "have none in common; upgrade the older node"),
    ],
)
def test_who_does_not_fit_is_told_why(changes: dict[str, object], text: str) -> None:
    made = peers()
    assert text in reason(greeted(made, 1, hello(**changes)))
    assert not made.drain_changes()
    assert any(text in notice.text for notice in made.notices)


def test_another_member_at_a_dialled_address_is_refused() -> None:
    assert "answers at the address of member 3" in reason(greeted(peers(), 1, hello(), dialled=3))


def test_an_overtaken_incarnation_is_refused() -> None:
    made = peers()
    greeted(made, 1, hello(incarnation=5))
    made.disconnected(0, 1)
    assert "was overtaken by 5" in reason(greeted(made, 2, hello(incarnation=4, start=10)))


def test_a_second_start_of_one_incarnation_is_refused() -> None:
    made = peers()
    greeted(made, 1, hello(incarnation=5, start=11))
    assert "runs twice" in reason(greeted(made, 2, hello(incarnation=5, start=12)))
    assert made.session(1) is not None, "the first one goes on"


def test_a_further_connection_of_the_same_start_replaces_the_older_one() -> None:
    made = peers()
    greeted(made, 1, hello())
    older = made.session(1)
    made.drain_changes()
    made.connected(0, 2, None)
    made.received(0, 2, hello())
    _, closes = made.drain(0)
    newer = made.session(1)
    assert [hangup.connection for hangup in closes] == [1]
    assert older is not None
    assert newer is not None
    assert (older.open, newer.open, newer.number) == (False, True, 2)
    assert list(made.drain_changes()) == [(1, None), (1, newer)]


def test_messages_before_the_handshake_end_the_connection() -> None:
    made = peers()
    made.connected(0, 1, None)
    assert made.session_on(0, 1) is None
    _, closes = made.drain(0)
    assert [hangup.reason for hangup in closes] == ["messages before the handshake"]


def test_what_comes_after_a_hangup_is_ignored() -> None:
    made = peers()
    greeted(made, 1, hello(cluster=8))
    made.received(0, 1, hello())
    assert made.session_on(0, 1) is None
    assert not made.drain_changes()


def test_messages_of_one_turn_are_one_batch_and_silence_is_pinged() -> None:
    made = peers()
    greeted(made, 1, hello())
    session = made.session(1)
    assert session is not None
    session.outbox += [(0, Barrier(1)), (1, Barrier(2))]
    frames, _ = made.drain(5 * MS)
    assert [outgoing.frame for outgoing in frames] == [Batch([(0, Barrier(1)), (1, Barrier(2))])]
    assert made.timers.deadline == 15 * MS
    assert made.drain(14 * MS) == ([], [])
    frames, _ = made.drain(15 * MS)
    assert [outgoing.frame for outgoing in frames] == [Ping()]


def test_a_silent_connection_is_hung_up_unless_its_frames_wait_in_the_queue() -> None:
    made = peers()
    greeted(made, 1, hello())
    made.run_timers(100 * MS, (1,))
    assert made.session(1) is not None
    made.run_timers(199 * MS)
    assert made.session(1) is not None
    made.run_timers(200 * MS)
    assert made.session(1) is None


def test_a_connection_on_which_nobody_says_hello_is_hung_up_whatever_else_comes() -> None:
    made = peers()
    made.connected(0, 9, None)
    made.received(99 * MS, 9, Ping())
    made.run_timers(100 * MS)
    _, closes = made.drain(100 * MS)
    assert [close.connection for close in closes] == [9]


def test_a_frozen_peer_is_noticed_by_silence_alone() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    frozen = cluster.follower()
    cluster.processes[frozen].pause()
    cluster.run(SECOND)
    peer = cluster.node(leader).status().peers[frozen]
    assert (peer.name, peer.connected) == (f"n{frozen}", False)


def test_an_idle_pair_stays_connected_by_pings() -> None:
    cluster = Cluster(size=2)
    cluster.elect()
    cluster.run(5 * SECOND)
    assert cluster.node(1).status().peers[2].connected
    assert len([frame for _, _, frame in cluster.frames if isinstance(frame, Hello)]) == 2
