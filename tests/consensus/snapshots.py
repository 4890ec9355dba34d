"""Snapshots on their way through a hostile world: slow, broken off, too late, and lost with machines.

A snapshot is one number, what the sender's state is in short. Its head is offered, then all of it is durable at the
receiver; both take drawn times. When the receiver's log has the base, its store is switched, after a drawn time too. A
machine that is lost keeps what was durable: where its log begins ahead of its store it switches before it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from ratified.check.violation import Violation
from ratified.consensus.contract import U64_MAX, Base, Engine, Refused, RefusedReason, SnapshotTo
from ratified.consensus.paxos.messages import HeartbeatAnswer, Promise
from ratified.consensus.raft.messages import AppendEntriesResponse
from ratified.consensus.zab.messages import AckEpoch, AckHistory, AckNewLeader

World: TypeAlias = Any
Member: TypeAlias = Any
"""Those of ``tests.consensus.world``, which imports this module."""

STEPS_MOST = 120
"""How long each part of the way may take."""


def acknowledged(message: Any) -> int:
    """Up to where its sender says to have a log, for good; 0: it says nothing of that kind."""
    match message:
        case AppendEntriesResponse(success=True, index=index):
            return index
        case Promise(chosen=chosen) | HeartbeatAnswer(chosen=chosen):
            return chosen
        case AckEpoch(ending=ending):
            return ending.last_index
        case AckHistory(index=index):
            return index
        case AckNewLeader():
            return U64_MAX
        case _:
            return 0


@dataclass
class Transfer:
    """One snapshot on its way."""

    sender: Member
    target: Member
    base: Base
    state: int
    starts: tuple[int, int]
    """Of sender and target: with either's process it ends."""
    steps: int
    is_offered: bool = False
    waits: bool = False
    """For the target: its engine's answer, or the installation."""

    @property
    def is_alive(self) -> bool:
        both = (self.sender, self.target)
        return all(member.driver.up for member in both) and self.starts == tuple(member.starts for member in both)


class Snapshots:
    def __init__(self, world: World) -> None:
        self._world = world
        self._transfers: list[Transfer] = []
        self._durable: dict[tuple[int, int], tuple[Base, int]] = {}
        """By member and snapshot, what is durable there."""
        self._switches: list[tuple[int, Member, Base]] = []
        """Stores to be switched, and after how many more steps."""
        self._sent = 0

    def send(self, sender: Member, asked: SnapshotTo) -> None:
        world = self._world
        target = world.members[asked.member]
        assert asked.index <= sender.applied, f"{asked} is asked for, and {sender.applied} is applied"
        self._sent += 1
        world.counts["snapshots sent"] += 1
        membership = sender.driver.engine.membership_at(sender.applied)
        base = Base(sender.applied, sender.driver.delivered[1], membership, self._sent)
        starts = (sender.starts, target.starts)
        self._transfers.append(Transfer(sender, target, base, sender.state, starts, self._some_steps()))

    def _some_steps(self) -> int:
        return self._world.draw(STEPS_MOST) if self._world.chaos else 1

    def step(self) -> None:
        self._switches = [(steps - 1, member, base) for steps, member, base in self._switches]
        for due in [each for each in self._switches if each[0] <= 0]:
            self._switches.remove(due)
            self._switch(*due[1:])
        for transfer in list(self._transfers):
            if not self._has_a_way(transfer):
                self._over(transfer, ok=False)
            elif not transfer.waits:
                transfer.steps -= 1
                if transfer.steps <= 0:
                    self._arrive(transfer)

    def _has_a_way(self, transfer: Transfer) -> bool:
        world = self._world
        return transfer.is_alive and (
            world.network.carries(transfer.sender.id, transfer.target.id) and (not world.chaos or world.draw(400) > 0)
        )

    def _arrive(self, transfer: Transfer) -> None:
        """The head, or all of it."""
        transfer.waits = True
        sender, base = transfer.sender.id, transfer.base

        def offer(engine: Engine, now: int) -> None:
            self._answered(transfer, engine.snapshot_offered(now, sender, base))

        def receive(engine: Engine, now: int) -> None:
            refused = engine.snapshot_received(now, sender, base)
            if refused is not None:
                self._answered(transfer, refused)

        if transfer.is_offered:
            self._durable[transfer.target.id, base.snapshot] = (base, transfer.state)
        transfer.target.driver.feed(receive if transfer.is_offered else offer)

    def _answered(self, transfer: Transfer, refused: Refused | None) -> None:
        if transfer not in self._transfers:
            return
        if refused is not None:
            self._world.counts[f"snapshots refused: {refused.reason.name}"] += 1
            self._over(transfer, ok=refused.reason is RefusedReason.NOT_NEEDED)
            return
        transfer.waits, transfer.is_offered = False, True
        transfer.steps = self._some_steps()

    def _over(self, transfer: Transfer, *, ok: bool) -> None:
        self._transfers.remove(transfer)
        sender, peer, index = transfer.sender, transfer.target.id, transfer.base.index
        if sender.starts == transfer.starts[0]:
            sender.driver.feed(lambda engine, now: engine.snapshot_sent(now, peer, index, ok))

    # ------------------------------------------------------------------------------------------------ at the receiver

    def leaves(self, member: Member, message: Any) -> None:
        """Nothing is acknowledged that stands on a snapshot which is not installed yet."""
        for _, installing, base in self._switches:
            if installing is member and acknowledged(message) >= base.index:
                raise Violation("installation", f"member {member.id} says {message} while it installs {base}")

    def install(self, member: Member, base: Base) -> None:
        """The base is durable. The store is switched in a while."""
        self._switches.append((self._some_steps(), member, base))

    def _switch(self, member: Member, base: Base) -> None:
        self._world.counts["snapshots installed"] += 1
        self._load(member, base)
        member.driver.installed(base)
        for transfer in [each for each in self._transfers if (each.target, each.base) == (member, base)]:
            self._over(transfer, ok=True)

    def _load(self, member: Member, base: Base) -> None:
        durable, state = self._durable[member.id, base.snapshot]
        assert durable == base, f"the log begins at {base}, the snapshot is of {durable}"
        self._world.checks.installed(member.id, base)
        self._world.agree(member, (base.index, base.era), state)
        member.has(base.index, state)
        member.checkpoint = (base.index, base.era)
        member.asked.clear()

    def restore(self, member: Member) -> None:
        """A start from a log that begins ahead of the store."""
        self._world.counts["snapshots installed at a start"] += 1
        self._load(member, member.driver.log.base)

    def lost(self, member: Member) -> None:
        """Its machine was."""
        self._switches = [each for each in self._switches if each[1] is not member]
