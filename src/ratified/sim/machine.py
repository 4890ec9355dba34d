"""A simulated machine: a disk, a store's environment, and a process with a node on it.

Rules:

1. The process is the production node, booted from the disk as the server boots it, driven by turns whose size and
   moment are drawn.
2. A *stop* lets the node end in order, and its store is synced. A *kill* keeps all that was written, on the disk and
   in the store. The *loss of the machine* keeps, drops or tears what was not synced, scrambles a store that was in use,
   and starts under another boot id. A *pause* stops turns and nothing else.
3. The commit of a turn's transaction is a point where the process may be killed, just before it or just behind it.
4. A turn takes virtual time, as ``ComputingOptions`` say: until it has passed the node does nothing else, and what the
   turn sends leaves at its end (at once where it is short). A process that dies before has sent nothing of it.
5. A process that would end by itself (a fatal notice, an error in a node's code) ends the run. Who was removed from
   the cluster ends too, and starts no more.
6. A machine that is no member yet has no directory, and its process waits to be told by a member which one it is.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from ratified.check.configurations import everybody
from ratified.check.violation import Violation
from ratified.consensus.contract import Sizes
from ratified.consensus.draws import mix
from ratified.machine import Store
from ratified.node.boot import build, create_joined
from ratified.node.config import NodeConfig, NodeLimits
from ratified.node.node import Node
from ratified.node.ports import (
    Close,
    Connected,
    DiskSpace,
    Heard,
    Input,
    Notice,
    Outputs,
    PeerAddress,
    Received,
    Reply,
    Request,
)
from ratified.node.snapshot_receiving import SPOILT
from ratified.sim.checkers import Checkers
from ratified.sim.checkpoint_lane import CheckpointLane
from ratified.sim.clock import Clock
from ratified.sim.disk import Disk, Draw
from ratified.sim.disk_queue import DiskQueue
from ratified.sim.network import STRANGER, Network
from ratified.sim.options import ClusterOptions, NetworkModel
from ratified.sim.world import Concern, Draws, World
from ratified.storage import checkpoint, guard, identity
from ratified.storage.guard import StoreMark
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.recovery import recover
from ratified.storage.space import Copy, Space
from ratified.wire.codec import FIRST_FRAME_BYTES_MAX, HEADER_BYTES, FrameError, PeerCodec
from ratified.wire.peer import (
    PROTOCOL_VERSION,
    SNAPSHOTS_SINCE,
    TABLES_SINCE,
    Batch,
    Fragment,
    Frame,
    Join,
    Joined,
    OwnTable,
    SnapshotOffer,
    SnapshotOver,
    SnapshotPiece,
    SnapshotWanted,
)

CLUSTER = 7
SHORT_TURN_US = 1_000
"""What a shorter turn sends leaves at its beginning: an event for each turn would cost more than it shows."""


_OF_SNAPSHOTS = (SnapshotOffer, SnapshotPiece, SnapshotWanted, SnapshotOver)


class Killed(BaseException):
    """The process was killed in the middle of a turn. Like a signal it is no error that code may handle."""


class CommitKill(Enum):
    """Where the next commit of a store's transaction kills the process."""

    BEFORE = "before"
    AFTER = "after"


class KillableEnvironment:
    """The store's environment as one process sees it: its commit may kill."""

    def __init__(self, environment: MemoryEnvironment) -> None:
        self._environment = environment
        self.kill: CommitKill | None = None

    def space(self, number: int) -> Space:
        return self._environment.space(number)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._environment.transaction():
            yield
            if self.kill is CommitKill.BEFORE:
                raise Killed
        if self.kill is CommitKill.AFTER:
            raise Killed

    def savepoint(self) -> AbstractContextManager[None]:
        return self._environment.savepoint()

    def suspend(self) -> None:
        self._environment.suspend()

    def resume(self) -> None:
        self._environment.resume()

    @property
    def size_bytes(self) -> int:
        return self._environment.size_bytes

    def copy(self) -> Copy:
        return self._environment.copy()

    def abandon(self) -> None:
        self._environment.abandon()

    def close(self) -> None:
        self._environment.close()


class Clients(Protocol):
    """Who gets the replies."""

    def replied(self, member: int, reply: Reply) -> None:
        """A node replied."""

    def process_gone(self, member: int) -> None:
        """All requests open on this member's process ended without a reply."""


class Machine:
    """One member's machine, with or without a running process."""

    def __init__(
        self, member: int, options: ClusterOptions, world: World, network: Network, checkers: Checkers
    ) -> None:
        self.member = member
        self.clients: Clients
        self.disk = Disk()
        self.disk_queue = DiskQueue(member, self.disk, options.disk, world, checkers)
        self.disk_queue.done = self.offer
        self.checkpoint_lane = CheckpointLane(member, self.disk, options.disk, world)
        self.checkpoint_lane.done = self.offer
        self.process_options = options.process
        self.environment = MemoryEnvironment()
        self.node: Node | None = None
        self.notices: list[Notice] = []
        """Everything that this machine's nodes had to say to an operator."""
        self.stores: dict[int, Store] = {}
        self.paused = False
        self.starts = 0
        self.is_member = member in options.members
        """It has been told, or was a member from the first, and has not left."""
        self._left = False
        self._dials: set[int] | None = None
        """Whom its node dials; None: it has not said."""
        self.protocol_version = PROTOCOL_VERSION
        """What its program speaks at most, from its next start on."""
        self._speaks = PROTOCOL_VERSION
        self._admitted: dict[int, None] = {}
        """Connections on which this process believes a member to be."""
        self.full = False
        """Its node was told that there is no room for the log."""
        self._options = options
        self._clock = options.clocks.get(member, Clock())
        self._world = world
        self._network = network
        self._checkers = checkers
        self._counters = world.counters
        self._directories = 0
        """How often the data directory was emptied."""
        self._killed = True
        """How the last process ended: killed, and not with its machine; nor in the middle of a write."""
        self._opened_at: list[int] = []
        """How far each group's store was, ascending, before its node was built."""
        self._boot_id = 1
        self._inode = 1
        self._store_mark: StoreMark | None = None
        self._process: KillableEnvironment | None = None
        self._turn_wanted = False
        self._down_us: int | None = None
        """How long the process stays away; None: until somebody starts it."""
        self._busy_until = 0
        """When the last turn ends."""
        self._unsent: Outputs | None = None
        """Of a long turn that has not ended."""
        self._armed: int | None = None
        self._deadline: int | None = None
        self._checked: dict[int, int] = {}
        self._turns = Draws(world.seed, Concern.TURN, member)
        self._loss_draws = Draws(world.seed, Concern.MACHINE_LOSS, member)

    # -----------------------------------------------------------------------------------------------------------
    # Life and death

    @property
    def _now(self) -> int:
        """What its clock says."""
        return self._clock.reading(self._world.now)

    @property
    def up(self) -> bool:
        return self.node is not None

    def sizes(self) -> Sizes:
        """Of the tables of its process, if it runs."""
        try:
            return {} if self.node is None else self.node.sizes()
        except Exception as error:
            raise self._found(error) from error

    def join(self, member: int) -> None:
        """An operator starts a node that somebody has added: it asks this member who it is."""
        if not self.is_member and not self._left:
            request = Join(f"n{self.member}", (f"http://n{self.member:03}",))
            self._network.ask(member, request, self._told)

    def _told(self, answer: Frame) -> None:
        if self.is_member or not isinstance(answer, Joined):
            return
        self.is_member = True
        self._counters["nodes joined"] += 1
        create_joined(self.disk, answer, self._directory, self._options.limits.log)
        self.start()

    def dials(self, member: int) -> bool:
        """Whether its node wants a connection to this member from its own side; a start says so in its first turn."""
        return self.member < member if self._dials is None else member in self._dials

    @property
    def _directory(self) -> bytes:
        return (self._directories << 64 | self.member).to_bytes(16, "big")

    def start(self) -> None:
        if self.node is not None or not self.is_member or self._left:
            return
        self.starts += 1
        self._counters["process starts"] += 1
        self.stores = {}
        self._opened_at = []
        try:
            self.node = self._boot()
        except Violation:
            raise
        except Exception as error:
            raise self._found(error) from error
        self._checked = {}
        self._world.trace(self.member, "started", start=self.starts)
        self._check_digests()
        self._network.machine_up(self.member)
        self._tell_space()
        self._want_turn()

    def _boot(self) -> Node:
        """A node on this machine's disk. The data directory is made once."""
        options, member = self._options, self.member
        limits, first = options.limits, dict.fromkeys((*options.members, member))
        owner = identity.read(self.disk)
        if owner is None:
            owner = identity.Identity(CLUSTER, member, self._directory, options.engine)
            identity.create(self.disk, owner, options.memberships, limits.log)
        self._guard_store(owner.directory)
        self._process = environment = KillableEnvironment(self.environment)
        config = NodeConfig(
            cluster=CLUSTER,
            member=member,
            name=f"n{member}",
            names={each: f"n{each}" for each in first},
            peer_urls={each: (f"http://n{each:03}",) for each in first},
            client_urls=self._client_urls(),
            directory=owner.directory,
            start=mix(self._world.seed, Concern.START, member, self.starts),
            seed=mix(self._world.seed, Concern.NODE),
            engine=options.row,
            heartbeat_us=options.heartbeat_us,
            election_timeout_us=options.election_timeout_us,
            priority=options.priorities.get(member, 0),
            quiescence=options.quiescence and options.model is NetworkModel.SESSION,
            read_lease_us=options.read_lease_us,
            read_lease_kind=options.read_lease_kind,
            clock_drift_ppm_max=options.clock_drift_ppm_max,
            limits=limits.node,
            log_limits=limits.log,
            engine_limits=limits.engine,
            protocol_version=self.protocol_version,
        )
        self._speaks = self.protocol_version
        self._admitted.clear()
        recovered = recover(self.disk, limits.log)
        if recovered.cut is not None:
            self._counters["tails cut"] += 1
        self._checkers.recovered(member, self.disk, killed=self._killed)
        observe = partial(self._checkers.observe, member)
        node = build(
            self._now,
            recovered,
            config,
            environment,
            self._open_store,
            files=self.disk,
            checkpoint=checkpoint.find(self.disk, owner.directory),
            observe=observe,
        )
        found = [self.stores[group].applied for group in sorted(self.stores)]
        self._counters["snapshots installed at a start"] += sum(map(int.__gt__, found, self._opened_at))
        self._checkers.booted(member, node.incarnation)
        return node

    def _client_urls(self) -> tuple[str, ...]:
        if self._options.urls_of_starts:
            return (f"http://n{self.member}-{self.starts}",)
        return self._options.client_urls.get(self.member, ())

    def _open_store(self, group: int, space: Space) -> Store:
        store = self.stores[group] = self._options.open_store(self.member, group, space)
        self._opened_at.append(store.applied)
        return store

    def _guard_store(self, directory: bytes) -> None:
        """As the server does: use the store only if it is the marked one of this boot, else begin with the checkpoint's
        copy, or an empty one."""
        present = StoreMark(b"%d" % self._boot_id, self.member, self._inode, clean=False)
        if guard.store_usable(self._store_mark, present) is not None:
            self._counters["stores rebuilt"] += 1
            self._inode += 1
            self.environment = MemoryEnvironment()
            if checkpoint.CHECKPOINT_FILE in self.disk.names():
                self._counters["stores begun as checkpoints"] += 1
                self.environment = MemoryEnvironment.of_copy(b"".join(checkpoint.pieces(self.disk, directory)))
        self._store_mark = StoreMark(present.boot_id, self.member, self._inode, clean=False)

    def kill(self) -> None:
        """SIGKILL: what was written stays, on the disk and in the store."""
        if self.node is None:
            return
        self._counters["kills"] += 1
        self._world.trace(self.member, "killed")
        self._killed = not self.disk_queue.interrupt()
        self._process_ends(silent=False)
        self.environment.abandon()

    def stop(self, down_us: int | None) -> None:
        """SIGTERM: the node ends what is open and writes its mark; the process ends when it has, and starts again."""
        if self.node is not None:
            self._counters["stops"] += 1
            self._down_us = down_us
            self.offer(Close())

    def _stopped(self) -> None:
        self._world.trace(self.member, "stopped")
        assert self._process is not None
        assert self._store_mark is not None
        self._process.close()
        self._store_mark = StoreMark(self._store_mark.boot_id, self.member, self._store_mark.inode, clean=True)
        self._killed = True
        self._process_ends(silent=False)
        if self._down_us is not None:
            self._world.at(self._world.now + self._down_us, 0, self.member, self.start)

    def kill_at_commit(self, where: CommitKill, down_us: int) -> None:
        """Kill the process at the next commit of its store, and start it again so much later."""
        if self._process is not None:
            self._process.kill = where
            self._down_us = down_us

    def spare(self) -> None:
        """Do not kill the process at its next commit after all."""
        if self._process is not None:
            self._process.kill = None

    def lose(self, draw: Draw | None = None) -> None:
        """The power is gone: ``draw`` says what is lost of what was not synced, and the store cannot be trusted."""
        draw = draw if draw is not None else self._loss_draws.below
        self._counters["machine losses"] += 1
        self._world.trace(self.member, "machine lost")
        self.disk_queue.interrupt()
        self._killed = False
        if self.node is not None:
            self._process_ends(silent=True)
        self.environment.abandon()
        self.disk.lose_machine(draw)
        if self._store_mark is not None and not self._store_mark.clean:
            self.environment.scramble(draw)
        self._boot_id += 1

    @property
    def has_begun(self) -> bool:
        """Has a node voted, or may one have, with this data directory?"""
        if identity.read(self.disk) is None:
            return False
        return recover(self.disk.fork(), self._options.limits.log).begun

    def wipe(self) -> None:
        """An operator empties the data directory of a process that is down."""
        self._directories += 1
        self._counters["directories wiped"] += 1
        self.restore(Disk())

    def restore(self, directory: Disk) -> None:
        """An operator puts another data directory, such as an old copy, in the place of the one that is there."""
        assert self.node is None, "a data directory is replaced while its process is down"
        self._world.trace(self.member, "directory replaced")
        self.disk.become(directory.fork())
        if identity.read(self.disk) is not None:
            recover(self.disk, self._options.limits.log)
        for name in self.disk.names():
            self.disk.sync_data(name)
        self.disk.sync_directory()
        self._killed = True
        self.environment = MemoryEnvironment()
        self._store_mark = None
        self._checkers.replaced(self.member, self.disk)

    def pause(self) -> None:
        """SIGSTOP: no turn runs; what arrives waits."""
        self.paused = True
        self._counters["pauses"] += 1
        self._world.trace(self.member, "paused")

    def resume(self) -> None:
        """SIGCONT."""
        if self.paused:
            self.paused = False
            self._world.trace(self.member, "resumed")
            if self.node is not None:
                self._turn_wanted = False
                self._want_turn()

    def fill_disk(self) -> None:
        """There is no room left for the log, as the node is told; a start is told the same."""
        if not self.full:
            self.full = True
            self._counters["disks full"] += 1
            self._tell_space()

    def free_disk(self) -> None:
        """After ``fill_disk``."""
        if self.full:
            self.full = False
            self._tell_space()

    def _tell_space(self) -> None:
        self.offer(DiskSpace(0 if self.full else 1 << 50))

    def _process_ends(self, *, silent: bool) -> None:
        self.checkpoint_lane.interrupt()
        self.node = None
        self._process = None
        self._dials = None
        self.stores = {}
        self._turn_wanted = False
        self._armed = None
        self._unsent = None
        self._busy_until = 0
        self.paused = False
        self._network.machine_down(self.member, silent=silent)
        self.clients.process_gone(self.member)

    def _found(self, error: Exception) -> Violation:
        """What is raised in a node's code is what this run has found."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Violation(
            "no node crashes",
            f"member {self.member}: {type(error).__name__}: {error} "
            f"(in {where.name}, {Path(where.filename).name}, line {where.lineno})",
        )

    # -----------------------------------------------------------------------------------------------------------
    # Turns

    def offer(self, given: Input) -> None:
        if self.node is not None:
            if isinstance(given, Request):
                given = replace(given, deadline=self._clock.reading(given.deadline))
            elif isinstance(given, Received):
                self._checkers.arrives(self.member, given.connection, given.frame)
                if self._speaks < PROTOCOL_VERSION:
                    self._check_version(given.frame)
            elif isinstance(given, Connected):
                self._checkers.connected(self.member, given.connection)
            self.node.offer(given)
            self._want_turn()

    def _check_version(self, frame: Frame) -> None:
        """What a program of an earlier version does not know would end the connection, for ever again."""
        messages = [message for _, message in frame.messages] if isinstance(frame, Batch) else []
        unknown = [message for message in messages if isinstance(message, _OF_SNAPSHOTS)]
        if (unknown and self._speaks < SNAPSHOTS_SINCE) or (
            isinstance(frame, OwnTable) and self._speaks < TABLES_SINCE
        ):
            raise Violation("versions", f"member {self.member} speaks version {self._speaks} and is sent {frame}")

    def receive(self, connection: int, codec: PeerCodec, data: bytes) -> bool:
        """As the port of a process: bytes of somebody who may be nobody."""
        if self.node is None:
            return True
        if connection in self._admitted:
            codec.trust()
        try:
            frames = codec.feed(data)
        except FrameError:
            self._counters["bad frames"] += 1
            return False
        except Exception as error:
            raise self._found(error) from error
        if not codec.is_trusted and codec.waiting_bytes > HEADER_BYTES + FIRST_FRAME_BYTES_MAX:
            raise Violation(
                "who is no member gets little memory",
                f"member {self.member} keeps {codec.waiting_bytes} bytes of connection {connection}",
            )
        for frame in frames:
            self.node.offer(Received(connection, frame))
        if not frames:
            self.node.offer(Heard(connection))
        self._want_turn()
        return True

    def _want_turn(self) -> None:
        if not self._turn_wanted:
            self._turn_wanted = True
            delay = self._turns.below(self.process_options.turn_most_us + 1)
            at = max(self._world.now, self._busy_until) + delay
            self._world.at(at, self.member, self.member, self._turn, self.starts)

    def _turn(self, start: int) -> None:
        node = self.node
        if node is None or start != self.starts or self.paused:
            return
        self._turn_wanted = False
        self._counters["turns"] += 1
        self._end_turn(start)
        if self.node is not node:
            return
        rows_before = self.environment.rows_touched
        try:
            outputs = node.turn(self._now, self._turns.pick(self.process_options.turn_inputs))
        except Violation:
            raise
        except Exception as error:
            raise self._found(error) from error
        except Killed:
            self._counters["kills at a commit"] += 1
            self.kill()
            self._world.at(self._world.now + (self._down_us or 0), 0, self.member, self.start)
            return
        entries = self._checkers.turn_ends(self.member, self._options.limits)
        cost_us = self._cost_us(outputs, entries, self.environment.rows_touched - rows_before)
        self._checkers.turn_took(self.member, cost_us - self._drawn_us(outputs), self._options.election_timeout_us)
        self._check_digests()
        self._busy_until = self._world.now + cost_us
        if cost_us <= SHORT_TURN_US:
            self._carry_out(outputs)
            return
        self._counters["long turns"] += 1
        self._unsent = outputs
        self._world.at(self._busy_until, self.member, self.member, self._end_turn, start)

    def _cost_us(self, outputs: Outputs, entries: int, rows: int) -> int:
        costs = self._options.computing
        leaving = len(outputs.frames) + len(outputs.replies) + len(outputs.jobs)
        return costs.turn_us + costs.output_us * leaving + costs.entry_us * entries + costs.row_us * rows

    def _drawn_us(self, outputs: Outputs) -> int:
        """What the turn took because frames were drawn smaller than a server's: that is not held against it."""
        frame_bytes = self._options.limits.node.frame_bytes_max
        if frame_bytes >= NodeLimits().frame_bytes_max:
            return 0
        fragments = sum(isinstance(outgoing.frame, Fragment) for outgoing in outputs.frames)
        at_a_server = -(-fragments * frame_bytes // NodeLimits().frame_bytes_max)
        return self._options.computing.output_us * (fragments - at_a_server)

    def _end_turn(self, start: int) -> None:
        """A long turn is over: what it gave leaves."""
        if self._unsent is not None and start == self.starts and not self.paused:
            outputs, self._unsent = self._unsent, None
            self._carry_out(outputs)

    def _carry_out(self, outputs: Outputs) -> None:
        member = self.member
        for job in outputs.jobs:
            self.disk_queue.give(job)
        if outputs.checkpoint is not None:
            self.checkpoint_lane.begin(outputs.checkpoint)
        self._admitted.update(dict.fromkeys(each.connection for each in outputs.admitted))
        if outputs.peers is not None:
            self._dial(outputs.peers)
        for outgoing in outputs.frames:
            target = self._network.peer_of(member, outgoing.connection)
            if target == STRANGER:
                self._network.send(member, outgoing.connection, outgoing.frame)
            elif target is not None:
                self._checkers.leaves(member, outgoing.connection, target, outgoing.frame)
                self._network.send(member, outgoing.connection, outgoing.frame)
        for hangup in outputs.closes:
            self._network.hang_up(member, hangup.connection)
        for challenged in outputs.challenges:
            self._network.challenge(member, challenged)
        for reply in outputs.replies:
            self.clients.replied(member, reply)
        for notice in outputs.notices:
            self._noticed(notice)
        if outputs.removed and not self._left:
            self.leave()
        if outputs.stopped:
            self._stopped()
            return
        if outputs.more:
            self._want_turn()
        self._arm(None if outputs.deadline is None else self._clock.when(outputs.deadline))

    def _dial(self, peers: Sequence[PeerAddress]) -> None:
        wanted = {each.member for each in peers if each.dials}
        news = sorted(member for member in wanted if not self.dials(member))
        self._dials = wanted
        for member in news:
            self._network.dial(self.member, member)

    def leave(self) -> None:
        """As the server does: who was removed ends, and starts no more."""
        for group, checks in self._checkers.groups.items():
            latest = checks.configurations[-1][1]
            if self.member in everybody(latest):
                raise Violation(
                    "who is a member stays", f"member {self.member} leaves, and is one of group {group}: {latest}"
                )
        self._left = True
        self.is_member = False
        self._counters["members that left"] += 1
        self.stop(None)

    def _noticed(self, notice: Notice) -> None:
        self._counters["notices"] += 1
        self.notices.append(notice)
        self._world.trace(self.member, "notice", text=notice.text)
        if notice.fatal:
            raise Violation("no node stops by itself", f"member {self.member}: {notice.text}")
        if SPOILT in notice.text:
            raise Violation(
                "snapshots arrive whole", f"nothing damages one here, and member {self.member}: {notice.text}"
            )

    def _arm(self, deadline: int | None) -> None:
        self._deadline = deadline
        if deadline is None or (self._armed is not None and self._armed <= deadline):
            return
        self._armed = max(deadline, self._world.now)
        self._world.at(self._armed, self.member, self.member, self._ring, self.starts, self._armed)

    def _ring(self, start: int, armed: int) -> None:
        if self.node is None or start != self.starts or armed != self._armed:
            return
        self._armed = None
        if self._deadline is not None and self._deadline > self._world.now:
            self._arm(self._deadline)
        elif self._deadline is not None:
            self._want_turn()

    def _check_digests(self) -> None:
        for group, store in self.stores.items():
            applied = store.applied
            if self._checked.get(group) != applied:
                self._checked[group] = applied
                self._checkers.digest(self.member, group, applied, store.digest())
