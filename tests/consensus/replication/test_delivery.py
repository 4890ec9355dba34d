"""Delivery: in order, once, within the limit, and from the log where memory lacks it."""

from __future__ import annotations

from ratified.consensus.contract import NO_ERA, Base, Durable, Entry, Kind, Lead, Limits, Membership, Run
from ratified.consensus.entry import make_entry
from ratified.consensus.replication.delivery import FOR_DELIVERY, Delivery
from ratified.consensus.replication.history import History
from ratified.consensus.replication.outbox import Outbox

BASE = Base(10, (2, 0), Membership((1,)))


def entry(index: int, size: int = 0) -> Entry:
    return make_entry(index, (2, 0), Kind.COMMAND, None, bytes(size))


def log(runs: tuple[Run, ...] = (), tail: tuple[Entry, ...] = ()) -> History:
    return History(Durable(b"", BASE, runs, tail, (), BASE.index), Limits())


def taken(delivery: Delivery, source: History, limit: int) -> list[int]:
    return [each.index for each in delivery.take(source, limit)]


def fetches(outbox: Outbox) -> list[tuple[int, int]]:
    ready = outbox.take(write=None, after=0, deliver=(), lead=Lead(None, NO_ERA, False), membership=BASE.membership)
    return [] if ready is None else [(fetch.first, fetch.last) for fetch in ready.fetch]


def test_delivery_gives_one_entry_even_where_it_is_over_the_limit() -> None:
    source = log()
    source.append([entry(11 + i, size=100) for i in range(3)])
    delivery = Delivery(10, Limits(deliver_bytes_max=1), Outbox())
    assert taken(delivery, source, 13) == [11]
    assert taken(delivery, source, 13) == []
    delivery.on_applied(11)
    assert taken(delivery, source, 13) == [12]


def test_delivery_asks_for_what_is_no_longer_in_memory() -> None:
    entries = [entry(11 + i) for i in range(4)]
    source = log((Run(11, 14, (2, 0)),), tuple(entries[2:]))
    outbox = Outbox()
    delivery = Delivery(10, Limits(deliver_bytes_max=1000), outbox)
    assert taken(delivery, source, 14) == []
    assert fetches(outbox) == [(11, 12)]
    assert taken(delivery, source, 14) == []
    assert fetches(outbox) == [], "one fetch is under way"
    assert outbox.take_purpose(1) == FOR_DELIVERY
    delivery.on_fetched(entries[:1])
    assert taken(delivery, source, 14) == [11]
    assert fetches(outbox) == [(12, 12)], "what follows is asked for in the same turn"
    outbox.take_purpose(2)
    delivery.on_fetched(entries[1:2])
    assert taken(delivery, source, 14) == [12, 13, 14], "and memory goes on where the log ended"
    assert fetches(outbox) == []


def test_what_was_fetched_is_delivered_within_the_limit_too() -> None:
    entries = [entry(11 + i, size=100) for i in range(3)]
    source = log((Run(11, 13, (2, 0)),))
    delivery = Delivery(10, Limits(deliver_bytes_max=310), Outbox())
    delivery.take(source, 13)
    delivery.on_fetched(entries)
    assert taken(delivery, source, 13) == [11, 12]
    assert taken(delivery, source, 13) == []
    delivery.on_applied(12)
    assert taken(delivery, source, 13) == [13]


def test_delivery_stops_at_the_limit_of_what_is_durable_and_committed() -> None:
    source = log()
    source.append([entry(11), entry(12)])
    delivery = Delivery(10, Limits(deliver_bytes_max=1000), Outbox())
    assert taken(delivery, source, 11) == [11]
    assert taken(delivery, source, 11) == []


def test_no_more_entries_are_out_than_a_turn_may_apply() -> None:
    source = log()
    source.append([entry(index) for index in range(11, 31)])
    delivery = Delivery(10, Limits(deliver_entries_max=8), Outbox())
    assert taken(delivery, source, 30) == list(range(11, 19))
    assert taken(delivery, source, 30) == []
    delivery.on_applied(18)
    assert taken(delivery, source, 30) == list(range(19, 27))
