"""``ratified diagnose`` over real processes: each fault is found and named, and nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ratified.cli import findings
from ratified.cli.main import run
from ratified.client import Client
from ratified.server.certificates import make_ca, make_certificate
from ratified.testing.processes import LocalCluster, LocalNode, free_ports
from ratified.testing.slow_disk import may_be_slow, slow_disk
from ratified.testing.slow_link import SlowLink, slow_link
from tests.faults.test_disks import disk, fill
from tests.faults.test_slow_links import leader_of
from tests.interop.test_prometheus import calling, put_small
from tests.server.scraping import metrics

WAIT_S = 30.0
FAST_BYTES_A_SECOND = 4 << 20
AHEAD_S = 40
AHEAD = f"""
import time

right = time.time
time.time = lambda: right() + {AHEAD_S}
"""
"""Runs in a node before anything else: its clock is wrong."""

Found = dict[str, list[dict[str, Any]]]


class Diagnosis:
    """The command in this process, and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, endpoints: Collection[str], *arguments: str) -> Found:
        """Findings by kind."""
        self._capsys.readouterr()
        given = ["diagnose", f"--endpoints={','.join(endpoints)}", "--timeout=2", "--window=1", "--json", *arguments]
        status = run(given)
        printed = json.loads(self._capsys.readouterr().out)
        assert status == (1 if printed["findings"] else 0)
        found: Found = {}
        for finding in printed["findings"]:
            assert finding["text"]
            assert finding["remedy"]
            found.setdefault(finding["kind"], []).append(finding)
        return found

    def until(self, kind: str, endpoints: Collection[str], *arguments: str) -> Found:
        """Look again and again until this is found."""
        end = time.monotonic() + WAIT_S
        while kind not in (found := self(endpoints, *arguments)):
            assert time.monotonic() < end, found
        return found


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster that is well, and left so."""
    with LocalCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def diagnosis(capsys: pytest.CaptureFixture[str]) -> Diagnosis:
    return Diagnosis(capsys)


@contextmanager
def over_links(directory: Path, *arguments: str) -> Iterator[tuple[LocalCluster, list[SlowLink]]]:
    """Three nodes; whoever dials one of them does so over a link."""
    listening = free_ports(3)
    with ExitStack() as links:
        between = [links.enter_context(slow_link(port, FAST_BYTES_A_SECOND)) for port in listening]
        peer_ports = [link.port for link in between]
        cluster = LocalCluster(directory, peer_ports=peer_ports, listen_peer_ports=listening, arguments=arguments)
        yield links.enter_context(cluster), between


def dialled(links: list[SlowLink]) -> int:
    """The node that both others dial."""
    return max(range(len(links)), key=lambda number: f"http://127.0.0.1:{links[number].port}")


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_cluster_that_is_well(well: LocalCluster, diagnosis: Diagnosis, capsys: pytest.CaptureFixture[str]) -> None:
    with calling(well.endpoints, put_small):
        assert diagnosis(well.endpoints[:1]) == {}, "one endpoint is enough to find the others"
    assert run(["diagnose", f"--endpoints={well.endpoints[0]}", "--window=0.5"]) == 0
    assert "Nothing is wrong with node" in capsys.readouterr().out


def test_members_that_are_down_and_no_majority(tmp_path: Path, diagnosis: Diagnosis) -> None:
    with LocalCluster(tmp_path) as cluster:
        cluster.nodes[2].kill()
        found = diagnosis(cluster.endpoints[:1])
        assert set(found) == {"member-down"}
        assert found["member-down"][0]["text"].startswith(f"http://{cluster.endpoints[2]} does not answer: ")
        cluster.nodes[1].kill()
        found = diagnosis.until("no-quorum", cluster.endpoints)
        assert set(found) == {"no-quorum", "member-down"}
        assert found["no-quorum"][0]["members"] == ["node1"]
        assert "1 of 3 voters answer" in found["no-quorum"][0]["text"]
        assert len(found["member-down"]) == 2


def test_a_slow_disk(tmp_path: Path, diagnosis: Diagnosis) -> None:
    cluster = LocalCluster(tmp_path / "cluster", arguments=["--election-timeout=3000"])
    may_be_slow(cluster.nodes, tmp_path / "site")
    with cluster:
        slow = next(node for node in cluster.nodes if node is not leader_of(cluster))
        with calling(cluster.endpoints, put_small), slow_disk(slow, 0.3):
            found = diagnosis.until("slow-disk", cluster.endpoints)
        assert set(found) == {"slow-disk"}
        assert found["slow-disk"][0]["members"] == [slow.name]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
def test_a_full_disk(tmp_path: Path, diagnosis: Diagnosis) -> None:
    with disk(tmp_path / "node1"), LocalCluster(tmp_path) as cluster:
        filler = fill(tmp_path / "node1")
        found = diagnosis.until("full-disk", cluster.endpoints)
        assert set(found) == {"full-disk"}
        assert found["full-disk"][0]["members"] == ["node1"]
        filler.unlink()


def test_a_clock_that_is_wrong(tmp_path: Path, diagnosis: Diagnosis) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(AHEAD)
    cluster = LocalCluster(tmp_path / "cluster")
    cluster.nodes[1].environment["PYTHONPATH"] = os.pathsep.join([str(site), *sys.path])
    with cluster:
        found = diagnosis(cluster.endpoints)
    assert set(found) == {"clock"}
    (finding,) = found["clock"]
    assert finding["members"] == ["node2"]
    assert f"{AHEAD_S}.0 s ahead of the others" in finding["text"]


def test_peers_that_do_not_reach_each_other(tmp_path: Path, diagnosis: Diagnosis) -> None:
    with over_links(tmp_path, "--election-timeout=5000", "--heartbeat-interval=500") as (cluster, links):
        cut = dialled(links)
        links[cut].close()
        found = diagnosis.until("split", cluster.endpoints)
        name = f"node{cut + 1}"
        pairs = [sorted(finding["members"]) for finding in found["split"]]
        assert sorted(pairs) == sorted(sorted([name, other.name]) for other in cluster.nodes if other.name != name)
        assert set(found) <= {"split", "no-leader"}


def test_a_member_of_another_cluster(tmp_path: Path, diagnosis: Diagnosis) -> None:
    with LocalCluster(tmp_path) as cluster:
        third = cluster.nodes[2]
        third.kill()
        shutil.rmtree(tmp_path / "node3")
        third.arguments = (*third.arguments, "--initial-cluster-token=another")
        third.start()
        found = diagnosis.until("other-cluster", cluster.endpoints)
        assert set(found) == {"other-cluster"}
        assert found["other-cluster"][0]["members"] == ["node3"]
        assert "--initial-cluster-token" in found["other-cluster"][0]["remedy"]


def test_a_member_that_lags(tmp_path: Path, diagnosis: Diagnosis) -> None:
    with over_links(tmp_path, "--election-timeout=5000", "--heartbeat-interval=500") as (cluster, links):
        behind = dialled(links)
        until(lambda: metrics(cluster.nodes[behind])["etcd_server_has_leader", ()] == 1)
        leader = next(node for node in cluster.nodes if node is not cluster.nodes[behind])
        with Client([leader.endpoint]) as client:
            if leader_of(cluster) is cluster.nodes[behind]:
                client_of = Client([cluster.nodes[behind].endpoint])
                with client_of as its:
                    own = metrics(leader)
                    to = next(int(dict(labels)["server_id"], 16) for name, labels in own if name == "etcd_server_id")
                    its.move_leader(to)
            links[behind].bytes_per_second = 5_000
            with calling([leader.endpoint], put_small, threads=20):
                found = diagnosis.until("lagging", cluster.endpoints)
            assert client.get("k1") is not None
        assert found["lagging"][0]["members"] == [f"node{behind + 1}"]
        assert set(found) <= {"lagging", "slow-link"}


def test_a_hot_key(well: LocalCluster, diagnosis: Diagnosis) -> None:
    with (
        calling(well.endpoints, lambda client, number: client.put("counter", str(number)), threads=8),
        calling(well.endpoints, put_small),
    ):
        found = diagnosis.until("hot-key", well.endpoints)
    assert set(found) == {"hot-key"}
    assert found["hot-key"][0]["severity"] == "warning"
    assert "'counter'" in found["hot-key"][0]["text"]


def test_too_many_watchers(well: LocalCluster, diagnosis: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "WATCHERS_MANY", 20)
    with ExitStack() as watching:
        client = watching.enter_context(Client(well.endpoints[:1]))
        for number in range(20):
            watching.enter_context(client.watch(f"w{number}")).begin()
        assert diagnosis(well.endpoints) == {}
        watching.enter_context(client.watch("one more")).begin()
        found = diagnosis(well.endpoints)
    assert set(found) == {"watchers"}
    assert found["watchers"][0]["members"] == ["node1"]


def test_a_certificate_that_has_expired_and_one_that_will(
    tmp_path: Path, diagnosis: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Earlier(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Earlier:
            return cls.fromtimestamp(datetime.now(UTC).timestamp() - timedelta(days=30).total_seconds(), UTC)

    ca = make_ca("ca", 365)
    (tmp_path / "ca.crt").write_bytes(ca.certificate)
    with monkeypatch.context() as patched:
        patched.setattr("ratified.server.certificates.datetime", Earlier)
        expired, expiring = (make_certificate(ca, "server", ["127.0.0.1"], days) for days in (20, 35))
    good = make_certificate(ca, "server", ["127.0.0.1"], 100)

    def put(pair: Any) -> None:
        for name, text in (("server.crt", pair.certificate), ("server.key", pair.key)):
            written = tmp_path / f"{name}.new"
            written.write_bytes(text)
            written.rename(tmp_path / name)

    client_port, peer_port = free_ports(2)
    put(good)
    node = LocalNode(
        "default",
        client_port,
        (
            f"--data-dir={tmp_path / 'data'}",
            f"--listen-client-urls=https://127.0.0.1:{client_port}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            f"--cert-file={tmp_path / 'server.crt'}",
            f"--key-file={tmp_path / 'server.key'}",
        ),
        tmp_path / "log",
    )
    node.start()
    try:
        node.wait_ready()
        endpoint, trusts = [f"https://127.0.0.1:{client_port}"], f"--cacert={tmp_path / 'ca.crt'}"
        assert diagnosis(endpoint, trusts) == {}
        assert "not to be believed" in diagnosis(endpoint)["certificate"][0]["text"]
        put(expiring)
        found = diagnosis.until("certificate", endpoint, trusts)["certificate"]
        assert [each["severity"] for each in found] == ["warning"]
        put(expired)
        until(lambda: "has expired" in diagnosis(endpoint, trusts)["certificate"][0]["text"])
    finally:
        node.terminate()
        node.wait_stopped()
