"""``ratified compare``: the same load and fault on several engines, measured in the simulator."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ratified.cli.engine import choose, row
from ratified.cli.failure import CommandFailed

if TYPE_CHECKING:
    from ratified.compare.comparison import Measured, Summary

NODES_MAX = 15
SEEDS_MAX = 100_000
SEED_MAX = 2**63 - 1
PLOT = typer.Option(None, "--plot", help="Draw what was measured: a PNG, SVG or PDF file.", metavar="FILE")
PLOT_FORMATS = (".png", ".svg", ".pdf")


def register(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    engines: str = typer.Option(
        None, "--engines", help="Which, separated by commas. [default: all]", metavar="NAMES", show_default=False
    ),
    scenario: str = typer.Option("steady", "--scenario", help="Load and fault; 'help' lists them.", metavar="NAME"),
    seeds: int = typer.Option(10, "--seeds", help="How many runs of each engine.", min=1, max=SEEDS_MAX),
    first: int = typer.Option(1, "--first", help="The first seed.", min=0, max=SEED_MAX - SEEDS_MAX),
    nodes: int = typer.Option(3, "--nodes", help="Members of each cluster.", min=3, max=NODES_MAX),
    processes: int = typer.Option(
        None, "--processes", help="Runs at a time. [default: one for each core]", min=1, show_default=False
    ),
    plot: Path = PLOT,
    as_json: bool = typer.Option(False, "--json", help="Report in JSON."),
) -> None:
    """Run the same load and the same fault on each engine, in the simulator, and measure.

    Whole nodes run in virtual time, on links of 0.5 to 1.5 ms and disks that sync in 1 to 2 ms, with a server's limits
    and time-outs; computing takes no time there. The same arguments give the same numbers, on any machine.

    \b
    Examples:
      ratified compare --scenario leader-crash --seeds 20
      ratified compare --engines raft,zab --scenario bursts --json
      ratified compare --scenario leader-crash --seeds 20 --plot crash.png
    """
    from ratified.compare.comparison import PLANS, ComparisonBroken, summarize

    if scenario == "help":
        for name, plan in PLANS.items():
            typer.echo(f"{name:20} {plan.text}")
        return
    choose("--scenario", scenario, list(PLANS))
    names = _split(engines)
    if plot is not None:
        _check_plot(plot)
    try:
        runs = _measure(names, scenario, range(first, first + seeds), nodes, processes or os.cpu_count() or 1)
    except ComparisonBroken as broken:
        raise CommandFailed(f"a check failed, so there is nothing to compare: {broken}") from broken
    summaries = [summarize(runs[name]) for name in names]
    if as_json:
        _print_json(scenario, seeds, first, nodes, summaries, runs)
    else:
        _print_table(f"{scenario}: {PLANS[scenario].text}", f"{nodes} nodes, {seeds} runs of each engine", summaries)
    if plot is not None:
        from ratified.cli.plot import draw

        try:
            draw(plot, PLANS[scenario], f"{scenario}, {nodes} nodes, {seeds} runs of each engine", summaries, runs)
        except OSError as error:
            raise CommandFailed(f"--plot: cannot write {plot}: {error.strerror}; name another file") from error


def _split(engines: str | None) -> list[str]:
    from ratified.consensus.engines import ENGINES

    if engines is None:
        return list(ENGINES)
    names = list(dict.fromkeys(part.strip() for part in engines.split(",") if part.strip()))
    if not names:
        raise CommandFailed("--engines names none; write some, separated by commas, such as raft,paxos")
    for name in names:
        row(name, "--engines")
    return names


def _check_plot(plot: Path) -> None:
    """Say before hours of runs what would prevent the figure."""
    if plot.suffix not in PLOT_FORMATS:
        raise CommandFailed(f"--plot is {str(plot)!r}; end the name in one of: {', '.join(PLOT_FORMATS)}")
    if not plot.absolute().parent.is_dir():
        raise CommandFailed(f"--plot: there is no directory {plot.absolute().parent}; make it, or name another file")
    try:
        import matplotlib  # noqa: F401 - whether it is there is all that is asked here
    except ModuleNotFoundError as missing:
        raise CommandFailed(
            "--plot needs matplotlib, which is not installed: pip install 'ratified[plot]'"
        ) from missing


def _measure(
    names: Sequence[str], scenario: str, seeds: Sequence[int], nodes: int, processes: int
) -> dict[str, list[Measured]]:
    """All runs, by engine, in the order of the seeds; with a progress bar on a terminal's standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    runs: dict[str, list[Measured]] = {name: [] for name in names}
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(scenario, total=len(names) * len(seeds))
        for run in all_runs([(name, scenario, seed, nodes) for seed in seeds for name in names], processes):
            runs[run.engine].append(run)
            progress.update(task, advance=1)
    return runs


def all_runs(jobs: Sequence[tuple[str, str, int, int]], processes: int) -> Iterator[Measured]:
    """In the order of the jobs, whoever runs them."""
    from ratified.compare.comparison import measure

    if processes == 1:
        for job in jobs:
            yield measure(*job)
        return
    with ProcessPoolExecutor(processes) as workers:
        yield from workers.map(measure, *zip(*jobs, strict=True))


def _print_json(
    scenario: str, seeds: int, first: int, nodes: int, summaries: list[Summary], runs: dict[str, list[Measured]]
) -> None:
    import msgspec

    document: dict[str, Any] = {
        "scenario": scenario,
        "nodes": nodes,
        "first": first,
        "seeds": seeds,
        "engines": [msgspec.to_builtins(summary) for summary in summaries],
        "runs": [
            {name: value for name, value in msgspec.to_builtins(run).items() if name != "writes"}
            | {"commits": len(run.writes)}
            for engine_runs in runs.values()
            for run in engine_runs
        ],
    }
    typer.echo(msgspec.json.format(msgspec.json.encode(document)).decode())


def _print_table(title: str, caption: str, summaries: Sequence[Summary]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=caption, caption_justify="left")
    table.add_column("")
    for summary in summaries:
        table.add_column(summary.engine, justify="right")
    for heading, cells in rows_of(summaries):
        table.add_row(heading, *cells)
    typer.echo(title)
    Console(width=None if Console().is_terminal else 120).print(table)


def rows_of(summaries: Sequence[Summary]) -> list[tuple[str, list[str]]]:
    """The table: a heading and a cell for each engine. What no engine has is left out."""
    rows = [
        ("writes acknowledged", [f"{one.commits}" for one in summaries]),
        ("writes of unknown outcome", [f"{one.unacknowledged}" for one in summaries]),
        ("messages per commit", [f"{one.messages_per_commit:.2f}" for one in summaries]),
        ("frames per commit", [f"{one.frames_per_commit:.2f}" for one in summaries]),
        ("bytes sent per commit", [f"{one.wire_bytes_per_commit:.0f}" for one in summaries]),
        ("log bytes per commit and member", [f"{one.log_bytes_per_commit:.0f}" for one in summaries]),
        ("commit latency, p50", [_ms(one.latency_p50_us) for one in summaries]),
        ("commit latency, p99", [_ms(one.latency_p99_us) for one in summaries]),
        ("without a commit after the fault, median", [_ms(one.without_commit_median_us) for one in summaries]),
        ("without a commit after the fault, longest", [_ms(one.without_commit_most_us) for one in summaries]),
        ("until the returned member has caught up, median", [_ms(one.catch_up_median_us) for one in summaries]),
        ("  messages for it, median", [_count(one.catch_up_messages_median) for one in summaries]),
        ("  bytes for it, median", [_count(one.catch_up_wire_bytes_median) for one in summaries]),
    ]
    return [(heading, cells) for heading, cells in rows if any(cells)]


def _ms(us: int | None) -> str:
    return "" if us is None else f"{us / 1000:.1f} ms"


def _count(number: int | None) -> str:
    return "" if number is None else str(number)
