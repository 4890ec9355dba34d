"""Forwarded numbers, revisions, watches, and what Raft's messages claim."""

import pytest

from ratified.check.forwards import Forwards
from ratified.check.group import GroupChecks
from ratified.check.image import LogImage
from ratified.check.protocols import PROTOCOLS
from ratified.check.raft import RaftChecks
from ratified.check.revisions import Revisions
from ratified.check.states import States
from ratified.check.violation import Violation
from ratified.check.watches import Event, Watches
from ratified.consensus.contract import Kind, StateRecord
from ratified.consensus.engines import ENGINES
from ratified.consensus.entry import make_entry
from ratified.consensus.raft.messages import (
    AppendEntriesResponse,
    HeartbeatResponse,
    RequestVote,
    RequestVoteResponse,
)
from ratified.consensus.raft.state import HardState, encode_state
from tests.check.members import Members

ERA = (3, 0)


def raft_group() -> GroupChecks[LogImage]:
    return Members("raft").checks


def forwards(*arrived: int) -> Forwards:
    checks = Forwards(raft_group())
    for number in arrived:
        checks.forward_arrives(1, ERA, 2, 1, number)
    return checks


def test_a_number_is_answered_when_it_and_all_below_have_arrived() -> None:
    checks = forwards(2, 1, 4)
    checks.forward_answered(1, ERA, 2, 1, 2, 11)
    checks.forward_answered(1, ERA, 2, 1, 1, 10)
    checks.forward_answered(1, ERA, 2, 1, 1, 10)
    with pytest.raises(Violation, match="number 3 had not reached it"):
        checks.forward_answered(1, ERA, 2, 1, 4, 12)


def test_an_answer_is_the_same_again() -> None:
    checks = forwards(1)
    checks.forward_answered(1, ERA, 2, 1, 1, 10)
    with pytest.raises(Violation, match="and then with 11"):
        checks.forward_answered(1, ERA, 2, 1, 1, 11)


def test_numbers_are_taken_in_their_order() -> None:
    checks = forwards(1, 2, 3)
    checks.forward_answered(1, ERA, 2, 1, 2, None)
    checks.forward_answered(1, ERA, 2, 1, 3, 10)
    with pytest.raises(Violation, match="out of the order"):
        checks.forward_answered(1, ERA, 2, 1, 1, 11)


def test_another_era_or_incarnation_counts_anew() -> None:
    checks = forwards(1)
    checks.forward_answered(1, ERA, 2, 1, 1, 10)
    for era, incarnation in (((4, 0), 1), (ERA, 2)):
        with pytest.raises(Violation, match="had not reached it"):
            checks.forward_answered(1, era, 2, incarnation, 1, 20)


def test_answers_go_up_with_real_time() -> None:
    revisions = Revisions(0)
    revisions.answered(0, 5, True, "a")
    floor = revisions.highest
    revisions.answered(floor, 5, False, "b")
    with pytest.raises(Violation, match="linearizability"):
        revisions.answered(floor, 4, False, "c")
    with pytest.raises(Violation, match="linearizability"):
        revisions.answered(floor, 5, True, "d")


def test_a_revision_has_one_writer() -> None:
    revisions = Revisions(0)
    revisions.answered(0, 5, True, "a")
    with pytest.raises(Violation, match="was given to a and to b"):
        revisions.answered(0, 5, True, "b")


def event(revision: int, value: bytes = b"v") -> Event:
    return Event(revision, b"k", value)


def test_a_watch_sees_every_revision_once_and_in_order() -> None:
    watches = Watches(0)
    assert watches.responded("w", 1, [event(2), event(3)], 3) == 3
    assert watches.responded("w", 3, [], 3) == 3
    for events in ([event(5)], [event(3)], [event(4), event(4), event(6)]):
        with pytest.raises(Violation, match="watches"):
            watches.responded("w", 3, events, events[-1].revision)


def test_a_watch_is_not_told_more_than_it_got() -> None:
    with pytest.raises(Violation, match="stands at revision 4"):
        Watches(0).responded("w", 1, [event(2)], 4)


def test_all_watches_and_the_writer_see_one_event() -> None:
    watches = Watches(0)
    watches.written(event(2))
    watches.responded("w", 1, [event(2)], 2)
    with pytest.raises(Violation, match="another one"):
        watches.responded("x", 1, [event(2, b"other")], 2)


def test_everybody_reads_the_same_at_one_revision() -> None:
    watches = Watches(0)
    watches.written(event(2))
    states = States(0, watches)
    states.read(2, 3, [event(2)])
    states.read(0, 2, [event(2)])
    for floor, revision, pairs in (
        (4, 3, [event(2)]),
        (0, 3, []),
        (0, 4, [event(5)]),
        (0, 4, [event(2, b"other")]),
    ):
        with pytest.raises(Violation, match="linearizability"):
            states.read(floor, revision, pairs)


def disk(term: int, vote: int | None, *terms: int) -> LogImage:
    image = LogImage()
    image.take(StateRecord(encode_state(HardState(term, vote))))
    for index, of in enumerate(terms, 1):
        image.take(make_entry(index, (of, 0), Kind.NOOP, None, b""))
    return image


def leave(checks: RaftChecks, group: GroupChecks[LogImage], to: int, message: object, held: LogImage) -> None:
    group.members[1].disk = held
    checks.leaves(1, to, message)


@pytest.mark.parametrize(
    ("message", "held"),
    [
        (RequestVote(2, 1, 1), disk(1, None, 1)),
        (RequestVote(2, 1, 1), disk(2, None, 1)),
        (RequestVote(2, 2, 1), disk(2, 1, 1)),
        (RequestVoteResponse(2, True), disk(1, None)),
        (RequestVoteResponse(2, True), disk(2, 3)),
        (AppendEntriesResponse(2, True, 2, 0), disk(2, None, 1)),
        (HeartbeatResponse(2, 0), disk(1, None)),
    ],
)
def test_a_message_that_claims_what_is_not_durable_is_early(message: object, held: LogImage) -> None:
    group = raft_group()
    with pytest.raises(Violation, match="nothing early"):
        leave(RaftChecks(group), group, 2, message, held)


@pytest.mark.parametrize(
    ("message", "held"),
    [
        (RequestVote(2, 1, 1), disk(2, 1, 1)),
        (RequestVote(2, 0, 0), disk(2, 1)),
        (RequestVoteResponse(2, True), disk(2, 2)),
        (RequestVoteResponse(2, False), disk(2, 3)),
        (AppendEntriesResponse(2, True, 2, 0), disk(2, None, 1, 2)),
        # What an older term's message claimed may have been overwritten since.
        (AppendEntriesResponse(2, True, 2, 0), disk(3, None, 1)),
        (HeartbeatResponse(2, 0), disk(2, None)),
    ],
)
def test_a_message_whose_claim_is_durable_may_leave(message: object, held: LogImage) -> None:
    group = raft_group()
    leave(RaftChecks(group), group, 2, message, held)


def test_a_member_votes_once_a_term_restarts_or_not() -> None:
    group = raft_group()
    checks = RaftChecks(group)
    leave(checks, group, 2, RequestVoteResponse(2, True), disk(2, 2))
    leave(checks, group, 2, RequestVoteResponse(2, True), disk(2, 2))
    with pytest.raises(Violation, match="one vote per term"):
        leave(checks, group, 3, RequestVoteResponse(2, True), disk(2, 3))


def test_every_engine_has_checks_of_its_own() -> None:
    assert set(PROTOCOLS) == set(ENGINES)
