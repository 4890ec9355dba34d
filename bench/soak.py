"""Clients of all kinds come and go for an hour: do the nodes' memory and descriptors stay as they were?

    python bench/soak.py [--minutes 60] [--engine raft] [--plot docs/soak.png] [--json]

Needs what ``bench/clients.py`` needs. Three nodes; one load of etcd's Go client after another, each with connections of
its own, half of them killed in the middle of what they asked; beside them, all the time, strangers who connect and say
nothing, half a preface, or half a request, and leave with or without a word. History is compacted once a minute. Once
in two seconds it is noted what memory each node has of its own, and how many descriptors; at the end what is left of
both, when nobody has been there for half a minute. Prints the greatest of each in every tenth of the run.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from clients import Load, Row
from rich.console import Console
from rich.progress import Progress
from systems import System, memory, ratified

from ratified.client import Client
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES

LOADS = [
    Row("put", 64),
    Row("watch", 500),
    Row("get", 200),
    Row("keepalive", 64),
    Row("txn", 64),
    Row("range", 20),
    Row("mixed", 100),
]
KEYS = 10_000
VALUE_BYTES = 256
LOAD_S = 4.0
KILLED_AFTER_S = 2.5
SAMPLE_S = 2.0
COMPACT_S = 60.0
REST_S = 30.0
STRANGERS_AT_ONCE = 20
PARTS = 10
MIB = 1 << 20

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes(3) + b"\x04" + bytes(5)
HALF_A_CALL = b"\x00\x00\x40\x01\x04\x00\x00\x00\x01" + b"\x83\x86"
WORDS = [
    b"",
    PREFACE[:11],
    PREFACE,
    PREFACE + SETTINGS,
    PREFACE + SETTINGS + HALF_A_CALL,
    b"GET /health HTTP/1.1\r\nHo",
]
"""What strangers say before they leave."""
RESETS = struct.pack("ii", 1, 0)
"""SO_LINGER by which a close is a reset."""


class Sample(msgspec.Struct):
    """What was there at one moment, by node."""

    seconds: float
    memory_mib: list[float]
    descriptors: list[int]


def stranger_waves(port: int, over: threading.Event) -> None:
    """Some connect at once, say something, and leave, again and again."""
    draws = random.Random(1)
    while not over.wait(0.2):
        with contextlib.ExitStack() as open_ones:
            for _ in range(STRANGERS_AT_ONCE):
                connection = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                with contextlib.suppress(ConnectionError):
                    connection.sendall(draws.choice(WORDS))
                if draws.random() < 0.5:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)


def look(system: System, began: float) -> Sample:
    return Sample(
        time.monotonic() - began,
        [memory([pid]) / MIB for pid in system.pids],
        [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in system.pids],
    )


def compact(port: int) -> None:
    with Client([f"127.0.0.1:{port}"]) as client:
        client.compact(client.range("nothing there").revision)


def soak(system: System, load: Load, minutes: float) -> list[Sample]:
    """The samples; the last one is of after the rest."""
    samples: list[Sample] = []
    over = threading.Event()
    strangers = threading.Thread(target=stranger_waves, args=(system.leader_port, over))
    began = time.monotonic()
    compacted = began
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("soaking", total=minutes * 60)
        strangers.start()
        try:
            for number, row in enumerate(itertools.cycle(LOADS)):
                if time.monotonic() - began > minutes * 60:
                    break
                process = load.start(system, row, LOAD_S)
                ends = time.monotonic() + KILLED_AFTER_S if number % 2 else None
                while process.poll() is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(SAMPLE_S)
                    if ends is not None and time.monotonic() > ends:
                        process.kill()
                    samples.append(look(system, began))
                    progress.update(task, completed=time.monotonic() - began)
                process.communicate()
                if time.monotonic() - compacted > COMPACT_S:
                    compact(system.leader_port)
                    compacted = time.monotonic()
        finally:
            over.set()
            strangers.join()
    time.sleep(REST_S)
    samples.append(look(system, began))
    return samples


def plot(file: Path, engine: str, samples: Sequence[Sample]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{engine}, three nodes, clients that come and go for {samples[-1].seconds / 60:.0f} minutes")
    minutes = [sample.seconds / 60 for sample in samples]
    memory_axes, descriptor_axes = figure.subplots(1, 2)
    memory_axes.set(title="memory of the process", ylabel="MiB")
    descriptor_axes.set(title="descriptors", ylabel="open")
    for number in range(len(samples[0].descriptors)):
        memory_axes.plot(
            minutes, [each.memory_mib[number] for each in samples], label=f"node{number + 1}", linewidth=0.7
        )
        descriptor_axes.plot(minutes, [each.descriptors[number] for each in samples], linewidth=0.7)
    for axes in (memory_axes, descriptor_axes):
        axes.set(xlabel="minutes", ylim=(0, None))
    figure.axes[0].legend()
    figure.savefig(file, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--engine", choices=ENGINES, default=DEFAULT_ENGINE)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", action="store_true", help="print all samples as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ratified-bench-") as scratch:
        load = Load(Path(scratch), KEYS, VALUE_BYTES)
        with ratified(Path(scratch) / "nodes", arguments.engine) as system:
            load.fill(system)
            samples = soak(system, load, arguments.minutes)
    if arguments.plot:
        plot(arguments.plot, arguments.engine, samples)
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(samples)))
        return
    print(f"{'minutes':>10} {'MiB at most':>12} {'descriptors at most':>20}")
    for part in range(PARTS):
        of_part = samples[part * len(samples) // PARTS : (part + 1) * len(samples) // PARTS]
        most = max(max(each.memory_mib) for each in of_part), max(max(each.descriptors) for each in of_part)
        print(f"{of_part[-1].seconds / 60:>10.1f} {most[0]:>12.0f} {most[1]:>20}")
    last = samples[-1]
    print(f"at rest: {', '.join(f'{each:.0f}' for each in last.memory_mib)} MiB, {last.descriptors} descriptors")


if __name__ == "__main__":
    main()
