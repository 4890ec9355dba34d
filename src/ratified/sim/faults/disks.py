"""Disks that are full for a while, or answer nothing for a while, and copies that fail."""

from __future__ import annotations

from ratified.check.violation import Violation
from ratified.sim.faults.fault import Fault, Injector, again_and_again
from ratified.sim.machine import Machine
from ratified.sim.world import Draws

GIVEN_AWAY_TIMEOUTS = 10
"""How long, in election timeouts, a leader may take to give the lead away, over links and disks that may be slow."""
TOLD_TIMEOUTS = 3
"""How long it may take until a leader knows that most disks are full."""
_IN_THE_WAY = ("disks full", "disks hung", "process starts", "pauses", "partitions", "connections broken")


def _fill(injector: Injector, draws: Draws) -> None:
    victim = injector.victim(draws)
    victim.fill_disk()
    timeout_us = injector.timeout_us
    injector.later(draws, draws.pick((timeout_us, 4 * timeout_us, 40 * timeout_us)), _free, injector)
    world = injector.cluster.world
    injector.at(world.now + GIVEN_AWAY_TIMEOUTS * timeout_us, _check, injector, victim, _quiet(injector))


def _quiet(injector: Injector) -> tuple[int, ...]:
    """Changes with everything that may keep others from leading."""
    return tuple(injector.cluster.world.counters[name] for name in _IN_THE_WAY)


def _check(injector: Injector, victim: Machine, before: tuple[int, ...]) -> None:
    """Nothing else went wrong since this disk filled: somebody else leads."""
    others = [machine for machine in injector.cluster.machines.values() if machine is not victim]
    if injector.over or not victim.full or any(other.full for other in others) or _quiet(injector) != before:
        return
    if victim.node is None or 2 * len(others) <= len(others) + 1:
        return
    for group, status in victim.node.status().groups.items():
        if status.engine.leader == victim.member:
            raise Violation(
                "a full disk loses the lead",
                f"member {victim.member} leads group {group}, {GIVEN_AWAY_TIMEOUTS} election timeouts after its disk "
                "was full, and the others have room",
            )


def _fill_most(injector: Injector, draws: Draws) -> None:
    """One soon after another, until those with room are no quorum: one too few."""
    members = injector.cluster.members
    first, count = draws.below(len(members)), (len(members) + 1) // 2
    victims = [injector.cluster.machines[member] for member in (members + members)[first : first + count]]
    timeout_us = injector.timeout_us
    for victim in victims:
        injector.later(draws, timeout_us, _fill_one, injector, victim)
    injector.at(injector.cluster.world.now + timeout_us, _watch_writes, injector, victims)
    injector.later(draws, draws.pick((6 * timeout_us, 40 * timeout_us)), _free, injector)


def _fill_one(injector: Injector, victim: Machine) -> None:
    if not injector.over:
        victim.fill_disk()


def _watch_writes(injector: Injector, victims: list[Machine]) -> None:
    """All of these disks are full, unless they were made free already."""
    injector.cluster.world.counters["disks of a majority full"] += all(victim.full for victim in victims)
    at = injector.cluster.world.now + TOLD_TIMEOUTS * injector.timeout_us
    injector.at(at, _check_writes, injector, victims, _quiet(injector), None)


def _check_writes(injector: Injector, victims: list[Machine], before: tuple[int, ...], taken: int | None) -> None:
    """For as long as nothing else goes wrong nobody takes anything: it would fill these disks to the end."""
    if injector.over or not all(victim.full for victim in victims) or _quiet(injector) != before:
        return
    world = injector.cluster.world
    taken_now = world.counters["proposals taken"]
    if taken is not None and taken_now != taken:
        raise Violation(
            "a quorum without room takes nothing",
            f"{taken_now - taken} proposals were taken while the disks of members "
            f"{[victim.member for victim in victims]} were full, and those with room are no quorum",
        )
    injector.at(world.now + injector.timeout_us, _check_writes, injector, victims, before, taken_now)


def _free(injector: Injector) -> None:
    for machine in injector.cluster.machines.values():
        machine.free_disk()


def _hang(injector: Injector, draws: Draws) -> None:
    """One, or so many at once that no quorum is left."""
    victims = [injector.victim(draws)]
    if draws.below(3) == 0:
        victims += injector.cluster.machines.values()
        victims = victims[: len(injector.cluster.machines) // 2 + 1]
    most_us = draws.pick((injector.timeout_us, 5 * injector.timeout_us, 20 * injector.timeout_us))
    for victim in victims:
        injector.cluster.world.counters["disks hung"] += 1
        victim.disk_queue.hang()
        injector.later(draws, most_us, _go_on, victim)


def _go_on(machine: Machine) -> None:
    machine.disk_queue.go_on()


def _all_go_on(injector: Injector) -> None:
    for machine in injector.cluster.machines.values():
        _go_on(machine)


def _fail_copy(injector: Injector, draws: Draws) -> None:
    injector.victim(draws).checkpoint_lane.fail()


def _mend_copies(injector: Injector) -> None:
    for machine in injector.cluster.machines.values():
        machine.checkpoint_lane.mend()


FULL_DISK = Fault(
    name="full-disk",
    scenarios={"disks": 6, "everything": 25},
    begin=again_and_again(_fill),
    heal=_free,
    counters=("disks full",),
)
FULL_DISKS = Fault(
    name="full-disks",
    scenarios={"disks": 30, "everything": 60},
    begin=again_and_again(_fill_most),
    heal=_free,
    counters=("disks of a majority full",),
)
HANGING_DISK = Fault(
    name="hanging-disk",
    scenarios={"disks": 10, "everything": 30},
    begin=again_and_again(_hang),
    heal=_all_go_on,
    counters=("disks hung",),
)
FAILING_COPY = Fault(
    name="failing-copy",
    scenarios={"checkpoints": 4, "absences": 15, "together": 20, "everything": 25},
    begin=again_and_again(_fail_copy),
    heal=_mend_copies,
    counters=("checkpoints failed",),
)
