"""Metrics of what goes between a member and each of the others, by etcd's names where there are some.

``To`` and ``From`` are member ids as etcd writes them, ``peer`` likewise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from ratified.api.families import counter, counters, gauges, histograms

if TYPE_CHECKING:
    from ratified.runtime.status import HostStatus


def peer_metrics(status: HostStatus) -> Iterator[Metric]:
    yield from _network(status)
    yield from _messages(status)
    yield from _sessions(status)


def _network(status: HostStatus) -> Iterator[Metric]:
    """By etcd's names."""
    traffic, counts = status.traffic, status.node.peer_counts
    sent = [([f"{member:x}"], each.bytes_sent) for member, each in traffic.items()]
    yield counters("etcd_network_peer_sent_bytes", "Bytes sent to a member.", ["To"], sent)
    received = [([f"{member:x}"], each.bytes_received) for member, each in traffic.items()]
    yield counters("etcd_network_peer_received_bytes", "Bytes received from a member.", ["From"], received)
    failures = {member: each.dials_failed for member, each in traffic.items()}
    for member, count in counts.items():
        failures[member] = failures.get(member, 0) + count.dropped
    failed = "Messages for a member that could not be reached, and attempts to connect to it that failed."
    rows = [([f"{member:x}"], value) for member, value in failures.items()]
    yield counters("etcd_network_peer_sent_failures", failed, ["To"], rows)
    bad = [([f"{member:x}"], each.bad_frames) for member, each in traffic.items()]
    yield counters("etcd_network_peer_received_failures", "Bytes that make no frame.", ["From"], bad)
    trips = [([f"{member:x}"], each.round_trips) for member, each in counts.items()]
    help_ = "How long it takes to a member and back, through both processes."
    yield histograms("etcd_network_peer_round_trip_time_seconds", help_, ["To"], trips)
    local = f"{status.member:x}"
    active = [([local, f"{member:x}"], peer.connected) for member, peer in status.node.peers.items()]
    yield gauges("etcd_network_active_peers", "Is there a session with this member?", ["Local", "Remote"], active)


def _messages(status: HostStatus) -> Iterator[Metric]:
    for way in ("sent", "received"):
        rows = [
            ([f"{member:x}", kind.__name__], value)
            for member, counts in status.node.peer_counts.items()
            for kind, value in sorted(getattr(counts, way).items(), key=lambda item: item[0].__name__)
        ]
        yield counters(f"ratified_peer_{way}_messages", f"Messages {way}, by type.", ["peer", "type"], rows)


def _sessions(status: HostStatus) -> Iterator[Metric]:
    peers = status.node.peers
    connected = [([peer.name or f"{member:x}"], peer.connected) for member, peer in peers.items()]
    yield gauges("ratified_peer_connected", "Is there a session with this member?", ["peer"], connected)
    waiting = [([f"{member:x}"], peer.waiting_bytes) for member, peer in peers.items()]
    yield gauges("ratified_peer_waiting_bytes", "What waits to be sent to this member.", ["peer"], waiting)
    windows = [([f"{member:x}"], peer.window_bytes) for member, peer in peers.items()]
    yield gauges("ratified_peer_window_bytes", "What may be under way to this member.", ["peer"], windows)
    transport = status.peers
    overflows = status.node.overflows + transport.overflows
    yield counter("ratified_peers_overflows", "Connections ended because too much waited.", overflows)
    yield counter("ratified_peers_connections", "Connections with peers that began.", transport.connections)
    yield counter("ratified_peers_frames_sent", "Frames sent to peers.", transport.frames_sent)
    yield counter("ratified_peers_frames_received", "Frames received from peers.", transport.frames_received)
    yield counter("ratified_peers_bad_frames", "Connections closed for bytes that make no frame.", transport.bad_frames)
    yield counter("ratified_peers_evicted", "Connections of strangers closed for want of room.", transport.evicted)
