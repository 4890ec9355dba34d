"""How a proposal ends (rule 7): done, refused, or unknown, and what is provably lost is proposed again."""

from __future__ import annotations

from ratified.consensus.contract import Kind
from ratified.node.config import NodeLimits
from ratified.node.ports import Cancel, Outcome, Reason, Request, Work
from ratified.node.proposals import ProposalIds, Proposals
from ratified.node.requests import OpenRequest, Requests
from ratified.node.timers import Timers
from ratified.wire.peer import Forward, ForwardAnswer
from tests.node.cluster import MS, SECOND, Cluster


def test_what_a_deposed_leader_took_in_vain_is_proposed_again_and_the_client_does_not_notice() -> None:
    cluster = Cluster()
    old = cluster.elect()
    cluster.isolate(old)
    token = cluster.submit(old, b"lost once", timeout_us=5 * SECOND)
    cluster.run_until(lambda: cluster.leader() not in (0, old))
    other = next(member for member in cluster.members if member not in (old, cluster.leader()))
    assert cluster.propose(other, b"in the later era").outcome is Outcome.DONE
    assert not cluster.ended(token)
    cluster.heal()
    assert cluster.outcome(token).outcome is Outcome.DONE
    cluster.run(SECOND)
    for member in cluster.members:
        assert cluster.machine(member).commands == [b"in the later era", b"lost once"]


def test_what_was_forwarded_to_a_leader_that_crashed_is_proposed_again() -> None:
    cluster = Cluster()
    old = cluster.elect()
    origin = cluster.follower()
    cluster.hold_disk(old)
    cluster.drop = lambda sender, to, group, message: sender == old and not isinstance(message, ForwardAnswer)
    token = cluster.submit(origin, b"forwarded", timeout_us=5 * SECOND)
    cluster.run(20 * MS)
    assert any(isinstance(message, ForwardAnswer) for _, _, _, message in cluster.sent), "the leader took it"
    cluster.kill(old)
    cluster.drop = lambda sender, to, group, message: False
    assert cluster.outcome(token).outcome is Outcome.DONE
    assert cluster.machine(origin).commands == [b"forwarded"]


def test_a_proposal_that_never_left_is_refused_at_its_deadline() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    cluster.isolate(origin := cluster.follower())
    cluster.run(MS)
    token = cluster.submit(origin, b"a", timeout_us=300 * MS)
    submitted_at = cluster.now
    reply = cluster.outcome(token)
    assert (reply.outcome, reply.reason) == (Outcome.REFUSED, Reason.NO_LEADER)
    assert cluster.answered_at[token] == submitted_at + 300 * MS
    cluster.heal()
    cluster.run(SECOND)
    assert cluster.machine(leader).commands == []


def test_a_proposal_that_was_addressed_is_unknown_at_its_deadline() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    cluster.isolate(leader)
    reply = cluster.propose(leader, b"a", timeout_us=50 * MS)
    assert (reply.outcome, reply.reason) == (Outcome.UNKNOWN, Reason.TIMED_OUT)


def test_an_unknown_proposal_may_be_applied_later_and_no_second_reply_follows() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    cluster.hold_disk(cluster.members[0])
    cluster.hold_disk(cluster.members[1])
    cluster.hold_disk(cluster.members[2])
    token = cluster.submit(leader, b"a", timeout_us=50 * MS)
    assert cluster.outcome(token).outcome is Outcome.UNKNOWN
    for member in cluster.members:
        cluster.release_disk(member)
    cluster.run(SECOND)
    assert cluster.machine(leader).commands == [b"a"]
    assert len(cluster.replies[token]) == 1


def test_a_cancelled_proposal_gets_no_reply() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    token = cluster.submit(leader, b"a")
    cluster.offer(leader, Cancel(token))
    cluster.run(SECOND)
    assert cluster.replies[token] == []
    assert cluster.node(leader).status().open_requests == 0


def test_proposals_wait_for_a_leader_and_then_go_on() -> None:
    cluster = Cluster()
    tokens = [cluster.submit(member, b"%d" % member) for member in cluster.members]
    assert [cluster.outcome(token).outcome for token in tokens] == [Outcome.DONE] * 3


def test_ids_of_an_earlier_start_are_nobodys_now() -> None:
    """The entry of the former start is replayed; the new start's first proposal has the same sequence."""
    cluster = Cluster(size=1)
    cluster.elect()
    assert cluster.propose(1, b"before").outcome is Outcome.DONE
    cluster.kill(1)
    cluster.start(1)
    assert cluster.propose(1, b"after").data == b"2"


def test_a_change_of_the_members_comes_alone() -> None:
    proposals = Proposals(ProposalIds(1, 1), Requests(NodeLimits(), Timers()))
    for token, kind in enumerate([Kind.COMMAND, Kind.MEMBERSHIP, Kind.COMMAND, Kind.COMMAND], 1):
        proposals.submit(OpenRequest(token, 0, Work.PROPOSE, b"", SECOND, kind))
    batches: list[list[int]] = []
    while proposals.waiting:
        batch = proposals.waiting_up_to(10, 1_000)
        batches.append([request.token for request in batch])
        proposals.addressed(batch, (1, 0))
    assert batches == [[1], [2], [3, 4]]


def test_where_proposals_were_taken_is_forgotten_when_the_last_of_them_is_done() -> None:
    """The log may never get to where another one was taken, or much later."""
    requests = Requests(NodeLimits(), Timers())
    proposals = Proposals(ProposalIds(1, 1), requests)
    opened = requests.admit(Request(1, 0, Work.PROPOSE, b"", SECOND))
    assert opened is not None
    proposals.submit(opened)
    proposals.addressed([opened], (1, 0))
    proposals.taken([opened], 1_000)
    assert proposals.sizes()["runs of proposals taken"].holds == 1
    proposals.applied(opened.sequence, b"")
    assert proposals.sizes()["runs of proposals taken"].holds == 0


def test_at_most_forwards_max_are_unanswered_and_all_are_done_in_order() -> None:
    cluster = Cluster(limits=NodeLimits(forwards_max=2))
    cluster.elect()
    origin = cluster.follower()
    unanswered: set[int] = set()
    most = 0

    def count(sender: int, to: int, group: int, message: object) -> bool:
        nonlocal most
        if isinstance(message, Forward):
            unanswered.update(range(message.first, message.first + len(message.proposals)))
            most = max(most, len(unanswered))
        elif isinstance(message, ForwardAnswer):
            unanswered.difference_update(range(message.first, message.first + message.count))
        return False

    cluster.drop = count
    tokens = [cluster.submit(origin, b"%d" % number) for number in range(9)]
    assert [cluster.outcome(token).data for token in tokens] == [b"%d" % (number + 1) for number in range(9)]
    assert most == 2
