"""How soon a cluster of this and one of etcd serve again after all their processes were killed, with many keys.

    python bench/restart.py [--keys 1000000] [--value-bytes 256] [--rounds 3] [--engine raft] [--json]

Needs what ``bench/clients.py`` needs. Three nodes, filled once; then all are killed at once, and started together
again, as many times as there are rounds. Measured is from the start of the processes until a linearizable read is
answered. Medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from clients import Load
from rich.console import Console
from rich.table import Table
from systems import etcd, memory, ratified

from ratified.client import Client, ClientError
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES

SETTLES_S = 3.0
ATTEMPT_S = 1.0


def seconds_until_read(ports: Sequence[int]) -> float:
    began = time.monotonic()
    with Client([f"127.0.0.1:{port}" for port in ports], timeout_s=ATTEMPT_S) as client:
        while True:
            try:
                client.get("nothing there")
            except ClientError:
                continue
            return time.monotonic() - began


def measure(name: str, load: Load, rounds: int, engine: str) -> tuple[float, float]:
    """Seconds, and the memory of all nodes in MiB when they serve again."""
    with tempfile.TemporaryDirectory(prefix="ratified-bench-") as scratch:
        directory = Path(scratch)
        with ratified(directory, engine) if name == "ratified" else etcd(directory) as system:
            load.fill(system)
            time.sleep(SETTLES_S)
            found = []
            for _ in range(rounds):
                system.kill()
                system.start()
                found.append(seconds_until_read(system.ports))
                time.sleep(SETTLES_S)
            return statistics.median(found), memory(system.pids) / (1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", choices=ENGINES, default=DEFAULT_ENGINE)
    parser.add_argument("--json", action="store_true", help="print the medians as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ratified-bench-") as scratch:
        load = Load(Path(scratch), arguments.keys, arguments.value_bytes)
        names = ("ratified", "etcd")
        results = {name: measure(name, load, arguments.rounds, arguments.engine) for name in names}
    if arguments.json:
        print(json.dumps(results))
        return
    shown = Table(title=f"{arguments.keys:,} keys of {arguments.value_bytes} bytes, three nodes")
    for column in ("", "this", "etcd", "ratio"):
        shown.add_column(column, justify="left" if not column else "right")
    for row, at in (("s until a read is answered", 0), ("MiB of memory then", 1)):
        mine, other = results["ratified"][at], results["etcd"][at]
        shown.add_row(row, f"{mine:,.2f}", f"{other:,.2f}", f"{mine / other:.2f}")
    Console().print(shown)


if __name__ == "__main__":
    main()
