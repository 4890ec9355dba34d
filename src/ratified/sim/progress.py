"""Takes samples of a cluster for the checks of progress, while faults go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, combinations

from ratified.check.progress import Progress, Sample
from ratified.consensus.contract import Membership
from ratified.sim.cluster import Cluster
from ratified.sim.machine import Machine

SAMPLES_A_TIMEOUT = 2
_TROUBLE = (
    "configurations",
    "connections",
    "connections broken",
    "connections stalled",
    "kills",
    "machine losses",
    "members that left",
    "nodes joined",
    "pauses",
    "process starts",
    "strangers",
    "transfers asked",
)


class ProgressSamples:
    """Judges from ``begin`` to ``end``."""

    def __init__(self, cluster: Cluster, replaced: Mapping[int, object]) -> None:
        self._cluster = cluster
        self._replaced = replaced
        """By member, the data directory that an operator took away: such a member decides nothing."""
        self._world = cluster.world
        self._timeout_us = cluster.options.election_timeout_us
        self._over = False
        self._quorum: tuple[int, ...] | None = None
        message_us = _longest_message_us(cluster)
        self._groups = {group: Progress(group, self._timeout_us, message_us) for group in cluster.options.memberships}

    def begin(self) -> None:
        self._world.at(self._world.now + self._timeout_us // SAMPLES_A_TIMEOUT, 0, 0, self._sample)

    def end(self) -> None:
        self._over = True

    def _sample(self) -> None:
        if self._over:
            return
        self.begin()
        disturbed = self._is_disturbed()
        healthy = tuple(
            member for member, machine in self._cluster.machines.items() if self._is_healthy(member, machine)
        )
        self._quorum = self._find_quorum(healthy)
        trouble = (healthy, self._cluster.network.cut_links, *[self._world.counters[name] for name in _TROUBLE])
        for group, progress in self._groups.items():
            checks = self._cluster.checkers.groups[group]
            self._look_at_what_is_uncommitted(group)
            if checks.delivered_max:
                idle = any(_leads_and_is_idle(machine, group) for machine in self._cluster.machines.values())
                progress.sampled(
                    Sample(
                        now=self._world.now,
                        quorum=self._quorum,
                        delivered=checks.delivered_max,
                        idle=idle,
                        elections=checks.elections,
                        disturbed=disturbed,
                        trouble=trouble,
                    )
                )

    def _look_at_what_is_uncommitted(self, group: int) -> None:
        leader = self._cluster.leader(group)
        node = None if leader is None else self._cluster.machines[leader].node
        if leader is not None and node is not None and node.lead(group).member == leader:  # and has not started anew
            held = self._cluster.machines[leader].sizes().get(f"bytes of uncommitted entries, group {group}")
            if held is not None:  # a leader that has stepped down may have no such table
                limit = self._cluster.options.limits.engine.uncommitted_bytes_max
                self._cluster.checkers.uncommitted[group].sampled(leader, held.holds, limit)

    def _is_disturbed(self) -> bool:
        options = self._cluster.options
        disks = (machine.disk_queue for machine in self._cluster.machines.values())
        return self._cluster.network.options is not options.network or any(
            disk.options is not options.disk for disk in disks
        )

    def _find_quorum(self, healthy: tuple[int, ...]) -> tuple[int, ...] | None:
        """The one of the last sample as long as it is one; its first member, the hub, reaches all others of it."""
        present = self._quorum
        if present is not None and set(present) <= set(healthy) and self._is_star(present) and self._decides(present):
            return present
        subsets = chain.from_iterable(combinations(healthy, size) for size in range(1, len(healthy) + 1))
        meshes = (some for some in subsets if self._decides(some) and self._is_mesh(some))
        stars = (star for hub in healthy if self._decides(star := self._star(hub, healthy)))
        return next(chain(meshes, stars), None)

    def _decides(self, members: tuple[int, ...]) -> bool:
        """Whether they are a quorum of each configuration that anybody counts in."""
        halves = (half for each in self._memberships() for half in (each.voters, each.outgoing))
        return all(2 * len(set(half).intersection(members)) > len(half) for half in halves if half)

    def _memberships(self) -> Iterator[Membership]:
        for checks in self._cluster.checkers.groups.values():
            yield checks.configurations[-1][1]
            reported = (checks.members[member].membership for member in self._cluster.members)
            yield from (membership for membership in reported if membership is not None)

    def _is_mesh(self, members: tuple[int, ...]) -> bool:
        cuts = self._cluster.network.cut_links
        return not any(source in members and target in members for source, target in cuts)

    def _is_star(self, members: tuple[int, ...]) -> bool:
        return self._star(members[0], members) == members

    def _star(self, hub: int, members: tuple[int, ...]) -> tuple[int, ...]:
        """The hub and those of the members that it reaches, and that reach it."""
        cuts = self._cluster.network.cut_links
        reached = [each for each in members if each != hub and (hub, each) not in cuts and (each, hub) not in cuts]
        return (hub, *reached)

    def _is_healthy(self, member: int, machine: Machine) -> bool:
        works = machine.up and not machine.paused and not machine.full and not machine.disk_queue.hangs
        return works and member not in self._replaced


def _longest_message_us(cluster: Cluster) -> int:
    """What a link takes for as many entries as one message has."""
    rate = cluster.options.network.bytes_per_second
    return cluster.options.limits.engine.bytes_per_message_max * 1_000_000 // rate if rate else 0


def _leads_and_is_idle(machine: Machine, group: int) -> bool:
    if machine.node is None or machine.paused:
        return False
    status = machine.node.status().groups[group].engine
    return status.leader == machine.member and status.serving and status.commit == status.last
