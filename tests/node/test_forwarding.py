"""Forwarded proposals (rule 7): numbered, taken once and in order, answered again, forgotten with their era."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from unittest.mock import patch

import pytest

from ratified.consensus.contract import Era, Kind, ProposalId, UnlimitedLinks
from ratified.consensus.engines import ENGINES
from ratified.consensus.raft.messages import Message
from ratified.node import forwarding
from ratified.node.config import NodeLimits
from ratified.node.forwarding import Item, LeaderForwards, OriginForwards, proposals_of
from ratified.node.peer_counts import PeerCounts
from ratified.node.peers import Session
from ratified.node.ports import DiskSpace, Outcome, Reason, Request, Work
from ratified.node.proposals import ProposalIds, Proposals
from ratified.node.requests import Requests
from ratified.node.send_queue import SendQueue
from ratified.node.timers import Timers
from ratified.wire.codec import Assembly, MessageCodec
from ratified.wire.peer import PROTOCOL_VERSION, Forward, ForwardAnswer, Hello
from tests.node.cluster import MS, SECOND, Cluster

ERA: Era = (3, 0)


def session(member: int = 2, incarnation: int = 1) -> Session:
    codec = MessageCodec(Message)
    hello = Hello(7, member, bytes(16), incarnation, 5, (), "raft", PROTOCOL_VERSION, PROTOCOL_VERSION, "n", (), True)
    return Session(0, 1, 1, hello, PROTOCOL_VERSION, SendQueue(NodeLimits(), codec, MS), Assembly(codec), PeerCounts())


def forward(*numbers: int, voids: Sequence[int] = (), era: Era = ERA, member: int = 2, incarnation: int = 1) -> Forward:
    """Consecutive numbers, some of them void."""
    assert list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))
    proposals = [(100 + number, None if number in voids else b"%d" % number, Kind.COMMAND) for number in numbers]
    return Forward(era, member, incarnation, numbers[0], proposals)


def numbers_of(message: object) -> list[int]:
    """Those of a forward or of its answer; none of another message."""
    match message:
        case Forward(first=first, proposals=proposals):
            return list(range(first, first + len(proposals)))
        case ForwardAnswer(first=first, count=count):
            return list(range(first, first + count))
    return []


class Leader:
    """The leader's side alone; takes at indexes from 1."""

    def __init__(self, limits: NodeLimits | None = None) -> None:
        self.answers: list[ForwardAnswer] = []
        self.forwards = LeaderForwards(limits or NodeLimits(), self._send)
        self.taken: list[bytes] = []

    def _send(self, member: int, message: object) -> bool:
        assert isinstance(message, ForwardAnswer)
        self.answers.append(message)
        return True

    def receive(self, *forwards: Forward, of: Session | None = None, leading: Era | None = ERA) -> None:
        for one in forwards:
            self.forwards.on_forward(of or session(), one, leading)

    def take(self) -> list[Item]:
        items = self.forwards.takeable(1 << 20, 1 << 20)
        proposals = proposals_of(items)
        first = len(self.taken) + 1
        self.taken += [proposal.data for proposal in proposals]
        self.forwards.settle(items, first if proposals else None)
        return items

    def drain(self) -> list[tuple[int, int | None]]:
        """Every number that was answered, with its index."""
        answers, self.answers = self.answers, []
        return [
            (number, None if answer.index is None else answer.index + place)
            for answer in answers
            for place, number in enumerate(numbers_of(answer))
        ]


def test_a_number_is_taken_once_and_answered_again() -> None:
    leader = Leader()
    leader.receive(forward(1), forward(1))
    leader.take()
    leader.receive(forward(1))
    assert leader.take() == []
    assert leader.taken == [b"1"]
    assert leader.drain() == [(1, 1), (1, 1)]


def test_a_proposal_keeps_its_kind() -> None:
    leader = Leader()
    leader.receive(Forward(ERA, 2, 1, 1, [(101, b"own", Kind.NODE), (102, b"a", Kind.COMMAND)]))
    proposals = proposals_of(leader.take())
    assert [(proposal.id, proposal.kind) for proposal in proposals] == [
        (ProposalId(2, 1, 101), Kind.NODE),
        (ProposalId(2, 1, 102), Kind.COMMAND),
    ]


def test_what_comes_too_early_waits_for_what_is_missing() -> None:
    leader = Leader()
    leader.receive(forward(3), forward(2))
    assert leader.take() == []
    leader.receive(forward(1))
    leader.take()
    assert leader.taken == [b"1", b"2", b"3"]


def test_a_void_fills_its_gap_and_its_number_is_never_taken_later() -> None:
    leader = Leader()
    leader.receive(forward(2), forward(1, voids=[1]))
    leader.take()
    leader.receive(forward(1))
    leader.take()
    assert leader.taken == [b"2"]
    assert leader.drain() == [(1, None), (2, 1), (1, None)]


def test_a_void_for_what_was_taken_is_answered_with_its_index() -> None:
    leader = Leader()
    leader.receive(forward(1))
    leader.take()
    leader.receive(forward(1, voids=[1]))
    assert leader.drain() == [(1, 1), (1, 1)]


def test_one_answer_tells_of_all_that_were_taken_together_and_one_of_each_void() -> None:
    leader = Leader()
    leader.receive(forward(1, 2, 3, 4, voids=[3]), forward(5))
    leader.take()
    assert [(answer.first, answer.count, answer.index) for answer in leader.answers] == [
        (1, 2, 1),
        (3, 1, None),
        (4, 2, 3),
    ]


def test_ranges_that_overlap_take_each_number_once_and_answer_again_what_was_seen() -> None:
    leader = Leader()
    leader.receive(forward(1, 2, 3), forward(6, 7))
    leader.take()
    leader.drain()
    leader.receive(forward(3, 4, 5, 6, voids=[3, 6]))
    assert leader.drain() == [(1, 1), (2, 2), (3, 3)]
    leader.take()
    assert leader.taken == [b"1", b"2", b"3", b"4", b"5", b"7"]
    assert leader.drain() == [(4, 4), (5, 5), (6, None), (7, 6)]


def test_only_the_leader_of_exactly_that_era_takes() -> None:
    leader = Leader()
    leader.receive(forward(1), leading=None)
    leader.receive(forward(1), leading=(4, 0))
    assert leader.take() == []
    assert leader.drain() == [], "it may have been taken earlier: no answer is the only honest one"


def test_everything_is_forgotten_when_the_era_ends() -> None:
    leader = Leader()
    leader.receive(forward(1), forward(3))
    leader.take()
    leader.forwards.era_is(None)
    leader.receive(forward(1, era=(9, 0)), leading=(9, 0))
    leader.take()
    assert leader.taken == [b"1", b"1"]


def test_numbers_of_a_later_start_begin_at_one_and_the_earlier_starts_are_dropped() -> None:
    leader = Leader()
    leader.receive(forward(1), forward(3))
    leader.take()
    leader.drain()
    later = session(incarnation=2)
    leader.forwards.on_session(later)
    leader.receive(forward(1, incarnation=2), of=later)
    leader.take()
    assert leader.drain() == [(1, 2)], "the held number 3 of the dead start is neither taken nor answered"


def test_a_stranger_that_claimed_another_start_does_not_make_the_leader_forget_the_true_ones_numbers() -> None:
    leader = Leader()
    true, strangers = session(), [session(incarnation=2**64 - 1 - number) for number in range(3)]
    leader.forwards.on_session(true)
    leader.receive(forward(1), of=true)
    leader.take()
    for stranger in strangers:
        leader.forwards.on_session(stranger)
        leader.receive(forward(1, incarnation=stranger.incarnation), of=stranger)
        leader.forwards.on_session(true)
        leader.receive(forward(1, voids=(1,)), of=true)
        assert leader.take() == [], "its number 1 was taken"
    leader.receive(forward(2), of=true)
    leader.take()
    assert leader.taken == [b"1", b"2"]


def test_of_two_displaced_starts_the_one_that_was_confirmed_is_remembered() -> None:
    leader = Leader()
    stranger, true, another = session(incarnation=9), session(), session(incarnation=8)
    true.confirmed = True
    for claimed in (stranger, true, another):
        leader.forwards.on_session(claimed)
        leader.receive(forward(1, incarnation=claimed.incarnation), of=claimed)
        leader.take()
    assert leader.taken == [b"1"] * 3
    leader.forwards.on_session(true)
    leader.receive(forward(1, 2), of=true)
    leader.take()
    assert leader.taken[3:] == [b"2"], "its first was taken already"


def test_what_waits_of_an_origin_that_has_left_goes_with_it() -> None:
    leader = Leader()
    leader.forwards.on_session(session())
    leader.receive(forward(2))
    assert leader.forwards.sizes()["forwards held"].holds == 1
    leader.forwards.table_changed({1, 2, 3})
    assert leader.forwards.sizes()["forwards held"].holds == 1
    leader.forwards.table_changed({1, 3})
    assert all(size.holds == 0 for size in leader.forwards.sizes().values())


def test_numbers_of_an_origin_that_a_stranger_displaced_do_not_outlast_the_era() -> None:
    leader = Leader()
    true, stranger = session(), session(incarnation=2**64 - 1)
    leader.forwards.on_session(true)
    leader.receive(forward(1), of=true)
    leader.take()
    leader.forwards.on_session(stranger)
    leader.drain()
    leader.receive(forward(1, era=(9, 0), incarnation=stranger.incarnation), of=stranger, leading=(9, 0))
    leader.forwards.on_session(true)
    leader.receive(forward(1, era=(9, 0)), of=true, leading=(9, 0))
    leader.take()
    assert leader.taken == [b"1", b"1"], "of the stranger nothing is taken any more"
    assert {answer.era for answer in leader.answers} == {(9, 0)}


def test_a_forward_in_anothers_name_is_dropped() -> None:
    leader = Leader()
    leader.receive(forward(1, member=3), of=session(member=2))
    leader.receive(forward(1, incarnation=4), of=session(incarnation=5))
    assert leader.take() == []


def test_what_is_held_is_bounded_and_the_next_number_always_fits() -> None:
    leader = Leader(NodeLimits(forwards_held_max=1))
    leader.receive(forward(3), forward(2), forward(1))
    leader.take()
    assert leader.taken == [b"1"]
    leader.receive(forward(2))
    leader.take()
    assert leader.taken == [b"1", b"2", b"3"]


@pytest.mark.parametrize("lost", [Forward, ForwardAnswer])
def test_lost_messages_are_sent_again_and_nothing_is_taken_twice(lost: type) -> None:
    cluster = Cluster()
    leader = cluster.elect()
    origin = cluster.follower()
    seen: set[int] = set()

    def drop_first(sender: int, to: int, group: int, message: object) -> bool:
        if type(message) is not lost:
            return False
        fresh = seen.isdisjoint(numbers_of(message))
        seen.update(numbers_of(message))
        return fresh

    cluster.drop = drop_first
    tokens = []
    for number in range(5):
        tokens.append(cluster.submit(origin, b"%d" % number, timeout_us=5 * SECOND))
        cluster.run(MS)
    assert {cluster.outcome(token).outcome for token in tokens} == {Outcome.DONE}
    cluster.run(SECOND)
    assert cluster.machine(leader).commands == [b"0", b"1", b"2", b"3", b"4"]
    sent = [numbers_of(message) for _, _, _, message in cluster.sent if isinstance(message, Forward)]
    assert sum(map(len, sent)) >= 10, "each number was lost once, on its way or with its answer"


def test_a_burst_of_forwarded_writes_costs_few_messages() -> None:
    cluster = Cluster(inputs_max=256)
    leader = cluster.elect()
    origin = cluster.follower()
    cluster.propose(origin, b"the first")
    cluster.run(SECOND)
    cluster.sent.clear()
    tokens = [cluster.submit(origin, b"%d" % number) for number in range(64)]
    for token in tokens:
        assert cluster.outcome(token).outcome is Outcome.DONE
    of_origin = [message for sender, to, _, message in cluster.sent if origin in (sender, to)]
    assert len(of_origin) / len(tokens) <= 0.3
    forwards = [message for message in of_origin if isinstance(message, (Forward, ForwardAnswer))]
    assert [numbers_of(message) for message in forwards] == [list(range(2, 66))] * 2
    assert cluster.machine(leader).commands[1:] == [b"%d" % number for number in range(64)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_new_session_sends_again_what_is_unanswered(engine: str) -> None:
    """On ZAB the leader is known again only when its follower has rejoined the epoch, some messages later."""
    cluster = Cluster(engine=engine)
    leader = cluster.elect()
    origin = cluster.follower()
    cluster.drop = lambda sender, to, group, message: isinstance(message, Forward)
    token = cluster.submit(origin, b"a")
    cluster.run(5 * MS)
    cluster.drop = lambda sender, to, group, message: False
    started = cluster.now
    cluster.reconnect(origin, leader)
    assert cluster.outcome(token).outcome is Outcome.DONE
    assert cluster.now - started < 20 * MS, "the new session resends at once, not the timer"


def test_that_nothing_is_sent_again_when_the_leader_is_known_again_is_caught() -> None:
    """Worlds do not see it: the timer sends all the same, later."""
    changed = OriginForwards.leader_changed

    def sends_nothing_again(self: OriginForwards, leader: int | None, era: Era) -> None:
        same, before = era == self._era, self._next_piece
        changed(self, leader, era)
        if same:
            self._next_piece = before

    with patch.object(OriginForwards, "leader_changed", sends_nothing_again), pytest.raises(AssertionError):
        test_a_new_session_sends_again_what_is_unanswered("zab")


def test_what_a_new_session_sends_again_in_pieces_waits_for_answers_and_not_for_the_timer() -> None:
    cluster = Cluster(limits=NodeLimits(forward_bytes_max=20))
    leader = cluster.elect()
    origin = cluster.follower()
    cluster.drop = lambda sender, to, group, message: isinstance(message, Forward)
    tokens = [cluster.submit(origin, b"%010d" % number, timeout_us=5 * SECOND) for number in range(40)]
    cluster.run(50 * MS)
    cluster.drop = lambda sender, to, group, message: False
    cluster.sent.clear()
    started = cluster.now
    cluster.reconnect(origin, leader)
    assert {cluster.outcome(token).outcome for token in tokens} == {Outcome.DONE}
    assert cluster.now - started < 50 * MS, "the timer's first turn would come after 100 ms"
    pieces = [numbers_of(message) for _, _, _, message in cluster.sent if isinstance(message, Forward)]
    assert list(chain(*pieces)) == list(range(1, 41)), "each is sent once more, and nothing overtakes what was lost"
    assert max(map(len, pieces)) == 2, "of 10 bytes each: a piece has no more than forward_bytes_max"


def test_no_number_leaves_the_window_of_the_answers_that_a_leader_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is forgotten could never be had again: its number would stay unanswered as long as the era."""
    monkeypatch.setattr(forwarding, "FORWARD_WINDOW", 4)
    cluster = Cluster()
    cluster.elect()
    origin = cluster.follower()
    lost: list[int] = []

    def drop(sender: int, to: int, group: int, message: object) -> bool:
        if isinstance(message, ForwardAnswer) and message.first == 1 and len(lost) < 2:
            lost.append(message.first)
            return True
        return False

    cluster.drop = drop
    for number in range(20):
        assert cluster.propose(origin, b"%d" % number, timeout_us=5 * SECOND).outcome is Outcome.DONE
    cluster.run(SECOND)
    cluster.sent.clear()
    cluster.run(SECOND)
    assert [message for _, _, _, message in cluster.sent if isinstance(message, Forward)] == []


def test_past_its_deadline_a_number_is_sent_as_a_void_so_that_later_ones_go_on() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    origin = cluster.follower()
    cluster.drop = lambda sender, to, group, message: (
        isinstance(message, Forward) and message.first == 1 and message.proposals[0][1] is not None
    )
    first = cluster.submit(origin, b"first", timeout_us=50 * MS)
    cluster.run(MS)
    second = cluster.submit(origin, b"second", timeout_us=5 * SECOND)
    reply = cluster.outcome(first)
    assert (reply.outcome, reply.reason) == (Outcome.UNKNOWN, Reason.TIMED_OUT)
    assert cluster.outcome(second).outcome is Outcome.DONE
    assert cluster.machine(leader).commands == [b"second"]


def test_what_is_proposed_again_under_a_new_id_is_a_void_under_the_number_that_it_had() -> None:
    """Else the leader, if it leads still, takes it twice: a fence may be learned before its ballot is promised."""
    sent: list[Forward] = []

    def send(member: int, message: object) -> bool:
        assert isinstance(message, Forward)
        sent.append(message)
        return True

    ids, requests = ProposalIds(1, 1), Requests(NodeLimits(), Timers())
    proposals = Proposals(ids, requests)
    origin = OriginForwards(proposals, ids, NodeLimits(), UnlimitedLinks(), resend_us=MS, send=send)
    origin.leader_changed(2, ERA)
    request = requests.admit(Request(1, 0, Work.PROPOSE, b"a", SECOND))
    assert request is not None
    proposals.submit(request)
    origin.flush(0)
    assert proposals.check_lost([request], lambda era, index, delivered: True, (1, (4, 0)))
    origin.on_time(MS)
    assert [(each.first, each.proposals[0][1]) for each in sent] == [(1, b"a"), (1, None)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_leader_without_room_on_its_disk_gives_the_lead_away_and_no_request_is_refused(engine: str) -> None:
    cluster = Cluster(engine=engine)
    leader = cluster.elect()
    origin = cluster.follower()
    cluster.offer(leader, DiskSpace(1))
    for asked in (origin, leader, origin):
        assert cluster.propose(asked, b"a").outcome is Outcome.DONE
    assert cluster.leader() != leader


@pytest.mark.parametrize("engine", ENGINES)
def test_where_nobody_has_room_a_leader_refuses_for_its_followers_too(engine: str) -> None:
    cluster = Cluster(engine=engine)
    cluster.elect()
    for member in cluster.members:
        cluster.offer(member, DiskSpace(1))
    cluster.run(SECOND)
    leader = cluster.elect()
    assert not cluster.machine(leader).commands
    for asked in cluster.members:
        reply = cluster.propose(asked, b"a")
        assert (reply.outcome, reply.reason) == (Outcome.REFUSED, Reason.NO_SPACE)
    assert cluster.outcome(cluster.submit(leader, b"", Work.READ)).outcome is Outcome.DONE
    assert cluster.leader() == leader, "it was elected because nobody else could be, and stays"
    for member in cluster.members:
        cluster.offer(member, DiskSpace(1 << 40))
    cluster.run(SECOND)
    assert cluster.propose(leader, b"b").outcome is Outcome.DONE
    assert cluster.machine(leader).commands == [b"b"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_leader_with_room_refuses_what_would_fill_the_disks_of_a_majority(engine: str) -> None:
    cluster = Cluster(engine=engine)
    leader = cluster.elect()
    others = [member for member in cluster.members if member != leader]
    cluster.offer(others[0], DiskSpace(1))
    cluster.run(SECOND)
    assert cluster.propose(leader, b"a").outcome is Outcome.DONE, "a quorum has room"
    cluster.offer(others[1], DiskSpace(1))
    cluster.run(SECOND)
    for asked in cluster.members:
        reply = cluster.propose(asked, b"b")
        assert (reply.outcome, reply.reason) == (Outcome.REFUSED, Reason.NO_SPACE)
    assert cluster.outcome(cluster.submit(leader, b"", Work.READ)).outcome is Outcome.DONE
    cluster.offer(others[0], DiskSpace(1 << 40))
    cluster.run(SECOND)
    assert cluster.propose(others[1], b"c").outcome is Outcome.DONE
    assert cluster.leader() == leader
    assert cluster.machine(leader).commands == [b"a", b"c"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_leader_that_was_elected_without_room_hands_the_lead_to_who_has_some_later(engine: str) -> None:
    cluster = Cluster(engine=engine)
    cluster.elect()
    for member in cluster.members:
        cluster.offer(member, DiskSpace(1))
    cluster.run(SECOND)
    leader = cluster.elect()
    successor, other = [member for member in cluster.members if member != leader]
    cluster.offer(successor, DiskSpace(1 << 40))
    cluster.run_until(lambda: cluster.leader() == successor)
    cluster.offer(other, DiskSpace(1 << 40))
    cluster.run(SECOND)
    assert cluster.propose(leader, b"a").outcome is Outcome.DONE
    assert cluster.leader() == successor


@pytest.mark.parametrize("engine", ENGINES)
def test_a_leader_refuses_where_it_needs_a_member_without_room_because_another_is_away(engine: str) -> None:
    """It hears of the full disk in each session anew, and of who is away nothing is known."""
    cluster = Cluster(engine=engine)
    leader = cluster.elect()
    full, away = [member for member in cluster.members if member != leader]
    cluster.offer(full, DiskSpace(1))
    cluster.kill(away)
    cluster.run(SECOND)
    assert cluster.propose(leader, b"a").reason is Reason.NO_SPACE
    cluster.start(away)
    cluster.run(SECOND)
    assert cluster.propose(leader, b"b").outcome is Outcome.DONE
    cluster.kill(full)
    cluster.run(SECOND)
    assert cluster.propose(leader, b"c").outcome is Outcome.DONE, "it left no trace"
    cluster.start(full)
    cluster.run(SECOND)
    cluster.offer(full, DiskSpace(1))
    cluster.kill(away)
    cluster.run(SECOND)
    assert cluster.propose(leader, b"d").reason is Reason.NO_SPACE


@pytest.mark.parametrize("kind", [Kind.NODE, Kind.MEMBERSHIP])
def test_what_no_node_could_read_is_refused_and_what_follows_is_taken(kind: Kind) -> None:
    cluster = Cluster()
    leader, follower = cluster.elect(), cluster.follower()
    to_leader = cluster.node(follower)._peers.session(leader)
    assert to_leader is not None
    proposals = [(901, b"\xff", kind), (902, b"a", Kind.COMMAND)]
    era, incarnation = cluster.node(leader).lead(0).era, cluster.node(follower).incarnation
    to_leader.queue.put(0, Forward(era, follower, incarnation, 1, proposals))
    cluster.run(100 * MS)
    assert cluster.propose(leader, b"b").outcome is Outcome.DONE
    cluster.run(SECOND)
    assert cluster.machine(follower, 0).commands == [b"a", b"b"]
    assert cluster.node(leader).lead(0).member == leader
