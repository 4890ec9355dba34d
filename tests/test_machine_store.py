"""A user's state machine that is saved: what a checkpoint holds of it, what travels, and what a start goes on from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratified.machine import (
    ApplyFailed,
    Command,
    RestoreFailed,
    SaveFailed,
    SnapshotDamaged,
    StateMachine,
    StateReader,
    TidyFirst,
    load_all,
)
from ratified.machine_store import CHUNK_BYTES, MACHINE, MACHINE_CHECKS, SAVED, SavedMachineStore
from ratified.sim.machine import CommitKill, KillableEnvironment, Killed
from ratified.storage.guard import serving_spaces
from ratified.storage.lmdb import DATA_FILE, LmdbEnvironment
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.pages import StoredRows, StoreUnsound, reading
from ratified.storage.space import Environment

ERA = (1, 0)
LARGE = b"x" * (3 * CHUNK_BYTES)


class Lines(StateMachine):
    """Remembers every command; gives them one by one."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.fails = False

    def apply(self, command: bytes) -> bytes:
        self.lines.append(command)
        return b"%d" % len(self.lines)

    def query(self, request: bytes) -> bytes:
        return b",".join(self.lines)

    def snapshot(self) -> Iterator[bytes]:
        for number, line in enumerate(self.lines):
            if self.fails and number:
                raise OSError("no")
            yield line

    def restore(self, pieces: Iterable[bytes]) -> None:
        if self.fails:
            raise ValueError("unknown format")
        self.lines = list(pieces)


class Group:
    """One machine and its store, in an environment."""

    def __init__(self, environment: Environment | None = None) -> None:
        self.environment = environment or MemoryEnvironment()
        self.reopen()

    def reopen(self) -> None:
        self.machine = Lines()
        self.store = SavedMachineStore(self.machine, self.environment.space(2))

    def apply(self, *lines: bytes) -> None:
        index = self.store.applied
        commands = [Command(index + at, line) for at, line in enumerate(lines, 1)]
        with self.environment.transaction():
            self.store.apply(commands, index + len(lines), ERA)

    def tidy(self) -> None:
        while self.store.untidy:
            with self.environment.transaction():
                self.store.tidy()

    def save(self) -> None:
        self.tidy()
        self.store.save()
        self.tidy()

    def load(self, pieces: Iterable[bytes], index: int) -> None:
        self.tidy()
        loader = self.store.load_state(index, ERA)
        try:
            load_all(loader, pieces, self.environment.transaction)
        except SnapshotDamaged:
            loader.abandon()
            raise


def read(reader: StateReader, bytes_max: int = 1 << 16) -> list[bytes]:
    pieces = list(iter(lambda: reader.read(bytes_max), None))
    reader.close()
    return pieces


def saved(*lines: bytes) -> Group:
    group = Group()
    group.apply(*lines)
    group.save()
    return group


@settings(deadline=None, max_examples=60)
@given(
    lines=st.lists(st.sampled_from([b"", b"1", b"two", LARGE[: CHUNK_BYTES - 4], LARGE]), max_size=8),
    piece_bytes=st.sampled_from([1000, 1 << 16]),
)
def test_a_restart_and_another_member_get_the_very_pieces(lines: list[bytes], piece_bytes: int) -> None:
    group = saved(b"first", *lines)
    digest = group.store.digest()
    group.apply(b"not saved")
    other = Group()
    reader = group.store.read_state()
    assert (reader.index, reader.era) == group.store.durable == (1 + len(lines), ERA)
    other.apply(b"old")
    other.load(read(reader, piece_bytes), reader.index)
    group.reopen()
    for each in (group, other):
        assert each.machine.lines == [b"first", *lines]
        assert (each.store.applied, each.store.applied_era) == each.store.durable == (1 + len(lines), ERA)
        assert each.store.digest() == digest
    other.reopen()
    assert other.machine.lines == group.machine.lines


def test_what_is_applied_while_it_is_saved_is_not_in_it() -> None:
    group = Group()
    group.apply(b"1", LARGE)
    group.store.save()
    slices = 0
    while group.store.saving:
        assert group.store.durable == (0, (0, 0)), "part of a snapshot is none"
        group.apply(b"later")
        slices += 1
    assert slices == 4
    assert group.store.durable == (2, ERA)
    group.reopen()
    assert group.machine.lines == [b"1", LARGE]


def test_a_snapshot_that_raises_changes_nothing_of_what_is_saved() -> None:
    group = saved(b"1")
    group.apply(b"2")
    group.machine.fails = True
    with pytest.raises(SaveFailed, match="its snapshot raised OSError: no"):
        group.store.save()
    assert not group.store.untidy
    assert group.store.durable == (1, ERA)
    group.apply(b"3")
    group.machine.fails = False
    group.save()
    assert group.store.durable == (3, ERA)


def test_a_snapshot_that_is_no_bytes_is_not_saved() -> None:
    group = Group()
    group.apply(b"1")
    group.machine.snapshot = lambda: [b"1", "2"]  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(SaveFailed, match="snapshot returned str, not bytes"):
        group.store.save()


def test_what_was_applied_and_saved_already_is_not_saved_again() -> None:
    group = saved(b"1")
    group.store.save()
    assert not group.store.saving


def test_a_machine_that_does_not_take_its_snapshot_back_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    group, other = saved(b"1"), Group()
    pieces = read(group.store.read_state())

    def restore(machine: Lines, pieces: Iterable[bytes]) -> None:
        raise ValueError("unknown format")

    monkeypatch.setattr(Lines, "restore", restore)
    with pytest.raises(RestoreFailed, match="snapshot of entry 1: ValueError: unknown format"):
        group.reopen()
    with pytest.raises(ApplyFailed, match="unknown format"):
        other.load(pieces, 1)


def test_a_damaged_state_is_refused_and_the_machine_goes_on() -> None:
    pieces = read(saved(b"1", LARGE).store.read_state(), 10_000)
    group = saved(b"mine")
    at = len(pieces) // 2
    flipped = bytes([pieces[at][0] ^ 1]) + pieces[at][1:]
    damaged = [pieces[:-1], pieces[1:], [*pieces[:at], *pieces[at + 1 :]], [*pieces[:at], flipped, *pieces[at + 1 :]]]
    for each in damaged:
        with pytest.raises(SnapshotDamaged):
            group.load(each, 2)
        assert group.machine.lines == [b"mine"]
    group.reopen()
    assert group.machine.lines == [b"mine"]


def test_a_chunk_that_has_rotted_does_not_travel() -> None:
    group = saved(b"1", LARGE)
    space = group.store._spaces.serving
    with group.environment.transaction():
        space.put(MACHINE, (1).to_bytes(8), b"rotten")
    with pytest.raises(SnapshotDamaged, match="rotted"):
        Group().load(read(group.store.read_state()), 2)


def test_a_state_takes_the_place_of_one_that_is_being_saved() -> None:
    group, other = Group(), saved(b"other")
    group.apply(b"1", LARGE)
    group.store.save()
    with group.environment.transaction():
        group.store.tidy()
    with pytest.raises(TidyFirst):
        group.store.load_state(9, ERA)
    assert not group.store.saving
    group.load(read(other.store.read_state()), 9)
    assert (group.machine.lines, group.store.durable) == ([b"other"], (9, ERA))
    group.reopen()
    assert (group.machine.lines, group.store.applied) == ([b"other"], 9)


@pytest.mark.parametrize("kill", CommitKill)
@pytest.mark.parametrize("act", [Group.save, lambda group: group.load(read(saved(LARGE, b"2").store.read_state()), 2)])
def test_whenever_a_process_dies_the_old_state_or_the_new_one_is_there_whole(
    kill: CommitKill, act: Callable[[Group], None]
) -> None:
    found: list[int] = []
    for commits in range(100):
        memory = MemoryEnvironment()
        group = Group(memory)
        group.apply(LARGE)
        group.save()
        group.apply(b"2")
        killable = KillableEnvironment(memory)
        group.environment = _Counting(killable, kill, commits)
        try:
            act(group)
            finished = True
        except Killed:
            finished = False
        memory.abandon()
        group = Group(memory)
        assert group.machine.lines == [LARGE, b"2"][: group.store.applied]
        found.append(group.store.applied)
        group.tidy()
        group.apply(b"more")
        group.save()
        assert group.store.durable[0] == found[-1] + 1
        if finished:
            break
    assert found == sorted(found)
    assert set(found) == {1, 2}


class _Counting(KillableEnvironment):
    def __init__(self, environment: KillableEnvironment, kill: CommitKill, commits: int) -> None:
        super().__init__(environment._environment)
        self._kill = kill
        self._left = commits

    def transaction(self):  # type: ignore[no-untyped-def]
        self.kill = self._kill if self._left == 0 else None
        self._left -= 1
        return super().transaction()


@pytest.mark.parametrize("table", [MACHINE, SAVED])
def test_rows_that_are_not_those_that_were_saved_are_found_at_a_start(table: str, tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path)
    group = Group(environment)
    group.apply(b"1", LARGE)
    group.save()
    group.apply(b"3")
    group.save()
    check(tmp_path)
    group.store.save()
    space = group.store._spaces.serving
    key, value = next(space.scan(table, b"", None))
    with environment.transaction():
        space.put(table, key, value[:-1] + bytes([value[-1] ^ 1]))
    environment.close()
    with pytest.raises(StoreUnsound):
        check(tmp_path)


def check(path: Path) -> None:
    with reading(path / DATA_FILE) as file:
        file.check_pages()
        for space in serving_spaces(file):
            MACHINE_CHECKS.whole(StoredRows(file, space))
