"""The store of a state machine."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ratified.machine import ApplyFailed, Command, ReadFailed, StateMachine, StateMachineStore


class Counter(StateMachine):
    def __init__(self) -> None:
        self.value = 0

    def apply(self, command: bytes) -> bytes:
        self.value += int(command)
        return b"%d" % self.value

    def query(self, request: bytes) -> bytes:
        return b"%d" % (self.value // int(request))

    def snapshot(self) -> bytes:
        return b"%d" % self.value

    def restore(self, pieces: Iterable[bytes]) -> None:
        self.value = int(b"".join(pieces))


def test_it_applies_in_order_and_counts_entries_that_are_no_commands() -> None:
    store = StateMachineStore(Counter())
    assert store.applied == 0
    assert store.apply([Command(2, b"3"), Command(3, b"4")], 5, (1, 0)) == [b"3", b"7"]
    assert store.applied == 5
    assert store.read(0, b"1") == store.ask(0, b"1") == b"7"


def test_an_exception_while_applying_names_index_and_cause() -> None:
    store = StateMachineStore(Counter())
    with pytest.raises(ApplyFailed, match="index 2 failed: ValueError"):
        store.apply([Command(1, b"1"), Command(2, b"x")], 2, (1, 0))
    assert store.applied == 0


def test_an_exception_while_reading_goes_to_the_asker() -> None:
    store = StateMachineStore(Counter())
    for ask in (store.read, store.ask):
        with pytest.raises(ReadFailed, match="ZeroDivisionError"):
            ask(0, b"0")


def test_a_snapshot_restores_the_same_digest() -> None:
    store, other = StateMachineStore(Counter()), StateMachineStore(Counter())
    store.apply([Command(1, b"9")], 1, (1, 0))
    reader, loader = store.read_state(), other.load_state(1, (1, 0))
    while (piece := reader.read(1)) is not None:
        loader.load(piece)
    loader.switch()
    assert (other.applied, other.digest()) == (1, store.digest())
