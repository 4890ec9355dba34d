"""What waits costs a turn nothing (rule 15): a turn takes as many steps with few requests waiting as with many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ratified.consensus.contract import Limits
from ratified.node.config import NodeLimits
from ratified.node.ports import Outcome, Request, Work
from ratified.wire.peer import Barrier, BarrierAnswer, Forward, Question, QuestionAnswer
from tests.node.cluster import MS, SECOND, Cluster
from tests.steps import steps

FEW, MANY = 40, 900
HOUR = 3600 * SECOND
TOKEN = 1 << 40
SMALL = Limits(undurable_bytes_max=8_000)


def steps_of_a_turn(cluster: Cluster, member: int) -> int:
    """A turn that touches the group, for a read that is answered at once."""
    node = cluster.node(member)
    cluster.replies[TOKEN] = []
    while node.turn(cluster.now, 64).more:
        """What was due until now is done."""
    node.turn(cluster.now, 64)
    node.offer(Request(TOKEN, 0, Work.READ_LOCAL, b"", cluster.now + SECOND))
    outputs: list[Any] = []
    taken = steps(lambda: outputs.append(node.turn(cluster.now, 64)))
    assert [(reply.token, reply.outcome) for reply in outputs[0].replies] == [(TOKEN, Outcome.DONE)]
    return taken


def submit(cluster: Cluster, member: int, count: int, work: Work) -> None:
    """Each in a turn of its own."""
    for _ in range(count):
        cluster.submit(member, b"x", work, timeout_us=HOUR)
        cluster.run(10)
    cluster.run(5 * MS)


def proposals_at_a_leader_whose_disk_hangs(waiting: int) -> tuple[Cluster, int]:
    cluster = Cluster(size=1, engine_limits=SMALL)
    leader = cluster.elect()
    cluster.hold_disk(leader)
    submit(cluster, leader, waiting, Work.PROPOSE)
    return cluster, leader


def forwards_to_a_leader_whose_disk_hangs(waiting: int) -> tuple[Cluster, int]:
    cluster = Cluster(engine_limits=SMALL)
    leader, origin = cluster.elect(), cluster.follower()
    cluster.run(20 * MS)
    cluster.hold_disk(leader)
    submit(cluster, origin, waiting, Work.PROPOSE)
    assert sum(len(each.proposals) for *_, each in cluster.sent if isinstance(each, Forward)) >= waiting
    assert cluster.leader() == leader
    return cluster, leader


def proposals_behind_forwards_that_are_not_answered(waiting: int) -> tuple[Cluster, int]:
    cluster = Cluster(limits=NodeLimits(forwards_max=4))
    cluster.elect()
    origin = cluster.follower()
    cluster.drop = lambda sender, to, group, message: isinstance(message, Forward)
    submit(cluster, origin, waiting, Work.PROPOSE)
    return cluster, origin


def proposals_without_a_leader(waiting: int) -> tuple[Cluster, int]:
    cluster, member = cut_off()
    submit(cluster, member, waiting, Work.PROPOSE)
    return cluster, member


def reads_without_a_leader(waiting: int) -> tuple[Cluster, int]:
    cluster, member = cut_off()
    submit(cluster, member, waiting, Work.READ)
    return cluster, member


def questions_without_a_leader(waiting: int) -> tuple[Cluster, int]:
    cluster, member = cut_off()
    submit(cluster, member, waiting, Work.ASK)
    return cluster, member


def not_answered_by_the_leader(waiting: int, work: Work, asked: type, answer: type) -> tuple[Cluster, int]:
    cluster = Cluster()
    cluster.elect()
    origin = cluster.follower()
    cluster.drop = lambda sender, to, group, message: isinstance(message, answer)
    submit(cluster, origin, waiting, work)
    assert len([each for *_, each in cluster.sent if isinstance(each, asked)]) >= waiting
    return cluster, origin


def barriers_that_the_leader_does_not_answer(waiting: int) -> tuple[Cluster, int]:
    return not_answered_by_the_leader(waiting, Work.READ, Barrier, BarrierAnswer)


def questions_that_the_leader_does_not_answer(waiting: int) -> tuple[Cluster, int]:
    return not_answered_by_the_leader(waiting, Work.ASK, Question, QuestionAnswer)


def reads_at_a_leader_that_nobody_confirms(waiting: int) -> tuple[Cluster, int]:
    return confirmed_by_nobody(waiting, Work.READ)


def questions_at_a_leader_that_nobody_confirms(waiting: int) -> tuple[Cluster, int]:
    return confirmed_by_nobody(waiting, Work.ASK)


def reads_confirmed_above_what_is_applied(waiting: int) -> tuple[Cluster, int]:
    cluster = Cluster()
    leader, lagging = cluster.elect(), cluster.follower()
    cluster.hold_disk(lagging)
    assert cluster.propose(leader, b"a").outcome is Outcome.DONE
    submit(cluster, lagging, waiting, Work.READ)
    assert len([each for *_, each in cluster.sent if isinstance(each, BarrierAnswer)]) >= waiting
    return cluster, lagging


def cut_off() -> tuple[Cluster, int]:
    cluster = Cluster()
    cluster.elect()
    member = cluster.follower()
    cluster.isolate(member)
    cluster.run(SECOND)
    return cluster, member


def confirmed_by_nobody(waiting: int, work: Work) -> tuple[Cluster, int]:
    cluster = Cluster()
    leader = cluster.elect()
    cluster.run(20 * MS)
    cluster.drop = lambda sender, to, group, message: to == leader
    submit(cluster, leader, waiting, work)
    assert cluster.node(leader).status().groups[0].engine.leader == leader
    return cluster, leader


@pytest.mark.parametrize(
    "situation",
    [
        proposals_at_a_leader_whose_disk_hangs,
        forwards_to_a_leader_whose_disk_hangs,
        proposals_behind_forwards_that_are_not_answered,
        proposals_without_a_leader,
        reads_without_a_leader,
        questions_without_a_leader,
        barriers_that_the_leader_does_not_answer,
        questions_that_the_leader_does_not_answer,
        reads_at_a_leader_that_nobody_confirms,
        questions_at_a_leader_that_nobody_confirms,
        reads_confirmed_above_what_is_applied,
    ],
    ids=lambda situation: situation.__name__,
)
def test_a_turn_takes_as_many_steps_with_few_waiting_as_with_many(
    situation: Callable[[int], tuple[Cluster, int]],
) -> None:
    few, many = (steps_of_a_turn(*situation(waiting)) for waiting in (FEW, MANY))
    assert abs(many - few) <= few // 10, f"{few} steps with {FEW} waiting, {many} with {MANY}"
