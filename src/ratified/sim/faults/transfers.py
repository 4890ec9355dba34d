"""Operators move the lead from member to member."""

from __future__ import annotations

from ratified.node.ports import TransferLead
from ratified.sim.faults.fault import Fault, Injector, again_and_again, nothing_lasts
from ratified.sim.world import Draws


def _transfer(injector: Injector, draws: Draws) -> None:
    """Mostly the leader is asked; the target may be any member, up or down, or whoever it chooses."""
    machine, to = injector.victim(draws), draws.pick(injector.cluster.members)
    group = draws.below(injector.cluster.options.groups)
    if machine.node is None:
        return
    injector.cluster.world.counters["transfers asked"] += 1
    led = machine.node.lead(group).member == machine.member
    machine.offer(TransferLead(group, None if to == machine.member else to))
    if led:
        injector.later(draws, injector.timeout_us, _count, injector, group, machine.member, to)


def _count(injector: Injector, group: int, old: int, to: int) -> None:
    """Does the target lead now, or whoever was chosen?"""
    for member, machine in injector.cluster.machines.items():
        if member != old and to in (member, old) and machine.node is not None:
            injector.cluster.world.counters["transfers done"] += machine.node.lead(group).member == member


TRANSFER = Fault(
    name="transfer",
    scenarios={"transfers": 2, "leases": 8, "log-leases": 8, "quiet": 10},
    begin=again_and_again(_transfer),
    heal=nothing_lasts,
    counters=("transfers asked", "transfers done"),
)
