"""A whole cluster in a world: its machines, the network between them, and every check on what leaves them.

This is the one builder: of the worlds of ``simulation``, of the comparison of engines, and of the node's own tests.
"""

from __future__ import annotations

from functools import partial

from ratified.check.configurations import everybody
from ratified.consensus.contract import Status
from ratified.sim.checkers import Checkers
from ratified.sim.log_sizes import too_long
from ratified.sim.machine import Clients, Machine
from ratified.sim.network import Carry, Network
from ratified.sim.options import ClusterOptions, NetworkModel
from ratified.sim.world import World
from ratified.wire.codec import PeerCodec
from ratified.wire.peer import Frame


class Cluster:
    """Nothing runs before ``start``. ``carry`` is a test's own hand on the frames under way."""

    def __init__(self, options: ClusterOptions, world: World, carry: Carry | None = None) -> None:
        self.options = options
        self.world = world
        self.checkers = Checkers(options.row, options.memberships, world.counters, options.joiners)
        machines = (*options.members, *options.joiners)
        make_codec = partial(PeerCodec, options.row.message)
        if options.through_wire:
            carry = _through(make_codec())
        self.network = Network(world, machines, options.model, options.network, carry, make_codec)
        self.machines = {member: Machine(member, options, world, self.network, self.checkers) for member in machines}
        for member, machine in self.machines.items():
            self.network.attach(member, machine)

    def start(self, clients: Clients) -> None:
        """Start every machine; replies go to ``clients``."""
        for machine in self.machines.values():
            machine.clients = clients
            machine.start()

    @property
    def members(self) -> tuple[int, ...]:
        """The first ones, and who has joined since, without who has left."""
        return tuple(member for member, machine in self.machines.items() if machine.is_member)

    def leader(self, group: int = 0) -> int | None:
        """Who was elected last, if it runs."""
        member = self.checkers.groups[group].leader
        return member if member is not None and self.machines[member].up else None

    def replicas_agree(self) -> bool:
        """Has every replica applied all that was delivered anywhere, and every node the same cluster table?

        And who was removed has left.
        """
        members = [self.machines[member] for member in self.members]
        nodes = [machine.node for machine in members if machine.node is not None]
        return (
            all(node.table() == nodes[0].table() for node in nodes)
            and all(
                group in machine.stores and machine.stores[group].applied == checks.delivered_max
                for machine in members
                for group, checks in self.checkers.groups.items()
            )
            and all(self.members == everybody(checks.configurations[-1][1]) for checks in self.checkers.groups.values())
        )

    def awake(self) -> list[tuple[int, int]]:
        """Who keeps time for a group, although it may rest: members and groups."""
        options = self.options
        if not options.quiescence or options.model is not NetworkModel.SESSION:
            return []
        return [
            (member, group)
            for member in self.members
            for group, status in self._statuses(member).items()
            if not status.rests
        ]

    def led_by_others(self) -> list[str]:
        """Which groups are led by whom, where it is to be somebody else."""
        wanted = max(self.options.priorities.get(member, 0) for member in self.members)
        return [
            f"group {group} is led by member {member}, and not by one of priority {wanted}"
            for member in self.members
            for group, status in self._statuses(member).items()
            if status.leader == member and self.options.priorities.get(member, 0) < wanted
        ]

    def _statuses(self, member: int) -> dict[int, Status]:
        node = self.machines[member].node
        return {} if node is None else {group: each.engine for group, each in node.status().groups.items()}

    def logs_too_long(self) -> list[str]:
        """Whose log is longer than it has to be."""
        disks = {member: self.machines[member].disk for member in self.members if self.machines[member].up}
        return too_long(disks, self.options.limits.node.checkpoint_log_bytes_min)

    def standing(self) -> list[str]:
        """Where every replica stands, for people."""
        standing: list[str] = []
        for member, machine in self.machines.items():
            if machine.node is None:
                standing.append(f"member {member} is down")
                continue
            for group, status in machine.node.status().groups.items():
                engine = status.engine
                standing.append(
                    f"member {member} in group {group} is {engine.role} of era {engine.era} under {engine.leader}, log "
                    f"to {engine.last}, durable to {engine.durable}, committed to {engine.commit}, applied to "
                    f"{status.applied}" + (f", stopped: {status.stopped}" if status.stopped else "")
                )
        return standing


def _through(codec: PeerCodec) -> Carry:
    codec.trust()  # what carries frames of members is no connection, which a node would judge

    def carry(source: int, target: int, frame: Frame) -> Frame:
        (arrived,) = codec.feed(codec.encode(frame))
        return arrived

    return carry
