"""Answers that are not taken: who may read, who waits, who is taken back, and who is named."""

from __future__ import annotations

from ratified.edge.answers import ESTIMATE_FIRST_BYTES, ESTIMATE_MIN_BYTES, MOVED_BYTES_MIN, Answers, Share

MIB = 1 << 20


class Reads:
    """One client's reads, by number."""

    def __init__(self, answers: Answers, *, are_writes: bool = False) -> None:
        self.answers = answers
        self.share = Share(0.0)
        self.are_writes = are_writes
        self.begun: list[Reading] = []

    def ask(self, count: int) -> None:
        for _ in range(count):
            self.answers.ask(self.share, Reading(self))

    def answer(self, size_bytes: int, *, taken: bool = False) -> None:
        """The first that is on the way is answered; what it takes is unsent until it is taken."""
        self.answers.answered(self.share, self.begun.pop(0), size_bytes)
        if not taken:
            self.answers.unsent(self.share, self.share.unsent_bytes + size_bytes, 1.0)


class Reading:
    def __init__(self, reads: Reads) -> None:
        self.reads = reads

    def start(self) -> None:
        self.reads.begun.append(self)

    def stop(self) -> bool:
        if not self.reads.are_writes:
            self.reads.begun.remove(self)
        return not self.reads.are_writes


def test_as_many_reads_begin_as_there_is_room_for_answers_like_the_first() -> None:
    one, other = Reads(answers := Answers(12 * MIB, 8 * MIB)), Reads(answers)
    one.ask(20)
    other.ask(20)
    assert (len(one.begun), len(other.begun)) == (8, 4)
    assert answers.held_bytes == 12 * ESTIMATE_FIRST_BYTES


def test_small_answers_let_more_begin_but_not_any_number() -> None:
    reads = Reads(answers := Answers(64 * MIB, 8 * MIB))
    for _ in range(100):
        reads.ask(1)
        reads.answer(10, taken=True)
    reads.ask(1000)
    assert len(reads.begun) == 8 * MIB // ESTIMATE_MIN_BYTES
    assert answers.are_waiting


def test_reads_are_taken_back_when_an_answer_is_larger_than_was_counted() -> None:
    reads = Reads(answers := Answers(64 * MIB, 8 * MIB))
    for _ in range(100):
        reads.ask(1)
        reads.answer(10, taken=True)
    reads.ask(1000)
    first = reads.begun[1]
    reads.answer(MIB)
    assert len(reads.begun) == 7, "a megabyte each, beside the one that is there"
    assert reads.begun[0] is first, "those asked for last were taken back"
    assert reads.share.held_bytes <= 8 * MIB
    answers.start_waiting()
    assert len(reads.begun) == 7


def test_writes_are_not_taken_back() -> None:
    writes = Reads(answers := Answers(64 * MIB, 8 * MIB), are_writes=True)
    for _ in range(100):
        writes.ask(1)
        writes.answer(10, taken=True)
    writes.ask(100)
    writes.answer(MIB)
    assert len(writes.begun) == 99
    assert not answers.are_waiting


def test_who_takes_nothing_locks_nobody_out() -> None:
    greedy, other = Reads(answers := Answers(4 * MIB, 4 * MIB)), Reads(answers)
    greedy.ask(10)
    for _ in range(4):
        greedy.answer(MIB)
    other.ask(2)
    assert len(other.begun) == 1, "one may always be on the way"
    other.answer(10, taken=True)
    answers.start_waiting()
    assert len(other.begun) == 1
    assert greedy.begun == []


def test_what_is_taken_lets_those_that_wait_begin_each_client_in_turn() -> None:
    one, other = Reads(answers := Answers(4 * MIB, 4 * MIB)), Reads(answers)
    one.ask(10)
    other.ask(10)
    for _ in range(4):
        one.answer(MIB)
    begun = len(one.begun), len(other.begun)
    answers.unsent(one.share, 0, 2.0)
    answers.start_waiting()
    assert begun == (0, 1)
    assert (len(one.begun), len(other.begun)) == (2, 2)


def test_what_is_given_up_makes_room_whether_it_has_begun_or_waits() -> None:
    reads = Reads(answers := Answers(2 * MIB, 2 * MIB))
    reads.ask(3)
    waiting = next(iter(reads.share.waiting))
    answers.given_up(reads.share, waiting)
    assert not answers.are_waiting
    for begun in [*reads.begun]:
        answers.given_up(reads.share, begun)
    assert answers.held_bytes == reads.share.held_bytes == 0


def test_the_largest_of_those_that_do_not_move_is_named_where_there_is_no_room() -> None:
    answers = Answers(2 * MIB, MIB)
    shares = [Share(0.0) for _ in range(3)]
    for share, held in zip(shares, (MIB // 2, MIB, MIB // 4), strict=True):
        answers.unsent(share, held, 1.0)
    assert answers.stalled(shares, 9.0) is None, "there is room"
    answers.unsent(shares[2], 4 * MIB, 1.0)
    assert answers.stalled(shares, 9.0) is shares[2]
    answers.unsent(shares[2], 4 * MIB - 10, 9.5)
    assert answers.stalled(shares, 9.0) is shares[2], "a few bytes are no progress"
    answers.unsent(shares[2], 4 * MIB - MOVED_BYTES_MIN, 9.5)
    assert answers.stalled(shares, 9.0) is shares[1]
    answers.left(shares[2], 9.6)
    assert answers.stalled(shares, 9.0) is None
