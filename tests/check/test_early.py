"""What waits for a write leaves behind it, whatever the replica that holds it back says."""

import pytest

from ratified.check.early import Early
from ratified.check.violation import Violation
from ratified.consensus.contract import Ready, Send, StateRecord, Write
from ratified.consensus.raft.messages import AppendEntriesResponse, HeartbeatResponse

ANSWER = AppendEntriesResponse(2, True, 5, 0)
PING = HeartbeatResponse(2, 0)


def asked() -> Early:
    """Two Readys: with the first one record is written under ticket 1, with the second two more under ticket 2."""
    early = Early("member 1")
    early.ready(Ready(write=Write(1, [StateRecord(b"a")]), send_after=[Send(2, ANSWER)], after=1))
    early.ready(
        Ready(
            write=Write(2, [StateRecord(b"b"), StateRecord(b"c")]),
            send=[Send(2, PING)],
            send_after=[Send(2, ANSWER), Send(3, ANSWER)],
            after=2,
        )
    )
    return early


def test_what_is_durable_and_let_go_leaves_in_its_order() -> None:
    early = asked()
    early.let_go(2, PING, None, durable=0)
    early.let_go(2, ANSWER, 1, durable=1)
    early.let_go(2, ANSWER, 2, durable=3)
    for message in (PING, AppendEntriesResponse(2, True, 5, 0), ANSWER):
        early.leaves(2, message)


def test_a_write_that_is_not_wholly_durable_holds_back() -> None:
    early = asked()
    early.let_go(2, ANSWER, 1, durable=2)
    with pytest.raises(Violation, match="before 1 records are durable"):
        early.let_go(2, ANSWER, 2, durable=2)


def test_a_replica_that_names_another_ticket_is_not_believed() -> None:
    for ticket, match in ((0, "for ticket 0"), (None, "at once"), (1, "for ticket 1")):
        with pytest.raises(Violation, match=match):
            asked().let_go(3, ANSWER, ticket, durable=3)


def test_one_message_is_let_go_once() -> None:
    early = asked()
    early.let_go(2, ANSWER, 1, durable=1)
    with pytest.raises(Violation, match="did not ask"):
        early.let_go(2, ANSWER, 1, durable=1)


def test_a_ready_without_a_write_waits_for_the_last_one() -> None:
    early = asked()
    early.ready(Ready(send_after=[Send(3, PING)], after=2))
    with pytest.raises(Violation, match="before 2 records"):
        early.let_go(3, PING, 2, durable=1)


def test_a_frame_carries_nothing_that_was_not_let_go() -> None:
    early = asked()
    early.let_go(2, ANSWER, 1, durable=1)
    with pytest.raises(Violation, match="did not let go"):
        early.leaves(2, PING)
    with pytest.raises(Violation, match="did not let go"):
        early.leaves(3, ANSWER)


def test_what_was_let_go_to_a_session_that_ended_is_passed_over() -> None:
    early = asked()
    early.let_go(2, ANSWER, 1, durable=1)
    early.let_go(2, PING, None, durable=1)
    early.leaves(2, PING)
    with pytest.raises(Violation, match="did not let go"):
        early.leaves(2, ANSWER)
