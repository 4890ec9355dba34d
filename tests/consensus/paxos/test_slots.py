"""What is accepted, what of it is durable, and what is in memory (rules 4 and 10)."""

from collections.abc import Iterator, Sequence

import pytest

from ratified.consensus.contract import NO_ERA, Base, Durable, Entry, Era, Kind, Limits, Membership, Run
from ratified.consensus.entry import make_entry, memory_bytes
from ratified.consensus.paxos.slots import Slots
from tests.mutants.paxos import evicts_by_sorting

BALLOT_1, BALLOT_2 = (1, 1), (2, 2)
EMPTY = Durable(b"", Base(0, NO_ERA, Membership((1,))))


def entry(slot: int, era: Era = BALLOT_1, data: bytes = b"") -> Entry:
    return make_entry(slot, era, Kind.COMMAND, None, data)


def slots_with(*entries: Entry, limits: Limits | None = None) -> Slots:
    slots = Slots(EMPTY, 0, limits or Limits())
    for each in entries:
        slots.put((each,))
    return slots


def numbers(batch: tuple[Sequence[Entry], int]) -> list[int]:
    entries, size = batch
    assert size == sum(len(each.encoded) for each in entries)
    return [each.index for each in entries]


def persist(slots: Slots, *numbers: int, era: Era = BALLOT_1) -> None:
    for slot in numbers:
        slots.persisted(slot, era)
    slots.advance_durable()


def test_the_durable_prefix_ends_before_the_first_gap() -> None:
    slots = slots_with(entry(1), entry(2), entry(4))
    persist(slots, 4, 1)
    assert slots.durable == 1
    persist(slots, 2)
    assert slots.durable == 2
    slots.put((entry(3),))
    persist(slots, 3)
    assert slots.durable == 4


def test_a_write_of_an_earlier_ballot_stands_for_nothing() -> None:
    slots = slots_with(entry(1))
    slots.put((entry(1, BALLOT_2),))
    persist(slots, 1)
    assert slots.durable == 0
    persist(slots, 1, era=BALLOT_2)
    assert slots.durable == 1
    assert slots.undurable_bytes == 0


def test_a_slot_accepted_again_is_no_longer_durable_unless_its_value_is_chosen() -> None:
    slots = slots_with(entry(1), entry(2))
    persist(slots, 1, 2)
    slots.choose_to(1)
    slots.put((entry(1, BALLOT_2), entry(2, BALLOT_2)))
    assert slots.durable == 1


def test_what_is_not_durable_stays_in_memory_and_the_lowest_of_the_rest_go() -> None:
    slots = slots_with(*[entry(slot, data=bytes(100)) for slot in range(1, 11)], limits=Limits(tail_bytes_max=1100))
    persist(slots, *range(1, 10))
    slots.evict()
    assert slots.missing(1, 9)[0] == 1
    assert slots.message(1, 10) == ([], 0)
    assert slots.batch(1, 10, 1000) == ([], 0)
    assert numbers(slots.message(9, 10)) == [9, 10]


class Unread(dict[int, Entry]):
    """Entries that nobody may go through."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("the whole tail is looked at")


def let_go_of_one() -> None:
    values = [entry(slot, data=bytes(100)) for slot in range(1, 12)]
    slots = slots_with(*values, limits=Limits(tail_bytes_max=9 * memory_bytes(len(values[0].encoded), 1)))
    slots._entries = Unread(slots._entries)
    persist(slots, *range(2, 12))
    slots.evict()
    assert numbers(slots.message(1, 1)) == [1], "it waits for the disk"
    assert slots.missing(2, 11) == (2, 2)
    assert numbers(slots.message(3, 11)) == list(range(3, 12))
    persist(slots, 1)
    slots.evict()
    assert slots.missing(3, 11) == (3, 3)
    assert numbers(slots.message(1, 1)) == [1], "it was passed over, and comes last"


def test_letting_go_of_one_looks_at_no_other() -> None:
    let_go_of_one()


def test_a_tail_that_is_sorted_is_seen() -> None:
    with evicts_by_sorting(), pytest.raises(AssertionError, match="the whole tail"):
        let_go_of_one()


def test_a_batch_skips_gaps_and_ends_at_the_limits() -> None:
    limits = Limits(entries_per_message_max=2)
    slots = slots_with(entry(1), entry(3), entry(4), limits=limits)
    assert numbers(slots.message(1, 9)) == [1, 3]
    large = slots_with(entry(1, data=bytes(500)), entry(2), limits=Limits(bytes_per_message_max=1))
    assert numbers(large.message(1, 2)) == [1]


def test_what_was_fetched_and_accepted_again_meanwhile_is_not_used() -> None:
    slots = slots_with(entry(1), entry(2))
    persist(slots, 1, 2)
    slots.put((entry(2, BALLOT_2, b"new"),))
    assert [each.era for each in slots.fit((entry(1), entry(2)))[0]] == [BALLOT_1, BALLOT_2]


@pytest.mark.parametrize("again", [1, 2, 3])
def test_what_was_fetched_and_accepted_again_and_left_memory_meanwhile_is_not_used(again: int) -> None:
    limits = Limits(tail_bytes_max=memory_bytes(len(entry(1).encoded), 1))
    slots = slots_with(entry(1), entry(2), entry(3), limits=limits)
    persist(slots, 1, 2, 3)
    slots.put((entry(again, BALLOT_2),))
    slots.put((entry(4),))
    persist(slots, again, era=BALLOT_2)
    persist(slots, 4)
    slots.evict()
    assert numbers(slots.batch(again, again, 1 << 20)) == []
    assert numbers(slots.fit((entry(1), entry(2), entry(3)))) == list(range(1, again))


def test_a_log_with_gaps_and_many_ballots_is_read_from_its_runs() -> None:
    runs = (Run(1, 3, BALLOT_2), Run(4, 4, BALLOT_1), Run(7, 9, BALLOT_2))
    slots = Slots(
        Durable(b"", Base(0, NO_ERA, Membership((1,))), runs, (entry(7, BALLOT_2), entry(9, BALLOT_2))), 0, Limits()
    )
    assert slots.durable == 4
    assert slots.last == 9
    assert slots.ballot_at(5) is None
    assert slots.next_accepted(5) == 7
    assert slots.missing(8, 9) == (8, 8)
