"""A cluster of real node processes on this machine: for ``up``, ``demo``, tests and benchmarks.

A node is started with ephemeral or given ports, is ready when it has said so on its standard error (which also goes to
a file, ``NAME.log`` in the cluster's directory), and ends with its parent. All waits have deadlines; none is a sleep.
Start nodes on the main thread: the kernel ties a child to the thread that made it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

READY = "ready to serve client requests"
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


class NodeFailed(Exception):
    """A node ended, or did not become ready in time; says what it said last."""


@contextmanager
def scratch_directory(prefix: str) -> Iterator[Path]:
    """A directory that is removed afterwards, unless a node failed in it: then its log is wanted."""
    directory = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield directory
    except NodeFailed:
        raise
    except BaseException:
        shutil.rmtree(directory)
        raise
    else:
        shutil.rmtree(directory)


_held: list[socket.socket] = []
"""Bound and never listening: the kernel gives their ports to nobody who asks for any, and SO_REUSEADDR lets a node that
names one listen on it."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface, all different, that nobody else gets by chance while this process lives."""
    holders = [_bound(0) for _ in range(count)]
    _held.extend(holders)
    return [int(holder.getsockname()[1]) for holder in holders]


def _bound(port: int) -> socket.socket:
    """Raises ``OSError`` where somebody listens on this port; 0: on one that is free."""
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound


def is_free(port: int) -> bool:
    """Can this port of the loopback interface be bound?"""
    try:
        _bound(port).close()
    except OSError:
        return False
    return True


class LocalNode:
    """One node process, started again after each end with the same command line."""

    def __init__(self, name: str, client_port: int, arguments: Sequence[str], log_file: Path) -> None:
        self.name = name
        self.client_port = client_port
        self.log_file = log_file
        self.arguments = tuple(arguments)
        self.environment: dict[str, str] = {}
        """Of its next process, beside what this one has."""
        self._process: subprocess.Popen[str] | None = None
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._last_line = ""

    @property
    def endpoint(self) -> str:
        """Where its clients connect."""
        return f"127.0.0.1:{self.client_port}"

    @property
    def running(self) -> bool:
        """Is there a process?"""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        return self._process.pid if self._process is not None and self.running else None

    def start(self) -> None:
        """Start the process; ``wait_ready`` waits for it."""
        self._ready.clear()
        self._ended.clear()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ratified.testing.tied", str(os.getpid()), "serve", *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | self.environment,
            # Ctrl-C at the terminal is the parent's to handle; it stops its nodes itself.
            start_new_session=True,
        )
        assert self._process.stderr is not None
        threading.Thread(target=self._follow, args=(self._process.stderr,), daemon=True).start()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S, needs: Sequence[LocalNode] = ()) -> None:
        """Return when it serves. Raises ``NodeFailed``, also where one has ended that it needs for that."""
        deadline = time.monotonic() + timeout_s
        while not self._ready.wait(0.02):
            for node in (self, *needs):
                if node._ended.is_set():
                    raise NodeFailed(f"{node.name} ended: {node._last_line} (see {node.log_file})")
            if time.monotonic() >= deadline:
                raise NodeFailed(f"{self.name} was not ready within {timeout_s:.0f} s (see {self.log_file})")

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._ended.wait()

    def pause(self) -> None:
        """SIGSTOP: it runs no more, keeps its connections, and does not know it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT, after ``pause``."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It hangs meanwhile."""
        self.pause()
        try:
            yield
        finally:
            self.go_on()

    def terminate(self) -> None:
        """SIGTERM; ``wait_stopped`` waits for the end."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGTERM)

    def wait_stopped(self, timeout_s: float = STOP_TIMEOUT_S) -> int | None:
        """Its exit status; it is killed where it does not end in time. None: it never ran."""
        if self._process is None:
            return None
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ended.wait()
        return self._process.returncode

    def _follow(self, lines: IO[str]) -> None:
        with lines, self.log_file.open("a") as log:
            for line in lines:
                log.write(line)
                log.flush()
                self._last_line = line.strip()
                if READY in line:
                    self._ready.set()
        self._ended.set()


def joining_node(
    data_dir: Path, peer_url: str, client_port: int, known: Iterable[str], arguments: Sequence[str] = ()
) -> LocalNode:
    """A node that joins a cluster, called like its data directory; ``known`` has members of that, as ``NAME=URL``."""
    name = data_dir.name
    return LocalNode(
        name,
        client_port,
        (
            f"--name={name}",
            f"--data-dir={data_dir}",
            f"--listen-client-urls=http://127.0.0.1:{client_port}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-cluster={','.join([*known, f'{name}={peer_url}'])}",
            "--initial-cluster-state=existing",
            *arguments,
        ),
        data_dir.with_suffix(".log"),
    )


class LocalCluster:
    """Nodes ``node1``, ``node2``, ... under one directory. Use it in a ``with``: leaving it ends all of them.

    ``peer_ports`` are those at which the nodes know each other, ``listen_peer_ports`` those at which they listen where
    that is elsewhere: something between them then carries what passes.
    """

    def __init__(
        self,
        directory: Path,
        nodes: int = 3,
        *,
        client_ports: Sequence[int] | None = None,
        peer_ports: Sequence[int] | None = None,
        listen_peer_ports: Sequence[int] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        ports = free_ports(2 * nodes)
        client_ports = client_ports or ports[:nodes]
        peer_ports = peer_ports or ports[nodes:]
        listen_peer_ports = listen_peer_ports or peer_ports
        members = ",".join(f"node{i + 1}=http://127.0.0.1:{port}" for i, port in enumerate(peer_ports))
        self.nodes = [
            LocalNode(
                name := f"node{i + 1}",
                client_ports[i],
                (
                    f"--name={name}",
                    f"--data-dir={directory / name}",
                    f"--listen-client-urls=http://127.0.0.1:{client_ports[i]}",
                    f"--listen-peer-urls=http://127.0.0.1:{peer_ports[i]}",
                    f"--listen-peer-urls=http://127.0.0.1:{listen_peer_ports[i]}",
                    f"--initial-cluster={members}",
                    *arguments,
                ),
                directory / f"{name}.log",
            )
            for i in range(nodes)
        ]

    @property
    def endpoints(self) -> list[str]:
        """Where clients connect, node by node."""
        return [node.endpoint for node in self.nodes]

    def start(self) -> None:
        """Start all nodes and wait until each serves. Raises ``NodeFailed``."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready(needs=self.nodes)

    def stop(self) -> list[int | None]:
        """Stop all nodes cleanly; their exit statuses."""
        for node in self.nodes:
            node.terminate()
        return [node.wait_stopped() for node in self.nodes]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
