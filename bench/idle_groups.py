"""What groups cost in which nothing happens: three members, each a process of its own with all of the groups.

Prints, with quiescence and without, the share of one core that each process takes once every group has a leader, in
percent; and what replacing the leaders takes when a process is killed that leads some of them, in seconds until the
last of its groups is led by somebody else.

    python bench/idle_groups.py [--engine raft] [--groups 1000] [--seconds 10]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from ratified import Host, HostConfig, StateMachine
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES

NAMES = ("a", "b", "c")
SETTLE_S = 3.0
"""From the last election to the begin of the measurement."""


class Nothing(StateMachine):
    """Holds nothing."""

    def apply(self, command: bytes) -> bytes:
        return b""

    def query(self, request: bytes) -> bytes:
        return b""

    def snapshot(self) -> bytes:
        return b""

    def restore(self, pieces: Iterable[bytes]) -> None:
        """There is nothing to restore."""


async def member(name: str, directory: str, ports: Sequence[int], wanted: argparse.Namespace) -> None:
    """Run one, and print a line whenever another number of groups has a leader: the time, that number, and the own."""
    cluster = {each: f"127.0.0.1:{port}" for each, port in zip(NAMES, ports, strict=True)}
    host = await Host.start(
        HostConfig(
            name=name,
            data_dir=directory,
            cluster=cluster,
            groups=wanted.groups,
            engine=ENGINES[wanted.engine],
            quiescence=wanted.quiescence,
        ),
        Nothing,
    )
    said: tuple[int, int] | None = None
    while True:
        leaders = [host.leader(group) for group in range(wanted.groups)]
        now = sum(leader is not None for leader in leaders), sum(leader == host.member for leader in leaders)
        if now != said:
            said = now
            print(time.monotonic(), *now, flush=True)
        await asyncio.sleep(0.2 if now[0] == wanted.groups else 0.02)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Process:
    def __init__(self, name: str, directory: Path, ports: Sequence[int], arguments: Sequence[str]) -> None:
        self.out = directory / f"{name}.out"
        with self.out.open("w") as out:
            command = [sys.executable, __file__, *arguments, "--member", name, str(directory / name), *map(str, ports)]
            self.process = subprocess.Popen(command, stdout=out)

    def said(self) -> tuple[float, int, int]:
        """When it was said last how many groups have a leader, and how many of them this member leads."""
        lines = self.out.read_text().split("\n")[:-1]  # behind the last end of a line is half of one, or nothing
        if not lines:
            return 0.0, 0, 0
        at, led, own = lines[-1].split()
        return float(at), int(led), int(own)

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_leaders(processes: Sequence[Process], groups: int, after: float = 0.0) -> float:
    """Until every one of these processes knows a leader of every group; when the last one did."""
    while True:
        said = [process.said() for process in processes]
        if all(led == groups and (at > after or after == 0.0) for at, led, _ in said):
            return max(at for at, _, _ in said)
        time.sleep(0.1)


def measure(wanted: argparse.Namespace, *, quiescence: bool) -> None:
    arguments = ["--engine", wanted.engine, "--groups", str(wanted.groups)]
    arguments += [] if quiescence else ["--no-quiescence"]
    with tempfile.TemporaryDirectory() as directory:
        ports = free_ports(len(NAMES))
        processes = [Process(name, Path(directory), ports, arguments) for name in NAMES]
        try:
            wait_for_leaders(processes, wanted.groups)
            time.sleep(SETTLE_S)
            before, began = [process.cpu_s() for process in processes], time.monotonic()
            time.sleep(wanted.seconds)
            took = time.monotonic() - began
            shares = [100 * (process.cpu_s() - cpu) / took for process, cpu in zip(processes, before, strict=True)]
            victim = max(processes, key=lambda process: process.said()[2])
            led, killed = victim.said()[2], time.monotonic()
            victim.process.send_signal(signal.SIGKILL)
            others = [process for process in processes if process is not victim]
            last = wait_for_leaders(others, wanted.groups, after=killed)
        finally:
            for process in processes:
                process.process.kill()
                process.process.wait()
    print(
        f"{wanted.engine}, {wanted.groups} groups, quiescence {'on' if quiescence else 'off'}: "
        f"{', '.join(f'{share:.1f}' for share in shares)} percent of a core; "
        f"{led} leaders replaced after {last - killed:.2f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=list(ENGINES), default=DEFAULT_ENGINE)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--no-quiescence", dest="quiescence", action="store_false", help=argparse.SUPPRESS)
    parser.add_argument("--member", nargs=5, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.member:
        name, directory, *ports = wanted.member
        asyncio.run(member(name, directory, [int(port) for port in ports], wanted))
        return
    for quiescence in (True, False):
        measure(wanted, quiescence=quiescence)


if __name__ == "__main__":
    main()
