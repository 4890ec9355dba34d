"""Connections, the handshake, sessions, the failure detector."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from ratified.consensus.engines import ENGINES
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import first_table
from ratified.node.config import NodeConfig
from ratified.node.directories import Directories
from ratified.node.peers import MISSED_TIMEOUTS, PeerSessions
from ratified.node.ports import Admitted
from ratified.node.room import DiskRoom
from ratified.node.timers import Timer, Timers
from ratified.storage.format import BegunRecord, NodeRecord, NodesOwn, PeerRecord
from ratified.wire.peer import (
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    Barrier,
    Batch,
    Frame,
    Goodbye,
    Hello,
    Ping,
    Standing,
)
from tests.node.cluster import MS, SECOND, Cluster

OURS = b"2" * 16
OTHERS = b"1" * 16
HELD = {1: PeerRecord(1, OTHERS), 3: PeerRecord(3, b"3" * 16)}
STANDING = Standing(OURS, begun=True)
CONFIG = NodeConfig(
    cluster=7,
    member=2,
    name="two",
    directory=OURS,
    start=22,
    seed=1,
    engine=ENGINES["raft"],
    names={1: "one", 2: "two", 3: "three"},
    heartbeat_us=10 * MS,
    election_timeout_us=100 * MS,
)


def hello(**changes: object) -> Hello:
    good = Hello(7, 1, OTHERS, 5, 11, (10, 9), "raft", PROTOCOL_VERSION, PROTOCOL_VERSION, "one", ("http://one",), True)
    return msgspec.structs.replace(good, **changes)


class Log:
    """Takes down what a node wants to be durable."""

    def __init__(self) -> None:
        self.records: list[NodesOwn] = []

    def append_own(self, record: NodesOwn) -> None:
        self.records.append(record)


class Timed(PeerSessions):
    """With a table of timers of its own, which runs out as a node's does, and a log that waits to be synced."""

    def __init__(self, held: Mapping[int, PeerRecord], *, begun: bool, config: NodeConfig = CONFIG) -> None:
        self.timers = Timers()
        self.log = Log()
        self.cluster = ClusterLog(self.log.append_own, first_table(config.names, config.peer_urls), None)
        self.directories = Directories(config, self.cluster, self.log.append_own, held, begun=begun, joins=False)
        super().__init__(config, 1, (21, 20), self.directories, self.cluster, self.timers, DiskRoom())

    def sync(self, now: int = 0) -> list[NodesOwn]:
        """The log is durable now."""
        records, self.log.records = self.log.records, []
        for record in records:
            self.recorded(now, record)
        return records

    def run_timers(self, now: int, frames_wait_on: tuple[int, ...] = ()) -> None:
        for connection in frames_wait_on:
            self.frames_wait(now, connection)
        for timer, connection in self.timers.expired(now):
            if timer is Timer.SILENCE:
                self.on_silence(now, connection)
            elif timer is Timer.NOT_BEGUN:
                self.on_not_begun(now)
            elif timer is Timer.MISSED:
                self.on_missed(connection)


def peers(held: Mapping[int, PeerRecord] = HELD, *, begun: bool = True, config: NodeConfig = CONFIG) -> Timed:
    made = Timed(held, begun=begun, config=config)
    made.recorded(0, NodeRecord(1, OURS))
    return made


def greeted(made: PeerSessions, connection: int, frame: Hello, dialled: int | None = None, now: int = 0) -> list[Frame]:
    """Connect, receive a Hello; everything that was sent on the connection."""
    made.connected(now, connection, dialled)
    made.received(now, connection, frame)
    return sent(made, connection, now)


def sent(made: PeerSessions, connection: int, now: int = 0) -> list[Frame]:
    frames, _ = made.drain(now)
    return [outgoing.frame for outgoing in frames if outgoing.connection == connection]


def in_session(made: PeerSessions, connection: int, frame: Hello, dialled: int | None = None) -> list[Frame]:
    frames = greeted(made, connection, frame, dialled)
    made.received(0, connection, STANDING)
    return frames


def closed(made: PeerSessions, now: int = 0) -> list[int]:
    _, closes = made.drain(now)
    return [hangup.connection for hangup in closes]


def challenges(made: PeerSessions) -> list[int]:
    return list(made.drain_port()[1])


def reason(frames: list[Frame]) -> str:
    assert len(frames) == 2
    assert isinstance(frames[0], Hello)
    assert isinstance(frames[1], Goodbye)
    return frames[1].reason


def test_both_sides_say_hello_first_then_what_they_hold_and_then_have_a_session() -> None:
    made = peers()
    frames = greeted(made, 1, hello())
    assert frames == [
        Hello(7, 2, OURS, 1, 22, (21, 20), "raft", PROTOCOL_VERSION_MIN, PROTOCOL_VERSION, "two", (), True),
        Standing(OTHERS, begun=True),
    ]
    assert not made.drain_changes()
    made.received(0, 1, STANDING)
    ((member, session),) = made.drain_changes()
    assert session is not None
    assert (member, session.number, session.incarnation) == (1, 1, 5)


def test_no_frame_leaves_before_the_incarnation_is_durable() -> None:
    made = Timed(HELD, begun=True)
    made.connected(0, 1, None)
    made.received(0, 1, hello())
    assert made.drain(SECOND) == ([], [])
    made.recorded(SECOND, NodeRecord(1, OURS))
    assert [type(frame) for frame in sent(made, 1, SECOND)] == [Hello, Standing]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"cluster": 8}, "cluster 8 is not cluster 7"),
        ({"member": 2}, "this node's own id"),
        ({"member": 9}, "not a member of this cluster"),
        ({"engine": "zab"}, "engine zab is not engine raft"),
        (
            {"version_min": PROTOCOL_VERSION + 1, "version_max": PROTOCOL_VERSION + 2},
            "have none in common; upgrade the older node",
        ),
    ],
)
def test_who_does_not_fit_is_told_why(changes: dict[str, object], text: str) -> None:
    made = peers()
    assert text in reason(greeted(made, 1, hello(**changes)))
    assert not made.drain_changes()
    assert any(text in notice.text for notice in made.notices)


def test_another_member_at_a_dialled_address_is_refused() -> None:
    assert "answers at the address of member three (3)" in reason(greeted(peers(), 1, hello(), dialled=3))


# ---------------------------------------------------------------------------------------------------------------
# Directories


def test_a_member_whose_directory_was_wiped_is_refused_with_the_remedy() -> None:
    made = peers()
    text = reason(greeted(made, 1, hello(directory=b"x" * 16, begun=False, incarnation=1)))
    assert "member one (1) comes with another data directory" in text
    assert "must not vote under its old name" in text
    assert made.log.records == []
    assert "another data directory" in reason(greeted(made, 2, hello(directory=b"x" * 16, begun=True)))


def test_a_fresh_node_takes_down_a_directory_durably_before_it_says_so() -> None:
    made = peers({}, begun=False)
    assert [type(frame) for frame in greeted(made, 1, hello(begun=False))] == [Hello]
    assert made.sync() == [PeerRecord(1, OTHERS)]
    assert sent(made, 1) == [Standing(OTHERS, begun=False)]


def test_a_fresh_node_replaces_a_directory_by_a_later_one() -> None:
    made = peers(begun=False)
    greeted(made, 1, hello(directory=b"x" * 16, begun=False))
    assert made.sync() == [PeerRecord(1, b"x" * 16)]
    assert not made.directories.holds(1, OTHERS)


def test_a_fresh_node_begins_when_all_members_and_it_hold_each_others_directories() -> None:
    made = peers({}, begun=False)
    greeted(made, 1, hello(begun=False), dialled=1)
    greeted(made, 2, hello(member=3, begun=False), dialled=3)
    made.sync()
    made.received(0, 1, Standing(OURS, begun=False))
    assert made.waits_for() == ["three (3) (it has not met this one yet)"]
    made.received(0, 2, Standing(b"x" * 16, begun=False))
    assert made.log.records == [], "it holds another directory of ours"
    made.received(0, 2, Standing(OURS, begun=True))
    made.drain(0)
    assert made.sync() == [BegunRecord()]
    assert made.waits_for() == []
    frames, _ = made.drain(0)
    assert [(out.connection, out.frame) for out in frames] == [
        (1, Standing(OTHERS, begun=True)),
        (2, Standing(OTHERS, begun=True)),
    ]
    assert [member for member, _ in made.drain_changes()] == [3], "the other has not begun"
    made.received(0, 1, STANDING)
    assert [member for member, _ in made.drain_changes()] == [1]


def test_a_node_that_is_about_to_begin_replaces_no_directory_any_more() -> None:
    made = peers({}, begun=False, config=msgspec.structs.replace(CONFIG, absent=(3,)))
    greeted(made, 1, hello(begun=False), dialled=1)
    made.sync()
    made.received(0, 1, Standing(OURS, begun=False))
    wiped = hello(directory=b"x" * 16, incarnation=1, start=12, begun=False)
    assert "another data directory" in reason(greeted(made, 2, wiped, dialled=1))
    assert made.sync() == [BegunRecord()], "which was not durable"
    assert made.directories.holds(1, OTHERS)


def test_a_fresh_node_does_not_begin_with_whoever_claims_to_be_a_member() -> None:
    made = peers({}, begun=False, config=msgspec.structs.replace(CONFIG, absent=(3,)))
    greeted(made, 1, hello(directory=b"x" * 16, start=99, begun=False))
    made.sync()
    made.received(0, 1, Standing(OURS, begun=True))
    assert made.waits_for() == ["one (1) (what claims to be it has not answered at its own address)"]
    assert challenges(made) == [1]
    greeted(made, 2, hello(begun=False))
    made.challenged(0, 1, hello(begun=False))
    assert closed(made) == [1], "it was a stranger"
    made.sync()
    made.received(0, 2, Standing(OURS, begun=False))
    assert made.sync() == [BegunRecord()]
    assert made.directories.holds(1, OTHERS)


def test_a_fresh_node_asks_again_who_answers_at_a_members_own_address() -> None:
    made = peers({}, begun=False, config=msgspec.structs.replace(CONFIG, absent=(3,)))
    greeted(made, 1, hello(begun=False))
    made.sync()
    made.received(0, 1, Standing(OURS, begun=False))
    assert challenges(made) == [1]
    made.challenged(0, 1, None)
    made.heard(90 * MS, 1)
    made.received(90 * MS, 1, Ping())
    made.run_timers(100 * MS)
    assert challenges(made) == [1]
    made.challenged(100 * MS, 1, hello(begun=False))
    assert made.sync() == [PeerRecord(1, OTHERS, 5, 11), BegunRecord()]


def test_a_connection_that_is_gone_does_not_count_for_the_first_start() -> None:
    made = peers({}, begun=False)
    greeted(made, 1, hello(begun=False), dialled=1)
    greeted(made, 2, hello(member=3, begun=False), dialled=3)
    made.sync()
    made.received(0, 1, Standing(OURS, begun=False))
    made.disconnected(0, 1)
    made.received(0, 2, Standing(OURS, begun=False))
    assert made.log.records == []
    assert made.waits_for() == ["one (1) (not connected)"]


def test_a_node_says_for_whom_it_waits_until_it_has_begun() -> None:
    made = peers({}, begun=False)
    made.run_timers(100 * MS)
    assert [notice.text.partition("it waits for ")[2] for notice in made.notices] == [
        "one (1) (not connected); three (3) (not connected)"
    ]
    made.run_timers(199 * MS)
    made.run_timers(200 * MS)
    assert len(made.notices) == 2


def test_a_node_begins_without_the_members_that_the_operator_named_absent_and_does_not_take_them_in_later() -> None:
    made = peers({}, begun=False, config=msgspec.structs.replace(CONFIG, absent=(3,)))
    greeted(made, 1, hello(begun=False), dialled=1)
    made.sync()
    made.received(0, 1, Standing(OURS, begun=False))
    assert made.sync() == [BegunRecord()]
    assert "member three (3) was absent when this cluster began" in reason(
        greeted(made, 2, hello(member=3, begun=False))
    )


def test_a_node_whose_log_knows_no_directories_takes_down_those_of_members_that_have_begun() -> None:
    made = peers({})
    assert "was absent when this cluster began" in reason(greeted(made, 1, hello(begun=False)))
    greeted(made, 2, hello(begun=True))
    assert made.sync() == [PeerRecord(1, OTHERS)]
    assert "another data directory" in reason(greeted(made, 3, hello(directory=b"x" * 16)))


def test_no_session_before_the_other_has_begun_and_holds_ours() -> None:
    made = peers()
    greeted(made, 1, hello(begun=False))
    made.received(0, 1, Standing(OURS, begun=False))
    assert made.session(1) is None
    made.received(0, 1, Standing(b"x" * 16, begun=True))
    assert made.session(1) is None
    made.received(0, 1, STANDING)
    assert made.session(1) is not None


def test_a_connection_that_waits_for_the_first_start_is_kept_alive_by_pings() -> None:
    made = peers({}, begun=False)
    greeted(made, 1, hello(begun=False))
    assert sent(made, 1, 10 * MS) == [Ping()]
    made.received(99 * MS, 1, Ping())
    made.run_timers(100 * MS)
    assert closed(made, 100 * MS) == []


# ---------------------------------------------------------------------------------------------------------------
# Who is believed


def test_an_incarnation_that_a_confirmed_one_has_overtaken_is_refused() -> None:
    made = peers()
    greeted(made, 1, hello(incarnation=5), dialled=1)
    made.disconnected(0, 1)
    assert "was overtaken by 5" in reason(greeted(made, 2, hello(incarnation=4, start=10)))


def test_an_old_copy_is_refused_however_often_it_has_started_since() -> None:
    made = peers({1: PeerRecord(1, OTHERS, 5, 11)})
    text = reason(greeted(made, 1, hello(incarnation=7, start=77, starts_before=(66, 55, 44))))
    assert "knows nothing of the start with incarnation 5 that was met here" in text
    first_listed = reason(greeted(made, 4, hello(incarnation=6, start=77, starts_before=(66, 55))))
    last_listed = reason(greeted(made, 5, hello(incarnation=7, start=77, starts_before=(66, 55))))
    only_listed = reason(greeted(made, 6, hello(incarnation=6, start=77, starts_before=(66,))))
    assert first_listed == last_listed == only_listed == text
    greeted(made, 2, hello(incarnation=7, start=77, starts_before=(66, 11, 44)))
    assert list(made.drain_port()[0]) == [Admitted(2, 1)], "its own directory knows it"
    greeted(made, 3, hello(incarnation=9, start=99, starts_before=(88, 77)))
    made.challenged(0, 1, hello(incarnation=9, start=99, starts_before=(88, 77)))
    assert made.sync()[-1] == PeerRecord(1, OTHERS, 9, 99)


def test_what_was_confirmed_outlasts_this_node() -> None:
    made = peers({1: PeerRecord(1, OTHERS, 5, 11)})
    assert "was overtaken by 5" in reason(greeted(made, 1, hello(incarnation=4)))
    assert "runs twice" in reason(greeted(made, 2, hello(incarnation=5, start=12)))
    greeted(made, 3, hello(incarnation=6, start=13, starts_before=(11,)))
    assert made.session(1) is None
    made.received(0, 3, STANDING)
    assert made.session(1) is not None


def test_a_second_start_of_a_confirmed_incarnation_is_refused() -> None:
    made = peers()
    in_session(made, 1, hello(incarnation=5, start=11), dialled=1)
    assert "runs twice" in reason(greeted(made, 2, hello(incarnation=5, start=12)))
    assert made.session(1) is not None, "the first one goes on"


def test_a_claim_is_challenged_at_the_members_own_address_and_then_remembered() -> None:
    made = peers()
    greeted(made, 1, hello(incarnation=5))
    assert challenges(made) == [1]
    made.challenged(0, 1, hello(incarnation=5))
    made.disconnected(0, 1)
    assert made.sync() == [PeerRecord(1, OTHERS, 5, 11)]
    assert "was overtaken by 5" in reason(greeted(made, 2, hello(incarnation=4, start=10)))
    greeted(made, 3, hello(incarnation=5))
    assert challenges(made) == [], "it is the confirmed one"


def test_a_strangers_claim_does_not_outlast_its_connection() -> None:
    made = peers()
    in_session(made, 1, hello(incarnation=2**64 - 1, start=99))
    made.challenged(0, 1, None)
    made.disconnected(0, 1)
    in_session(made, 2, hello())
    assert made.session(1) is not None


def test_of_two_starts_alive_the_one_at_the_members_own_address_is_believed() -> None:
    made = peers()
    in_session(made, 1, hello(incarnation=9, start=99))
    made.drain_port()
    assert [type(frame) for frame in greeted(made, 2, hello(), now=10 * MS)] == [Hello], "the older claim stays"
    assert challenges(made) == [1]
    made.received(10 * MS, 2, STANDING)
    made.challenged(10 * MS, 1, hello())
    frames, closes = made.drain(10 * MS)
    assert [hangup.connection for hangup in closes] == [1]
    (goodbye,) = [out.frame for out in frames if isinstance(out.frame, Goodbye)]
    assert "another process answers at the address of member one (1)" in goodbye.reason
    session = made.session(1)
    assert session is not None
    assert session.connection == 2


def test_a_later_claim_beside_a_member_that_answers_at_its_own_address_is_refused() -> None:
    made = peers()
    in_session(made, 1, hello())
    greeted(made, 2, hello(incarnation=9, start=99), now=10 * MS)
    made.challenged(10 * MS, 1, hello())
    assert closed(made, 10 * MS) == [2]
    assert made.session(1) is not None


def test_a_claim_that_nobody_confirms_ends_at_its_deadline_while_an_older_one_lives() -> None:
    made = peers()
    in_session(made, 1, hello())
    greeted(made, 2, hello(incarnation=9, start=99))
    made.challenged(0, 1, None)
    made.received(50 * MS, 1, Ping())
    made.received(50 * MS, 2, Ping())
    made.run_timers(100 * MS)
    assert closed(made, 100 * MS) == [2]
    assert made.session(1) is not None


def test_many_claims_make_one_challenge_a_heartbeat() -> None:
    made = peers()
    in_session(made, 1, hello())
    for connection in range(2, 50):
        greeted(made, connection, hello(incarnation=9, start=connection))
    assert challenges(made) == [1]
    greeted(made, 99, hello(incarnation=9, start=99), now=10 * MS)
    assert challenges(made) == [1]


def test_the_answer_to_a_challenge_must_be_the_members() -> None:
    made = peers()
    in_session(made, 1, hello())
    for other in (hello(member=3, start=5), hello(cluster=8, start=5), hello(directory=b"x" * 16, start=5)):
        made.challenged(0, 1, other)
    assert made.session(1) is not None


def test_whom_we_dialled_replaces_whoever_claims_to_be_it() -> None:
    made = peers()
    in_session(made, 1, hello(incarnation=9, start=99))
    in_session(made, 2, hello(), dialled=1)
    session = made.session(1)
    assert session is not None
    assert (session.connection, session.incarnation) == (2, 5)


def test_a_further_connection_of_the_same_start_replaces_the_older_one() -> None:
    made = peers()
    in_session(made, 1, hello())
    older = made.session(1)
    made.drain_changes()
    made.connected(0, 2, None)
    made.received(0, 2, hello())
    made.received(0, 2, STANDING)
    newer = made.session(1)
    assert closed(made) == [1]
    assert older is not None
    assert newer is not None
    assert (older.open, newer.open, newer.number) == (False, True, 2)
    assert list(made.drain_changes()) == [(1, None), (1, newer)]


def test_members_and_nobody_else_leave_the_lobby() -> None:
    made = peers()
    greeted(made, 1, hello())
    greeted(made, 2, hello(cluster=8))
    made.connected(0, 3, None)
    assert list(made.drain_port()[0]) == [Admitted(1, 1)]


# ---------------------------------------------------------------------------------------------------------------
# Connections


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
    in_session(made, 1, hello())
    session = made.session(1)
    assert session is not None
    session.queue.put(0, Barrier(1))
    session.queue.put(1, Barrier(2))
    frames, _ = made.drain(5 * MS)
    assert [outgoing.frame for outgoing in frames] == [Batch([(0, Barrier(1)), (1, Barrier(2))])]
    assert made.timers.deadline == 15 * MS
    assert made.drain(14 * MS) == ([], [])
    frames, _ = made.drain(15 * MS)
    assert [outgoing.frame for outgoing in frames] == [Ping()]


def test_a_silent_connection_is_hung_up_unless_its_frames_wait_in_the_queue() -> None:
    made = peers()
    in_session(made, 1, hello())
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


def test_who_is_not_met_for_a_while_is_dialled_by_the_other_side_too() -> None:
    """A member that was down while it was removed, or while another was added, is not dialled by who knows."""
    made = peers()
    in_session(made, 4, hello())
    made.run_timers(MISSED_TIMEOUTS * CONFIG.election_timeout_us - 1)
    assert not made.missed
    made.run_timers(MISSED_TIMEOUTS * CONFIG.election_timeout_us)
    assert list(made.missed) == [3]
    in_session(made, 5, hello(member=3, directory=HELD[3].directory))
    assert not made.missed


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
    assert len([frame for _, _, frame in cluster.frames if isinstance(frame, Hello)]) == 3, "and one for the challenge"


@pytest.mark.parametrize(("theirs", "takes"), [(4, False), (5, True), (6, True)])
def test_snapshots_go_to_members_that_know_them(theirs: int, takes: bool) -> None:
    made = peers()
    greeted(made, 1, hello(version_min=4, version_max=theirs))
    made.received(0, 1, STANDING)
    ((_, session),) = made.drain_changes()
    assert session is not None
    assert session.takes_snapshots is takes
