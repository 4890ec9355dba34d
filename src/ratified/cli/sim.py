"""``ratified sim``: one simulated world, from its seed to its verdict."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec
import typer

from ratified.cli.engine import ENGINE, choose, row
from ratified.cli.failure import CommandFailed

if TYPE_CHECKING:
    from ratified.sim.report import Report

NODES_MIN, NODES_MAX = 1, 15
SEED_MAX = 2**63 - 1
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m)")
_MICROSECONDS = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000}
DUMP = typer.Option(None, "--dump", help="Write the canonical dump to this file.", metavar="FILE")
TRACE = typer.Option(None, "--trace", help="Write a trace, one JSON object a line.", metavar="FILE")
DURATION_MAX_US = 24 * 3600 * 1_000_000


def register(app: typer.Typer) -> None:
    app.command()(sim)


def sim(
    seed: int = typer.Option(1, "--seed", help="Everything that happens follows from it.", min=0, max=SEED_MAX),
    nodes: int = typer.Option(
        None, "--nodes", help="Members. [default: drawn, 3 to 7]", min=NODES_MIN, max=NODES_MAX, show_default=False
    ),
    duration: str = typer.Option("30s", "--duration", help="Virtual time under faults: 500ms, 30s, 2m.", metavar="T"),
    scenario: str = typer.Option("everything", "--scenario", help="Which faults; 'help' lists them.", metavar="NAME"),
    network: str = typer.Option("session", "--network", help="datagram or session.", metavar="MODEL"),
    engine: str = ENGINE,
    dump: Path = DUMP,
    trace: Path = TRACE,
    as_json: bool = typer.Option(False, "--json", help="Report in JSON."),
) -> None:
    """Run whole nodes in a simulated world, check everything, and say how to replay it.

    \b
    Examples:
      ratified sim --seed 7 --scenario crashes
      ratified sim --seed 7 --nodes 5 --network datagram --trace trace.jsonl
    """
    from ratified.check.protocols import PROTOCOLS
    from ratified.sim.arguments import Arguments
    from ratified.sim.options import NetworkModel
    from ratified.sim.scenario import SCENARIOS
    from ratified.sim.simulation import simulate

    if scenario == "help":
        for name, known in SCENARIOS.items():
            typer.echo(f"{name:16} {known.text}")
        return
    choose("--scenario", scenario, list(SCENARIOS))
    choose("--network", network, [model.value for model in NetworkModel])
    row(engine)
    if PROTOCOLS[engine].stands_on_sessions and network != NetworkModel.SESSION:
        raise CommandFailed(
            f"--network is {network}, and {engine} promises progress over sessions only: its messages must arrive in "
            "order. Leave --network out, or choose another --engine"
        )
    arguments = Arguments(
        seed=seed,
        nodes=nodes,
        duration_us=_microseconds(duration),
        scenario=scenario,
        network=network,
        engine=engine,
    )
    with ExitStack() as files:
        dump_file = files.enter_context(_written("--dump", dump))
        trace_file = files.enter_context(_written("--trace", trace))
        report = simulate(arguments, trace=trace_file, dump=dump_file)
    if as_json:
        document = {**msgspec.to_builtins(report), "replay": report.replay}
        typer.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
    else:
        _say(report)
    if report.broken is not None:
        sys.exit(1)


def _say(report: Report) -> None:
    seconds = report.virtual_us / 1e6
    if report.broken is None:
        typer.echo(f"passed: every check held over {seconds:.1f} s of virtual time and {report.events} events")
    else:
        typer.echo(f"BROKEN: {report.broken[0]}, at {seconds:.6f} s\n  {report.broken[1]}")
    typer.echo(f"nodes {report.nodes}, groups {report.groups}")
    width = max(len(name) for name in report.counters)
    for name, count in report.counters.items():
        typer.echo(f"  {name:{width}} {count}")
    typer.echo(f"digest {report.digest}\nreplay: {report.replay}")


def _microseconds(duration: str) -> int:
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise CommandFailed(f"--duration is {duration!r}; write a number and us, ms, s or m, such as 30s")
    microseconds = int(float(match[1]) * _MICROSECONDS[match[2]])
    if microseconds > DURATION_MAX_US:
        raise CommandFailed(f"--duration is {duration}; a run ends at 24 h, which is 1440m")
    return microseconds


@contextmanager
def _written(option: str, path: Path | None) -> Iterator[IO[bytes] | None]:
    """The file that an option names, open for writing; None where it was not given."""
    if path is None:
        yield None
        return
    try:
        file = path.open("wb")
    except OSError as error:
        raise CommandFailed(
            f"{option}: cannot write {path}: {error.strerror}. Name a file in a directory that you may write to"
        ) from error
    with file:
        yield file
