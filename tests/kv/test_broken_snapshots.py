"""Each rule of a state that is read, loaded and switched to, broken in one place: a test of the rule must notice."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import pytest

from ratified.kv import snapshot
from ratified.kv.leases import Leases
from ratified.kv.snapshot import KvStateLoader
from ratified.kv.store import KvStore
from ratified.kv.watch import WatchHub
from ratified.machine_store import SavedMachineStore, _Saving
from ratified.sim.machine import CommitKill
from ratified.state_stream import RecordReader
from ratified.storage.group_spaces import GroupSpaces
from ratified.storage.memory import MemorySpace, MemoryView
from tests import test_machine_store as machines
from tests.kv import test_snapshot as states

Break = AbstractContextManager[Any]
Test = Callable[[], object]


def reads_what_is_applied_meanwhile() -> Break:
    """Pieces are read from the rows of now."""

    class Present(MemoryView):
        def keep(self, table: str, key: bytes, value: bytes | None) -> None:
            pass

    return patch.object(MemorySpace, "view", lambda space: Present(space))


def forgets_pending_tombstones() -> Break:
    def nothing(rows: object, tombstone: object, compact_revision: int, held: int) -> Generator[bytes, None, int]:
        yield from ()
        return held

    return patch.object(snapshot, "_pending", nothing)


def sends_what_a_compaction_drops() -> Break:
    return patch.object(snapshot, "is_retained", lambda *_: True)


def looks_at_any_number_of_rows() -> Break:
    make = RecordReader._make

    def all_of_them(reader: RecordReader, bytes_max: int) -> bytes:
        reader._rows_max = 1 << 30
        return make(reader, bytes_max)

    return patch.object(RecordReader, "_make", all_of_them)


def believes_every_end() -> Break:
    """What was loaded is not compared with the digest."""

    def whole(loader: KvStateLoader, end: bytes) -> None:
        loader._whole = True

    return patch.object(KvStateLoader, "_compare", whole)


def switches_before_the_end() -> Break:
    switch = KvStateLoader.switch

    def at_once(loader: KvStateLoader) -> None:
        loader._whole = True
        switch(loader)

    return patch.object(KvStateLoader, "switch", at_once)


def writes_no_row_at_the_switch() -> Break:
    def in_memory(spaces: GroupSpaces) -> None:
        spaces._second_serves = not spaces._second_serves
        spaces.holds_useless = True

    return patch.object(GroupSpaces, "switch", in_memory)


def loads_over_what_is_there() -> Break:
    return patch.object(GroupSpaces, "is_spare_empty", lambda spaces: True)


def removes_what_is_being_loaded() -> Break:
    return patch.object(KvStore, "_holds_useless", property(lambda store: not store._spaces.is_spare_empty()))


def removes_all_at_once() -> Break:
    remove = GroupSpaces.remove_useless
    return patch.object(GroupSpaces, "remove_useless", lambda spaces, _: remove(spaces, 1 << 30))


def tells_no_watch_of_the_switch() -> Break:
    return patch.object(WatchHub, "catch_up_all", lambda hub, tombstone=None: None)


def keeps_the_leases_of_before() -> Break:
    return patch.object(Leases, "replace_by", lambda leases, other: None)


def claims_what_is_only_in_memory() -> Break:
    return patch.object(SavedMachineStore, "durable", property(lambda store: (store.applied, store.applied_era)))


def saves_the_first_chunk_alone() -> Break:
    write = _Saving.write

    def once(saving: _Saving) -> bool:
        while not write(saving):
            saving._left.clear()
        return True

    return patch.object(_Saving, "write", once)


def _killed() -> None:
    states.test_whenever_a_process_dies_the_old_state_or_the_new_one_is_there_whole(CommitKill.AFTER)


def _given_up() -> None:
    states.test_a_loader_that_was_given_up_switches_to_nothing("another")


BROKEN: Sequence[tuple[Callable[[], Break], Test]] = [
    (reads_what_is_applied_meanwhile, states.test_what_is_applied_meanwhile_does_not_show),
    (forgets_pending_tombstones, states.test_what_a_tombstone_covers_is_deleted_in_what_travels),
    (sends_what_a_compaction_drops, states.test_what_a_compaction_drops_does_not_travel),
    (looks_at_any_number_of_rows, states.test_a_piece_is_bounded_in_bytes_and_in_rows_looked_at),
    (believes_every_end, states.test_a_row_that_has_rotted_does_not_travel),
    (switches_before_the_end, _given_up),
    (writes_no_row_at_the_switch, _killed),
    (loads_over_what_is_there, states.test_a_state_that_was_half_loaded_is_found_again_after_a_restart),
    (removes_what_is_being_loaded, states.test_a_state_that_was_half_loaded_is_found_again_after_a_restart),
    (removes_all_at_once, states.test_what_is_of_no_use_is_removed_in_slices_and_found_again_after_a_restart),
    (tells_no_watch_of_the_switch, states.test_a_watch_gets_what_is_left_once_and_then_what_is_applied),
    (keeps_the_leases_of_before, states.test_leases_follow_and_live_their_whole_time_under_the_next_leader),
    (claims_what_is_only_in_memory, machines.test_what_is_applied_while_it_is_saved_is_not_in_it),
    (saves_the_first_chunk_alone, machines.test_what_is_applied_while_it_is_saved_is_not_in_it),
]


@pytest.mark.parametrize(("breaks", "test"), BROKEN, ids=[breaks.__name__ for breaks, _ in BROKEN])
def test_it_is_noticed(breaks: Callable[[], Break], test: Test) -> None:
    test()
    with breaks(), pytest.raises((Exception, pytest.fail.Exception)):
        test()
