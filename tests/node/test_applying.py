"""What is applied in a turn is bounded by what it costs (rule 15), however it comes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import cast

import pytest
from typing_extensions import override

from ratified.consensus.contract import Entry, Kind
from ratified.consensus.entry import make_entry
from ratified.machine import ApplyFailed, Command, Era, Result, StateMachineStore, Store, TidyFirst
from ratified.node.applying import Applying
from ratified.node.config import NodeLimits
from ratified.node.node import Node
from ratified.node.ports import Outcome
from ratified.node.replica import Replica
from ratified.storage.memory import MemoryEnvironment
from tests.node.cluster import SECOND, Cluster, Journal

ROWS_MAX = 10


class Metered(StateMachineStore):
    """Each command says what it costs; ``steps`` is what was applied at once, one after another."""

    def __init__(self) -> None:
        self.journal = Journal()
        super().__init__(self.journal)
        self.steps: list[int] = []

    def cost(self, command: bytes, most: int) -> int:
        return min(int(command), most)

    def apply(self, commands: Sequence[Command], last_index: int, era: Era) -> Sequence[Result]:
        self.steps.append(sum(int(command.data) for command in commands))
        return super().apply(commands, last_index, era)

    def apply_in_pieces(self, command: Command, era: Era, rows_max: int) -> Generator[None, None, Result]:
        left = int(command.data)
        while left > rows_max:
            self.steps.append(rows_max)
            left -= rows_max
            yield
        self.steps.append(left)
        (result,) = super().apply((command,), command.index, era)
        return result


def metered(member: int, group: int) -> Store:
    return Metered()


def test_commands_of_a_turn_cost_no_more_together_than_one_may() -> None:
    cluster = Cluster(open_store=metered, limits=NodeLimits(apply_rows_max=ROWS_MAX))
    leader = cluster.elect()
    costs = [4, 4, 4, 1, 10, 35, 3, 3, 3, 3, 11, 1]
    tokens = [cluster.submit(leader, b"%d" % cost) for cost in costs]
    for token in tokens:
        cluster.outcome(token)
    cluster.run(SECOND)
    for member in cluster.processes:
        store = cluster.processes[member].stores[0]
        assert isinstance(store, Metered)
        assert store.journal.commands == [b"%d" % cost for cost in costs], "in their order, whatever they cost"
        assert sum(store.steps) == sum(costs)
        assert max(store.steps) == ROWS_MAX
        assert len(store.steps) < sum(costs) // 4, "short ones together"


class Applies:
    """A replica as ``Applying`` sees it; its command ``boom`` cannot be applied, and all others cost 1."""

    def __init__(self, group: int) -> None:
        self.group = group
        self.store = self
        self.applied: list[bytes] = []

    def cost(self, command: bytes, most: int) -> int:
        return 1

    def apply(self, entries: Sequence[Entry]) -> Sequence[Result]:
        for entry in entries:
            if entry.data == b"boom":
                raise ApplyFailed(entry.index, ZeroDivisionError("boom"))
            self.applied.append(entry.data)
        return [b""] * len(entries)


def test_nothing_behind_a_command_that_failed_is_applied_whichever_delivery_brought_it() -> None:
    applying = Applying(MemoryEnvironment(), ROWS_MAX)
    broken, other = Applies(1), Applies(2)
    for index, (replica, data) in enumerate(
        [(broken, b"before"), (broken, b"boom"), (other, b"one"), (broken, b"behind"), (other, b"two")], 1
    ):
        applying.add(cast(Replica, replica), [make_entry(index, (1, 0), Kind.COMMAND, None, data)])
    done, failed = applying.run()
    assert (broken.applied, other.applied) == ([b"before"], [b"one", b"two"])
    assert [(each.replica.group, each.entries[0].data) for each in done] == [(1, b"before"), (2, b"one"), (2, b"two")]
    assert [each.replica.group for each in failed] == [1]
    assert not applying.busy


def test_each_turn_does_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(open_store=metered, limits=NodeLimits(apply_rows_max=ROWS_MAX))
    leader = cluster.elect()
    store = cluster.processes[leader].stores[0]
    assert isinstance(store, Metered)
    turn, most = Node.turn, 0

    def counted(node: Node, now: int, inputs_max: int) -> object:
        nonlocal most
        before = sum(store.steps)
        outputs = turn(node, now, inputs_max)
        most = max(most, sum(store.steps) - before)
        return outputs

    monkeypatch.setattr(Node, "turn", counted)
    for token in [cluster.submit(leader, b"8") for _ in range(20)]:
        cluster.outcome(token)
    assert 0 < most <= ROWS_MAX


class Untidy(StateMachineStore):
    """A store with so many pieces of unseen work."""

    def __init__(self, pieces: int) -> None:
        super().__init__(Journal())
        self.pieces = pieces
        self.done = 0

    @property
    @override
    def untidy(self) -> bool:
        return self.pieces > 0

    @override
    def tidy(self) -> None:
        self.pieces -= 1
        self.done += 1


def test_unseen_work_goes_on_by_itself_and_leaves_time_between_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    stores = [Untidy(0), Untidy(0)]
    pause_us, pieces = 5_000, 10
    cluster = Cluster(
        size=1,
        groups=range(2),
        open_store=lambda member, group: stores[group],
        limits=NodeLimits(tidy_pause_us=pause_us),
    )
    for group in range(2):
        cluster.elect(group)
    turn = Node.turn
    tidied_at: list[int] = []

    def seen(node: Node, now: int, inputs_max: int) -> object:
        before = [store.done for store in stores]
        outputs = turn(node, now, inputs_max)
        after = [store.done for store in stores]
        assert all(new - old <= 1 for old, new in zip(before, after, strict=True))
        if after != before:
            tidied_at.append(now)
        return outputs

    monkeypatch.setattr(Node, "turn", seen)
    for store in stores:
        store.pieces = pieces
    for group in range(2):
        cluster.outcome(cluster.submit(1, b"a command", group=group))
    cluster.run(4 * pieces * pause_us)
    assert [store.done for store in stores] == [pieces, pieces]
    assert len(tidied_at) >= pieces
    assert all(later - before >= pause_us for before, later in pairwise(tidied_at))


class Picky(Untidy):
    """A store that applies what is in pieces only when it is tidy."""

    def cost(self, command: bytes, most: int) -> int:
        return most if command == b"long" else 1

    def apply_in_pieces(self, command: Command, era: Era, rows_max: int) -> Generator[None, None, Result]:
        yield
        if self.untidy:
            raise TidyFirst
        (result,) = self.apply((command,), command.index, era)
        return result


def test_a_command_waits_in_its_place_until_its_store_is_tidy() -> None:
    store, pieces = Picky(0), 10
    cluster = Cluster(size=1, open_store=lambda member, group: store, limits=NodeLimits(apply_rows_max=ROWS_MAX))
    cluster.elect()
    store.pieces = pieces
    tokens = [cluster.submit(1, data) for data in (b"before", b"long", b"behind")]
    for token in tokens:
        assert cluster.outcome(token).outcome is Outcome.DONE
    assert cluster.machine(1).commands == [b"before", b"long", b"behind"]
    assert store.done == pieces
