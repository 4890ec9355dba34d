"""``ratified demo``: kill the leader under load, and show that nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import time

import typer

from ratified.cli.engine import ENGINE, row
from ratified.cli.failure import CommandFailed


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    kills: int = typer.Option(3, "--kills", help="How often to kill the leader.", min=1),
    clients: int = typer.Option(8, "--clients", help="How many clients write and read all the while.", min=1),
    seed: int = typer.Option(1, "--seed", help="What clients and killer draw from."),
    engine: str = ENGINE,
    as_json: bool = typer.Option(False, "--json", help="The outcome in JSON."),
) -> None:
    """Kill the leader of three real processes while clients write, and check what they saw.

    Three nodes run on ephemeral ports in a temporary directory. While clients write and read, the leader is killed
    with SIGKILL and started again. Then every acknowledged write is looked for on every node, and the clients'
    history is checked for linearizability. Exits with 1 where either fails.

    \b
    Examples:
      ratified demo
      ratified demo --kills 10 --clients 16 --json
      ratified demo --engine paxos
    """
    row(engine)
    import msgspec

    from ratified.testing.faults import KILL
    from ratified.testing.leaders import fail_leaders
    from ratified.testing.processes import LocalCluster, NodeFailed, scratch_directory

    began_s = time.monotonic()

    def say(line: str) -> None:
        typer.echo(f"{time.monotonic() - began_s:6.2f} s  {line}", err=as_json)

    try:
        with scratch_directory("ratified-demo-") as directory:
            with LocalCluster(directory, arguments=[f"--engine={engine}"]) as cluster:
                say(f"three nodes run {engine} and serve on " + ", ".join(cluster.endpoints))
                outcome = asyncio.run(fail_leaders(cluster, KILL, seed=seed, times=kills, clients=clients, say=say))
            say("stopped all nodes")
    except NodeFailed as failed:
        raise CommandFailed(str(failed)) from failed
    if as_json:
        typer.echo(msgspec.json.encode(outcome).decode())
    else:
        gaps = ", ".join(f"{injected.without_write_s:.2f} s" for injected in outcome.faults)
        typer.echo(
            f"\nacknowledged writes  {outcome.acknowledged_writes}, of which {len(outcome.lost)} are missing\n"
            f"without a write      {gaps} (after each kill)\n"
            f"outcome unknown      {outcome.unknown} writes, allowed to have happened or not\n"
            f"history check        {outcome.verdict} ({outcome.keys} keys, {outcome.reads} reads)"
        )
    if not outcome.correct:
        raise CommandFailed(outcome.lost[0] if outcome.lost else outcome.verdict)
