"""What waits for a write leaves behind it, whatever the replica that holds it back says."""

from typing import Any

import pytest

from ratified.check.early import Early
from ratified.check.violation import Violation
from ratified.consensus.contract import Ready, Send, StateRecord, Write
from ratified.consensus.raft.messages import AppendEntriesResponse, HeartbeatResponse
from tests.check.members import Members

ANSWER = AppendEntriesResponse(2, True, 5, 0)
PING = HeartbeatResponse(2, 0)


class Member:
    """One member with its disk, after two Readys: the first has one record under ticket 1, the second two more under
    ticket 2."""

    def __init__(self) -> None:
        self.group = Members("raft").checks
        self.early = Early(self.group)
        self.early.started(1, 0)
        self.ready(write=Write(1, [StateRecord(b"a")]), send_after=[Send(2, ANSWER)], after=1)
        self.ready(
            write=Write(2, [StateRecord(b"b"), StateRecord(b"c")]),
            send=[Send(2, PING)],
            send_after=[Send(2, ANSWER), Send(3, ANSWER)],
            after=2,
        )

    def ready(self, **what: Any) -> None:
        self.early.ready(1, Ready(**what))

    def sent(self, to: int, message: object, ticket: int | None, durable: int) -> None:
        self.group.members[1].disk.records = durable
        self.early.sent(1, to, message, ticket)

    def leaves(self, to: int, message: object) -> None:
        self.early.leaves(1, to, message)


def test_what_is_durable_and_sent_leaves_in_its_order() -> None:
    member = Member()
    member.sent(2, PING, None, durable=0)
    member.sent(2, ANSWER, 1, durable=1)
    member.sent(2, ANSWER, 2, durable=3)
    for message in (PING, AppendEntriesResponse(2, True, 5, 0), ANSWER):
        member.leaves(2, message)


def test_a_write_that_is_not_wholly_durable_holds_back() -> None:
    member = Member()
    member.sent(2, ANSWER, 1, durable=2)
    with pytest.raises(Violation, match="before 1 records are durable"):
        member.sent(2, ANSWER, 2, durable=2)


def test_a_replica_that_names_another_ticket_is_not_believed() -> None:
    for ticket, match in ((0, "for ticket 0"), (None, "at once"), (1, "for ticket 1")):
        with pytest.raises(Violation, match=match):
            Member().sent(3, ANSWER, ticket, durable=3)


def test_one_message_is_let_go_once() -> None:
    member = Member()
    member.sent(2, ANSWER, 1, durable=1)
    with pytest.raises(Violation, match="did not ask"):
        member.sent(2, ANSWER, 1, durable=1)


def test_a_ready_without_a_write_waits_for_the_last_one() -> None:
    member = Member()
    member.ready(send_after=[Send(3, PING)], after=2)
    with pytest.raises(Violation, match="before 2 records"):
        member.sent(3, PING, 2, durable=1)


def test_a_frame_carries_nothing_that_was_not_sent() -> None:
    member = Member()
    member.sent(2, ANSWER, 1, durable=1)
    with pytest.raises(Violation, match="did not let go"):
        member.leaves(2, PING)
    with pytest.raises(Violation, match="did not let go"):
        member.leaves(3, ANSWER)


def test_what_was_sent_to_a_session_that_ended_is_passed_over() -> None:
    member = Member()
    member.sent(2, ANSWER, 1, durable=1)
    member.sent(2, PING, None, durable=1)
    member.leaves(2, PING)
    with pytest.raises(Violation, match="did not let go"):
        member.leaves(2, ANSWER)
