"""Does a member stay small? So many writes of one cluster, and what its log, its store and its memory take meanwhile.

    python bench/bounded.py [--engine raft] [--writes 2000000] [--keys 100000] [--plot docs/bounded.png] [--json]

Three hosts in three processes with the key-value store, without any client protocol; the leader's process proposes puts
of 256 bytes, many at a time, and compacts the history as an etcd user would. Once a second it is noted how many writes
there were, what the log's files and all others take at each member, and how much memory each process has.
Prints the greatest of each in every tenth of the run; ``--plot`` draws all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from ratified import Host, HostConfig
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.kv import commands
from ratified.kv.store import KvStore
from ratified.runtime import Outcome, Reply, Work
from ratified.testing.processes import free_ports
from ratified.wire.etcd.rpc_pb2 import CompactionRequest, PutRequest, PutResponse

NAMES = "abc"
OUTSTANDING = 256
TIMEOUT_US = 30_000_000
VALUE = b"v" * 256
COMPACTED_EVERY = 50_000
KEPT_REVISIONS = 20_000
MIB = 1 << 20
PARTS = 10


class Sample(msgspec.Struct):
    """Once a second; MiB, by member."""

    seconds: float
    writes: int
    log: list[float]
    store: list[float]
    memory: list[float]


async def member(name: str, directory: str, ports: Sequence[str], wanted: argparse.Namespace) -> None:
    """Run one host; if it leads, write, and say twice a second how much."""
    host = await Host.start(
        HostConfig(
            name=name,
            data_dir=directory,
            cluster={each: f"127.0.0.1:{port}" for each, port in zip(NAMES, ports, strict=True)},
            engine=ENGINES[wanted.engine],
        ),
        lambda group, space: KvStore(space),
    )
    while host.leader() is None:
        await asyncio.sleep(0.05)
    if host.leader() == host.member:
        load = Load(host, wanted.writes, wanted.keys)
        load.begin()
        while load.done < wanted.writes:
            await asyncio.sleep(0.5)
            print(load.done, flush=True)
    await asyncio.Event().wait()


class Load:
    """Keeps so many puts under way: each answer sends the next."""

    def __init__(self, host: Host, writes: int, keys: int) -> None:
        self._host = host
        self._writes = writes
        self._keys = keys
        self._sent = 0
        self.done = 0

    def begin(self) -> None:
        for _ in range(OUTSTANDING):
            self._send()

    def _send(self) -> None:
        if self._sent == self._writes:
            return
        self._sent += 1
        key = b"key%08d" % (self._sent * 7919 % self._keys)
        command = commands.put(PutRequest(key=key, value=VALUE).SerializeToString())
        self._host.submit(Work.PROPOSE, 0, command, TIMEOUT_US, self._answered)

    def _answered(self, reply: Reply) -> None:
        if reply.outcome is not Outcome.DONE:
            raise SystemExit(f"a put was not done: {reply}")
        self.done += 1
        if self.done % COMPACTED_EVERY == 0:
            revision = PutResponse.FromString(reply.data[1:]).header.revision
            compaction = commands.compact(CompactionRequest(revision=revision - KEPT_REVISIONS).SerializeToString())
            self._host.submit(Work.PROPOSE, 0, compaction, TIMEOUT_US, lambda reply: None)
        self._send()


class Process:
    def __init__(self, name: str, directory: Path, ports: Sequence[int], arguments: Sequence[str]) -> None:
        self.directory = directory / name
        self.out = directory / f"{name}.out"
        with self.out.open("w") as out:
            command = [sys.executable, __file__, *arguments, "--member", name, str(self.directory), *map(str, ports)]
            self.process = subprocess.Popen(command, stdout=out)

    @property
    def written(self) -> int:
        """As it said last; 0: it does not lead."""
        lines = self.out.read_text().split("\n")[:-1]
        return int(lines[-1]) if lines else 0

    def log_mib(self) -> float:
        return sum(_blocks(file) for file in self.directory.glob("*.log")) / MIB

    def store_mib(self) -> float:
        """Its checkpoints included."""
        return sum(_blocks(file) for file in self.directory.glob("**/*") if file.suffix != ".log") / MIB

    def memory_mib(self) -> float:
        """Its own pages: those of the store's file are the kernel's, which takes them back when it wants to."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return int(lines["RssAnon"].split()[0]) / 1024


def _blocks(file: Path) -> int:
    try:
        return file.stat().st_blocks * 512
    except FileNotFoundError:
        return 0  # it was removed in this moment


def run(wanted: argparse.Namespace) -> list[Sample]:
    arguments = ["--engine", wanted.engine, "--writes", str(wanted.writes), "--keys", str(wanted.keys)]
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="ratified-bench-") as directory:
        ports = free_ports(len(NAMES))
        processes = [Process(name, Path(directory), ports, arguments) for name in NAMES]
        began = time.monotonic()
        try:
            while not samples or samples[-1].writes < wanted.writes:
                time.sleep(1)
                if any(each.process.poll() is not None for each in processes):
                    raise SystemExit("a member ended")
                samples.append(
                    Sample(
                        round(time.monotonic() - began, 1),
                        max(each.written for each in processes),
                        [round(each.log_mib(), 1) for each in processes],
                        [round(each.store_mib(), 1) for each in processes],
                        [round(each.memory_mib(), 1) for each in processes],
                    )
                )
        finally:
            for each in processes:
                each.process.kill()
                each.process.wait()
    return samples


def plot(file: Path, engine: str, samples: Sequence[Sample]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"{engine}, three members, {samples[-1].writes:,} writes of {len(VALUE)} bytes in {samples[-1].seconds:.0f} s"
    )
    writes = [sample.writes / 1e6 for sample in samples]
    for axes, title, values in zip(
        figure.subplots(1, 3),
        ("log files", "store and checkpoints", "memory of the process"),
        ([s.log for s in samples], [s.store for s in samples], [s.memory for s in samples]),
        strict=True,
    ):
        for number, name in enumerate(NAMES):
            axes.plot(writes, [each[number] for each in values], label=name, linewidth=1)
        axes.set(title=title, xlabel="million writes", ylabel="MiB", ylim=(0, None))
    figure.axes[0].legend()
    figure.savefig(file, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=list(ENGINES), default=DEFAULT_ENGINE)
    parser.add_argument("--writes", type=int, default=2_000_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--member", nargs=5, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.member:
        name, directory, *ports = wanted.member
        uvloop.run(member(name, directory, ports, wanted))
        return
    samples = run(wanted)
    if wanted.plot:
        plot(wanted.plot, wanted.engine, samples)
    if wanted.json:
        print(json.dumps(msgspec.to_builtins(samples)))
        return
    print(f"{wanted.engine}: {samples[-1].writes} writes in {samples[-1].seconds:.0f} s; MiB at most, of any member:")
    print(f"{'writes':>10} {'log':>8} {'store':>8} {'memory':>8}")
    for part in range(1, PARTS + 1):
        of_part = [each for each in samples if (part - 1) * wanted.writes < each.writes * PARTS <= part * wanted.writes]
        if of_part:
            log, store, memory = (
                max(max(values) for values in column)
                for column in ([s.log for s in of_part], [s.store for s in of_part], [s.memory for s in of_part])
            )
            print(f"{of_part[-1].writes:>10} {log:>8.0f} {store:>8.0f} {memory:>8.0f}")


if __name__ == "__main__":
    main()
