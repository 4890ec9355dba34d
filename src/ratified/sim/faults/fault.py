"""What a fault is, when it begins, and whom it meets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TypeAlias

import msgspec

from ratified.consensus.draws import key_of
from ratified.sim.cluster import Cluster
from ratified.sim.disk import Disk
from ratified.sim.machine import Machine
from ratified.sim.options import DiskOptions, NetworkOptions
from ratified.sim.world import Concern, Draws

Links: TypeAlias = list[tuple[int, int]]


class Injector:
    """Injects faults into one cluster, until the world heals."""

    def __init__(self, cluster: Cluster, unreliable_network: NetworkOptions, slow_disk: DiskOptions) -> None:
        self.cluster = cluster
        self.unreliable_network = unreliable_network
        self.slow_disk = slow_disk
        self.timeout_us = cluster.options.election_timeout_us
        self.over = False
        self.set_aside: dict[int, Disk] = {}
        """The data directories of machines that run with another one."""
        self.copies: dict[int, Disk] = {}
        """Of data directories, as they once were."""
        self._world = cluster.world
        self._cuts: dict[int, Links] = {}
        self._cut_last = 0

    def draws(self, fault: str) -> Draws:
        """Those of one fault: no other fault moves them."""
        return Draws(self._world.seed, Concern.FAULT, key_of(fault))

    def victim(self, draws: Draws) -> Machine:
        leader = self.cluster.leader()
        if leader is not None and draws.chance(500_000):
            return self.cluster.machines[leader]
        return self.cluster.machines[draws.pick(self.cluster.members)]

    def down_most(self, draws: Draws) -> int:
        """Some are back before anybody notices, some are away for long."""
        return draws.pick((self.timeout_us // 10, self.timeout_us, 6 * self.timeout_us))

    def at(self, time: int, action: Callable[..., None], *arguments: object) -> None:
        self._world.at(time, 0, 0, action, *arguments)

    def later(self, draws: Draws, most_us: int, action: Callable[..., None], *arguments: object) -> None:
        self.at(self._world.now + 1 + draws.below(most_us), action, *arguments)

    # -----------------------------------------------------------------------------------------------------------
    # Cuts

    def new_cut(self) -> int:
        """The number of a cut to come."""
        self._cut_last += 1
        return self._cut_last

    def cut(self, number: int, shape: str, member: int, links: Links) -> None:
        if self.over:
            return
        self._world.counters["partitions"] += 1
        self._cuts[number] = links
        for source, target in links:
            self.cluster.network.cut(source, target)
        self._world.trace(member, "cut", shape=shape, links=links)

    def mend(self, number: int) -> None:
        links = self._cuts.pop(number, None)
        if links is None:
            return
        for source, target in links:
            self.cluster.network.heal(source, target)
        self._world.trace(0, "healed", links=links)

    def mend_all(self) -> None:
        for number in list(self._cuts):
            self.mend(number)

    # -----------------------------------------------------------------------------------------------------------
    # Processes

    def revive(self) -> None:
        for machine in self.cluster.machines.values():
            machine.spare()
            machine.resume()
            machine.start()


Begin: TypeAlias = Callable[[Injector, Draws, int], None]


class Heals(IntEnum):
    """When the world heals, what goes first: what is sent again goes over links that are whole."""

    CONDITIONS = 1
    """How slow and how lossy links and disks are."""
    LINKS = 2
    MACHINES = 3


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of fault: all that scenarios, sweeps and tests know of it."""

    name: str
    """It is the key of the fault's draws: with another name it happens at other times."""
    scenarios: Mapping[str, int]
    """Those that it belongs to (``scenario``), and at which rate it happens there: the lower, the more often."""
    begin: Begin
    """Called with the scenario's rate; one of the functions below makes it."""
    heal: Callable[[Injector], None]
    """Take back what still lasts when the world heals."""
    heals: Heals = Heals.MACHINES
    counters: tuple[str, ...]
    """What counts it, and must not stay at zero in a long sweep."""
    datagram_counters: tuple[str, ...] = ()
    """As ``counters``, where messages and not sessions are what the network loses."""


def again_and_again(inject: Callable[[Injector, Draws], None]) -> Begin:
    """At drawn times; the rate is how many election timeouts lie between two on average."""

    def begin(injector: Injector, draws: Draws, rate: int) -> None:
        def once() -> None:
            if not injector.over:
                inject(injector, draws)
                again()

        def again() -> None:
            injector.later(draws, 2 * rate * injector.timeout_us, once)

        again()

    return begin


def at_elections(inject: Callable[[Injector, Draws, int], None]) -> Begin:
    """When somebody is elected; the rate is how many elections of a hundred are spared."""

    def begin(injector: Injector, draws: Draws, rate: int) -> None:
        def elected(member: int) -> None:
            if not injector.over and draws.below(100) >= rate:
                inject(injector, draws, member)

        for checks in injector.cluster.checkers.groups.values():
            checks.on_election = elected

    return begin


def at_installations(inject: Callable[[Injector, Draws, int], None]) -> Begin:
    """When somebody installs a snapshot; the rate is how many of a hundred are spared."""

    def begin(injector: Injector, draws: Draws, rate: int) -> None:
        def installs(member: int) -> None:
            if not injector.over and draws.below(100) >= rate:
                inject(injector, draws, member)

        for checks in injector.cluster.checkers.groups.values():
            checks.on_install = installs

    return begin


def all_the_time(inject: Callable[[Injector], None]) -> Begin:
    """From the beginning on; the rate is 1."""
    return lambda injector, draws, rate: inject(injector)


def nothing_lasts(injector: Injector) -> None:
    """For faults that are over as soon as they were injected."""
