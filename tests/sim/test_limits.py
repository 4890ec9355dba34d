"""Every named limit of the system is drawn small in some worlds, or stands here with the reason why it is not."""

import pytest

from ratified.sim.limits import SERVER_LIMITS, WORK_OF_A_TURN, draw_limits

NOT_DRAWN = {
    "engine": {
        "inflight_messages_first": "1 is what it is: the least",
        "inflight_bytes_max": "bytes_per_message_max and inflight_messages_max, both drawn, bound the same window",
        "gap_entries_max": "1 would forbid what Multi-Paxos is about, and a little more blocks slots for ever",
    },
    "node": {
        "request_bytes_max": "a refusal at the door, which clients of this world would only wait out",
        "send_queue_bytes_max": "engines ask for credit, which ends far below it; a test of the send queue reaches it",
        "free_bytes_min": "the simulated disk has no end yet",
    },
    "log": {
        "index_gap_entries_max": "not below the engine's gap_entries_max, or the log would refuse what that may write"
    },
    "kv": {
        "watch_pending_bytes_max": "watch_pending_events_max, which is drawn, bounds the same queue",
        "watch_progress_us": "ten minutes do not pass here, and no watcher asks to be told",
    },
}
DRAWN = [draw_limits(seed, frames_are_messages=False) for seed in range(300)]


@pytest.mark.parametrize("room", NOT_DRAWN)
def test_a_limit_is_drawn_or_named_as_one_that_is_not(room: str) -> None:
    defaults = getattr(SERVER_LIMITS, room)
    constant = set()
    for name in type(defaults).__struct_fields__:
        values = {getattr(getattr(limits, room), name) for limits in DRAWN}
        if len(values) == 1:
            constant.add(name)
        else:
            assert min(values) < getattr(type(defaults)(), name), f"{name} is never drawn small"
    assert constant == set(NOT_DRAWN[room])


def test_limits_are_often_as_small_as_they_may_be_and_often_the_default() -> None:
    for name in ("entries_per_message_max", "deliver_bytes_max", "barriers_max"):
        values = [getattr(limits.engine, name) for limits in DRAWN[:200]]
        assert 20 < values.count(1) < 150
        assert values.count(getattr(type(DRAWN[0].engine)(), name)) > 50
    assert {limits.node.peer_frames_max for limits in DRAWN[:200]} >= {16, 64}
    datagrams = draw_limits(5, frames_are_messages=True)
    assert datagrams.node.peer_frames_max == type(datagrams.node)().peer_frames_max


def test_what_bounds_the_work_of_a_turn_is_small_in_every_world_of_slow_machines() -> None:
    rooms = [getattr(SERVER_LIMITS, room) for room in NOT_DRAWN]
    defaults = {name: getattr(room, name) for room in rooms for name in WORK_OF_A_TURN & {*room.__struct_fields__}}
    assert set(defaults) == WORK_OF_A_TURN
    for seed in range(20):
        drawn = draw_limits(seed, frames_are_messages=False, always=WORK_OF_A_TURN)
        small = {
            name: getattr(getattr(drawn, room), name)
            for room in NOT_DRAWN
            for name in defaults
            if hasattr(getattr(drawn, room), name)
        }
        assert all(small[name] < defaults[name] for name in defaults)
