"""Many worlds: ``python -m ratified.sim.sweep [--engine X] [--seeds N] [--first N] [--duration S] [--processes N]
[--digests FILE]``.

Every seed is one short, nasty run: scenario and network follow from it in turn, so that all of them get their share (an
engine that stands on sessions gets no other network). Many short runs find more than few long ones, because what a seed
draws once (limits, timers, sizes) is what differs most. Which process runs a seed changes nothing: results are reported
in the order of the seeds, and the same sweep ends with the same digest on one core and on many.

A sweep fails where a check fails, and where something that must happen has not: a quiet world proves nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ratified.check.protocols import PROTOCOLS
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.sim.arguments import Arguments
from ratified.sim.faults.registry import FAULTS
from ratified.sim.options import NetworkModel
from ratified.sim.report import Report
from ratified.sim.scenario import SCENARIOS
from ratified.sim.simulation import simulate

SEEDS = 2_000
DURATION_S = 2.0
SEEDS_A_LINE = 200
"""Where there is no terminal to show a bar on, it says so often how far it is."""
IN_TURN = [name for name, scenario in SCENARIOS.items() for _ in range(scenario.weight)]
"""The scenarios of as many seeds in a row."""

MUST_HAPPEN = (
    "bytes heard before their frame",
    "connections stalled",
    "elections",
    "fetches",
    "learners promoted",
    "members added",
    "members removed",
    "members that left",
    "nodes joined",
    "fragments",
    "heartbeats of rest",
    "forwards refused",
    "forwards taken",
    "leases expired",
    "leases kept alive",
    "progress answers",
    "reads in limbo",
    "reads not confirmed",
    "reads refused",
    "requests abandoned",
    "requests of unknown outcome",
    "requests proposed again",
    "stores rebuilt",
    "stores begun as checkpoints",
    "stores full",
    "stores with room again",
    "checkpoints interrupted",
    "segments removed",
    "snapshots installed",
    "snapshots installed at a start",
    "deaths at an installation",
    "tails cut",
    "voids sent",
    "users: done",
    "users: events",
    "users: permission denied",
    "users: read permission denied",
    "users: watches ended",
    "users: who asks is known from before a change",
    "watch events",
    "watches compacted",
    "watches held",
    "range reads in slices",
    "ranges deleted",
    "batches read",
    "long comparisons",
    "long transactions read",
    "counts at old revisions",
    "answers too large",
    "long turns",
    "writes lost with a machine",
    "unsynced states lost",
    "writes torn",
)
"""Counters that a sweep of ``SEEDS`` seeds must not leave at zero, beside every fault's own and the protocol's."""


def arguments_of(seed: int, duration_us: int, engine: str = DEFAULT_ENGINE) -> Arguments:
    models = (NetworkModel.SESSION,) if PROTOCOLS[engine].stands_on_sessions else tuple(NetworkModel)
    return Arguments(
        seed=seed,
        duration_us=duration_us,
        scenario=IN_TURN[seed % len(IN_TURN)],
        network=models[seed // len(IN_TURN) % len(models)].value,
        engine=engine,
    )


def must_happen(engine: str) -> tuple[str, ...]:
    """What a long sweep of this engine must have seen."""
    row = PROTOCOLS[engine]
    faults = [name for fault in FAULTS.values() for name in fault.counters]
    if not row.stands_on_sessions:
        faults += [name for fault in FAULTS.values() for name in fault.datagram_counters]
    return (*faults, *MUST_HAPPEN, *row.must_happen)


def sweep(worlds: Sequence[Arguments], processes: int) -> Iterator[Report]:
    """All reports, in the order of the worlds."""
    if processes == 1:
        yield from map(simulate, worlds)
        return
    with ProcessPoolExecutor(processes) as workers:
        yield from workers.map(simulate, worlds, chunksize=4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sweep and say what it found; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ratified.sim.sweep", description="Run many simulated worlds.")
    parser.add_argument("--engine", choices=list(ENGINES), default=DEFAULT_ENGINE, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default: %(default)s)")
    parser.add_argument(
        "--duration", type=float, default=DURATION_S, help="virtual seconds under faults (default: %(default)s)"
    )
    parser.add_argument("--processes", type=int, default=2, help="how many at a time (default: %(default)s)")
    parser.add_argument(
        "--digests", type=Path, metavar="FILE", help="write each seed and its digest: equal files, equal behaviour"
    )
    wanted = parser.parse_args(arguments)
    console = Console()
    seeds = range(wanted.first, wanted.first + wanted.seeds)
    worlds = [arguments_of(seed, int(wanted.duration * 1e6), wanted.engine) for seed in seeds]
    counters: Counter[str] = Counter()
    digest = hashlib.sha256()
    broken: list[Report] = []
    events = 0
    began = time.monotonic()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[broken]} broken"), TimeElapsedColumn())
    with contextlib.ExitStack() as stack:
        digests = None if wanted.digests is None else stack.enter_context(wanted.digests.open("w"))
        progress = stack.enter_context(Progress(*columns, console=console))
        task = progress.add_task("seeds", total=len(seeds), broken=0)
        for report in sweep(worlds, wanted.processes):
            counters.update(report.counters)
            digest.update(bytes.fromhex(report.digest))
            if digests is not None:
                print(report.arguments.seed, report.digest, file=digests)
            events += report.events
            if report.broken is not None:
                broken.append(report)
                text = f"seed {report.arguments.seed}: {report.broken[0]}: {report.broken[1]}\n  {report.replay}"
                progress.console.print(text, soft_wrap=True)
            progress.update(task, advance=1, broken=len(broken))
            done = report.arguments.seed - seeds.start + 1
            if not console.is_terminal and done % SEEDS_A_LINE == 0:
                console.print(f"{done} of {len(seeds)} seeds, {len(broken)} broken, {time.monotonic() - began:.0f} s")
    seconds = time.monotonic() - began
    for name, count in sorted(counters.items()):
        console.print(f"  {name:36} {count}")
    quiet = [name for name in must_happen(wanted.engine) if not counters[name]] if wanted.seeds >= SEEDS else []
    if quiet:
        console.print(f"never happened: {', '.join(quiet)}")
    console.print(
        f"{wanted.engine}: {len(seeds)} seeds, {len(broken)} broken, "
        f"{len(seeds) / seconds / wanted.processes:.1f} seeds/s and core, "
        f"{events / seconds / wanted.processes:.0f} events/s and core, digest {digest.hexdigest()[:16]}"
    )
    return 1 if broken or quiet else 0


if __name__ == "__main__":
    sys.exit(main())
