"""The page for Prometheus of real nodes: etcd's names, and values that follow what happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratified.client import Client, ClientError
from ratified.consensus.engines import ENGINES
from ratified.testing.processes import LocalCluster
from tests.server.scraping import Labels, metrics, page

OF_ETCD = (
    "etcd_disk_backend_commit_duration_seconds_bucket",
    "etcd_disk_wal_fsync_duration_seconds_bucket",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_network_active_peers",
    "etcd_network_peer_received_bytes_total",
    "etcd_network_peer_received_failures_total",
    "etcd_network_peer_round_trip_time_seconds_bucket",
    "etcd_network_peer_sent_bytes_total",
    "etcd_network_peer_sent_failures_total",
    "etcd_debugging_mvcc_compact_revision",
    "etcd_debugging_mvcc_slow_watcher_total",
    "etcd_debugging_mvcc_watch_stream_total",
    "etcd_debugging_mvcc_watcher_total",
    "etcd_debugging_snap_save_total_duration_seconds_bucket",
    "etcd_server_has_leader",
    "etcd_server_heartbeat_send_failures_total",
    "etcd_server_is_leader",
    "etcd_server_is_learner",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_server_quota_backend_bytes",
    "etcd_server_slow_apply_total",
    "grpc_server_handled_total",
    "grpc_server_handling_seconds_bucket",
    "grpc_server_started_total",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "ratified_store_file_bytes",
    "ratified_store_used_bytes",
)
PUT: Labels = (("grpc_method", "Put"), ("grpc_service", "etcdserverpb.KV"), ("grpc_type", "unary"))


def with_code(code: str) -> Labels:
    return tuple(sorted([*PUT, ("grpc_code", code)]))


@pytest.fixture(scope="module", params=ENGINES)
def cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    arguments = ["--max-request-bytes=2000", f"--engine={request.param}"]
    with LocalCluster(tmp_path_factory.mktemp("cluster"), arguments=arguments) as running:
        yield running


def test_etcds_names_are_there_on_each_member(cluster: LocalCluster) -> None:
    for node in cluster.nodes:
        names = {name for name, _ in metrics(node)}
        assert names >= {*OF_ETCD}
        assert "# HELP etcd_server_has_leader " in page(node)


def test_one_member_leads_and_all_know_it(cluster: LocalCluster) -> None:
    found = [metrics(node) for node in cluster.nodes]
    assert [each["etcd_server_has_leader", ()] for each in found] == [1, 1, 1]
    assert sum(each["etcd_server_is_leader", ()] for each in found) == 1
    assert all(each["etcd_server_leader_changes_seen_total", ()] >= 1 for each in found)
    (leader,) = (each for each in found if each["etcd_server_is_leader", ()])
    matches = [value for (name, _), value in leader.items() if name == "ratified_group_match_index"]
    assert len(matches) == 2
    assert [value for (name, _), value in leader.items() if name == "ratified_peer_connected"] == [1, 1]


def test_writes_are_seen_where_they_go_through(cluster: LocalCluster) -> None:
    node = cluster.nodes[0]
    with Client([node.endpoint]) as client:
        client.put("a", "1")
        before = metrics(node)
        for number in range(20):
            client.put("a", str(number))
        with pytest.raises(ClientError, match="request is too large"):
            client.put("a", "x" * 3_000)
    after = metrics(node)

    def grown(name: str, labels: Labels = ()) -> float:
        return after[name, labels] - before.get((name, labels), 0)

    assert grown("grpc_server_started_total", PUT) == 21
    assert grown("grpc_server_handled_total", with_code("OK")) == 20
    assert grown("grpc_server_handled_total", with_code("InvalidArgument")) == 1
    assert grown("grpc_server_handling_seconds_count", PUT) == 21
    assert 0 < grown("grpc_server_handling_seconds_sum", PUT) < 21 * 5
    assert grown("etcd_server_proposals_committed_total") >= 20
    assert grown("etcd_server_proposals_applied_total") >= 20
    assert grown("etcd_debugging_mvcc_current_revision") == 20
    assert grown("etcd_disk_wal_fsync_duration_seconds_count") >= 1
    assert grown("etcd_disk_wal_fsync_duration_seconds_bucket", (("le", "+Inf"),)) >= 1
    assert grown("etcd_disk_backend_commit_duration_seconds_count") >= 20
    assert grown("etcd_network_client_grpc_received_bytes_total") > 20 * 9
    assert after["etcd_server_proposals_pending", ()] == 0
    assert after["ratified_client_limit_used", (("limit", "connections"),)] >= 1


def test_what_goes_between_members_is_seen_on_both_sides(cluster: LocalCluster) -> None:
    ids = [next(dict(labels)["server_id"] for name, labels in metrics(node) if name == "etcd_server_id")
           for node in cluster.nodes]  # fmt: skip
    with Client([cluster.nodes[0].endpoint]) as client:
        for number in range(50):
            client.put(f"{number}", "x" * 1000)
    found = dict(zip(ids, (metrics(node) for node in cluster.nodes), strict=True))
    sent, received = "etcd_network_peer_sent_bytes_total", "etcd_network_peer_received_bytes_total"
    for own, values in found.items():
        others = {other for other in ids if other != own}
        assert {dict(labels)["To"] for name, labels in values if name == sent} == others
        assert all(values[sent, (("To", other),)] > 0 for other in others)
        assert all(values[received, (("From", other),)] > 0 for other in others)
        assert all(values["etcd_network_active_peers", (("Local", own), ("Remote", other))] == 1 for other in others)
        trips = "etcd_network_peer_round_trip_time_seconds_count"
        assert all(values[trips, (("To", other),)] >= 1 for other in others)
    assert sum(value for values in found.values() for (name, _), value in values.items() if name == sent) > 100_000


def test_a_member_that_is_gone_is_seen_by_the_others(tmp_path: Path) -> None:
    with LocalCluster(tmp_path) as cluster:
        first, second, third = cluster.nodes
        third.kill()

        def failures() -> float:
            return sum(
                value
                for node in (first, second)
                for (name, _), value in metrics(node).items()
                if name == "etcd_network_peer_sent_failures_total"
            )

        before, until = failures(), time.monotonic() + 20
        while failures() < before + 3:
            assert time.monotonic() < until, "nobody counts that it cannot be reached"
            time.sleep(0.1)


def test_watches_and_leases_are_counted(cluster: LocalCluster) -> None:
    node = cluster.nodes[0]
    name = "etcd_debugging_mvcc_watcher_total"
    with Client([node.endpoint]) as client:
        client.lease_grant(60)
        before = metrics(node)[name, ()]
        with client.watch("w", revision=1) as watch:
            client.put("w", "1")
            next(watch)
            during = metrics(node)
            assert during[name, ()] == before + 1
            assert during["etcd_debugging_mvcc_watch_stream_total", ()] >= 1
        assert during["ratified_leases", ()] == 1


def test_a_write_that_has_no_majority_has_failed(tmp_path: Path) -> None:
    with LocalCluster(tmp_path) as cluster:
        first, *others = cluster.nodes
        for node in others:
            node.kill()
        with Client([first.endpoint], timeout_s=20) as client, pytest.raises(ClientError):
            client.put("a", "1")
        found = metrics(first)
        assert found["etcd_server_proposals_failed_total", ()] >= 1
        assert found["etcd_server_has_leader", ()] == 0
