"""Hosts over real sockets and real files, for tests of this room."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from ratified import Host, HostConfig, StateMachine
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.node.boot import OpenStore
from ratified.storage.format import LogLimits
from tests.runtime.loops import until

HEARTBEAT_US = 20_000
ELECTION_TIMEOUT_US = 200_000
LOG_LIMITS = LogLimits(segment_bytes=1 << 20)


class Journal(StateMachine):
    """Appends what it is given; answers with how many there are, and with all of them."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def apply(self, command: bytes) -> bytes:
        self.lines.append(command)
        return b"%d" % len(self.lines)

    def query(self, request: bytes) -> bytes:
        return b"\n".join(self.lines)

    def snapshot(self) -> bytes:
        return b"\n".join(self.lines)

    def restore(self, pieces: Iterable[bytes]) -> None:
        self.lines = b"".join(pieces).split(b"\n")


class Cluster:
    """Three members; each keeps its port for as long as the test lasts, whether it runs or not."""

    def __init__(
        self,
        directory: Path,
        replicated: type[StateMachine] | OpenStore = Journal,
        names: str = "abc",
        groups: int = 1,
        engine: str = DEFAULT_ENGINE,
    ) -> None:
        self.directory = directory
        self.replicated = replicated
        self.groups = groups
        self.engine = engine
        self.hosts: dict[str, Host] = {}
        # A bound socket that does not listen holds the port, and others that share it may listen on it.
        self._holders = {name: _shared_port(0) for name in names}
        self.cluster = {name: "{}:{}".format(*holder.getsockname()) for name, holder in self._holders.items()}

    def config(self, name: str, token: str = "ratified", absent: str = "") -> HostConfig:
        return HostConfig(
            name=name,
            data_dir=self.directory / name,
            cluster=self.cluster,
            initial_absent=tuple(absent),
            token=token,
            listen=[_shared_port(self._holders[name].getsockname()[1])],
            client_urls=[f"http://{name}.example:2379"],
            groups=self.groups,
            engine=ENGINES[self.engine],
            heartbeat_us=HEARTBEAT_US,
            election_timeout_us=ELECTION_TIMEOUT_US,
            log_limits=LOG_LIMITS,
        )

    async def start(self, name: str, absent: str = "") -> Host:
        """Start a member; the ``absent`` ones, a letter each, may miss its first start."""
        self.hosts[name] = await Host.start(self.config(name, absent=absent), self.replicated)
        return self.hosts[name]

    async def leader(self, group: int = 0) -> str:
        """Wait until the running hosts agree on one of them that serves; its name."""
        found = ""

        def agreed() -> bool:
            nonlocal found
            views = [(host.leader(group), host) for host in self.hosts.values()]
            leaders = {view for view, _ in views}
            serving = [host.name for leader, host in views if leader == host.member]
            if len(leaders) == 1 and len(serving) == 1:
                found = serving[0]
            return bool(found)

        await until(agreed)
        return found

    async def close(self) -> None:
        for host in self.hosts.values():
            await host.close()
        for holder in self._holders.values():
            holder.close()


@asynccontextmanager
async def running(
    directory: Path,
    replicated: type[StateMachine] | OpenStore = Journal,
    names: str = "abc",
    groups: int = 1,
    engine: str = DEFAULT_ENGINE,
) -> AsyncIterator[Cluster]:
    """A cluster with all its members started, closed at the end."""
    cluster = Cluster(directory, replicated, names, groups, engine)
    for name in names:
        await cluster.start(name)
    try:
        yield cluster
    finally:
        await cluster.close()


def _shared_port(port: int) -> socket.socket:
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", port))
    return holder


def alone(directory: Path, *, name: str = "default", token: str = "ratified") -> HostConfig:
    """One member, no network."""
    return HostConfig(
        data_dir=directory,
        name=name,
        token=token,
        heartbeat_us=HEARTBEAT_US,
        election_timeout_us=ELECTION_TIMEOUT_US,
        log_limits=LOG_LIMITS,
    )
