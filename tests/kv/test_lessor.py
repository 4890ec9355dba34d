"""Leases end late rather than early, by the leader of the day alone, and only once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratified.kv import commands, queries
from ratified.kv.limits import KvLimits
from ratified.machine import Command
from ratified.wire.etcd.rpc_pb2 import LeaseLeasesResponse
from tests.kv.driver import FRESH_LEASE, Driver, Failed, decode

SECOND = 1_000_000
ERA = (3, 0)
NEXT_ERA = (4, 0)


def leading(now: int = 0, limits: KvLimits | None = None) -> Driver:
    driver = Driver(limits=limits)
    driver.lead(now, ERA)
    return driver


def test_the_first_duty_of_an_era_tells_it_and_nothing_else_happens_before_it_is_applied() -> None:
    driver = Driver()
    driver.grant(5, 2)
    driver.store.lead(0, ERA)
    assert driver.store.duties(0) == ([commands.lead(ERA)], None)
    assert driver.store.duties(10 * SECOND) == ([], None)
    with pytest.raises(Failed, match="leader changed"):
        driver.keep_alive(0, 5)
    driver.apply([commands.lead(ERA)])
    assert driver.keep_alive(1 * SECOND, 5) == 2


def test_who_does_not_lead_has_no_duties_and_answers_no_questions() -> None:
    driver = leading()
    driver.grant(5, 2)
    driver.store.lead(SECOND, None)
    assert driver.store.duties(100 * SECOND) == ([], None)
    with pytest.raises(Failed, match="etcdserver: leader changed") as caught:
        driver.time_to_live(0, 5)
    assert caught.value.code == 14


def test_a_lease_ends_when_its_time_is_over_and_its_keys_with_it_at_one_revision() -> None:
    driver = leading()
    driver.grant(5, 10)
    for key in (b"a", b"b"):
        driver.put(key, lease=5)
    assert driver.store.duties(2 * SECOND) == ([], 12 * SECOND)
    assert driver.do_duties(12 * SECOND - 1) == 0
    assert driver.do_duties(12 * SECOND) == 1
    assert driver.keys() == []
    assert driver.store.revision == 4
    assert driver.store.duties(13 * SECOND) == ([], None)


def test_a_lease_counts_from_the_first_time_that_is_told_after_it_was_granted() -> None:
    driver = leading()
    driver.grant(5, 2)
    assert driver.store.duties(7 * SECOND) == ([], 9 * SECOND)


def test_keeping_alive_begins_the_time_anew() -> None:
    driver = leading()
    driver.grant(5, 10)
    driver.store.duties(0)
    assert driver.keep_alive(9 * SECOND, 5) == 10
    assert driver.do_duties(18 * SECOND) == 0
    assert driver.time_to_live(18 * SECOND, 5).TTL == 1
    assert driver.do_duties(19 * SECOND) == 1


def test_an_answer_that_comes_late_never_shortens_a_lease() -> None:
    """The time of a question is when its barrier was fed, which may be before the last extension."""
    driver = leading()
    driver.grant(5, 10)
    driver.store.duties(0)
    driver.keep_alive(9 * SECOND, 5)
    driver.keep_alive(4 * SECOND, 5)
    assert driver.do_duties(19 * SECOND - 1) == 0


def test_a_lease_that_has_run_out_is_over_even_before_its_expiry_is_applied() -> None:
    driver = leading()
    driver.grant(5, 10)
    driver.store.duties(0)
    assert driver.keep_alive(10 * SECOND, 5) == 0
    assert len(driver.store.duties(10 * SECOND)[0]) == 1
    assert driver.keep_alive(10 * SECOND, 5) == 0
    assert driver.time_to_live(10 * SECOND, 5).TTL == 0
    assert driver.store.duties(11 * SECOND) == ([], None)


def test_a_keep_alive_that_is_confirmed_after_the_expiry_was_proposed_comes_too_late() -> None:
    """Seed 201 of the simulator: it was asked before the lease ran out, so its own time said that the lease lives."""
    driver = leading()
    driver.grant(5, 10)
    driver.store.duties(0)
    commands_due, _ = driver.store.duties(10 * SECOND)
    assert len(commands_due) == 1
    assert driver.keep_alive(9 * SECOND, 5) == 0


def test_unknown_leases() -> None:
    driver = leading()
    assert driver.keep_alive(0, 5) == 0
    assert driver.time_to_live(0, 5).TTL == -1
    with pytest.raises(Failed, match="etcdserver: requested lease not found"):
        driver.revoke(5)


def test_time_to_live_tells_what_was_granted_what_is_left_and_which_keys() -> None:
    driver = leading()
    driver.grant(5, 10)
    driver.put(b"b", lease=5)
    driver.put(b"a", lease=5)
    driver.store.duties(0)
    answer = driver.time_to_live(SECOND // 2, 5, keys=True)
    assert (answer.ID, answer.TTL, answer.grantedTTL, list(answer.keys)) == (5, 9, 10, [b"a", b"b"])
    assert list(driver.time_to_live(0, 5).keys) == []
    assert answer.header.revision == 3


def test_a_new_leader_gives_every_lease_its_full_time_again() -> None:
    driver = leading()
    driver.grant(5, 10)
    driver.store.duties(0)
    driver.store.lead(9 * SECOND, None)
    driver.lead(9 * SECOND, NEXT_ERA)
    assert driver.do_duties(19 * SECOND - 1) == 0
    assert driver.do_duties(19 * SECOND) == 1


def test_a_command_of_an_earlier_era_ends_nothing() -> None:
    driver = leading()
    driver.grant(5, 10)
    driver.store.duties(0)
    (old,), _ = driver.store.duties(10 * SECOND)
    driver.lead(10 * SECOND, NEXT_ERA)
    driver.apply([old, commands.lead(ERA)])
    assert driver.keep_alive(11 * SECOND, 5) == 10


def test_an_expiry_does_not_end_a_later_lease_of_the_same_id() -> None:
    driver = leading()
    driver.grant(5, 2)
    driver.store.duties(0)
    (expiry,), _ = driver.store.duties(2 * SECOND)
    driver.revoke(5)
    driver.grant(5, 2)
    driver.apply([expiry])
    assert driver.keep_alive(3 * SECOND, 5) == 2
    assert driver.do_duties(5 * SECOND) == 1


def test_granting_an_id_again_and_again_leaves_one_expiry() -> None:
    driver = leading()
    for second in range(10):
        driver.grant(5, 100)
        driver.store.duties(second * SECOND)
        driver.revoke(5)
    driver.grant(5, 100)
    driver.store.duties(10 * SECOND)
    assert driver.do_duties(109 * SECOND) == 0
    assert driver.store.duties(109 * SECOND) == ([], 110 * SECOND)
    assert driver.do_duties(110 * SECOND) == 1
    assert driver.store.duties(110 * SECOND) == ([], None)


def test_a_key_that_moved_to_another_lease_or_to_none_stays() -> None:
    driver = Driver()
    driver.grant(5, 10)
    driver.grant(6, 10)
    for key in (b"moved", b"freed", b"kept", b"gone"):
        driver.put(key, lease=5)
    driver.put(b"moved", lease=6)
    driver.put(b"freed")
    driver.delete(b"gone")
    driver.put(b"gone")
    driver.revoke(5)
    assert driver.keys() == [b"freed", b"gone", b"moved"]
    driver.revoke(6)
    assert driver.keys() == [b"freed", b"gone"]


def test_revoking_a_lease_without_keys_makes_no_revision() -> None:
    driver = Driver()
    driver.grant(5, 10)
    driver.revoke(5)
    assert driver.store.revision == 1


def test_ids_and_least_times_are_chosen_by_the_proposer() -> None:
    driver = Driver()
    granted = driver.grant(0, 0)
    assert (granted.ID, granted.TTL) == (FRESH_LEASE, 2)
    assert commands.lease_ttl_min_s(1_000_000) == 2
    assert commands.lease_ttl_min_s(2_000_000) == 3
    assert commands.lease_ttl_min_s(100_000) == 1


def test_all_leases_are_listed_and_survive_a_restart() -> None:
    driver = leading()
    for lease in (9, -3, 2**62):
        driver.grant(lease, 10)
    driver.reopen()
    listed = decode(LeaseLeasesResponse, driver.answer(queries.leases()))
    assert [lease.ID for lease in listed.leases] == [-3, 9, 2**62]
    driver.lead(0, NEXT_ERA)
    assert driver.do_duties(10 * SECOND - 1) == 0
    assert driver.do_duties(10 * SECOND) == 3


def test_many_expiries_come_in_portions() -> None:
    driver = leading(limits=KvLimits(expiries_at_once=4))
    for lease in range(1, 11):
        driver.grant(lease, 2)
    driver.store.duties(0)
    portions = []
    while (done := driver.do_duties(2 * SECOND)) > 0:
        portions.append(done)
    assert portions == [4, 4, 2]


@given(
    st.lists(
        st.tuples(st.integers(0, 3 * SECOND), st.sampled_from(["grant", "keep alive", "duties", "lose", "lead"])),
        max_size=40,
    )
)
def test_whatever_happens_a_lease_never_ends_early(steps: list[tuple[int, str]]) -> None:
    driver = leading()
    now, era, alive_from, leads = 0, ERA, None, True
    for passed, what in steps:
        now += passed
        match what:
            case "grant" if alive_from is None:
                driver.grant(5, 4)
                alive_from = now
            case "keep alive" if leads and driver.keep_alive(now, 5):
                alive_from = now
            case "lose":
                driver.store.lead(now, None)
                leads = False
            case "lead":
                era = (era[0] + 1, 0)
                driver.lead(now, era)
                leads, alive_from = True, None if alive_from is None else now
            case "duties":
                if driver.do_duties(now) and alive_from is not None:
                    assert now - alive_from >= 4 * SECOND
                    alive_from = None


def test_the_index_that_granted_a_lease_is_part_of_the_state() -> None:
    one, other = Driver(), Driver()
    with other.environment.transaction():
        other.store.apply([], 7, (1, 0))
    other.index = 7
    for driver in (one, other):
        driver.grant(5, 10)
    assert one.store.digest() != other.store.digest()
    with one.environment.transaction():
        one.store.apply([Command(9, commands.lead(ERA))], 9, (1, 0))
    assert one.store.applied == 9
