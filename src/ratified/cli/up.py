"""``ratified up``: a cluster of real processes on this machine, in the foreground, with a live table."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
import tomllib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from ratified.cli.engine import ENGINE, row
from ratified.cli.failure import CommandFailed

if TYPE_CHECKING:
    from ratified.cli.table import LiveTable, PlainLines, Row
    from ratified.client import AsyncClient
    from ratified.testing.processes import LocalCluster, LocalNode

CLIENT_PORTS_PREFERRED = (2379, 22379, 32379)
PORTS_FILE = "cluster.toml"
REFRESH_S = 0.5
REPORT_TIMEOUT_S = 0.4
RESTART_S = 2.0
NODES_MAX = 9
DATA_DIR = typer.Option(
    None, "--data-dir", help="Keep the data here. [default: a temporary directory, removed at the end]"
)


def register(app: typer.Typer) -> None:
    app.command()(up)


def up(
    nodes: int = typer.Option(3, "--nodes", help=f"How many nodes, 1 to {NODES_MAX}."),
    data_dir: Path | None = DATA_DIR,
    engine: str = ENGINE,
) -> None:
    """Run a local cluster in the foreground and show it live; Ctrl-C stops it.

    Each node is a process of its own: kill one and watch; it is started again after two seconds. With --data-dir
    a later `up` goes on with the same data and ports.

    \b
    Examples:
      ratified up
      ratified up --nodes 5 --data-dir ./ratified-data
      ratified up --engine paxos
    """
    row(engine)
    if not 1 <= nodes <= NODES_MAX:
        raise typer.BadParameter(f"--nodes is {nodes}; give 1 to {NODES_MAX}")
    from ratified.testing.processes import NodeFailed, scratch_directory

    try:
        with nullcontext(data_dir) if data_dir else scratch_directory("ratified-up-") as directory:
            asyncio.run(_up(directory, nodes, engine, kept=data_dir is not None))
    except NodeFailed as failed:
        raise CommandFailed(str(failed)) from failed


class Ports(NamedTuple):
    """The ports of a cluster, node by node."""

    client: tuple[int, ...]
    peer: tuple[int, ...]


def choose_ports(directory: Path, nodes: int) -> tuple[Ports, list[str]]:
    """The ports to use, as an earlier run in this directory chose them, and what to say about them.

    Peer ports are part of a cluster's identity, so they are written down. Raises ``CommandFailed``.
    """
    from ratified.testing.processes import free_ports, is_free

    file = directory / PORTS_FILE
    if file.exists():
        ports = _read_ports(file, nodes)
        for port in (*ports.client, *ports.peer):
            if not is_free(port):
                raise CommandFailed(f"port {port}, which {file} names, is in use: stop what uses it")
        return ports, []
    fresh = free_ports(2 * nodes)
    client = tuple(
        port if (port := preferred) and is_free(port) else fresh[i]
        for i, preferred in enumerate((*CLIENT_PORTS_PREFERRED, *(0,) * nodes)[:nodes])
    )
    said = [
        f"port {preferred} is in use: node{i + 1} serves clients on {client[i]}"
        for i, preferred in enumerate(CLIENT_PORTS_PREFERRED[:nodes])
        if client[i] != preferred
    ]
    ports = Ports(client, tuple(fresh[nodes:]))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file.write_text(f"client-ports = {list(ports.client)}\npeer-ports = {list(ports.peer)}\n")
    except OSError as wrong:
        raise CommandFailed(f"cannot write {file}: {wrong.strerror}: give another --data-dir") from wrong
    return ports, said


def _read_ports(file: Path, nodes: int) -> Ports:
    try:
        content = tomllib.loads(file.read_text())
        ports = Ports(tuple(map(int, content["client-ports"])), tuple(map(int, content["peer-ports"])))
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise CommandFailed(f"{file} cannot be read ({wrong}): give another --data-dir") from wrong
    if not len(ports.client) == len(ports.peer) == nodes:
        raise CommandFailed(f"{file} is of a cluster of {len(ports.client)} nodes: say --nodes {len(ports.client)}")
    return ports


async def _up(directory: Path, nodes: int, engine: str, *, kept: bool) -> None:
    from ratified.cli.table import LiveTable, PlainLines
    from ratified.client import AsyncClient
    from ratified.testing.processes import LocalCluster

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ports, said = choose_ports(directory, nodes)
    cluster = LocalCluster(
        directory, nodes, client_ports=ports.client, peer_ports=ports.peer, arguments=[f"--engine={engine}"]
    )
    try:
        for node in cluster.nodes:
            node.start()
        for node in cluster.nodes:
            await asyncio.to_thread(node.wait_ready)
        for line in (*said, *_welcome(cluster.endpoints, directory, engine, kept)):
            print(line, flush=True)
        show: AbstractContextManager[LiveTable | PlainLines] = LiveTable() if sys.stdout.isatty() else PlainLines()
        async with AsyncClient(cluster.endpoints) as client:
            with show as shown:
                await _watch(cluster, client, shown, stop)
    finally:
        await asyncio.to_thread(cluster.stop)
    print("stopped all nodes" + ("" if kept else f" and removed {directory}"), flush=True)


def _own_command() -> str:
    """This very command, as it can be typed here: in a virtual environment that is not active it needs its path."""
    here = Path(sys.argv[0])
    if here.name == "__main__.py":
        return f"{sys.executable} -m ratified"
    return here.name if shutil.which(here.name) is not None else str(here)


def _welcome(endpoints: list[str], directory: Path, engine: str, kept: bool) -> list[str]:
    joined = ",".join(endpoints)
    first = "" if endpoints[0] == "127.0.0.1:2379" else f" --endpoints {joined}"
    return [
        f"{len(endpoints)} nodes serve on {joined}" if len(endpoints) > 1 else f"one node serves on {joined}",
        f"they agree by {engine}" if len(endpoints) > 1 else f"it runs {engine}, alone",
        f"data and logs in {directory}" + ("" if kept else " (temporary: removed at the end; keep it with --data-dir)"),
        "try:",
        f"  ETCDCTL_API=3 etcdctl --endpoints {joined} put greeting hello",
        f"  {_own_command()} get greeting{first}",
    ]


async def _watch(
    cluster: LocalCluster, client: AsyncClient, shown: LiveTable | PlainLines, stop: asyncio.Event
) -> None:
    """Show every node again and again, and start again what has ended, until ``stop``."""
    down_since: dict[str, float] = {}
    while not stop.is_set():
        rows = await asyncio.gather(*(_ask(client, node) for node in cluster.nodes))
        shown.show(rows, time.monotonic())
        for node in cluster.nodes:
            if node.running:
                down_since.pop(node.name, None)
            elif time.monotonic() - down_since.setdefault(node.name, time.monotonic()) >= RESTART_S:
                node.start()
        try:
            await asyncio.wait_for(stop.wait(), REFRESH_S)
        except TimeoutError:
            continue


async def _ask(client: AsyncClient, node: LocalNode) -> Row:
    from ratified.cli.table import Row
    from ratified.client import ClientError

    if not node.running:
        return Row(node.name, node.endpoint, None, "down: starts again in a moment")
    try:
        report = await client.report(node.endpoint, timeout_s=REPORT_TIMEOUT_S)
    except ClientError:
        return Row(node.name, node.endpoint, None, "does not answer")
    return Row(node.name, node.endpoint, report)
