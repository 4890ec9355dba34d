"""A counter in five lines, replicated by three hosts in one process: ``python examples/counter.py``.

In production every host runs in a process and on a machine of its own; nothing else changes.
"""

import asyncio
import socket
import tempfile
from collections.abc import Iterable

from ratified import Host, HostConfig, StateMachine


class Counter(StateMachine):
    """Adds up what it is given."""

    total = 0

    def apply(self, command: bytes) -> bytes:
        self.total += int(command)
        return self.query(b"")

    def query(self, request: bytes) -> bytes:
        return b"%d" % self.total

    def snapshot(self) -> bytes:
        return self.query(b"")

    def restore(self, pieces: Iterable[bytes]) -> None:
        self.total = int(b"".join(pieces))


async def main(data_dir: str) -> int:
    """Count to 5050 through three hosts in turn, and read it from each."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in "abc"}
    cluster = {name: "{}:{}".format(*sockets[name].getsockname()) for name in sockets}
    hosts = [
        await Host.start(
            HostConfig(name=name, data_dir=f"{data_dir}/{name}", cluster=cluster, listen=[sockets[name]]), Counter
        )
        for name in cluster
    ]
    for number in range(1, 101):
        await hosts[number % 3].propose(b"%d" % number)
    totals = [int(await host.query(b"")) for host in hosts]
    print(f"every host counted to {totals}")
    for host in hosts:
        await host.close()
    assert totals == [5050, 5050, 5050]
    return totals[0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(directory))
