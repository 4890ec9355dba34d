"""Each rule of the protocol, broken on purpose, is caught: by an invariant, an assertion, or by standing still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ratified.check.violation import Violation
from ratified.consensus.contract import Entry
from ratified.consensus.zab.core import Core
from ratified.consensus.zab.engine import Engine
from ratified.consensus.zab.follower import Following
from ratified.consensus.zab.leader import Leading
from ratified.consensus.zab.link import Link
from ratified.consensus.zab.messages import Ack, AckEpoch, AckNewLeader, Ending, Mode, NewEpoch
from tests.consensus.zab import test_world
from tests.consensus.zab.world import World

Break = Callable[[pytest.MonkeyPatch], None]
SEEDS_MAX = 150


def old_epoch_accepted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Core, "may_accept", lambda _self, _epoch: True)


def epoch_accepted_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Core, "may_accept", lambda self, epoch: epoch >= self.accepted_epoch)


def commit_before_a_quorum_of_acks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leading, "acked_by_quorum", lambda self: self._core.log.last)


def diff_where_trunc_was_due(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leading, "sync_mode", lambda _self, _last, _meet: Mode.DIFF)


def counter_used_twice(patch: pytest.MonkeyPatch) -> None:
    def propose_over_the_last(self: Core, entries: Sequence[Entry]) -> None:
        if entries[0].index <= self.log.last:
            self.log.truncate(entries[0].index)
            self.durability.truncated(entries[0].index)
        append(self, entries)

    append = Core.append
    patch.setattr(Core, "append", propose_over_the_last)
    patch.setattr(Leading, "next_index", lambda self: max(self._core.log.last, self.origin + 1))


def leaves_at_once(kind: type[Any]) -> Break:
    def broken(patch: pytest.MonkeyPatch) -> None:
        after = Core.send_after

        def send_after(self: Core, to: int, message: Any) -> None:
            if type(message) is kind:
                self.send(to, message)
            else:
                after(self, to, message)

        patch.setattr(Core, "send_after", send_after)

    broken.__name__ = f"{kind.__name__} before it is durable"
    return broken


def current_epoch_before_the_history(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Following, "may_adopt_epoch", lambda _self: True)


def history_acknowledged_before_it_is_complete(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Following, "history_is_complete", lambda _self: True)


def leads_before_a_quorum_is_synchronised(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leading, "history_is_synchronised", lambda _self: True)


def fifo_violated_unseen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Link, "follows", lambda _self, _lane, _seq: True)


def election_ignores_the_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ending, "rank", lambda self: (0, self.last_epoch, self.last_index))


def committed_without_newleader(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leading, "may_commit", lambda _self: True)


def own_acknowledgement_before_durable(patch: pytest.MonkeyPatch) -> None:
    def durable_at(self: Leading, member: int) -> int:
        return self._core.log.last if member == self._core.member else honest(self, member)

    honest = Leading._durable_at
    patch.setattr(Leading, "_durable_at", durable_at)


def delivered_before_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "deliverable", lambda self: self._core.commit)


def reads_without_a_round(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leading, "round_is_confirmed", lambda _self: True)


def lost_when_a_later_epoch_begins(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "lost", lambda self, era, _index, _delivered: self.status().era > era)


MUTANTS: tuple[Break, ...] = (
    old_epoch_accepted,
    epoch_accepted_twice,
    commit_before_a_quorum_of_acks,
    diff_where_trunc_was_due,
    counter_used_twice,
    leaves_at_once(AckNewLeader),
    leaves_at_once(Ack),
    leaves_at_once(AckEpoch),
    leaves_at_once(NewEpoch),
    current_epoch_before_the_history,
    history_acknowledged_before_it_is_complete,
    leads_before_a_quorum_is_synchronised,
    election_ignores_the_epoch,
    committed_without_newleader,
    own_acknowledgement_before_durable,
    delivered_before_durable,
    reads_without_a_round,
    lost_when_a_later_epoch_begins,
)


def lives(seed: int) -> bool:
    """Does nothing go wrong with this seed?"""
    world = World(seed, 3 + 2 * (seed % 3 == 2))
    try:
        world.run(1200)
        world.heal(1500)
    except (AssertionError, Violation):
        return False
    return True


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_caught(mutant: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    caught = next((seed for seed in range(SEEDS_MAX) if not lives(seed)), None)
    assert caught is not None, f"survived {SEEDS_MAX} seeds"


def test_order_that_is_not_checked_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that keep order never show it; those that do not, show that nobody looks."""
    fifo_violated_unseen(monkeypatch)
    with pytest.raises(AssertionError):
        test_world.test_what_a_session_loses_doubles_or_swaps_is_noticed_and_nothing_else_is()
