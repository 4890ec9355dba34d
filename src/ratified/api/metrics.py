"""What a scraper of Prometheus is told: by etcd's names where the meaning is etcd's, by ``ratified_`` names otherwise.

Nothing is kept for it but counts that something else adds to anyway: all is read when somebody asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ratified.kv import queries
from ratified.kv.errors import EtcdError
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

    async def query(self, request: bytes, *, linearizable: bool) -> bytes: ...


class Metrics:
    """Of one member; whoever else has some adds itself."""

    def __init__(self, service: Serving) -> None:
        self._service = service
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._store = rpc_pb2.StatusResponse()
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
        """How large it is; nothing, where it does not answer."""
        try:
            answer = await self._service.query(queries.status(), linearizable=False)
        except EtcdError:
            self._store = rpc_pb2.StatusResponse()
        else:
            self._store = rpc_pb2.StatusResponse.FromString(answer)

    def collect(self) -> Iterator[Metric]:
        status = self._service.host.status()
        yield from self._server(status)
        yield from _disk(status)
        yield from _peers(status)
        yield from _groups(status)
        yield from self._mvcc()

    def _server(self, status: HostStatus) -> Iterator[Metric]:
        group = status.node.groups[0]
        engine, leader = group.engine, self._service.host.leader()
        is_learner = status.member in engine.membership.learners
        yield _gauge("etcd_server_has_leader", "Does this member know of a leader?", leader is not None)
        yield _gauge("etcd_server_is_leader", "Does this member lead?", leader == status.member)
        yield _gauge("etcd_server_is_learner", "Is this member a learner?", is_learner)
        yield _counter("etcd_server_leader_changes_seen", "Leaders that this member has seen.", group.leader_changes)
        yield _gauge("etcd_server_proposals_committed_total", "The highest index that is committed.", engine.commit)
        yield _gauge("etcd_server_proposals_applied_total", "The highest index that is applied.", group.applied)
        yield _gauge("etcd_server_proposals_pending", "Writes that wait for their result.", group.open_proposals)
        failed = self._service.failed_proposals
        yield _counter("etcd_server_proposals_failed", "Writes refused, or of unknown outcome.", failed)
        quota = self._service.quota_bytes
        yield _gauge("etcd_server_quota_backend_bytes", "The quota of the store's size, in bytes.", quota)
        yield _labelled("etcd_server_id", "The member's id.", "server_id", {f"{status.member:x}": 1})

    def _mvcc(self) -> Iterator[Metric]:
        store = self._store
        if not store.HasField("header"):
            return
        yield _gauge("etcd_mvcc_db_total_size_in_bytes", "What the store holds on disk, in bytes.", store.dbSize)
        in_use = store.dbSizeInUse
        yield _gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "What of that is in use, in bytes.", in_use)
        revision = store.header.revision
        yield _gauge("etcd_debugging_mvcc_current_revision", "The store's revision.", revision)


class _Asked:
    """A source as the library knows one: it asks it for nothing when it is added."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterable[Metric]:
        return self._source.collect()

    def describe(self) -> Iterable[Metric]:
        return ()


def _disk(status: HostStatus) -> Iterator[Metric]:
    syncs = HistogramMetricFamily("etcd_disk_wal_fsync_duration_seconds", "How long a sync of the log takes.")
    syncs.add_metric([], _buckets(status.syncs.cumulated()), status.syncs.sum_s)
    yield syncs
    if status.commits is not None:
        name = "etcd_disk_backend_commit_duration_seconds"
        commits = HistogramMetricFamily(name, "How long a commit of the store takes, which does not sync.")
        commits.add_metric([], _buckets(status.commits.cumulated()), status.commits.sum_s)
        yield commits
    yield _gauge("ratified_log_bytes", "What the log takes on disk.", status.node.log_bytes)
    yield _gauge("ratified_checkpoint_bytes", "What the last checkpoint takes.", status.node.checkpoint_bytes)
    age_s = status.checkpoint_age_us / 1e6
    yield _gauge("ratified_checkpoint_age_seconds", "Since the last checkpoint of this process; 0: none.", age_s)


def _peers(status: HostStatus) -> Iterator[Metric]:
    peers = status.peers
    yield _counter("ratified_peers_sent_bytes", "Bytes sent to other members.", peers.bytes_sent)
    yield _counter("ratified_peers_received_bytes", "Bytes received from other members.", peers.bytes_received)
    overflows = status.node.overflows + peers.overflows
    yield _counter("ratified_peers_overflows", "Connections ended because too much waited.", overflows)
    connected = {peer.name or f"{member:x}": peer.connected for member, peer in status.node.peers.items()}
    yield _labelled("ratified_peer_connected", "Is there a session with this member?", "peer", connected)


def _groups(status: HostStatus) -> Iterator[Metric]:
    groups = {str(number): group for number, group in status.node.groups.items()}
    rows = {group: each.engine for group, each in groups.items()}

    def of_each(name: str, help_: str, values: Iterable[int]) -> Metric:
        return _labelled(f"ratified_group_{name}", help_, "group", dict(zip(rows, values, strict=True)))

    era = "The era as one number: term, ballot or epoch."
    yield of_each("era", era, (row.raft_term for row in rows.values()))
    yield of_each("last_index", "The last index in the log.", (row.last for row in rows.values()))
    yield of_each("durable_index", "Up to where the log is durable here.", (row.durable for row in rows.values()))
    yield of_each("base_index", "Up to where the log is cut.", (row.base for row in rows.values()))
    stopped = {group: each.stopped is not None for group, each in groups.items()}
    yield _labelled("ratified_group_stopped", "Has the group stopped on this member?", "group", stopped)
    match = GaugeMetricFamily(
        "ratified_group_match_index",
        "Up to where a member has the log, as its leader sees it.",
        labels=["group", "peer"],
    )
    for group, row in rows.items():
        for member, progress in row.progress.items():
            match.add_metric([group, f"{member:x}"], progress.match)
    yield match
    yield _counter("ratified_turns", "Turns of the node.", status.turns.turns)
    yield _counter("ratified_turns_busy_seconds", "Time spent in turns.", status.turns.busy_us / 1e6)
    yield _gauge(
        "ratified_open_requests", "Requests that wait for their answer, streams included.", status.open_requests
    )


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_, value=float(value))


def _counter(name: str, help_: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_, value=float(value))


def _labelled(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family


def _buckets(cumulated: list[tuple[float, int]]) -> list[tuple[str, int]]:
    return [("+Inf" if bound == float("inf") else f"{bound:g}", count) for bound, count in cumulated]
