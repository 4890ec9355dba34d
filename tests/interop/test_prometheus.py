"""Prometheus over real nodes: the dashboard's queries have answers, and each fault is told of, and nothing else."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from ratified.client import Client, ClientError
from ratified.testing.processes import LocalCluster, free_ports
from ratified.testing.slow_disk import may_be_slow, slow_disk, slow_store
from ratified.testing.slow_link import slow_link
from tests.faults.test_slow_links import leader_of
from tests.interop.prometheus import ROOT, SCRAPE_MS, Prometheus, busy
from tests.server.scraping import metrics

QUOTA_BYTES = 4_000_000
ARGUMENTS = ("--heartbeat-interval=50", "--election-timeout=500", f"--quota-backend-bytes={QUOTA_BYTES}")
QUIET_S = 7.0
"""Longer than any alert but one waits, in the world that is faster."""
OPEN_FDS_OF_MAX = 0.9
DIALLED_BYTES_A_SECOND = 4 << 20
SLOW_BYTES_A_SECOND = 10_000
SYNC_S = 1.2
COMMIT_S = 0.3
"""Less than Prometheus waits for the page."""


@contextmanager
def calling(
    endpoints: list[str], call: Callable[[Client, int], object], threads: int = 1, pause_s: float = 0.02
) -> Iterator[None]:
    """Threads that call again and again; that a call fails is of no interest."""
    ended = threading.Event()

    def go_on() -> None:
        with Client(endpoints, timeout_s=0.5) as client:
            number = 0
            while not ended.wait(pause_s):
                number += 1
                with suppress(ClientError):
                    call(client, number)

    running = [threading.Thread(target=go_on) for _ in range(threads)]
    for each in running:
        each.start()
    try:
        yield
    finally:
        ended.set()
        for each in running:
            each.join()


def put_small(client: Client, number: int) -> object:
    return client.put(f"k{number % 100}", f"{number}")


def dashboard_queries() -> list[str]:
    panels = json.loads((ROOT / "deploy/grafana/ratified.json").read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [each.replace("$job", "ratified").replace("$__rate_interval", "5s") for each in expressions]


def test_a_cluster_that_is_well_fills_the_dashboard_and_each_fault_is_told_of(tmp_path: Path) -> None:
    with (
        LocalCluster(tmp_path / "cluster", arguments=ARGUMENTS) as cluster,
        Prometheus(tmp_path / "prometheus", cluster.endpoints) as prometheus,
    ):
        with calling(cluster.endpoints, put_small), Client(cluster.endpoints) as client:
            lease = client.lease_grant(60)
            client.lease_keep_alive(lease.id)
            with client.watch("k1", revision=1) as watch:
                next(watch)
                time.sleep(QUIET_S)
                assert prometheus.sick_rules() == []
                told = prometheus.query('count_over_time(ALERTS{alertstate="firing"}[1m])')
                assert {each["metric"]["alertname"] for each in told} <= busy(), "a cluster that is well is told of"
                queries = dashboard_queries()
                assert len(queries) > 40
                assert [each for each in queries if not prometheus.query(each)] == []
        the_lead_changes(cluster, prometheus)
        descriptors_run_out(cluster, prometheus)
        the_quota_is_used_up(cluster, prometheus)
        a_majority_is_lost(cluster, prometheus)


def the_lead_changes(cluster: LocalCluster, prometheus: Prometheus) -> None:
    ended = threading.Event()

    def move() -> None:
        while not ended.wait(0.3):
            leader = leader_of(cluster)
            with Client([leader.endpoint]) as client, suppress(ClientError):
                own = client.status(leader.endpoint).member
                client.move_leader(next(each.id for each in client.members() if each.id != own))

    moving = threading.Thread(target=move)
    moving.start()
    try:
        prometheus.await_alerts(("ManyLeaderChanges", "warning"), besides={"RequestsFail"})
    finally:
        ended.set()
        moving.join()


def descriptors_run_out(cluster: LocalCluster, prometheus: Prometheus) -> None:
    node = cluster.nodes[2]
    assert node.pid is not None
    open_now = int(metrics(node)["process_open_fds", ()])
    most = 10 * open_now
    before = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (most, before[1]))
    with ExitStack() as connected:
        for _ in range(int(most * OPEN_FDS_OF_MAX) - open_now):
            connected.enter_context(socket.create_connection(("127.0.0.1", node.client_port))).send(b"PRI * HTTP/2.0")
        prometheus.await_alerts(("FewDescriptorsLeft", "warning"), besides={"ManyLeaderChanges", "RequestsFail"})
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, before)
    prometheus.await_silence()


def the_quota_is_used_up(cluster: LocalCluster, prometheus: Prometheus) -> None:
    with calling(cluster.endpoints, lambda client, number: client.put(f"large{number}", "x" * 100_000)):
        prometheus.await_alerts(
            ("QuotaNearlyUsed", "critical"),
            ("StoreGrowsFast", "warning"),
            ("RequestsFail", "warning"),
            ("RequestsFail", "critical"),
        )


def a_majority_is_lost(cluster: LocalCluster, prometheus: Prometheus) -> None:
    """Behind the quota: what deletes is proposed all the same."""
    still = {"QuotaNearlyUsed", "StoreGrowsFast", "RequestsFail"}
    first, second, third = cluster.nodes
    third.kill()
    prometheus.await_alerts(("MembersDown", "critical"), besides={*still, "RequestsSlow"})
    second.kill()
    with calling([first.endpoint], lambda client, number: client.delete("none"), threads=8):
        prometheus.await_alerts(
            ("MembersDown", "critical"),
            ("InsufficientMembers", "critical"),
            ("NoLeader", "critical"),
            ("ProposalsFail", "warning"),
            besides={*still, "RequestsSlow"},
        )


def test_a_slow_disk_and_slow_links_are_told_of(tmp_path: Path) -> None:
    listening = free_ports(3)
    with ExitStack() as opened:
        links = [opened.enter_context(slow_link(port, DIALLED_BYTES_A_SECOND)) for port in listening]
        cluster = LocalCluster(
            tmp_path / "cluster",
            peer_ports=[link.port for link in links],
            listen_peer_ports=listening,
            arguments=["--heartbeat-interval=100", "--election-timeout=3000"],
        )
        may_be_slow(cluster.nodes, tmp_path / "site")
        opened.enter_context(cluster)
        prometheus = opened.enter_context(Prometheus(tmp_path / "prometheus", cluster.endpoints))
        leader = leader_of(cluster)
        follower = next(node for node in cluster.nodes if node is not leader)
        with calling([leader.endpoint], put_small), slow_disk(follower, SYNC_S):
            prometheus.await_alerts(("LogSyncsSlow", "warning"), ("LogSyncsSlow", "critical"))
        for link in links:
            link.bytes_per_second = SLOW_BYTES_A_SECOND
        with calling([leader.endpoint], lambda client, number: client.put("large", "x" * 2_000)):
            prometheus.await_alerts(
                ("PeersSlow", "warning"),
                ("RequestsSlow", "critical"),
                besides={"LogSyncsSlow", "RequestsFail", "NoLeader"},
            )


@pytest.mark.skipif(os.geteuid() != 0, reason="traces a process that it has not started")
def test_a_store_that_commits_slowly_is_told_of(tmp_path: Path) -> None:
    with (
        LocalCluster(tmp_path / "cluster", 1) as cluster,
        Prometheus(tmp_path / "prometheus", cluster.endpoints, scrape_ms=2 * SCRAPE_MS) as prometheus,
        calling(cluster.endpoints, put_small, pause_s=0.5),
        slow_store(cluster.nodes[0], COMMIT_S),
    ):
        prometheus.await_alerts(("StoreCommitsSlow", "warning"), besides={"RequestsSlow", "TurnsSlow", "RequestsFail"})
