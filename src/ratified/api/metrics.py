"""What a scraper of Prometheus is told: by etcd's names where the meaning is etcd's, by ``ratified_`` names otherwise.

Nothing is kept for it but counts that something else adds to anyway: all is read when somebody asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import Metric

from ratified.api.families import counter, gauge, gauges, histogram
from ratified.api.group_metrics import group_metrics
from ratified.api.peer_metrics import peer_metrics
from ratified.kv import queries
from ratified.kv.encoding import response
from ratified.kv.errors import EtcdError
from ratified.runtime import Durations, OutcomeUnknown, RequestRefused
from ratified.runtime.clock import boottime_us
from ratified.runtime.loop import TURN_CLASSES_MS
from ratified.wire.etcd import rpc_pb2

if TYPE_CHECKING:
    from ratified.runtime import Host
    from ratified.runtime.status import HostStatus


class Source(Protocol):
    """Who can be asked for metrics."""

    def collect(self) -> Iterable[Metric]: ...


class Serving(Protocol):
    """The member's API (``api.service``)."""

    host: Host
    quota_bytes: int
    failed_proposals: int
    snapshots: int

    async def query(self, request: bytes, *, linearizable: bool) -> bytes: ...

    async def alarms(self) -> Sequence[rpc_pb2.AlarmMember]: ...


class Metrics:
    """Of one member; whoever else has some adds itself."""

    def __init__(self, service: Serving) -> None:
        self._service = service
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._store = rpc_pb2.StatusResponse()
        self._counts: queries.Counts | None = None
        self._alarms: Sequence[rpc_pb2.AlarmMember] = ()
        self._making: asyncio.Task[bytes] | None = None
        self.add(self)

    def add(self, source: Source) -> None:
        """Have what this one collects on the page too."""
        self._registry.register(_Asked(source))

    async def text(self) -> bytes:
        """All of it, as Prometheus reads it; who asks while it is made gets the same."""
        if self._making is None:
            self._making = asyncio.ensure_future(self._make())
        return await asyncio.shield(self._making)

    async def _make(self) -> bytes:
        try:
            await self._ask_store()
            return generate_latest(self._registry)
        finally:
            self._making = None

    async def _ask_store(self) -> None:
        """What it holds; nothing, where it does not answer."""
        try:
            answer = await self._service.query(queries.status(), linearizable=False)
            counts = await self._service.host.query(queries.counts(), linearizable=False)
            alarms = await self._service.alarms()
        except (EtcdError, RequestRefused, OutcomeUnknown):
            self._store, self._counts, self._alarms = rpc_pb2.StatusResponse(), None, ()
        else:
            self._alarms = alarms
            self._store = rpc_pb2.StatusResponse.FromString(answer)
            self._counts = queries.Counts.decode(response(counts))

    def collect(self) -> Iterator[Metric]:
        status = self._service.host.status()
        yield from self._member(status)
        yield from self._server(status)
        yield from _disk(status)
        yield from peer_metrics(status)
        yield from group_metrics(status)
        yield from _work(status)
        yield from self._waits()
        yield from self._mvcc()

    def _member(self, status: HostStatus) -> Iterator[Metric]:
        host = self._service.host
        ids = [status.name, f"{host.member:x}", f"{host.cluster:x}", host.engine]
        yield gauges("ratified_member_info", "1.", ["name", "member", "cluster", "engine"], [(ids, 1)])
        clocks = [(["wall"], time.time()), (["boottime"], boottime_us() / 1e6)]
        yield gauges("ratified_clock_seconds", "What this member's clocks say now.", ["clock"], clocks)

    def _server(self, status: HostStatus) -> Iterator[Metric]:
        group = status.node.groups[0]
        engine, leader = group.engine, self._service.host.leader()
        is_learner = status.member in engine.membership.learners
        yield gauge("etcd_server_has_leader", "Does this member know of a leader?", leader is not None)
        yield gauge("etcd_server_is_leader", "Does this member lead?", leader == status.member)
        yield gauge("etcd_server_is_learner", "Is this member a learner?", is_learner)
        yield counter("etcd_server_leader_changes_seen", "Leaders that this member has seen.", group.leader_changes)
        late = "Turns of a leader that began more than a heartbeat too late."
        yield counter("etcd_server_heartbeat_send_failures", late, status.node.late_turns)
        yield gauge("etcd_server_proposals_committed_total", "The highest index that is committed.", engine.commit)
        yield gauge("etcd_server_proposals_applied_total", "The highest index that is applied.", group.applied)
        yield gauge("etcd_server_proposals_pending", "Writes that wait for their result.", group.open_proposals)
        failed = self._service.failed_proposals
        yield counter("etcd_server_proposals_failed", "Writes refused, of unknown outcome, or given up.", failed)
        slow = "Turns of more than 0.1 s in which writes were applied."
        yield counter("etcd_server_slow_apply", slow, status.turns.slow_applies)
        quota = self._service.quota_bytes
        yield gauge("etcd_server_quota_backend_bytes", "The quota of the store's size, in bytes.", quota)
        yield gauges("etcd_server_id", "The member's id.", ["server_id"], [([f"{status.member:x}"], 1)])

    def _waits(self) -> Iterator[Metric]:
        sizes = self._service.host.sizes()
        rows = [([table], size.holds) for table, size in sizes.items()]
        yield gauges("ratified_table_size", "How much each table and queue holds.", ["table"], rows)
        reads = "Snapshots that clients are reading."
        yield gauge("ratified_client_snapshots", reads, self._service.snapshots)

    def _mvcc(self) -> Iterator[Metric]:
        store, counts = self._store, self._counts
        if counts is None:
            return
        yield gauge("etcd_mvcc_db_total_size_in_bytes", "What the store holds on disk, in bytes.", store.dbSize)
        in_use = store.dbSizeInUse
        yield gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "What of that is in use, in bytes.", in_use)
        if (store_bytes := self._service.host.store_bytes()) is not None:
            file_bytes, used_bytes = store_bytes
            yield gauge("ratified_store_file_bytes", "What the store's file takes.", file_bytes)
            yield gauge("ratified_store_used_bytes", "What of the store's file holds rows.", used_bytes)
        yield gauge("etcd_debugging_mvcc_current_revision", "The store's revision.", store.header.revision)
        yield gauge("etcd_debugging_mvcc_compact_revision", "Compacted up to this revision.", counts.compacted)
        yield gauge("etcd_debugging_mvcc_watcher_total", "Watches through this member.", counts.watchers)
        slow = "Of these, those that have not been sent everything yet."
        yield gauge("etcd_debugging_mvcc_slow_watcher_total", slow, counts.slow_watchers)
        yield gauge("etcd_debugging_mvcc_watch_stream_total", "Streams with watches.", counts.watch_streams)
        yield gauge("ratified_leases", "Leases.", counts.leases)
        alarms = [([f"{each.memberID:x}", rpc_pb2.AlarmType.Name(each.alarm)], 1) for each in self._alarms]
        yield gauges("ratified_alarm", "1 for each alarm that stands, by whose it is.", ["of", "alarm"], alarms)


class _Asked:
    """A source as the library knows one: it asks it for nothing when it is added."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterable[Metric]:
        return self._source.collect()

    def describe(self) -> Iterable[Metric]:
        return ()


def _disk(status: HostStatus) -> Iterator[Metric]:
    yield histogram("etcd_disk_wal_fsync_duration_seconds", "How long a sync of the log takes.", status.syncs)
    if status.commits is not None:
        commits = "How long a commit of the store takes, which does not sync."
        yield histogram("etcd_disk_backend_commit_duration_seconds", commits, status.commits)
    copies = "How long a checkpoint takes."
    yield histogram("etcd_debugging_snap_save_total_duration_seconds", copies, status.copies)
    yield gauge("ratified_disk_free_bytes", "What the data directory's disk has left.", status.free_bytes)
    yield gauge("ratified_disk_free_bytes_min", "With less left a disk counts as full.", status.free_bytes_min)
    yield gauge("ratified_log_bytes", "What the log takes on disk.", status.node.log_bytes)
    yield gauge("ratified_checkpoint_bytes", "What the last checkpoint takes.", status.node.checkpoint_bytes)
    age_s = status.checkpoint_age_us / 1e6
    yield gauge("ratified_checkpoint_age_seconds", "Since the last checkpoint of this process; 0: none.", age_s)


def _work(status: HostStatus) -> Iterator[Metric]:
    turns = status.turns
    durations = Durations([bound / 1000 for bound in TURN_CLASSES_MS])
    durations.counts, durations.sum_s = list(turns.classes), turns.busy_us / 1e6
    yield histogram("ratified_turn_duration_seconds", "How long a turn of the node takes.", durations)
    yield counter("ratified_turn_inputs", "What turns of the node have taken.", turns.inputs)
    yield counter("ratified_applied_entries", "Entries of the log that were applied.", status.node.applied_entries)
    yield gauge(
        "ratified_open_requests", "Requests that wait for their answer, streams included.", status.open_requests
    )
    awaited = len(status.node.waits_for)
    yield gauge("ratified_awaited_members", "Members without which this one does not begin.", awaited)
