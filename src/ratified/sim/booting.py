"""How a simulated machine's process begins: the data directory is made once, then the node starts from its disk."""

from __future__ import annotations

from collections import Counter
from functools import partial

import msgspec

from ratified.consensus.contract import Membership
from ratified.consensus.draws import mix
from ratified.consensus.engines import EngineRow
from ratified.node.boot import build
from ratified.node.config import NodeConfig
from ratified.node.node import Node
from ratified.sim.checkers import Checkers
from ratified.sim.limits import DrawnLimits
from ratified.sim.process import KillableEnvironment, Machine, OpenStore
from ratified.sim.world import Concern, World
from ratified.storage import identity
from ratified.storage.recovery import recover

CLUSTER = 7


class Manner(msgspec.Struct, frozen=True):
    """How all members of one world run."""

    engine: EngineRow
    memberships: dict[int, Membership]
    heartbeat_us: int
    election_timeout_us: int
    limits: DrawnLimits


class Booting:
    """Starts the nodes of one world, each observed."""

    def __init__(self, world: World, checkers: Checkers, manner: Manner, counters: Counter[str]) -> None:
        self._world = world
        self._checkers = checkers
        self._manner = manner
        self._counters = counters

    def boot(self, machine: Machine, environment: KillableEnvironment, open_store: OpenStore) -> Node:
        """A node on this machine's disk."""
        member, manner = machine.member, self._manner
        directory = member.to_bytes(16, "big")
        if identity.read(machine.disk) is None:
            owner = identity.Identity(CLUSTER, member, directory, manner.engine.name)
            identity.create(machine.disk, owner, manner.memberships, manner.limits.log)
        config = NodeConfig(
            cluster=CLUSTER,
            member=member,
            name=f"n{member}",
            directory=directory,
            start=mix(self._world.seed, Concern.START, member, machine.starts),
            seed=mix(self._world.seed, Concern.NODE),
            engine=manner.engine,
            peers=manner.memberships[0].voters,
            heartbeat_us=manner.heartbeat_us,
            election_timeout_us=manner.election_timeout_us,
            limits=manner.limits.node,
            log_limits=manner.limits.log,
            engine_limits=manner.limits.engine,
        )
        recovered = recover(machine.disk, config.log_limits)
        if recovered.cut is not None:
            self._counters["tails cut"] += 1
        self._checkers.recovered(member, machine.disk, killed=machine.killed)
        observe = partial(self._checkers.observe, member)
        node = build(self._world.now, recovered, config, environment, open_store, observe=observe)
        self._checkers.booted(member, node.incarnation)
        return node
