"""The driver's rules, each with an engine whose Readys are written down beforehand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import pytest

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    BaseRecord,
    Durable,
    Engine,
    Entry,
    Era,
    Fetch,
    Kind,
    Limits,
    Membership,
    Options,
    Ready,
    Record,
    Run,
    Send,
    StateRecord,
    TruncateRecord,
    Write,
)
from ratified.consensus.driver import Driver, DurableLog, Ports
from ratified.consensus.entry import make_entry

MEMBERSHIP = Membership((1, 2, 3))
BASE = Base(0, NO_ERA, MEMBERSHIP)
ANSWERS = ("peer", "persisted", "applied", "fetched", "step", "tick")


def entry(index: int, era: Era = (1, 0), data: bytes = b"x", kind: Kind = Kind.COMMAND) -> Entry:
    return make_entry(index, era, kind, None, data)


def write(ticket: int, *records: Record) -> Write:
    return Write(ticket, records)


def sends(*messages: str, to: int = 2) -> list[Send]:
    return [Send(to, message) for message in messages]


def step(sender: int, message: str, engine: Engine, now: int) -> None:
    engine.step(now, sender, message)


class Script:
    """An engine that gives these Readys, one a turn, and notes what it is fed."""

    def __init__(self, *readies: Ready | None) -> None:
        self.readies = deque(readies)
        self.fed: list[tuple[Any, ...]] = []
        self.durable: Durable | None = None

    def ready(self) -> Ready | None:
        self.fed.append(("ready",))
        return self.readies.popleft() if self.readies else None

    def __getattr__(self, name: str) -> Callable[..., None]:
        assert name in ANSWERS, name
        return lambda *arguments: self.fed.append((name, *arguments))


class Played:
    """A script's driver, started, and all that has left it, in order."""

    def __init__(
        self,
        *readies: Ready | None,
        log: Sequence[Entry] = (),
        applied: int = 0,
        limits: Limits | None = None,
        store: Callable[[Sequence[Entry]], int] = lambda entries: entries[-1].index,
        fetched: Callable[[Fetch], int] = lambda fetch: fetch.last - fetch.first + 1,
    ) -> None:
        self.script = Script(*readies)
        self.left: list[object] = []
        self._store = store
        options = Options(
            member=1,
            seed=1,
            election_deadline=lambda now, era: now,
            election_timeout_max_us=1,
            election_timeout_min_us=1,
            heartbeat_us=1,
            limits=limits or Limits(),
        )
        ports = Ports(
            send=lambda send, session: self.left.append((send.message, session)), deliver=self._deliver, fetch=fetched
        )
        self.driver = Driver(self._engine, options, DurableLog(BASE, b"", log), ports)
        self.driver.start(0, applied=applied)

    def _engine(self, now: int, options: Options, durable: Durable) -> Engine:
        self.script.durable = durable
        return cast("Engine", self.script)

    def _deliver(self, entries: Sequence[Entry]) -> int:
        self.left.append([entry.index for entry in entries])
        return self._store(entries)

    @property
    def fed(self) -> list[tuple[Any, ...]]:
        """What the engine was fed since this was asked last."""
        fed, self.script.fed = self.script.fed, []
        return fed


# --------------------------------------------------------------------------------------------------------------- rule 1


def test_rule_1_a_turn_feeds_inputs_in_order_with_one_time_and_drains_one_ready() -> None:
    played = Played(Ready(), Ready())
    for message in ("a", "b", "c"):
        played.driver.feed(partial(step, 2, message))
    played.driver.turn(7, inputs_max=2)
    assert played.fed == [("step", 7, 2, "a"), ("step", 7, 2, "b"), ("ready",)]
    played.driver.turn(8)
    assert played.fed == [("step", 8, 2, "c"), ("ready",)]


def test_rule_1_time_never_goes_back() -> None:
    played = Played()
    played.driver.turn(7)
    with pytest.raises(AssertionError, match="rule 1"):
        played.driver.turn(6)


def test_rule_1_what_disk_store_and_log_answer_is_fed_in_a_further_turn() -> None:
    one = entry(1)
    played = Played(Ready(write=write(1, entry(2)), after=1, deliver=[one], fetch=[Fetch(9, 1, 1)]), log=[one])
    played.driver.turn(0)
    played.driver.complete()
    assert played.fed == [("ready",)]
    played.driver.turn(5)
    assert played.fed == [("applied", 5, 1), ("fetched", 5, 9, [one]), ("persisted", 5, 1), ("ready",)]


def test_rule_1_several_readies_may_be_outstanding() -> None:
    played = Played(
        Ready(write=write(1, entry(1)), after=1, send_after=sends("one")),
        Ready(write=write(2, entry(2)), after=2, send_after=sends("two")),
    )
    played.driver.drain(0)
    assert [each.ticket for each in played.driver.writes] == [1, 2]
    assert played.left == []
    played.driver.complete(2)
    assert played.left == [("one", None), ("two", None)]


def test_every_ready_is_observed_before_anything_of_it_is_acted_on() -> None:
    played = Played(Ready(send=sends("a")))
    ports = Ports(
        send=lambda send, session: played.left.append("sent"), observe=lambda ready: played.left.append(ready)
    )
    driver = Driver(
        lambda now, options, durable: cast("Engine", played.script), played.driver.options, DurableLog(BASE), ports
    )
    driver.start(0)
    ready = driver.turn(0)
    assert played.left == [ready, "sent"]


# --------------------------------------------------------------------------------------------------------------- rule 2


def test_rule_2_writes_become_durable_in_ticket_order() -> None:
    played = Played(
        Ready(write=write(1, StateRecord(b"1"), entry(1)), after=1), Ready(write=write(2, StateRecord(b"2")), after=2)
    )
    played.driver.drain(0)
    assert played.driver.log.state == b""
    played.driver.complete()
    assert (played.driver.log.state, played.driver.log.entries) == (b"1", {1: entry(1)})
    played.driver.turn(0)
    assert ("persisted", 0, 1) in played.fed
    played.driver.complete()
    played.driver.turn(0)
    assert played.driver.log.state == b"2"
    assert ("persisted", 0, 2) in played.fed


def test_rule_2_one_report_stands_for_all_earlier_writes() -> None:
    played = Played(Ready(write=write(1), after=1), Ready(write=write(2), after=2))
    played.driver.drain(0)
    played.driver.complete(2)
    played.driver.drain(0)
    assert [each for each in played.fed if each[0] == "persisted"] == [("persisted", 0, 2)]


@pytest.mark.parametrize("ticket", [1, 3])
def test_rule_2_a_ticket_twice_or_left_out_is_seen(ticket: int) -> None:
    played = Played(Ready(write=write(1), after=1), Ready(write=write(ticket), after=ticket))
    played.driver.turn(0)
    with pytest.raises(AssertionError, match="rule 2"):
        played.driver.turn(0)


# --------------------------------------------------------------------------------------------------------------- rule 3


def test_rule_3_send_leaves_at_once_and_may_overtake_what_waits() -> None:
    played = Played(
        Ready(write=write(1), after=1, send=sends("at once"), send_after=sends("waits")),
        Ready(after=1, send=sends("overtakes")),
    )
    played.driver.drain(0)
    assert played.left == [("at once", None), ("overtakes", None)]
    played.driver.complete()
    assert played.left[2:] == [("waits", None)]


def test_rule_3_without_a_write_send_after_waits_for_the_last_ticket_issued() -> None:
    played = Played(
        Ready(send_after=sends("nothing was ever written")),
        Ready(write=write(1), after=1),
        Ready(after=1, send_after=sends("waits")),
        None,
        Ready(after=1, send_after=sends("goes at once")),
    )
    played.driver.drain(0)
    assert played.left == [("nothing was ever written", None)]
    played.driver.complete()
    assert played.left[1:] == [("waits", None)]
    played.driver.drain(0)
    assert played.left[2:] == [("goes at once", None)]


def test_rule_3_what_waits_for_a_later_ticket_waits_on() -> None:
    played = Played(
        Ready(write=write(1), after=1, send_after=sends("one")),
        Ready(write=write(2), after=2, send_after=sends("two")),
    )
    played.driver.drain(0)
    played.driver.complete()
    assert played.left == [("one", None)]


def test_rule_3_a_ready_that_waits_for_an_older_ticket_than_its_own_is_seen() -> None:
    with pytest.raises(AssertionError, match="rule 3"):
        Played(Ready(write=write(1), after=0, send_after=sends("early"))).driver.turn(0)


def test_rule_3_a_message_belongs_to_the_session_current_at_its_ready() -> None:
    waits = Ready(write=write(1), after=1, send=sends("at once"), send_after=[*sends("two"), *sends("three", to=3)])
    played = Played(waits)
    played.driver.connect(2, 20)
    played.driver.connect(3, 30)
    played.driver.turn(0)
    assert played.fed == [("peer", 0, 2, 20), ("peer", 0, 3, 30), ("ready",)]
    played.driver.complete()
    assert played.left == [("at once", 20), ("two", 20), ("three", 30)]


@pytest.mark.parametrize("session", [None, 21])
def test_rule_3_what_waits_is_dropped_with_its_session(session: int | None) -> None:
    played = Played(Ready(write=write(1), after=1, send_after=[*sends("two"), *sends("three", to=3)]))
    played.driver.connect(2, 20)
    played.driver.connect(3, 30)
    played.driver.turn(0)
    played.driver.connect(2, session)
    played.driver.complete()
    assert played.left == [("three", 30)]


# --------------------------------------------------------------------------------------------------------------- rule 4


def test_rule_4_a_truncation_acts_when_its_write_is_durable_behind_all_earlier_ones() -> None:
    old, new = entry(2, (1, 0)), entry(2, (2, 0))
    played = Played(
        Ready(write=write(1, old, entry(3)), after=1),
        Ready(write=write(2, TruncateRecord(2), new), after=2),
        log=[entry(1)],
    )
    played.driver.drain(0)
    played.driver.complete()
    assert played.driver.log.in_order() == [entry(1), old, entry(3)]
    played.driver.complete()
    assert played.driver.log.in_order() == [entry(1), new]


def test_rule_4_a_truncation_takes_away_its_first_entry_and_all_behind_it() -> None:
    log = DurableLog(BASE, b"", [entry(1), entry(2), entry(3)])
    log.take([TruncateRecord(2)])
    assert log.in_order() == [entry(1)]


# --------------------------------------------------------------------------------------------------------------- rule 5


def test_rule_5_deliver_comes_before_anything_else_of_its_ready() -> None:
    played = Played(Ready(deliver=[entry(1)], send=sends("a"), send_after=sends("b")), log=[entry(1)])
    played.driver.turn(0)
    assert played.left == [[1], ("a", None), ("b", None)]
    assert played.driver.delivered == (1, (1, 0))


@pytest.mark.parametrize("indexes", [[2], [1, 1], [1, 3]])
def test_rule_5_entries_are_delivered_in_order_and_once(indexes: list[int]) -> None:
    played = Played(Ready(deliver=[entry(index) for index in indexes]), log=[entry(index) for index in (1, 2, 3)])
    with pytest.raises(AssertionError, match="rule 5"):
        played.driver.turn(0)


def test_rule_5_delivery_goes_on_behind_what_the_store_had_at_start() -> None:
    log = [entry(index) for index in (1, 2)]
    Played(Ready(deliver=[log[1]]), log=log, applied=1).driver.turn(0)
    with pytest.raises(AssertionError, match="rule 5"):
        Played(Ready(deliver=[log[0]]), log=log, applied=1).driver.turn(0)


def test_rule_5_nothing_is_delivered_whose_write_is_in_flight() -> None:
    played = Played(Ready(write=write(1, entry(1)), after=1), Ready(after=1, deliver=[entry(1)]))
    played.driver.turn(0)
    with pytest.raises(AssertionError, match="not durable here"):
        played.driver.turn(0)


@pytest.mark.parametrize("more", [1, 2])
def test_rule_5_no_more_is_out_than_deliver_bytes_max(more: int) -> None:
    log = [entry(index, data=bytes(100)) for index in (1, 2, 3, 4)]
    limits = Limits(deliver_bytes_max=2 * len(log[0].encoded))
    readies = [Ready(deliver=log[:2]), Ready(deliver=log[2 : 2 + more])]
    late = Played(*readies, log=log, limits=limits, store=lambda entries: 0)
    late.driver.turn(0)
    with pytest.raises(AssertionError, match="deliver_bytes_max"):
        late.driver.turn(0)
    in_time = Played(*readies, log=log, limits=limits, store=lambda entries: 0)
    in_time.driver.turn(0)
    in_time.driver.applied(2)
    in_time.driver.turn(0)
    assert in_time.left == [[1, 2], [3, 4][:more]]
    assert ("applied", 0, 2) in in_time.fed


def test_rule_5_the_limit_admits_one_entry_alone() -> None:
    log = [entry(1, data=bytes(100)), entry(2)]
    Played(Ready(deliver=log[:1]), log=log, limits=Limits(deliver_bytes_max=1)).driver.turn(0)
    with pytest.raises(AssertionError, match="deliver_bytes_max"):
        Played(Ready(deliver=log), log=log, limits=Limits(deliver_bytes_max=1)).driver.turn(0)


@pytest.mark.parametrize("index", [0, 2])
def test_the_store_applies_what_was_delivered_and_only_forward(index: int) -> None:
    played = Played(Ready(deliver=[entry(1)]), log=[entry(1)], store=lambda entries: 0)
    played.driver.turn(0)
    with pytest.raises(AssertionError):
        played.driver.applied(index)


# ------------------------------------------------------------------------------------------------------ crash and start


def test_a_crash_forgets_what_waits_and_what_was_not_durable() -> None:
    played = Played(Ready(write=write(1, entry(1)), after=1, send_after=sends("a")))
    driver = played.driver
    driver.connect(2, 20)
    driver.turn(0)
    driver.feed(lambda engine, now: engine.tick(now))
    driver.crash()
    assert not driver.up
    assert [*driver.inputs, *driver.writes, *driver.sessions, *driver.log.entries, *played.left] == []
    driver.feed(lambda engine, now: engine.tick(now))
    driver.connect(2, 21)
    assert [*driver.inputs, *driver.sessions] == [], "a process that is down is told nothing"


def test_what_waited_in_an_earlier_process_never_leaves_and_what_it_delivered_no_longer_counts() -> None:
    log = [entry(index, data=bytes(100)) for index in (1, 2, 3, 4, 5)]
    limits = Limits(deliver_bytes_max=2 * len(log[0].encoded))
    before = Ready(write=write(1), after=1, send_after=sends("earlier"), deliver=log[:1])
    after = [Ready(deliver=log[:2]), Ready(write=write(1), after=1, send_after=sends("later")), None, None]
    played = Played(before, *after, Ready(after=1, deliver=log[2:]), log=log, limits=limits, store=lambda entries: 0)
    played.driver.turn(0)
    played.driver.crash()
    played.driver.start(0)
    played.driver.settle(0)
    assert played.left == [[1], [1, 2], ("later", None)]
    played.driver.applied(2)
    played.driver.turn(0)
    with pytest.raises(AssertionError, match="deliver_bytes_max"):
        played.driver.turn(0)


def test_no_crash_keeps_more_writes_than_are_in_flight() -> None:
    with pytest.raises(AssertionError, match="in flight"):
        Played().driver.crash(writes_kept=1)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_crash_may_keep_a_prefix_of_the_writes_in_flight(kept: int) -> None:
    played = Played(
        *[Ready(write=write(ticket, entry(ticket)), after=ticket, send_after=sends("a")) for ticket in (1, 2)]
    )
    played.driver.drain(0)
    played.driver.crash(writes_kept=kept)
    assert list(played.driver.log.entries) == [1, 2][:kept]
    assert played.left == [], "nobody was told"


def test_a_restart_begins_with_the_log_the_store_and_ticket_1() -> None:
    entries = [entry(1), entry(2, (3, 0))]
    played = Played(Ready(write=write(1, StateRecord(b"s"), *entries), after=1), Ready(deliver=entries, after=1))
    played.driver.settle(0)
    played.driver.crash()
    played.script.readies.append(Ready(write=write(1, StateRecord(b"t")), after=1, send_after=sends("a")))
    played.driver.start(9, applied=2, tail_entries=1)
    assert played.script.durable == Durable(
        b"s", BASE, [Run(1, 1, (1, 0)), Run(2, 2, (3, 0))], [entry(2, (3, 0))], [], 2, (3, 0)
    )
    assert played.driver.delivered == (2, (3, 0))
    played.driver.settle(9)
    assert played.left == [[1, 2], ("a", None)]


def test_delivered_begins_with_the_base_where_the_log_has_no_entry() -> None:
    driver = Played().driver
    driver.crash()
    driver.log.take([BaseRecord(Base(5, (2, 0), MEMBERSHIP))])
    driver.start(0, applied=5)
    assert driver.delivered == (5, (2, 0))


def test_a_member_that_is_down_has_no_engine_and_one_that_is_up_starts_no_second_time() -> None:
    driver = Played().driver
    with pytest.raises(AssertionError, match="is up"):
        driver.start(0)
    driver.crash()
    with pytest.raises(AssertionError, match="is down"):
        driver.turn(0)


# --------------------------------------------------------------------------------------------------- turns until quiet


def test_drain_leaves_writes_in_flight_and_settle_completes_them() -> None:
    readies = [Ready(write=write(1, entry(1)), after=1), Ready(after=1, deliver=[entry(1)])]
    drained = Played(readies[0], log=[])
    drained.driver.drain(0)
    assert len(drained.driver.writes) == 1
    drained.driver.settle(0)
    assert drained.fed[1:] == [("ready",), ("ready",), ("persisted", 0, 1), ("ready",)]
    settled = Played(*readies)
    settled.driver.settle(0)
    assert settled.left == [[1]]
    assert settled.fed == [("ready",), ("persisted", 0, 1), ("ready",), ("applied", 0, 1), ("ready",)]


# ---------------------------------------------------------------------------------------------------------- fetch


@pytest.mark.parametrize(("count", "indexes"), [(3, [1, 2, 3]), (1, [1])])
def test_a_fetch_is_answered_from_the_log_with_a_prefix(count: int, indexes: list[int]) -> None:
    log = [entry(index) for index in (1, 2, 3)]
    played = Played(Ready(fetch=[Fetch(9, 1, 3)]), log=log, fetched=lambda fetch: count)
    played.driver.drain(0)
    assert ("fetched", 0, 9, [entry(index) for index in indexes]) in played.fed


def test_a_fetch_may_be_left_to_the_holder_of_the_driver() -> None:
    played = Played(Ready(fetch=[Fetch(9, 1, 1)]), log=[entry(1)], fetched=lambda fetch: 0)
    played.driver.drain(0)
    assert played.fed == [("ready",), ("ready",)]


@pytest.mark.parametrize(("fetch", "count"), [(Fetch(9, 2, 1), 0), (Fetch(9, 1, 1), 2)])
def test_a_fetch_of_nothing_and_an_answer_beyond_what_was_asked_are_seen(fetch: Fetch, count: int) -> None:
    with pytest.raises(AssertionError, match="fetch 9"):
        Played(Ready(fetch=[fetch]), log=[entry(1), entry(2)], fetched=lambda fetch: count).driver.turn(0)


# -------------------------------------------------------------------------------------------------------------- the log


def test_a_log_with_gaps_has_runs_that_end_at_them() -> None:
    log = DurableLog(BASE, b"", [entry(5), entry(1), entry(2), entry(4), entry(6, (0, 0))])
    assert log.durable(0).runs == [Run(1, 2, (1, 0)), Run(4, 5, (1, 0)), Run(6, 6, (0, 0))]
    assert [each.index for each in log.durable(0, tail_entries=2).tail] == [5, 6]
    assert [each.index for each in log.durable(0, tail_entries=6).tail] == [1, 2, 4, 5, 6]
    assert log.durable(0, tail_entries=0).tail == []
    assert log.durable(0).tail == log.in_order()


def test_a_log_gives_all_its_memberships_also_those_before_the_tail() -> None:
    membership = entry(1, kind=Kind.MEMBERSHIP)
    log = DurableLog(BASE, b"", [membership, entry(2)])
    assert log.durable(0, tail_entries=0).memberships == [membership]


def test_a_base_takes_away_what_is_at_or_below_it() -> None:
    log = DurableLog(BASE, b"", [entry(1), entry(2), entry(3)])
    base = Base(2, (1, 0), MEMBERSHIP)
    log.take([BaseRecord(base)])
    assert (log.base, log.in_order()) == (base, [entry(3)])


def test_an_entry_replaces_its_index_alone() -> None:
    log = DurableLog(BASE, b"", [entry(1), entry(2)])
    log.take([entry(1, (2, 0))])
    assert log.in_order() == [entry(1, (2, 0)), entry(2)]
