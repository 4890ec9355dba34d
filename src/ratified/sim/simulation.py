"""One run: a world is put together from its arguments, lives through its scenario, heals, and is judged.

``simulate`` is a function of its arguments. Faults strike for ``duration``; then they stop, everything that is broken
is mended, the clients begin nothing new, and every node of every group is asked for one more write. That these writes
get through, that every open request ends and that all replicas meet at one applied index, within ``patience``, is the
liveness that is promised; who waits for whom is said where it is broken. Then the histories are judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import IO

import msgspec

from ratified.check.linearizability import Linearizable, NotLinearizable, linearize
from ratified.check.register import Register
from ratified.check.states import States
from ratified.check.violation import Violation
from ratified.consensus.contract import Membership
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.kv import queries
from ratified.kv.store import KvStore
from ratified.machine import StateMachineStore, Store
from ratified.sim.booting import Booting, Manner
from ratified.sim.checkers import Checkers
from ratified.sim.clients import Clients, Words
from ratified.sim.crowd import NUMBER_SHIFT, Crowd, Guest
from ratified.sim.dump import write_dump
from ratified.sim.faults import Faults
from ratified.sim.kv_words import KvWords, body_of
from ratified.sim.lessees import Lessee
from ratified.sim.limits import draw_limits
from ratified.sim.network import Model, Network
from ratified.sim.process import Machine
from ratified.sim.profile import draw_profile
from ratified.sim.readers import Reader
from ratified.sim.registers import Registers, RegisterWords
from ratified.sim.report import Report
from ratified.sim.scenario import SCENARIOS
from ratified.sim.trace import Trace
from ratified.sim.watchers import Watcher
from ratified.sim.world import World
from ratified.storage.space import Space
from ratified.wire.codec import PeerCodec
from ratified.wire.etcd.rpc_pb2 import LeaseLeasesResponse
from ratified.wire.peer import Frame

GUEST_FIRST = 2_000
"""Watchers', lessees' and readers' numbers begin here."""
LEASES_PATIENCE_US = 5_000_000
"""What the last leases may live."""
ENTRY_PATIENCE_US = 40_000
"""What a lagging replica may need for one entry, where every limit admits one item at a time."""


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run depends on."""

    seed: int
    nodes: int | None = None
    """None: drawn from the seed, 3 to 7."""
    duration_us: int = 30_000_000
    scenario: str = "everything"
    network: str = "session"
    engine: str = DEFAULT_ENGINE


class Simulation:
    """One world, put together."""

    def __init__(self, arguments: Arguments, trace: Trace) -> None:
        seed = arguments.seed
        scenario = SCENARIOS[arguments.scenario]
        self.arguments = arguments
        self.profile = draw_profile(seed, scenario, arguments.nodes)
        self.limits = draw_limits(seed, frames_are_messages=arguments.network == Model.DATAGRAM)
        self.counters: Counter[str] = Counter()
        self.world = World(seed)
        self.members = tuple(range(1, self.profile.nodes + 1))
        membership = Membership(self.members)
        self.memberships = dict.fromkeys(range(self.profile.groups), membership)
        self._engine = ENGINES[arguments.engine]
        self.checkers = Checkers(self._engine, self.memberships, self.counters)
        manner = Manner(
            self._engine,
            self.memberships,
            self.profile.heartbeat_us,
            self.profile.election_timeout_us,
            self.limits,
        )
        self._booting = Booting(self.world, self.checkers, manner, self.counters)
        self.network = Network(
            self.world,
            self.members,
            Model(arguments.network),
            self.profile.weather,
            self._through_wire() if self.profile.through_wire else None,
            self.counters,
        )
        self.machines = {member: self._machine(member, trace) for member in self.members}
        self.clients = Clients(
            self.world,
            self.machines,
            self.checkers.requests,
            self._words(),
            self.profile.habits,
            self.counters,
            trace,
        )
        self.watchers: list[Watcher] = []
        self.lessees: list[Lessee] = []
        self.readers: list[Reader] = []
        if not self.profile.state_machine:
            self._invite()
        guests: dict[int, Guest] = {watcher.number: watcher for watcher in self.watchers}
        guests.update((lessee.number, lessee) for lessee in self.lessees)
        guests.update((reader.number, reader) for reader in self.readers)
        crowd = Crowd(self.clients, guests)
        for member, machine in self.machines.items():
            self.network.attach(member, machine)
            machine.clients = crowd
        self.faults = Faults(
            self.world,
            scenario,
            self.machines,
            self.network,
            self.profile.election_timeout_us,
            self._leader,
            self.counters,
            trace,
        )

        if scenario.hunt:
            for checks in self.checkers.groups.values():
                checks.on_election = self.faults.elected

    # -----------------------------------------------------------------------------------------------------------
    # Putting it together

    def _machine(self, member: int, trace: Trace) -> Machine:
        return Machine(
            member,
            self.world,
            self.network,
            self.checkers,
            self.profile.pace,
            self._booting.boot,
            self._open_store,
            self.counters,
            trace,
        )

    def _through_wire(self) -> Callable[[Frame], Frame]:
        codec = PeerCodec(self._engine.message)

        def through_wire(frame: Frame) -> Frame:
            (arrived,) = codec.feed(codec.encode(frame))
            return arrived

        return through_wire

    def _words(self) -> Words:
        return RegisterWords() if self.profile.state_machine else KvWords()

    def _open_store(self, group: int, space: Space) -> Store:
        return StateMachineStore(Registers()) if self.profile.state_machine else KvStore(space, self.limits.kv)

    def _invite(self) -> None:
        """Watchers, lessees and readers of every group; their numbers begin behind those of all register clients."""
        timeout = self.profile.election_timeout_us
        number = GUEST_FIRST
        for group in self.memberships:
            for _ in range(self.profile.watchers):
                self.watchers.append(
                    Watcher(
                        number,
                        number << NUMBER_SHIFT,
                        self.world,
                        self.machines,
                        group,
                        self.clients.watches[group],
                        5 * timeout,
                        self.counters,
                    )
                )
                number += 1
            for _ in range(self.profile.lessees):
                self.lessees.append(
                    Lessee(number, number << NUMBER_SHIFT, self.world, self.machines, group, timeout, self.counters)
                )
                number += 1
            states = States(group, self.clients.watches[group])
            for _ in range(self.profile.readers):
                self.readers.append(
                    Reader(
                        number,
                        number << NUMBER_SHIFT,
                        self.world,
                        self.machines,
                        group,
                        self.clients.revisions[group],
                        states,
                        timeout,
                        self.counters,
                    )
                )
                number += 1

    def _leader(self) -> int | None:
        """Who was elected last in the first group, if it runs."""
        member = self.checkers.groups[0].leader
        return member if member is not None and self.machines[member].up else None

    # -----------------------------------------------------------------------------------------------------------
    # Living

    def run(self) -> None:
        """Everything, from the first start to the verdict; raises ``Violation``."""
        for machine in self.machines.values():
            machine.start()
        self.clients.start()
        for watcher in self.watchers:
            watcher.begin()
        for lessee in self.lessees:
            lessee.act()
        for reader in self.readers:
            reader.act()
        self.faults.start()
        self.world.run(self.arguments.duration_us)
        self._heal()
        self._settle()
        self._judge()

    def _heal(self) -> None:
        self.clients.stop()
        for watcher in self.watchers:
            watcher.compacting = False
        for lessee in self.lessees:
            lessee.stopping = True
        for reader in self.readers:
            reader.stopping = True
        self.network.weather = self.profile.calm
        for machine in self.machines.values():
            machine.pace = self.profile.calm_pace
        self.faults.heal()
        for member in self.members:
            for group in self.memberships:
                self.clients.probe(member, group)

    def _settle(self) -> None:
        timeout = self.profile.election_timeout_us
        entries = sum(checks.delivered_max for checks in self.checkers.groups.values())
        patience = (
            LEASES_PATIENCE_US + 40 * timeout + 3 * self.profile.habits.timeout_most_us + entries * ENTRY_PATIENCE_US
        )
        limit = self.world.now + patience
        while not self._settled():
            if self.world.now > limit:
                raise Violation(
                    "liveness", f"{patience / 1e6:.1f} s after the world has healed {'; '.join(self._waiting())}"
                )
            self.world.run(self.world.now + timeout)

    def _settled(self) -> bool:
        if self.clients.open or len(self.clients.probed) < len(self.members) * len(self.memberships):
            return False
        replicas_agree = all(
            group in machine.stores and machine.stores[group].applied == checks.delivered_max
            for machine in self.machines.values()
            for group, checks in self.checkers.groups.items()
        )
        return replicas_agree and self._leases_left() == 0 and all(self._has_seen_all(w) for w in self.watchers)

    def _leases_left(self) -> int:
        """Leases that nobody keeps alive any more, and that have not expired yet."""
        if not self.lessees:
            return 0
        left = 0
        for store in self.machines[self.members[0]].stores.values():
            answer = store.read(self.world.now, queries.leases())
            assert isinstance(answer, bytes), "all leases are answered at once"
            left += len(LeaseLeasesResponse.FromString(body_of(answer)).leases)
        return left

    def _has_seen_all(self, watcher: Watcher) -> bool:
        return watcher.seen is not None and watcher.seen >= self.clients.revisions[watcher.group].highest

    def _waiting(self) -> list[str]:
        """Who waits for whom."""
        waiting = [
            f"request {asked.token} of client {asked.client} waits for member {asked.member} in group {asked.group}"
            for asked in self.clients.open.values()
        ]
        waiting += [
            f"no write got through on member {member} in group {group}"
            for member in self.members
            for group in self.memberships
            if (member, group) not in self.clients.probed
        ]
        leases = self._leases_left() if self.machines[self.members[0]].up else 0
        if leases:
            waiting.append(f"{leases} leases have not expired")
        waiting += [
            f"watch {watcher.number} stands at revision {watcher.seen}"
            for watcher in self.watchers
            if not self._has_seen_all(watcher)
        ]
        for member, machine in self.machines.items():
            if machine.node is None:
                waiting.append(f"member {member} is down")
                continue
            for group, status in machine.node.status().groups.items():
                engine = status.engine
                waiting.append(
                    f"member {member} in group {group} is {engine.role} of era {engine.era} under {engine.leader}, log "
                    f"to {engine.last}, durable to {engine.durable}, committed to {engine.commit}, applied to "
                    f"{status.applied}" + (f", stopped: {status.stopped}" if status.stopped else "")
                )
        return waiting

    def _judge(self) -> None:
        for (group, key), history in self.clients.histories().items():
            verdict = linearize(history, Register())
            if isinstance(verdict, Linearizable):
                continue
            where = f"the history of key {key.decode()} in group {group}, {len(history)} operations,"
            if isinstance(verdict, NotLinearizable):
                raise Violation(
                    "linearizability",
                    f"{where} has no order that explains it; nothing explains {history[verdict.stuck]} after "
                    f"{[history[position] for position in verdict.explained[-5:]]}",
                )
            raise Violation("linearizability", f"{where} was not decided within {verdict.steps} steps")


def simulate(arguments: Arguments, *, trace: IO[bytes] | None = None, dump: IO[bytes] | None = None) -> Report:
    """Run one world to its verdict. Errors of the code itself (assertions and the like) go through to the caller."""
    simulation = Simulation(arguments, Trace(trace))
    broken: Violation | None = None
    try:
        simulation.run()
    except Violation as violation:
        broken = violation
    digest = write_dump(simulation, broken, dump)
    return Report(
        arguments=arguments,
        nodes=len(simulation.members),
        groups=len(simulation.memberships),
        broken=None if broken is None else (broken.rule, broken.seen),
        virtual_us=simulation.world.now,
        events=simulation.world.executed,
        counters=dict(sorted(simulation.counters.items())),
        digest=digest,
    )
