"""Operators who replace a data directory, and strangers at the peers' port."""

from __future__ import annotations

from collections.abc import Sequence

from ratified.node.cluster_table import ClusterTable, encode_table
from ratified.node.node import Node
from ratified.sim.disk import Disk
from ratified.sim.faults.fault import Fault, Injector, again_and_again, nothing_lasts
from ratified.sim.machine import CLUSTER, Machine
from ratified.sim.world import Draws
from ratified.storage import identity
from ratified.storage.recovery import recover
from ratified.wire.peer import PROTOCOL_VERSION, Frame, Hello, OwnTable, Ping, Standing


def _wipe(injector: Injector, draws: Draws) -> None:
    """A machine dies and comes back with an empty directory; later it gets its own one back. Any number of machines may
    be without theirs at one time. Not before the cluster has begun: whoever is wiped before is simply new."""
    machine = injector.victim(draws)
    down_us, empty_us = 1 + draws.below(injector.down_most(draws)), 1 + draws.below(4 * injector.timeout_us)
    if machine.member in injector.set_aside or not all(each.has_begun for each in injector.cluster.machines.values()):
        return
    machine.kill()
    injector.set_aside[machine.member] = machine.disk.fork()
    machine.wipe()
    injector.later(draws, down_us, machine.start)
    injector.later(draws, down_us + empty_us, _put_back, injector, machine.member)


def _run_old_copy(injector: Injector, draws: Draws) -> None:
    """A data directory is copied, in use or not, and started again; later the copy takes its place for a while.

    Only when all others have met a later start at the machine's own address, and one copy at a time: no rule recognises
    every other old copy, nor two that meet each other.
    """
    machine = injector.victim(draws)
    copied_us, copy = 1 + draws.below(4 * injector.timeout_us), injector.copies.pop(machine.member, None)
    if copy is None:
        injector.copies[machine.member] = machine.disk.fork()
        machine.kill()
        machine.start()
    elif not injector.set_aside and _is_overtaken(injector, machine, copy):
        injector.cluster.world.counters["old copies"] += 1
        machine.kill()
        injector.set_aside[machine.member] = machine.disk.fork()
        machine.restore(copy)
        machine.start()
        injector.later(draws, copied_us, _put_back, injector, machine.member)


def _is_overtaken(injector: Injector, machine: Machine, copy: Disk) -> bool:
    limits = injector.cluster.options.limits.log
    others = [other for other in injector.cluster.machines.values() if other is not machine]
    if not others or identity.read(copy) is None or any(identity.read(other.disk) is None for other in others):
        return False
    found = recover(copy.fork(), limits)
    met = [recover(other.disk.fork(), limits).peers.get(machine.member) for other in others]
    return all(
        each is not None and each.directory == found.directory and each.incarnation > found.incarnation for each in met
    )


def _put_back(injector: Injector, member: int) -> None:
    own: Disk | None = injector.set_aside.pop(member, None)
    if own is not None:
        machine = injector.cluster.machines[member]
        machine.kill()
        machine.restore(own)
        machine.start()


def _put_all_back(injector: Injector) -> None:
    for member in list(injector.set_aside):
        _put_back(injector, member)
    injector.revive()


def _stranger(injector: Injector, draws: Draws) -> None:
    """Somebody says nothing, or claims to be a member, in any start of any directory, and perhaps stays for long; and
    perhaps tells a cluster table of its own."""
    victim = injector.victim(draws)
    claimed = injector.cluster.machines[draws.pick(injector.cluster.members)]
    for _ in range(1 + draws.below(6)):
        stays_us = draws.pick((1, injector.timeout_us // 2, 20 * injector.timeout_us))
        injector.cluster.network.stranger(victim.member, claim(draws, victim, claimed), 1 + draws.below(stays_us))


def claim(draws: Draws, victim: Machine, claimed: Machine) -> Sequence[Frame]:
    if draws.chance(250_000):
        return ()
    true, ours = identity.read(claimed.disk), identity.read(victim.disk)
    directory = true.directory if true is not None and draws.chance(750_000) else draws.draw().to_bytes(16)
    node = claimed.node
    present = (0, 0) if node is None else (node.incarnation, node.config.start)
    claims = (present, (present[0], draws.draw()), (present[0] + 1, draws.draw()), (2**64 - 1, draws.draw()))
    incarnation, start = claims[draws.below(len(claims))]
    version = PROTOCOL_VERSION
    engine = "" if true is None else true.engine
    name = f"n{claimed.member}"
    begun = draws.chance(750_000)
    before = () if draws.chance(500_000) else (draws.draw(),)
    hello = Hello(
        CLUSTER, claimed.member, directory, incarnation, start, before, engine, version, version, name, (), begun
    )
    if ours is None or draws.chance(250_000):
        return (hello, *[Ping()] * draws.below(5))
    standing = Standing(ours.directory, begun)
    if victim.node is None or start % 2 == 0:  # of what is drawn already: one draw more would move all claims to come
        return hello, standing
    return hello, standing, _table_without_the_others(victim.node)


def _table_without_the_others(node: Node) -> OwnTable:
    """It says that all other members have left, and is later than any other one."""
    table, own = node.table(), node.config.member
    others = tuple(member for member in table.members if member != own)
    return OwnTable(encode_table(ClusterTable(1 << 60, {own: table.members[own]}, (*table.left, *others))))


WIPED_DIRECTORY = Fault(
    name="wiped-directory",
    scenarios={"replaced-directories": 4},
    begin=again_and_again(_wipe),
    heal=_put_all_back,
    counters=("directories wiped",),
)
OLD_COPY = Fault(
    name="old-copy",
    scenarios={"replaced-directories": 1},
    begin=again_and_again(_run_old_copy),
    heal=_put_all_back,
    counters=("old copies",),
)
STRANGERS = Fault(
    name="strangers",
    scenarios={"strangers": 1},
    begin=again_and_again(_stranger),
    heal=nothing_lasts,
    counters=("strangers", "challenges"),
)
