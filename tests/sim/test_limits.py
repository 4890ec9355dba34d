"""Every named limit of the system is drawn small in some worlds, or stands here with the reason why it is not; so
does every constant that is a limit, in the rooms that a world runs."""

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import msgspec
import pytest

import ratified
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
        "free_bytes_min": "disks are told to be full, or to have room, by faults: how much is left is nowhere counted",
    },
    "log": {
        "index_gap_entries_max": "not below the engine's gap_entries_max, or the log would refuse what that may write"
    },
    "kv": {
        "watch_pending_bytes_max": "watch_pending_events_max, which is drawn, bounds the same queue",
        "order_keys_at_once": "of keys longer than any here, put by a program that is not in this world",
        "state_kept_bytes_max": "nobody in this world asks for a state",
        "token_ttl_us": "no world has users who say their passwords",
        "watch_progress_us": "ten minutes do not pass here, and no watcher asks to be told",
    },
}
NUMBERS = "what a format's field can hold"
FORMAT = "part of a format: all members, and all versions, keep to the same"
SAME = "decides what a command answers: the same on every member, so no option"
EARLY = "only says when what does not matter is dropped, or asked again"
OF_FILES = "of real files, which this world does not have"
CONSTANT = {
    "ratified.consensus.contract.U64_MAX": NUMBERS,
    "ratified.consensus.contract.CLOCK_DRIFT_PPM_MAX": "the drift of clocks is drawn, within it and beyond",
    "ratified.consensus.replication.incoming.INDEX_MAX": NUMBERS,
    "ratified.consensus.zab.zxid.EPOCH_MAX": NUMBERS,
    "ratified.consensus.zab.zxid.COUNTER_MAX": "of a zxid; a test of the engine comes to the end of one",
    "ratified.node.milestones.STEPS_MAX": "only says of how many slow calls it is told where their time went",
    "ratified.node.changes.LEARNERS_MAX": "of one cluster; tests of the node reach it",
    "ratified.node.cluster_table.URLS_MAX": FORMAT,
    "ratified.node.cluster_table.URL_BYTES_MAX": FORMAT,
    "ratified.node.priority.DOUBLED_MAX": EARLY,
    "ratified.node.publishing.PAUSE_TIMEOUTS_MAX": EARLY,
    "ratified.node.reads._PRUNED_MIN": EARLY,
    "ratified.node.retries.AGAIN_MAX": EARLY,
    "ratified.node.timers.LOOKS_MIN": EARLY,
    "ratified.storage.checkpoint.UNSYNCED_BYTES_MAX": OF_FILES,
    "ratified.storage.files.OPEN_FILES_MAX": OF_FILES,
    "ratified.storage.guard.WHOLE_CHECK_BYTES_MAX": OF_FILES,
    "ratified.storage.identity._FILE_BYTES_MAX": FORMAT,
    "ratified.storage.lmdb.READERS_MAX": OF_FILES,
    "ratified.storage.lmdb.TABLES_MAX": OF_FILES,
    "ratified.storage.lmdb._BOUND_BYTES_MAX": OF_FILES,
    "ratified.storage.memory._SCRAMBLED_ROWS_MAX": "of what this world itself does to a store",
    "ratified.storage.pages._PAGE_BYTES_MIN": OF_FILES,
    "ratified.storage.pages._PAGE_BYTES_MAX": OF_FILES,
    "ratified.storage.pages._DEPTH_MAX": OF_FILES,
    "ratified.storage.snapshot_file.HEAD_BYTES_MAX": OF_FILES,
    "ratified.storage.snapshot_file.PIECE_BYTES_MAX": OF_FILES,
    "ratified.storage.space.KEY_BYTES_MAX": FORMAT,
    "ratified.kv.auth.PERMISSIONS_MAX": SAME,
    "ratified.kv.auth.ROLES_MAX": SAME,
    "ratified.kv.auth.USERS_MAX": SAME,
    "ratified.kv.commands.OVERHEAD_BYTES_MAX": FORMAT,
    "ratified.kv.cost.TXN_KEPT_BYTES_MAX": SAME,
    "ratified.kv.cost.TXN_RESPONSE_BYTES_MAX": SAME,
    "ratified.kv.cost.TXN_ROWS_MAX": SAME,
    "ratified.kv.counting._AMONG_MAX": "how much is read at a time, of what range_rows_at_once bounds",
    "ratified.kv.history_counts._CHANGES_WALKED_MAX": "which of two ways to one answer is taken",
    "ratified.kv.counting._SOUGHT_MAX": "which of two ways to one answer is taken",
    "ratified.kv.history.CHANGES_WALKED_MAX": "which of two ways to one answer is taken",
    "ratified.kv.history._KEYS_MAX": "how much is read at a time, of what range_rows_at_once bounds",
    "ratified.kv.identity.HEADER_BYTES_MAX": FORMAT,
    "ratified.kv.identity.NAME_BYTES_MAX": FORMAT,
    "ratified.kv.names.NAME_BYTES_MAX": FORMAT,
    "ratified.kv.requests.TXN_OPS_MAX": SAME,
    "ratified.kv.requests.TXN_OPS_IN_ALL_MAX": SAME,
    "ratified.kv.requests.TXN_DEPTH_MAX": SAME,
    "ratified.kv.requests.LEASE_TTL_MAX_S": SAME,
    "ratified.kv.alarms.ALARMS_MAX": "no world raises as many",
    "ratified.kv.checks.CHECKS_MAX": "no world compares what members hold",
    "ratified.kv.checks.MEMBERS_MAX": "no world compares what members hold",
    "ratified.kv.tokens.TOKENS_MAX": "no world has users who say their passwords",
    "ratified.kv.walks.COLLECTED_MAX": "which of two ways to one answer is taken",
    "ratified.kv.writes.UNSEEN_ROWS_MAX": SAME,
    "ratified.wire.backup.HEAD_BYTES_MAX": OF_FILES,
    "ratified.wire.codec.FRAME_BYTES_MAX": "frame_bytes_max, which is drawn, keeps frames far below it",
    "ratified.wire.codec.FIRST_FRAME_BYTES_MAX": "strangers send first frames on both sides of it",
    "ratified.wire.peer.PROTOCOL_VERSION_MIN": "no limit: the scenario upgrades speaks it",
    "ratified.wire.peer.STARTS_BEFORE_MAX": FORMAT,
}
"""Limits that are no option, in what a world runs."""
NOT_IN_A_WORLD = {
    "ratified.edge.connection.ConnectionLimits": "of clients' connections, which tests/edge and tests/server hold",
    "ratified.runtime.transport.TransportLimits": "of sockets, which this world does not have",
}
_LIMIT = re.compile(r"^(_?(?:[A-Z0-9]+_)*(?:MAX|MIN)(?:_[A-Z0-9]+)*)\b[^=\n]*=", re.MULTILINE)
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


def modules(*packages: ModuleType) -> Iterator[ModuleType]:
    for package in packages:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                yield import_module(module.name)


def test_all_limits_that_are_options_are_of_a_world_or_named() -> None:
    in_a_world = {type(getattr(SERVER_LIMITS, room)) for room in NOT_DRAWN}
    assert set(NOT_DRAWN) == set(SERVER_LIMITS.__struct_fields__)
    others = {
        f"{module.__name__}.{name}"
        for module in modules(ratified)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
        if name.endswith("Limits") and value not in {*in_a_world, type(SERVER_LIMITS)}
    }
    assert others == set(NOT_IN_A_WORLD)


def test_all_limits_that_are_constants_are_named() -> None:
    rooms = [import_module(f"ratified.{room}") for room in ("consensus", "node", "storage", "kv", "wire")]
    found = {
        f"{module.__name__}.{name}" for module in modules(*rooms) for name in _LIMIT.findall(inspect.getsource(module))
    }
    assert found == set(CONSTANT)


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
