"""Linearizable reads, local reads, and questions to the leader (rules 7 and 8)."""

from __future__ import annotations

import pytest

from ratified.machine import Era, StateMachineStore, Store
from ratified.node.ports import Cancel, Outcome, Reason, Work
from ratified.wire.peer import Barrier, BarrierAnswer, Question, QuestionAnswer
from tests.node.cluster import MS, SECOND, Cluster, Journal


def test_reads_of_one_turn_share_one_barrier() -> None:
    cluster = Cluster()
    cluster.elect()
    origin = cluster.follower()
    tokens = [cluster.submit(origin, b"", Work.READ) for _ in range(10)]
    for token in tokens:
        assert cluster.outcome(token).outcome is Outcome.DONE
    assert len([message for _, _, _, message in cluster.sent if isinstance(message, Barrier)]) == 1


def test_reads_that_came_while_no_leader_was_known_share_one_barrier() -> None:
    cluster = Cluster()
    cluster.elect()
    origin = cluster.follower()
    cluster.isolate(origin)
    cluster.run(SECOND)
    tokens = []
    for _ in range(20):
        tokens.append(cluster.submit(origin, b"", Work.READ, timeout_us=20 * SECOND))
        cluster.run(1 * MS)
    asked = len(cluster.sent)
    cluster.heal()
    for token in tokens:
        assert cluster.outcome(token).outcome is Outcome.DONE
    barriers = [message for _, _, _, message in cluster.sent[asked:] if isinstance(message, Barrier)]
    assert len(barriers) <= 2, "asked once, and perhaps again"


def test_a_deposed_leader_answers_no_linearizable_read() -> None:
    cluster = Cluster()
    old = cluster.elect()
    cluster.propose(old, b"a")
    cluster.isolate(old)
    cluster.run_until(lambda: cluster.leader() not in (0, old))
    assert cluster.propose(cluster.leader(), b"b").outcome is Outcome.DONE
    reply = cluster.outcome(cluster.submit(old, b"", Work.READ, timeout_us=300 * MS))
    assert (reply.outcome, reply.reason) == (Outcome.REFUSED, Reason.TIMED_OUT)
    local = cluster.outcome(cluster.submit(old, b"", Work.READ_LOCAL))
    assert (local.outcome, local.data) == (Outcome.DONE, b"a")


def test_what_a_deposed_leader_could_not_confirm_asks_its_successor_at_once() -> None:
    cluster = Cluster()
    old = cluster.elect()
    cluster.run(20 * MS)
    cluster.isolate(old)
    token = cluster.submit(old, b"", Work.READ, timeout_us=5 * SECOND)
    cluster.run_until(lambda: cluster.leader() != old)
    healed = cluster.now
    cluster.heal()
    assert cluster.outcome(token).outcome is Outcome.DONE
    assert cluster.now - healed < 20 * MS, "asked again by the change of the leader, not by the timer after 100 ms"


def test_a_read_that_no_leader_confirms_waits_for_one() -> None:
    cluster = Cluster()
    old = cluster.elect()
    cluster.propose(old, b"a")
    cluster.isolate(old)
    token = cluster.submit(old, b"", Work.READ, timeout_us=5 * SECOND)
    cluster.run(SECOND)
    assert cluster.propose(cluster.leader(), b"b").outcome is Outcome.DONE
    assert not cluster.ended(token)
    cluster.heal()
    assert cluster.outcome(token).data == b"a,b"


def test_a_follower_reads_what_was_acknowledged_before_although_it_lags() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    lagging = cluster.follower()
    cluster.hold_disk(lagging)
    assert cluster.propose(leader, b"a").outcome is Outcome.DONE
    token = cluster.submit(lagging, b"", Work.READ)
    cluster.run(50 * MS)
    assert not cluster.ended(token), "the entry is not applied here"
    cluster.release_disk(lagging)
    assert cluster.outcome(token).data == b"a"


@pytest.mark.parametrize("lost", [Barrier, BarrierAnswer, Question, QuestionAnswer])
def test_what_was_lost_on_the_way_is_asked_again(lost: type) -> None:
    cluster = Cluster()
    cluster.elect()
    origin = cluster.follower()
    dropped: list[object] = []

    def drop_first(sender: int, to: int, group: int, message: object) -> bool:
        if isinstance(message, lost) and not dropped:
            dropped.append(message)
            return True
        return False

    cluster.drop = drop_first
    work = Work.READ if lost in (Barrier, BarrierAnswer) else Work.ASK
    token = cluster.submit(origin, b"", work)
    assert cluster.outcome(token).outcome is Outcome.DONE
    assert dropped


def test_an_answer_to_an_earlier_start_is_not_taken_for_ones_own() -> None:
    """The dead start's barrier was confirmed before the write; the new start's barrier has the same token."""
    cluster = Cluster()
    leader = cluster.elect()
    origin = cluster.follower()
    cluster.drop = lambda sender, to, group, message: sender != leader and not isinstance(message, Barrier)
    cluster.submit(origin, b"", Work.READ)
    cluster.run(3 * MS)
    asked = [message for _, _, _, message in cluster.sent if isinstance(message, Barrier)]
    cluster.kill(origin)
    cluster.start(origin)
    cluster.run(3 * MS)
    cluster.drop = lambda sender, to, group, message: origin in (sender, to) and isinstance(message, Barrier)
    token = cluster.submit(origin, b"", Work.READ, timeout_us=200 * MS)
    cluster.run(50 * MS)
    again = [message for _, _, _, message in cluster.sent if isinstance(message, Barrier)]
    assert again[-1].token == asked[0].token
    assert not cluster.ended(token)


def test_a_cancelled_read_gets_no_reply() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    token = cluster.submit(leader, b"", Work.READ)
    cluster.offer(leader, Cancel(token))
    cluster.run(SECOND)
    assert cluster.replies[token] == []


@pytest.mark.parametrize("work", [Work.READ, Work.READ_LOCAL, Work.ASK])
def test_what_the_machine_cannot_answer_is_refused_with_its_text(work: Work) -> None:
    cluster = Cluster()
    cluster.elect()
    for member in cluster.members:
        reply = cluster.outcome(cluster.submit(member, b"boom", work))
        assert (reply.outcome, reply.reason) == (Outcome.REFUSED, Reason.FAILED)
        assert b"boom was asked for" in reply.data


class Asked(StateMachineStore):
    """Answers a question with the time it is given; its first duty names the era."""

    def __init__(self) -> None:
        self.journal = Journal()
        super().__init__(self.journal)
        self.era: Era | None = None
        self.first_given = False

    def lead(self, now: int, era: Era | None) -> None:
        self.era = era
        self.first_given = False

    def duties(self, now: int) -> tuple[list[bytes], int | None]:
        if self.first_given or self.era is None:
            return [], None
        self.first_given = True
        return [b"era %d" % self.era[0]], None

    def ask(self, now: int, request: bytes) -> bytes:
        assert self.journal.commands, "a question before the era's first duty was applied"
        return b"%d" % now


def asked(member: int, group: int) -> Store:
    return Asked()


def test_a_question_is_answered_with_the_time_at_which_its_barrier_was_fed() -> None:
    cluster = Cluster(open_store=asked)
    leader = cluster.elect()
    cluster.run(SECOND)
    asked_at = cluster.now
    fed_at = int(cluster.outcome(cluster.submit(leader, b"", Work.ASK)).data)
    assert asked_at == fed_at < cluster.now


def test_a_question_waits_for_the_first_duty_of_the_era() -> None:
    cluster = Cluster(open_store=asked)
    tokens = [cluster.submit(member, b"", Work.ASK, timeout_us=5 * SECOND) for member in cluster.members]
    for token in tokens:
        assert cluster.outcome(token).outcome is Outcome.DONE


def test_a_question_finds_the_next_leader() -> None:
    cluster = Cluster(open_store=asked)
    old = cluster.elect()
    cluster.run(SECOND)
    cluster.isolate(old)
    token = cluster.submit(old, b"", Work.ASK, timeout_us=5 * SECOND)
    cluster.run_until(lambda: cluster.leader() not in (0, old))
    assert not cluster.ended(token)
    cluster.heal()
    assert cluster.outcome(token).outcome is Outcome.DONE
