"""Processes are killed, stopped, or stand still."""

from __future__ import annotations

from ratified.sim.faults.fault import Fault, Injector, again_and_again
from ratified.sim.machine import CommitKill
from ratified.sim.world import Draws


def _kill(injector: Injector, draws: Draws) -> None:
    """At once, or just before or behind the next commit of its store."""
    machine = injector.victim(draws)
    way = draws.below(4)
    down_most = injector.down_most(draws)
    if way < 2:
        where = CommitKill.BEFORE if way == 0 else CommitKill.AFTER
        machine.kill_at_commit(where, 1 + draws.below(down_most))
    else:
        machine.kill()
        injector.later(draws, down_most, machine.start)


def _stop(injector: Injector, draws: Draws) -> None:
    injector.victim(draws).stop(1 + draws.below(injector.down_most(draws)))


def _pause(injector: Injector, draws: Draws) -> None:
    machine = injector.victim(draws)
    if machine.up:
        machine.pause()
        timeout_us = injector.timeout_us
        injector.later(draws, draws.pick((timeout_us // 4, 2 * timeout_us, 5 * timeout_us)), machine.resume)


KILL = Fault(
    name="kill",
    scenarios={
        "crashes": 4,
        "leases": 12,
        "log-leases": 12,
        "checkpoints": 8,
        "absences": 6,
        "leader-failures": 3,
        "transfers": 12,
        "replaced-directories": 4,
        "strangers": 8,
        "large-requests": 12,
        "users": 8,
        "together": 6,
        "alarms": 8,
        "members": 10,
        "quiet": 10,
        "everything": 8,
    },
    begin=again_and_again(_kill),
    heal=Injector.revive,
    counters=("kills", "kills at a commit"),
)
PAUSE = Fault(
    name="pause",
    scenarios={"pauses": 4, "leases": 15, "log-leases": 15, "quiet": 15, "everything": 15},
    begin=again_and_again(_pause),
    heal=Injector.revive,
    counters=("pauses",),
)
STOP = Fault(
    name="stop",
    scenarios={"crashes": 12, "replaced-directories": 12, "everything": 25},
    begin=again_and_again(_stop),
    heal=Injector.revive,
    counters=("stops",),
)
