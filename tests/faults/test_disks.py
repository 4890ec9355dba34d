"""Real processes on disks that are full, or that answer nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from ratified.client import CallRefused, Client, ClientError
from ratified.consensus.contract import Limits
from ratified.testing.processes import LocalCluster, LocalNode
from ratified.wire.etcd import errors, rpc_pb2
from tests.faults.test_slow_links import leader_of, terms

ELECTION_S = 1.0
"""The default of ``--election-timeout``."""
DISK_BYTES = 450 << 20
FILLED_BUT_BYTES = 50 << 20
WAIT_S = 60.0
VALUE_BYTES = 200_000
HANGING = """
import os
import sys
import time

directory = next((word.partition("=")[2] for word in sys.orig_argv if word.startswith("--data-dir=")), "")
sync = os.fdatasync


def hanging(descriptor):
    while directory and os.path.exists(directory + ".hangs"):
        time.sleep(0.01)
    sync(descriptor)


os.fdatasync = hanging
"""
"""Runs in each node before anything else: while ``DATA-DIR.hangs`` exists its disk answers no sync."""


def until(holds: Callable[[], bool], what: str) -> None:
    """Look again and again, for ``WAIT_S`` at most."""
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, f"within {WAIT_S:.0f} s not seen: {what}"
        time.sleep(0.05)


class Putting:
    """A client that puts all the time: how long its puts took, and what went wrong."""

    def __init__(self, endpoints: list[str]) -> None:
        self.took_s: list[float] = []
        self.wrong: list[ClientError] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._put, args=(endpoints,))
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _put(self, endpoints: list[str]) -> None:
        with Client(endpoints, timeout_s=20) as client:
            while not self._ended.wait(0.01):
                began = time.monotonic()
                try:
                    client.put("k", f"{began}")
                except ClientError as error:
                    self.wrong.append(error)
                self.took_s.append(time.monotonic() - began)


@contextmanager
def disk(at: Path) -> Iterator[None]:
    """A small disk of its own, mounted there; needs root."""
    at.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(at)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def fill(at: Path, but_bytes: int = FILLED_BUT_BYTES) -> Path:
    """Leave so little room on this disk; gives the file that takes the rest."""
    free = os.statvfs(at)
    filler = at / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - but_bytes)
    return filler


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
def test_a_leader_whose_disk_is_full_gives_the_lead_away_and_clients_notice_no_more_than_an_election(
    tmp_path: Path,
) -> None:
    with ExitStack() as disks:
        for number in (1, 2, 3):
            disks.enter_context(disk(tmp_path / f"node{number}"))
        cluster = disks.enter_context(LocalCluster(tmp_path))
        leader, before = leader_of(cluster), max(terms(cluster))
        putting = [Putting([node.endpoint]) for node in cluster.nodes]
        until(lambda: all(len(each.took_s) > 5 for each in putting), "puts go through")
        for each in putting:
            each.took_s.clear()
        filler = fill(tmp_path / leader.name)
        until(lambda: max(terms(cluster)) > before, "the lead is given away")
        until(lambda: leader_of(cluster).name != leader.name, "somebody else leads")
        with_room = len(putting[0].took_s)
        until(lambda: len(putting[0].took_s) > with_room + 20, "puts go through")
        for each in putting:
            each.end()
        assert [error for each in putting for error in each.wrong] == []
        slowest = max(max(each.took_s) for each in putting)
        print(f"the slowest put took {slowest:.2f} s")
        assert slowest < 3 * ELECTION_S, "twice the time-out is the longest that an election may wait to begin"
        assert max(terms(cluster)) == before + 1, "it does not take the lead back"
        filler.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
def test_where_most_disks_are_full_writes_are_refused_and_no_member_ends(tmp_path: Path) -> None:
    with ExitStack() as disks:
        for number in (1, 2, 3):
            disks.enter_context(disk(tmp_path / f"node{number}"))
        cluster = disks.enter_context(LocalCluster(tmp_path))
        leader = leader_of(cluster)
        with Client([leader.endpoint]) as client:
            client.put("k", "v")
            fillers = [fill(tmp_path / node.name) for node in cluster.nodes if node.name != leader.name]
            until(lambda: refuses(client), "a put is refused")
            more = put_many(leader.endpoint, 2 * FILLED_BUT_BYTES // VALUE_BYTES, timeout_s=WAIT_S)
            assert set(more) == {errors.NO_SPACE.text}
            pair = client.get("k")
            assert pair is not None
            assert all(node.running for node in cluster.nodes)
            fillers[0].unlink()
            until(lambda: not refuses(client), "a put is taken")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
def test_a_follower_whose_disk_is_filled_to_the_end_says_so_and_the_others_serve_on(tmp_path: Path) -> None:
    with ExitStack() as disks:
        for number in (1, 2, 3):
            disks.enter_context(disk(tmp_path / f"node{number}"))
        cluster = disks.enter_context(LocalCluster(tmp_path))
        leader = leader_of(cluster)
        full = next(node for node in cluster.nodes if node.name != leader.name)
        fill(tmp_path / full.name, but_bytes=2 << 20)
        ends = put_many(leader.endpoint, 100, timeout_s=WAIT_S)
        assert set(ends) == {"done"}
        until(lambda: not full.running, "it ends")
        said = full.log_file.read_text()
        assert "its disk is full" in said or os.strerror(errno.ENOSPC) in said


def refuses(client: Client) -> bool:
    """Is a put refused for want of room?"""
    try:
        client.put("k", "v")
    except CallRefused as error:
        if str(error) != errors.NO_SPACE.text:
            raise
        return True
    return False


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[LocalNode], Path]:
    """Nodes whose disks can be made to hang, by making the file that this gives for a node."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return lambda node: tmp_path / f"{node.name}.hangs"


def put_many(endpoint: str, count: int, timeout_s: float) -> Counter[str]:
    """Put so many at once; how they ended."""
    ends: Counter[str] = Counter()
    request = rpc_pb2.PutRequest(key=b"k", value=bytes(VALUE_BYTES)).SerializeToString()
    with grpc.insecure_channel(endpoint) as channel:
        put = channel.unary_unary("/etcdserverpb.KV/Put")
        for future in [put.future(request, timeout=timeout_s) for _ in range(count)]:
            error = future.exception()
            ends["done" if error is None else error.details()] += 1
    return ends


def open_requests(node: LocalNode) -> int:
    with Client([node.endpoint]) as client:
        return client.report(node.endpoint).open_requests


def test_while_both_followers_disks_hang_what_is_taken_is_bounded_and_everything_is_served_afterwards(
    tmp_path: Path, hanging: Callable[[LocalNode], Path]
) -> None:
    """Together they are more than the engine keeps uncommitted."""
    with LocalCluster(tmp_path) as cluster:
        leader = leader_of(cluster)
        followers = [node for node in cluster.nodes if node.name != leader.name]
        with Client([leader.endpoint]) as client:
            client.put("before", "v")
        for node in followers:
            hanging(node).touch()
        ends = put_many(leader.endpoint, 1_000, timeout_s=WAIT_S)
        print(ends)
        unknown = ends[errors.TIMEOUT.text] + ends[errors.TIMEOUT_DUE_TO_LEADER_FAIL.text]
        assert unknown * VALUE_BYTES < 2 * Limits().uncommitted_bytes_max, "the others are refused"
        assert sum(ends.values()) - ends["done"] == 1_000
        assert ends["Deadline Exceeded"] == 0
        for node in followers:
            hanging(node).unlink()
        with Client(cluster.endpoints, timeout_s=WAIT_S) as client:
            client.put("after", "v")
        for node in cluster.nodes:
            until(lambda node=node: open_requests(node) == 0, f"{node.name} has no request open")  # type: ignore[misc]
            with Client([node.endpoint]) as client:
                pair = client.get("after")
                assert pair is not None
