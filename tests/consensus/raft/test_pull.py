"""Pull (rule 14) on Raft, message by message: one engine, and the test in its peers' place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from ratified.consensus.contract import Entry, Limits, Send, StateRecord, TruncateRecord
from ratified.consensus.raft import decode_state
from ratified.consensus.raft import pull as pull_of_raft
from ratified.consensus.raft.engine import Raft
from ratified.consensus.raft.messages import (
    AppendEntries,
    Heartbeat,
    Probe,
    ProbeAnswer,
    Pull,
    PullAnswer,
    RequestVote,
)
from ratified.consensus.raft.state import HardState
from ratified.consensus.replication.engine import Engine
from ratified.consensus.replication.pull import Pulling
from ratified.consensus.replication.suspicion import Verdict
from tests.consensus.raft.test_figure_2 import append, drain, engine, entry
from tests.consensus.raft.test_suspicion import probes, told


def behind(one: Engine[Raft], last: tuple[int, int], sender: int = 2) -> Pull:
    """What the member asks whose probe is refused because the log of ``sender`` ends there."""
    (probe, *_) = probes(one, 1000)
    (pull,) = told(one, sender, ProbeAnswer(5, probe.round, Verdict.BEHIND, *last), now=1000)
    assert isinstance(pull, Pull)
    return pull


def entries(pull: Pull, *terms: int) -> PullAnswer:
    """They follow what was asked for."""
    found = [entry(index, term, b"x") for index, term in enumerate(terms, pull.prev_index + 1)]
    encoded = [each.encoded for each in found]
    return PullAnswer(5, pull.round, True, pull.prev_index, pull.prev_term, entries=encoded)


def refused(one: Engine[Raft], pull: Pull, hint: tuple[int, int]) -> Pull:
    """The next question, where member 2 says that the logs can meet there at the latest."""
    answer = PullAnswer(5, pull.round, False, pull.prev_index, pull.prev_term, *hint)
    (pull,) = told(one, 2, answer, now=1001)  # type: ignore[assignment]
    assert isinstance(pull, Pull)
    return pull


def terms_of(one: Engine[Raft]) -> list[int]:
    log = one._algorithm.core.log
    return [entry.era[0] for entry in log.entries(1, log.last)]


def knows_committed(terms: Sequence[int], commit: int) -> Engine[Raft]:
    """Member 1 with this log, told by member 2 in term 3 that so much of it is committed."""
    one = engine(terms=terms, term=3)
    told(one, 2, append(3, (len(terms), terms[-1]), commit=commit))
    return one


def test_it_asks_where_the_logs_can_meet_and_takes_what_ranks_above() -> None:
    one = engine(terms=[1, 2], term=5)
    pull = behind(one, (4, 2))
    assert (pull.prev_index, pull.prev_term) == (2, 2)
    sent = told(one, 2, entries(pull, 2, 2), now=1001)
    assert terms_of(one) == [1, 2, 2, 2]
    assert [message for message in sent if not isinstance(message, Probe)] == [], "nobody is told"
    (probe, _) = sent
    assert isinstance(probe, Probe)
    assert (probe.last_index, probe.last_term) == (4, 2)
    assert one.status().era == (5, 0)


def test_it_stands_with_what_it_pulled_when_that_is_durable() -> None:
    one = engine(terms=[1], term=1)
    pull = behind(one, (2, 1))
    one.step(1001, 2, entries(pull, 1))
    ready = one.ready()
    assert ready is not None
    assert ready.write is not None
    (probe, _) = [send.message for send in ready.send]
    one.step(1002, 2, ProbeAnswer(1, probe.round, Verdict.GRANTED, 2, 1))
    ready = one.ready()
    assert ready is not None
    assert [send.message for send in ready.send_after] == [RequestVote(2, 2, 1)] * 2
    assert ready.send == []


def test_a_later_term_of_the_last_entry_is_adopted_in_the_same_write() -> None:
    one = engine(terms=[1], term=2, voted_for=3)
    pull = behind(one, (2, 4))
    one.step(1001, 2, entries(pull, 4))
    ready = drain(one, 1001)
    assert ready.write is not None
    state, taken = ready.write.records
    assert isinstance(state, StateRecord)
    assert decode_state(state.data) == HardState(4, None)
    assert isinstance(taken, Entry)


def test_the_vote_of_a_term_that_stays_is_kept() -> None:
    one = engine(terms=[1], term=2, voted_for=3)
    told(one, 2, entries(behind(one, (2, 1)), 1), now=1001)
    assert told(one, 2, RequestVote(2, 9, 2), now=1002)[0].term == 2
    assert one._algorithm.core.voted_for == 3


def test_what_is_known_to_be_committed_is_never_removed() -> None:
    """[1 2] ranks above [1 1], which was committed in term 3 by an entry behind it that this member lacks."""
    one = knows_committed([1, 1], 2)
    pull = refused(one, behind(one, (2, 2)), (1, 1))
    told(one, 2, entries(pull, 2), now=1001)
    assert terms_of(one) == [1, 1]


def test_a_pull_that_removes_entries_leaves_the_term_in_which_they_were_acknowledged() -> None:
    one = knows_committed([1, 1], 1)
    one.step(1001, 2, entries(refused(one, behind(one, (2, 2)), (1, 1)), 2))
    ready = drain(one, 1001)
    assert ready.write is not None
    assert isinstance(ready.write.records[0], StateRecord)
    assert isinstance(ready.write.records[1], TruncateRecord)
    assert one.status().era == (4, 0)
    told(one, 2, Heartbeat(3, 2, 0), now=1002)
    assert one.status().commit == 1, "the leader of term 3 counts what is no longer here"


def test_a_part_that_does_not_rank_above_is_kept_and_the_next_one_asked_for() -> None:
    one = engine(terms=[1, 1, 3], term=5)
    pull = behind(one, (4, 4))
    assert (pull.prev_index, pull.prev_term) == (3, 3)
    pull = refused(one, pull, (2, 1))
    assert (pull.prev_index, pull.prev_term) == (2, 1)
    (further,) = told(one, 2, entries(pull, 2), now=1002)
    assert isinstance(further, Pull)
    assert (further.prev_index, further.prev_term) == (3, 2)
    assert terms_of(one) == [1, 1, 3], "nothing is removed before the whole ranks above"
    told(one, 2, entries(further, 4), now=1003)
    assert terms_of(one) == [1, 1, 2, 4]


def test_parts_that_never_rank_above_are_bounded() -> None:
    one = engine(terms=[1, 3], term=5, limits=Limits(inflight_bytes_max=300))
    pull = refused(one, behind(one, (9, 4)), (1, 1))
    while more := told(one, 2, entries(pull, 1), now=1002):
        (pull,) = more  # type: ignore[assignment]
        assert pull.prev_index < 20
    assert one._algorithm._pulling is None


def test_the_question_is_repeated_with_the_next_probe() -> None:
    one = engine(terms=[1], term=5)
    first = behind(one, (2, 2))
    at = one.deadline
    assert at is not None
    one.tick(at)
    probe, _, again = [send.message for send in drain(one, at).send]
    assert isinstance(again, Pull)
    assert (again.prev_index, again.round) == (first.prev_index, probe.round)
    assert told(one, 2, ProbeAnswer(5, probe.round, Verdict.BEHIND, 2, 2), now=at) == []
    told(one, 2, entries(first, 2), now=at)
    assert terms_of(one) == [1, 2], "an answer to the first one is as good"


def test_nobody_pulls_whom_no_quorum_would_elect_but_for_the_log() -> None:
    one = engine(terms=[1], term=5)
    (probe, *_) = probes(one, 1000)
    assert told(one, 2, ProbeAnswer(5, probe.round, Verdict.HEARS, 2, 2), now=1000) == []


class Asking:
    """Member 1 looks for a leader; these two would elect it but for its log, and 2 has the better one."""

    def __init__(self) -> None:
        self.one = engine(terms=[1], term=5)
        self.now = 1000
        for member in (2, 3):
            self.one.peer(0, member, member)
        self.logs = {2: (9, 4), 3: (5, 4)}

    def probe(self, *answering: int) -> list[int]:
        """Whom it asks for entries in its next probe, where these members answer."""
        one, sent = self.one, list[Send]()
        while not sent:
            assert one.deadline is not None
            self.now = max(self.now, one.deadline)
            one.tick(self.now)
            sent += ready.send if (ready := one.ready()) else ()
        round_ = next(send.message.round for send in sent if isinstance(send.message, Probe))
        for member in answering:
            one.step(self.now, member, ProbeAnswer(5, round_, Verdict.BEHIND, *self.logs[member]))
            if ready := one.ready():
                sent += ready.send
        return [send.to for send in sent if isinstance(send.message, Pull)]


def test_the_same_member_is_asked_for_as_long_as_it_answers_probes_whatever_its_entries_take() -> None:
    asking = Asking()
    assert asking.probe(2, 3) == [2]
    asking.logs[3] = (10, 4)
    while asking.now < 5000:
        assert asking.probe(3, 2) == [2]


def test_who_answers_no_probe_for_half_a_timeout_is_asked_no_longer() -> None:
    asking = Asking()
    assert asking.probe(2, 3) == [2]
    began = asking.now
    while (asked := asking.probe(3)) == [2]:
        assert asking.now - began < 700
    assert asked == [3]
    assert asking.now - began >= 500


def test_who_has_lost_its_session_is_asked_no_longer() -> None:
    asking = Asking()
    assert asking.probe(2, 3) == [2]
    asking.one.peer(asking.now, 2, None)
    assert asking.probe(3) == [3]


After = Callable[[Engine[Raft]], object]


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(lambda one: told(one, 3, AppendEntries(5, 1, 1, 0, 0, []), now=1001), id="it follows a leader"),
        pytest.param(lambda one: one.campaign(1001), id="it stands"),
    ],
)
def test_an_answer_that_comes_too_late_changes_nothing(after: After) -> None:
    one = engine(terms=[1], term=5)
    pull = behind(one, (2, 2))
    after(one)
    one.step(1002, 2, entries(pull, 2))
    assert terms_of(one) == [1]


@pytest.mark.parametrize("sender", [2, 3])
def test_an_answer_to_no_question_changes_nothing(sender: int) -> None:
    one = engine(terms=[1], term=5)
    pull = behind(one, (2, 2), sender=2)
    other = Pull(5, pull.round - (sender == 2), pull.prev_index, pull.prev_term)
    told(one, sender, entries(other, 2), now=1001)
    assert terms_of(one) == [1]


# ------------------------------------------------------------------------------------------------------ who answers


def test_what_follows_is_told_as_far_as_a_message_holds() -> None:
    one = engine(terms=[1, 1, 2, 2], limits=Limits(entries_per_message_max=2))
    (reply,) = told(one, 3, Pull(1, 7, 1, 1))
    assert isinstance(reply, PullAnswer)
    assert (reply.fits, reply.prev_index, reply.prev_term, len(reply.entries)) == (True, 1, 1, 2)
    assert one.status().era == (2, 0)


class FullLinks:
    """What was sent before to these members waits."""

    def __init__(self, *full: int) -> None:
        self.full = full

    def has_credit(self, member: int) -> bool:
        return member not in self.full

    def is_clear(self, member: int) -> bool:
        return self.has_credit(member)


def test_nothing_is_told_while_the_link_is_full_of_what_was_told_before() -> None:
    one = engine(terms=[1, 1])
    member = one._algorithm.core.member
    member.options = replace(member.options, links=FullLinks(3))
    assert told(one, 3, Pull(1, 7, 1, 1)) == []
    assert len(told(one, 2, Pull(1, 7, 1, 1))) == 1


def test_where_the_logs_can_meet_is_told() -> None:
    one = engine(terms=[1, 1, 3])
    (reply,) = told(one, 3, Pull(9, 7, 3, 2))
    assert reply == PullAnswer(3, 7, False, 3, 2, 2, 1)


def test_what_is_no_longer_in_memory_is_fetched() -> None:
    one = engine(terms=[1] * 6, limits=Limits(tail_bytes_max=1))
    one.campaign(0)
    drain(one)
    one.step(0, 3, Pull(1, 7, 1, 1))
    ready = drain(one)
    (fetch,) = ready.fetch
    assert fetch.first == 2
    one.fetched(0, fetch.token, [entry(index, 1) for index in range(2, fetch.last + 1)])
    (send,) = drain(one).send
    assert send.to == 3
    assert len(send.message.entries) == fetch.last - 1


def test_what_was_fetched_and_overwritten_meanwhile_is_told_to_nobody() -> None:
    one = engine(terms=[1] * 6, limits=Limits(tail_bytes_max=1))
    one.campaign(0)
    drain(one)
    one.step(0, 3, Pull(1, 7, 1, 1))
    (fetch,) = drain(one).fetch
    assert fetch.last > 2
    one.step(0, 2, append(3, (2, 1), [entry(3, 3)]))
    drain(one)
    one.fetched(0, fetch.token, [entry(index, 1) for index in range(2, fetch.last + 1)])
    ready = one.ready()
    assert ready is None or not [send for send in ready.send if isinstance(send.message, PullAnswer)]


# --------------------------------------------------------------------------------------------------------- mutants


def test_without_the_check_of_what_is_committed_an_applied_entry_would_be_removed() -> None:
    """The history asserts it (rule 4 of ``replication/history``); the check is what keeps the member alive."""
    with patch.object(Pulling, "keeps_committed", lambda pulling, first: True), pytest.raises(AssertionError):
        test_what_is_known_to_be_committed_is_never_removed()


def test_without_leaving_the_term_an_old_acknowledgement_commits_something_else() -> None:
    with (
        patch.object(pull_of_raft, "term_after", lambda core, new: max(new[-1].era[0], core.term)),
        pytest.raises(AssertionError),
    ):
        test_a_pull_that_removes_entries_leaves_the_term_in_which_they_were_acknowledged()
