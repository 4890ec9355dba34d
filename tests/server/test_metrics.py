"""The page for Prometheus of real nodes: etcd's names, and values that follow what happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ratified.client import Client, ClientError
from ratified.testing.processes import LocalCluster
from tests.server.scraping import Labels, metrics, page

OF_ETCD = (
    "etcd_disk_backend_commit_duration_seconds_bucket",
    "etcd_disk_wal_fsync_duration_seconds_bucket",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_server_has_leader",
    "etcd_server_is_leader",
    "etcd_server_is_learner",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_server_quota_backend_bytes",
    "grpc_server_handled_total",
    "grpc_server_started_total",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
)
PUT: Labels = (("grpc_method", "Put"), ("grpc_service", "etcdserverpb.KV"), ("grpc_type", "unary"))


def with_code(code: str) -> Labels:
    return tuple(sorted([*PUT, ("grpc_code", code)]))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("cluster"), arguments=["--max-request-bytes=2000"]) as running:
        yield running


def test_etcds_names_are_there_on_each_member(cluster: LocalCluster) -> None:
    for node in cluster.nodes:
        names = {name for name, _ in metrics(node)}
        assert names >= {*OF_ETCD} - {"grpc_server_handled_total", "grpc_server_started_total"}
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
    assert grown("etcd_server_proposals_committed_total") >= 20
    assert grown("etcd_server_proposals_applied_total") >= 20
    assert grown("etcd_debugging_mvcc_current_revision") == 20
    assert grown("etcd_disk_wal_fsync_duration_seconds_count") >= 1
    assert grown("etcd_disk_wal_fsync_duration_seconds_bucket", (("le", "+Inf"),)) >= 1
    assert grown("etcd_disk_backend_commit_duration_seconds_count") >= 20
    assert grown("etcd_network_client_grpc_received_bytes_total") > 20 * 9
    assert after["etcd_server_proposals_pending", ()] == 0
    assert after["ratified_client_limit_used", (("limit", "connections"),)] >= 1


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
