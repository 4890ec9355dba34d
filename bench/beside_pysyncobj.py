"""Proposals a second of this library's ``Host`` and of PySyncObj, in turn: three processes each, replicated by Raft.

    python bench/pysyncobj.py [--outstanding 1 64 1000] [--seconds 4] [--rounds 3] [--value-bytes 256] [--json]

Needs PySyncObj (``pip install ratified[bench]``), with its journal in a file, flushed with each entry, and everything
else as it comes: what its documentation shows. That flush is no fsync: ours is in every figure. The leader's process
keeps so many proposals open. Medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from host_propose import WARM_UP_S
from rich.console import Console
from rich.table import Table

from ratified.testing.processes import free_ports

NODES = 3


class Load:
    """Keeps ``outstanding`` proposals open; each answer, on the library's own thread, makes the next one."""

    def __init__(self, put: Callable[..., None], value: bytes) -> None:
        self._put = put
        self._value = value
        self._done = 0
        self._until = 0.0
        self._open = 0
        self._over = threading.Event()

    def run(self, outstanding: int, seconds: float) -> float:
        """How many were done a second."""
        self._done, self._open = 0, outstanding
        self._over.clear()
        began = time.perf_counter()
        self._until = began + seconds
        for _ in range(outstanding):
            self._put(self._value, callback=self._answered)
        self._over.wait()
        return self._done / (time.perf_counter() - began)

    def _answered(self, result: object, error: object) -> None:
        self._done += not error
        if time.perf_counter() < self._until:
            self._put(self._value, callback=self._answered)
            return
        self._open -= 1
        if not self._open:
            self._over.set()


def serve(arguments: argparse.Namespace) -> None:
    """One of the three processes: obeys lines on standard input."""
    from pysyncobj import SyncObj, SyncObjConf, replicated

    class Sink(SyncObj):  # type: ignore[misc]
        """Counts commands and forgets them."""

        def __init__(self, own: str, others: list[str], journal: str) -> None:
            super().__init__(own, others, SyncObjConf(journalFile=journal, flushJournal=True))
            self.count = 0

        @replicated  # type: ignore[untyped-decorator]
        def put(self, value: bytes) -> int:
            self.count += 1
            return self.count

    own, *others = arguments.serve
    sink = Sink(own, others, arguments.journal)
    for line in sys.stdin:
        match line.split():
            case ["leads"]:
                leader = sink.getStatus()["leader"]
                answer: object = leader is not None and str(leader) == own
            case ["load", outstanding, seconds, value_bytes]:
                load = Load(sink.put, bytes(int(value_bytes)))
                load.run(int(outstanding), WARM_UP_S)
                answer = load.run(int(outstanding), float(seconds))
            case _:
                raise SystemExit(f"no such order: {line!r}")
        print(json.dumps(answer), flush=True)


class Process:
    """A serving process and its orders."""

    def __init__(self, own: str, others: list[str], journal: Path) -> None:
        command = [sys.executable, __file__, "--journal", str(journal), "--serve", own, *others]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def order(self, line: str) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def theirs(outstanding: list[int], seconds: float, value_bytes: int) -> list[float]:
    """Proposals a second of PySyncObj."""
    names = [f"127.0.0.1:{port}" for port in free_ports(NODES)]
    with tempfile.TemporaryDirectory(prefix="ratified-bench-") as scratch:
        processes = [
            Process(own, [name for name in names if name != own], Path(scratch) / str(number))
            for number, own in enumerate(names)
        ]
        try:
            while not (leaders := [each for each in processes if each.order("leads")]):
                time.sleep(0.1)
            orders = [f"load {count} {seconds} {value_bytes}" for count in outstanding]
            return [float(str(leaders[0].order(order))) for order in orders]
        finally:
            for each in processes:
                each.end()


def ours(outstanding: list[int], seconds: float, value_bytes: int) -> list[float]:
    """Proposals a second of ``Host``."""
    program = Path(__file__).with_name("host_propose.py")
    counts = [str(count) for count in outstanding]
    command = [sys.executable, str(program), "--work", "propose", f"--seconds={seconds}"]
    command += [f"--value-bytes={value_bytes}", "--outstanding", *counts]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [line["per_s"] for line in lines if "per_s" in line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outstanding", type=int, nargs="+", default=[1, 64, 1000])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--json", action="store_true", help="print the medians as JSON")
    for internal in ("--serve", "--journal"):
        parser.add_argument(internal, nargs="+" if internal == "--serve" else None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments)
        return
    load = (arguments.outstanding, arguments.seconds, arguments.value_bytes)
    rounds = [(ours(*load), theirs(*load)) for _ in range(arguments.rounds)]
    medians = [
        [statistics.median(each[side][at] for each in rounds) for side in (0, 1)]
        for at in range(len(arguments.outstanding))
    ]
    if arguments.json:
        print(json.dumps(dict(zip(map(str, arguments.outstanding), medians, strict=True))))
        return
    shown = Table(title="proposals a second; this / PySyncObj")
    for column in ("outstanding", "this", "PySyncObj", "ratio"):
        shown.add_column(column, justify="right")
    for count, (mine, other) in zip(arguments.outstanding, medians, strict=True):
        shown.add_row(f"{count:,}", f"{mine:,.0f}", f"{other:,.0f}", f"{mine / other:.1f}" if other else "-")
    Console().print(shown)


if __name__ == "__main__":
    main()
