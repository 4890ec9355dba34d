"""A leader replicates to whom its configuration names at present (rule 6)."""

from __future__ import annotations

from ratified.consensus.contract import Membership
from ratified.consensus.raft.messages import AppendEntries, AppendEntriesResponse, Heartbeat
from tests.consensus.raft.test_figure_2 import drain, leader, propose


def test_a_member_that_joins_is_sent_entries_and_counts_and_one_that_leaves_is_not() -> None:
    one = leader()
    one.step(0, 2, AppendEntriesResponse(1, True, 1, 0))
    drain(one)
    one._member.configurations.append(2, Membership((1, 2, 3, 4, 5)))
    propose(one, b"x")
    sent = {send.to for send in drain(one).send if isinstance(send.message, AppendEntries)}
    assert sent == {2, 3, 4, 5}
    one.step(0, 2, AppendEntriesResponse(1, True, 2, 0))
    assert one.status().commit == 1, "two of five"
    one.step(0, 4, AppendEntriesResponse(1, True, 2, 0))
    assert one.status().commit == 2
    one._member.configurations.append(3, Membership((1, 2, 4)))
    one.tick(100)
    assert {send.to for send in drain(one).send if isinstance(send.message, Heartbeat)} == {2, 4}
