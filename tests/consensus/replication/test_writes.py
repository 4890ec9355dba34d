"""Writes in flight: what each stands for, and for how much less after a truncation (rule 4)."""

from __future__ import annotations

from ratified.consensus.replication.writes import Writes


def durable(writes: Writes[str], ticket: int) -> list[tuple[int, str]]:
    return [(write.last, write.claim) for write in writes.persisted(ticket)]


def test_a_truncation_clips_what_is_in_flight() -> None:
    writes: Writes[str] = Writes()
    first = writes.issue(9, "one", now=0)
    second = writes.issue(12, "two", now=3)
    writes.clip(7)
    third = writes.issue(8, "three", now=5)
    assert durable(writes, first) == [(7, "one")]
    assert [writes.waiting_since] == [3]
    assert durable(writes, second) == [(7, "two")]
    assert durable(writes, third) == [(8, "three")]
    assert [writes.waiting_since, writes.done, writes.issued] == [None, 3, 3]


def test_a_ticket_makes_all_earlier_ones_durable_once() -> None:
    writes: Writes[str] = Writes()
    for number in range(1, 4):
        writes.issue(number, str(number), now=0)
    assert durable(writes, 2) == [(1, "1"), (2, "2")]
    assert durable(writes, 2) == []
    assert durable(writes, 3) == [(3, "3")]
