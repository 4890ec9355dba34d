"""``Host``: a node with real ports, the face that users, the API and the server see."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import lmdb
import msgspec

from ratified.consensus.contract import Sizes
from ratified.machine import RestoreFailed, StateMachine
from ratified.machine_store import MACHINE_CHECKS, SavedMachineStore
from ratified.node.boot import OpenStore, StoreAheadOfLog, build, create_joined, own_checkpoint
from ratified.node.changes import AddMember, Asked, PromoteMember, RemoveMember, encode_asked
from ratified.node.cluster_table import ClusterFormatError, Readdress, decode_table, encode_change, is_as_first
from ratified.node.config import NodeConfig
from ratified.node.milestones import Stage
from ratified.node.node import Node
from ratified.node.ports import (
    Cancel,
    Close,
    DiskSpace,
    Input,
    JobDone,
    Notice,
    Outcome,
    Reason,
    Reply,
    Request,
    TransferLead,
    Work,
)
from ratified.node.snapshot_directory import StoreBehindLog
from ratified.runtime import writeback
from ratified.runtime.address import AddressError, bind, checked_peer_urls, parse_address, why_not_bound
from ratified.runtime.callbacks import Callbacks, OnReply
from ratified.runtime.checkpoint import CheckpointLane
from ratified.runtime.clock import boottime_us
from ratified.runtime.config import HostConfig, Roster, roster
from ratified.runtime.directory import OpenedDirectory, boot_id, open_directory, refusing
from ratified.runtime.disk import DiskThread
from ratified.runtime.errors import HostFailed, OutcomeUnknown, RequestRefused, ResultInvalid, StartRefused
from ratified.runtime.joining import join
from ratified.runtime.loop import NodeLoop
from ratified.runtime.notices import NoticeLog
from ratified.runtime.reader import Reader
from ratified.runtime.status import HostStatus, MemberInfo
from ratified.runtime.tls import Certificates, CertificatesError
from ratified.runtime.transport import Listener, PeerTransport
from ratified.runtime.writeback import WriteBack
from ratified.storage.checkpoint import CHECKPOINT_FILE, pieces
from ratified.storage.format import LogDamaged, LogTooNew
from ratified.storage.guard import PAGES_ONLY, RowChecks, distrust
from ratified.storage.guard import open_store as open_environment
from ratified.storage.identity import Identity, IdentityError, check_same, create
from ratified.storage.lmdb import ROTTEN, LmdbEnvironment
from ratified.storage.recovery import Recovered, recover
from ratified.storage.space import Environment
from ratified.wire.codec import PeerCodec
from ratified.wire.peer import Join

log = logging.getLogger("ratified.host")

REQUEST_TIMEOUT_S = 7.0
"""etcd's: 5 s and two election timeouts."""

CHANGE_PAUSE_S = 0.05
"""From one attempt at a change of the members to the next, while another one is under way."""

SPACE_EVERY_S = 0.5
"""How often a host looks how much room its disk has left: before a fast writer has filled ``free_bytes_min``."""

ALMOST_FULL_BYTES = 16 << 20
"""Where a write of the store failed with less than this left, that is why."""

READER_BYTES_MAX = 2 << 20
"""What may wait for a reader of streams before the node holds them."""

_LEADER_LOOK_S = 0.01
"""How often ``transfer_lead`` looks who leads."""


class Host:
    """One member of a cluster, running on the present asyncio loop. Made by ``Host.start``; ended by ``close``.

    Every method must be called on the loop's thread.
    """

    def __init__(
        self,
        config: HostConfig,
        identity: Identity,
        directory: OpenedDirectory,
        node: Node,
        environment: Environment,
        resources: ExitStack,
        tls: Certificates | None,
    ) -> None:
        self.name = config.name
        self.cluster = identity.cluster
        self.member = identity.member
        self.engine = identity.engine
        self.data_dir = directory.path
        self._loop = asyncio.get_running_loop()
        self._node = node
        self._environment = environment
        self._resources = resources
        self._callbacks = Callbacks()
        self._notices = NoticeLog(log, config.name)
        self._client_urls = tuple(config.client_urls)
        self._free_bytes = 0
        """That its disk had left when this was looked at last."""
        self._running = True
        self._failure: HostFailed | None = None
        self._node_stopped = asyncio.Event()
        self._ended = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self._disk = DiskThread(directory.files, self._loop, self._disk_done, config.name)
        self._checkpoints = CheckpointLane(directory.path, self._loop, self._offer, config.name)
        self._peers = PeerTransport(
            self._loop,
            self._offer,
            lambda: PeerCodec(config.engine.message),
            name=config.name,
            seed=identity.member,
            limits=config.transport_limits,
            tls=tls,
        )
        self._turns = NodeLoop(
            node,
            self._loop,
            self._disk,
            self._checkpoints,
            self._peers,
            on_reply=self._callbacks.call,
            on_notice=self._on_notice,
            on_stopped=self._node_stopped.set,
            on_removed=self._on_removed,
            on_crash=self._on_crash,
        )

    @classmethod
    async def start(
        cls, config: HostConfig, replicated: type[StateMachine] | OpenStore, checks: RowChecks = PAGES_ONLY
    ) -> Host:
        """Open the data directory, recover, listen, and take part in the cluster.

        ``replicated`` is a ``StateMachine`` subclass, of which every group gets an instance, or a function that opens
        a group's store on its space of the LMDB environment; ``checks`` then says which rows are sound. Returns once
        requests are taken; the first ones wait for a leader. Raises ``StartRefused``.
        """
        members = roster(config)
        with ExitStack() as resources:
            tls = _peer_tls(config, members)
            listeners = _bind_all(config, members)
            for listener in listeners:
                resources.callback(listener.socket.close)
            directory = open_directory(Path(config.data_dir), resources)
            identity = directory.identity or await _create(config, members, directory, tls)
            recovered = _recover(config, members, directory, identity)
            environment, open_store = _open_environment(directory, identity, replicated, checks)
            if isinstance(environment, LmdbEnvironment) and writeback.begin_writing is not None:
                resources.enter_context(WriteBack(environment.file, config.name, writeback.begin_writing))
            with ExitStack() as unused:
                unused.callback(environment.abandon)
                node = _build(config, members, directory, recovered, (identity, environment, open_store))
                unused.pop_all()
            host = cls(config, identity, directory, node, environment, resources.pop_all(), tls)
        await host._begin(listeners)
        return host

    # ------------------------------------------------------------------------------------------------------------
    # Requests

    def submit(self, work: Work, group: int, data: bytes, timeout_us: int, on_reply: OnReply) -> int:
        """Ask for something; ``on_reply`` is called on the loop, for each chunk and once at the end.

        The token returned is for ``cancel``. A host that has ended refuses. Raises ``TypeError`` where ``data`` is not
        bytes or ``group`` no number: one caller's mistake must not reach the node.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"a request is bytes, not {type(data).__name__}")
        if not isinstance(group, int):
            raise TypeError(f"a group is a number, not {type(group).__name__}")
        token = self._callbacks.add(on_reply)
        if self._running:
            self._turns.offer(Request(token, group, work, data, boottime_us() + timeout_us))
        else:
            self._loop.call_soon(self._callbacks.call, Reply(token, Outcome.REFUSED, b"", Reason.STOPPING))
        return token

    def cancel(self, token: int) -> None:
        """Wait no longer for this request; its callback is not called any more. It may happen all the same."""
        if self._callbacks.cancel(token):
            self._offer(Cancel(token))

    async def propose(self, command: bytes, *, group: int = 0, timeout_s: float = REQUEST_TIMEOUT_S) -> bytes:
        """Replicate a command; the result of applying it.

        Raises ``RequestRefused``, ``OutcomeUnknown``, or ``ResultInvalid`` where the machine returned no bytes for it.
        """
        return await self._request(Work.PROPOSE, group, command, timeout_s)

    async def query(
        self, request: bytes, *, group: int = 0, timeout_s: float = REQUEST_TIMEOUT_S, linearizable: bool = True
    ) -> bytes:
        """Read the state: linearizably, or else what this member has applied, which may be old.

        Raises ``RequestRefused``, or ``OutcomeUnknown`` where this host was killed or failed meanwhile.
        """
        return b"".join(await self.query_parts(request, group=group, timeout_s=timeout_s, linearizable=linearizable))

    async def query_parts(
        self, request: bytes, *, group: int = 0, timeout_s: float = REQUEST_TIMEOUT_S, linearizable: bool = True
    ) -> Sequence[bytes]:
        """As ``query``; the answer in the parts, at least one, in which the store gave it.

        To join a large answer takes long: the caller chooses where.
        """
        work = Work.READ if linearizable else Work.READ_LOCAL
        return await self._request_parts(work, group, request, timeout_s)

    async def ask(self, request: bytes, *, group: int = 0, timeout_s: float = REQUEST_TIMEOUT_S) -> bytes:
        """``Store.ask`` on the leader. Raises ``RequestRefused`` or ``OutcomeUnknown``."""
        return await self._request(Work.ASK, group, request, timeout_s)

    async def update_member(
        self, member: int, peer_urls: Sequence[str], *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> str:
        """Have the others reach a member at these peer URLs, where it must then listen; etcd's text why not, or "".

        Raises ``ValueError`` where they are no URLs of peers, ``RequestRefused`` or ``OutcomeUnknown``.
        """
        change = Readdress(member, checked_peer_urls(peer_urls))
        return (await self._request(Work.CLUSTER, 0, encode_change(change), timeout_s)).decode()

    async def add_member(
        self, peer_urls: Sequence[str], *, learner: bool = False, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> tuple[int, str]:
        """Add a member that is reached at these peer URLs: its id, and etcd's text why it was not added, or "".

        It learns first; unless it is to stay a learner, it votes as soon as it has caught up. Raises ``ValueError``
        where they are no URLs of peers, ``RequestRefused`` or ``OutcomeUnknown``.
        """
        urls = checked_peer_urls(peer_urls)
        drawn = hashlib.sha256(msgspec.msgpack.encode((self.cluster, urls, secrets.token_bytes(16)))).digest()
        member = int.from_bytes(drawn[:8], "big")
        return member, await self._change_members(AddMember(member, urls, learner), timeout_s)

    async def remove_member(self, member: int, *, timeout_s: float = REQUEST_TIMEOUT_S) -> str:
        """Remove a member for good; etcd's text why not, or "". Raises ``RequestRefused`` or ``OutcomeUnknown``."""
        return await self._change_members(RemoveMember(member), timeout_s)

    async def promote_member(self, member: int, *, timeout_s: float = REQUEST_TIMEOUT_S) -> str:
        """Have a learner vote, if it has caught up; etcd's text why not, or "". Raises as ``remove_member`` does."""
        return await self._change_members(PromoteMember(member), timeout_s)

    async def _change_members(self, asked: Asked, timeout_s: float) -> str:
        """Ask, and ask again while another change is under way."""
        deadline = self._loop.time() + timeout_s
        while True:
            left_s = deadline - self._loop.time()
            try:
                return (await self._request(Work.MEMBERS, 0, encode_asked(asked), left_s)).decode()
            except RequestRefused as error:
                if error.reason is not Reason.CHANGING or left_s < CHANGE_PAUSE_S:
                    raise
            await asyncio.sleep(CHANGE_PAUSE_S)

    async def stream(
        self,
        request: bytes,
        *,
        group: int = 0,
        timeout_s: float = REQUEST_TIMEOUT_S,
        linearizable: bool = True,
        reader: Reader | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """A read's answer in chunks, such as a watch's; closing the iterator cancels it.

        Chunks that are not taken hold the stream up, and all others of the same ``reader``. Raises as ``query`` does.
        """
        reader = reader or self.reader()
        arrived: asyncio.Queue[Reply] = asyncio.Queue()
        waiting_bytes = 0

        def on_reply(reply: Reply) -> None:
            nonlocal waiting_bytes
            waiting_bytes += len(reply.data)
            arrived.put_nowait(reply)
            reader.arrived(token, len(reply.data))

        await reader.has_room()
        work = Work.READ if linearizable else Work.READ_LOCAL
        token = self.submit(work, group, request, int(timeout_s * 1e6), on_reply)
        reader.begins(token)
        try:
            while True:
                reply = await arrived.get()
                _raise_unless_answered(reply)
                if reply.data:
                    yield reply.data
                # Only now: a chunk waits until whoever has it asks for the next one.
                waiting_bytes -= len(reply.data)
                reader.taken(len(reply.data))
                if reply.outcome is Outcome.DONE:
                    return
        finally:
            self.cancel(token)
            reader.ends(token, waiting_bytes)

    def reader(self) -> Reader:
        """A reader of several streams: what waits of all of them counts as one."""
        return Reader(self._offer, READER_BYTES_MAX)

    async def _request(self, work: Work, group: int, data: bytes, timeout_s: float) -> bytes:
        return b"".join(await self._request_parts(work, group, data, timeout_s))

    async def _request_parts(self, work: Work, group: int, data: bytes, timeout_s: float) -> Sequence[bytes]:
        chunks: list[bytes] = []
        ended: asyncio.Future[Reply] = self._loop.create_future()

        def on_reply(reply: Reply) -> None:
            if reply.outcome is Outcome.CHUNK:
                chunks.append(reply.data)
            elif not ended.done():
                ended.set_result(reply)

        token = self.submit(work, group, data, int(timeout_s * 1e6), on_reply)
        try:
            reply = await ended
        finally:
            self.cancel(token)
        _raise_unless_answered(reply)
        chunks.append(reply.data)
        return chunks

    # ------------------------------------------------------------------------------------------------------------
    # What people and programs want to know

    def status(self) -> HostStatus:
        """Where every group stands, and what this host has done since its start."""
        node = self._node.status()
        return HostStatus(
            name=self.name,
            member=self.member,
            node=node,
            checkpoint_age_us=0 if node.checkpoint_at is None else boottime_us() - node.checkpoint_at,
            turns=self._turns.counters,
            peers=self._peers.counters,
            traffic=self._peers.traffic,
            requests=self._callbacks.counters,
            syncs=self._disk.syncs,
            commits=self._environment.commits if isinstance(self._environment, LmdbEnvironment) else None,
            copies=self._checkpoints.copies,
            free_bytes=self._free_bytes,
            free_bytes_min=self._node.config.limits.free_bytes_min,
            open_requests=len(self._callbacks),
        )

    def store_bytes(self) -> tuple[int, int] | None:
        """What the store's file takes, and what of it holds rows; None: there is no file."""
        environment = self._environment
        if not isinstance(environment, LmdbEnvironment):
            return None
        return environment.size_bytes, environment.used_bytes

    def last_applied_ago_s(self, group: int = 0) -> dict[Stage, float]:
        """How long ago what was applied last was proposed here, durable here, committed and applied, as far as that is
        known."""
        now = boottime_us()
        return {stage: (now - at) / 1e6 for stage, at in self._node.milestones(group).of_last_applied().items()}

    def sizes(self) -> Sizes:
        """How much each of the node's tables and queues holds, and the most that it may hold at rest."""
        return self._node.sizes()

    @property
    def inputs_waiting(self) -> int:
        """What was asked of this host, or has reached it, and waits for a turn. Who asks very much, and is in no hurry,
        asks while this is low: what comes later waits behind it."""
        return self._turns.waiting

    def members(self) -> tuple[MemberInfo, ...]:
        """The members of the cluster, ascending by id, learners among them.

        Of one that has not published yet stands here what it has said to this host.
        """
        said = {member: (peer.name, peer.client_urls) for member, peer in self._node.peers().items()}
        said[self.member] = self.name, self._client_urls
        learners = self._node.membership().learners
        return tuple(
            MemberInfo(
                id=member,
                name=row.name or said.get(member, ("", ()))[0],
                peer_urls=row.peer_urls,
                is_learner=member in learners,
                client_urls=row.client_urls or said.get(member, ("", ()))[1],
            )
            for member, row in self._node.table().members.items()
            if not row.leaving
        )

    def all_speak(self, version: int) -> bool:
        """Does every member that has ever started speak this version of the members' protocol, as far as this host,
        which must have met each of them, knows?"""
        return self._node.all_speak(version)

    def leader(self, group: int = 0) -> int | None:
        """The member that leads this group, as far as this host knows."""
        return self._node.lead(group).member

    async def transfer_lead(self, to: int, *, group: int = 0, timeout_s: float) -> bool:
        """Hand the lead of a group, which this host has, to another voter; True: it leads now.

        False: it does not after ``timeout_s``. An attempt ends by itself after two election timeouts, and this host
        then leads on. Nothing is lost meanwhile: proposals wait for whoever leads in the end.
        """
        deadline = self._loop.time() + timeout_s
        self._offer(TransferLead(group, to))
        while self.leader(group) != to:
            if self._loop.time() >= deadline:
                return False
            await asyncio.sleep(_LEADER_LOOK_S)
        return True

    async def hand_over(self, *, timeout_s: float) -> bool:
        """Hand over the lead of every group that this host leads, before a clean stop; True: it leads none now.

        Where no other voter is heard it leads on, and this takes ``timeout_s``.
        """
        deadline = self._loop.time() + timeout_s
        for group in self._groups_led():
            self._offer(TransferLead(group, None))
        while self._groups_led():
            if self._loop.time() >= deadline:
                return False
            await asyncio.sleep(_LEADER_LOOK_S)
        return True

    def _groups_led(self) -> list[int]:
        """Those that another voter could lead."""
        groups = self._node.status().groups
        return [group for group in groups if self.leader(group) == self.member and len(self.voters(group)) > 1]

    def voters(self, group: int = 0) -> tuple[int, ...]:
        """The members that vote in this group, ascending, as far as this host knows."""
        return self._node.status().groups[group].engine.membership.voters

    def raft_term(self, group: int = 0) -> int:
        """The era of this group as etcd's ``raft_term`` fields have it: term, round or epoch."""
        return self._node.lead(group).era[0]

    @property
    def is_crowded(self) -> bool:
        """Are nine tenths of the requests open that this host takes? Who has asked for much should then be refused, so
        that there is room for others."""
        return self._node.is_crowded

    @property
    def open_requests(self) -> tuple[int, int]:
        """How many this host takes, and how many wait for their answer now, streams included."""
        return self._node.config.limits.open_requests_max, len(self._callbacks)

    def digest(self, group: int = 0) -> bytes:
        """16 bytes of this group's state, the same on every member that has applied as much."""
        return self._node.digest(group)

    # ------------------------------------------------------------------------------------------------------------
    # The end

    async def ended(self) -> None:
        """Wait until this host has ended. Raises ``HostFailed`` where it did not end by ``close`` or ``abort``."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """Stop cleanly: refuse what is open, make the log's end durable, close everything. May be called again."""
        if self._ending is None:
            self._ending = self._loop.create_task(self._stop())
        await asyncio.shield(self._ending)

    async def abort(self) -> None:
        """Stop as a killed process would: connections drop, nothing more is written. For tests of what then happens."""
        if self._ending is None:
            self._ending = self._loop.create_task(self._drop())
        await asyncio.shield(self._ending)

    async def __aenter__(self) -> Host:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _begin(self, listeners: Sequence[Listener]) -> None:
        try:
            await self._peers.accept_on(listeners)
        except OSError as error:
            await self.abort()
            raise StartRefused(f"cannot listen for peers: {error}") from error
        self._turns.wake()
        self._look_at_space()

    def _look_at_space(self) -> None:
        """Tell the node now and then how much room is left for its log."""
        if not self._running:
            return
        try:
            self._free_bytes = _free_bytes(self.data_dir)
            self._offer(DiskSpace(self._free_bytes))
        except OSError as error:
            log.warning("%s: cannot tell how much room is left in %s: %s", self.name, self.data_dir, error)
        self._loop.call_later(SPACE_EVERY_S, self._look_at_space)

    async def _stop(self) -> None:
        self._offer(Close())
        self._running = False
        await self._node_stopped.wait()
        if self._failure is not None:
            await self._drop()
            return
        self._turns.halt()
        await self._peers.close()
        await self._disk.close()
        await self._checkpoints.abandon()
        try:
            self._environment.close()
        finally:
            self._release()

    async def _drop(self) -> None:
        self._running = False
        self._turns.halt()
        self._peers.abort()
        await self._disk.abandon()
        await self._checkpoints.abandon()
        self._environment.abandon()
        self._release()

    def _release(self) -> None:
        self._resources.close()
        for reply in self._callbacks.unanswered(Reason.STOPPING):
            self._loop.call_soon(self._callbacks.call, reply)
        self._ended.set()

    def _fail(self, text: str, cause: BaseException | None = None) -> None:
        """Stop for good, from inside a turn."""
        if self._failure is not None:
            return
        log.critical("%s: %s", self.name, text)
        self._failure = HostFailed(text)
        self._failure.__cause__ = cause
        self._turns.halt()
        self._node_stopped.set()
        if self._ending is None:
            self._ending = self._loop.create_task(self._drop())

    # ------------------------------------------------------------------------------------------------------------
    # Called by the ports

    def _offer(self, item: Input) -> None:
        if self._running:
            self._turns.offer(item)

    def _disk_done(self, done: Sequence[JobDone]) -> None:
        self._turns.offer_all(done)

    def _on_notice(self, notice: Notice) -> None:
        if notice.fatal:
            self._fail(notice.text)
        else:
            self._notices.write(boottime_us(), notice.text)

    def _on_removed(self) -> None:
        self._fail(
            f"member {self.name} ({self.member:x}) was removed from the cluster: its data directory {self.data_dir} is "
            "of no use any more. To have it back, add it as a new member, and start it with an empty directory"
        )

    def _on_crash(self, error: BaseException) -> None:
        if isinstance(error, ROTTEN):
            distrust(self.data_dir)
            text = (
                f"data directory {self.data_dir}: its store is damaged: {error}: see to its disk's health and start "
                "again; nothing is lost, the store is then rebuilt from the checkpoint and the log"
            )
        elif isinstance(error, lmdb.Error):
            text = f"data directory {self.data_dir}: its store failed: {error}: {_remedy(self.data_dir)}"
        else:
            text = f"a defect in the node: {type(error).__name__}: {error}"
        self._fail(text, error)


def _free_bytes(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def _remedy(directory: Path) -> str:
    """What to do where the store failed. LMDB calls a write that does not fit an input/output error."""
    with suppress(OSError):
        if (left := _free_bytes(directory)) < ALMOST_FULL_BYTES:
            return f"its disk is full ({left} bytes are left): free some room on it and start again; nothing is lost"
    return (
        "see to its disk (room, permissions, health) and start again, without the directory 'store' in it if that does "
        "not help; nothing is lost, the store is rebuilt from the checkpoint and the log"
    )


def _raise_unless_answered(reply: Reply) -> None:
    if reply.outcome is Outcome.REFUSED:
        raise RequestRefused(reply.reason, reply.data.decode(errors="replace"))
    if reply.outcome is Outcome.UNKNOWN:
        raise OutcomeUnknown(reply.reason)
    if reply.reason is Reason.FAILED:
        raise ResultInvalid(reply.data.decode(errors="replace"))


def _peer_tls(config: HostConfig, members: Roster) -> Certificates | None:
    """Raises ``StartRefused`` where certificates are needed and there are none that can be used."""
    if config.peer_tls is not None:
        try:
            return Certificates(config.peer_tls)
        except CertificatesError as error:
            raise StartRefused(f"the certificates for peers cannot be used: {error}") from error
    for member in members.names:
        for address in members.addresses[member]:
            if address.tls:
                raise StartRefused(f"member {members.names[member]!r} is at https://{address}: give peer_tls")
    return None


def _bind_all(config: HostConfig, members: Roster) -> list[Listener]:
    bound: list[Listener] = []
    try:
        for where in members.addresses[members.member] if config.listen is None else config.listen:
            if isinstance(where, socket.socket):
                bound.append(Listener(where))
                continue
            address = parse_address(where) if isinstance(where, str) else where
            try:
                bound.extend(Listener(each, address.tls) for each in bind(address, reuse_port=config.reuse_port))
            except OSError as error:
                raise StartRefused(f"cannot listen for peers on {address}: {why_not_bound(error)}") from error
    except (AddressError, StartRefused) as error:
        for listener in bound:
            listener.socket.close()
        raise StartRefused(str(error)) from error
    return bound


def _open_environment(
    directory: OpenedDirectory, identity: Identity, replicated: type[StateMachine] | OpenStore, checks: RowChecks
) -> tuple[Environment, OpenStore]:
    """What the stores stand on, and how they are opened."""
    if isinstance(replicated, type):
        machine = replicated
        replicated, checks = lambda group, space: SavedMachineStore(machine(), space), MACHINE_CHECKS
    path, files = directory.path, directory.files
    copy = pieces(files, identity.directory) if CHECKPOINT_FILE in files.names() else ()
    try:
        environment, why_new = open_environment(path, boot_id(), checks, copy, owner=identity.directory)
    except (OSError, lmdb.Error) as error:
        raise StartRefused(
            f"data directory {path}: its store does not open: {error}: free what it lacks, or remove the directory "
            "'store' in it and start again; it is then rebuilt from the checkpoint and the log"
        ) from error
    if why_new is not None:
        log.info("data directory %s: the store is built from the log: %s", path, why_new)
    return environment, replicated


async def _create(
    config: HostConfig, members: Roster, directory: OpenedDirectory, tls: Certificates | None
) -> Identity:
    """Make a fresh data directory the one of this member: of a new cluster, or of one that runs."""
    if not config.joins:
        found = Identity(members.cluster, members.member, os.urandom(16), config.engine.name)
        groups = dict.fromkeys(range(config.groups), members.membership)
        with refusing(directory.path):
            create(directory.files, found, groups, config.log_limits)
        return found
    request = Join(config.name, tuple(members.urls[members.member]))
    others = [each for member in members.names if member != members.member for each in members.addresses[member]]
    if not others:
        raise StartRefused("a member that joins needs the address of another one: name it in the cluster")
    joined = await join(config.name, request, others, lambda: PeerCodec(config.engine.message), tls)
    if joined.engine != config.engine.name:
        raise StartRefused(
            f"the cluster runs engine {joined.engine}, and this node is configured for engine {config.engine.name}: "
            f"configure {joined.engine}"
        )
    with refusing(directory.path):
        found = create_joined(directory.files, joined, os.urandom(16), config.log_limits)
    log.info("%s: joined cluster %x as member %x", config.name, joined.cluster, joined.member)
    return found


def _recover(config: HostConfig, members: Roster, directory: OpenedDirectory, identity: Identity) -> Recovered:
    """Read the log, and see that the directory is that of the configured member.

    Ids follow from the configuration while the members are still the first ones; then the name says it.
    """
    with refusing(directory.path):
        try:
            recovered = recover(directory.files, config.log_limits)
        except (LogDamaged, LogTooNew) as error:
            raise IdentityError(str(error)) from error
        table = None if recovered.cluster is None else decode_table(recovered.cluster.data)
        if table is None or is_as_first(table):
            check_same(identity, members.cluster, members.member, config.engine.name)
            return recovered
        check_same(identity, identity.cluster, identity.member, config.engine.name)
        row = table.members.get(identity.member)
        if row is not None and row.name not in ("", config.name) and identity.member != members.member:
            raise IdentityError(
                f"the data directory belongs to member {row.name} ({identity.member:x}) and this node is configured as "
                f"{config.name}: use the data directory that belongs to this configuration"
            )
    return recovered


def _build(
    config: HostConfig,
    members: Roster,
    directory: OpenedDirectory,
    recovered: Recovered,
    parts: tuple[Identity, Environment, OpenStore],
) -> Node:
    identity, environment, open_store = parts
    node_config = NodeConfig(
        cluster=identity.cluster,
        member=identity.member,
        name=config.name,
        directory=identity.directory,
        start=secrets.randbits(63),
        seed=secrets.randbits(63),
        engine=config.engine,
        names=members.names,
        peer_urls=members.urls,
        absent=members.absent,
        client_urls=tuple(config.client_urls),
        heartbeat_us=config.heartbeat_us,
        election_timeout_us=config.election_timeout_us,
        priority=config.priority,
        quiescence=config.quiescence,
        read_lease_us=config.read_lease_us,
        read_lease_kind=config.read_lease_kind,
        clock_drift_ppm_max=config.clock_drift_ppm_max,
        limits=config.node_limits,
        log_limits=config.log_limits,
    )
    try:
        checkpoint = own_checkpoint(directory.files, recovered)
        return build(
            boottime_us(),
            recovered,
            node_config,
            environment,
            open_store,
            files=directory.files,
            checkpoint=checkpoint,
        )
    except (ClusterFormatError, RestoreFailed, StoreAheadOfLog, StoreBehindLog, OSError) as error:
        raise StartRefused(f"data directory {directory.path}: {error}") from error
