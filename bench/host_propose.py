"""Proposals a second on three hosts in three processes, without any client protocol.

    python bench/host_propose.py [--outstanding 1 64 512] [--seconds 5] [--value-bytes 256] [--at leader|follower]
                                 [--profile FILE]

Every process starts one ``Host``; the one named by ``--at`` keeps so many proposals outstanding. In the same run it
measures what the disk gives by itself: a write of one sector and an fdatasync, one after another. ``--profile`` writes
a cProfile of the loading process during the last measurement.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import uvloop

from ratified import Host, HostConfig, StateMachine
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.runtime import Outcome, Reply, Work

NAMES = "abc"
WARM_UP_S = 1.0
TIMEOUT_US = 7_000_000


class Sink(StateMachine):
    """Counts commands and forgets them: what is measured is everything around it."""

    count = 0

    def apply(self, command: bytes) -> bytes:
        self.count += 1
        return b""

    def query(self, request: bytes) -> bytes:
        return b"%d" % self.count

    def snapshot(self) -> bytes:
        return b"%d" % self.count

    def restore(self, pieces: Iterable[bytes]) -> None:
        self.count = int(b"".join(pieces))


class Load:
    """Keeps ``outstanding`` requests open: each reply sends the next."""

    def __init__(self, host: Host, work: Work, data: bytes) -> None:
        self._host = host
        self._work = work
        self._data = data
        self.latencies_us: list[int] = []
        self.refused = 0
        self._open = 0
        self._until = 0.0
        self._ended = asyncio.Event()

    async def run(self, outstanding: int, seconds: float) -> float:
        """Load for so long; how long it took until the last reply."""
        began = time.perf_counter()
        self._until = began + seconds
        self._ended.clear()
        for _ in range(outstanding):
            self._submit()
        await self._ended.wait()
        return time.perf_counter() - began

    def _submit(self) -> None:
        began = time.perf_counter_ns()

        def on_reply(reply: Reply) -> None:
            now = time.perf_counter_ns()
            self._open -= 1
            if reply.outcome is Outcome.DONE:
                self.latencies_us.append((now - began) // 1000)
            else:
                self.refused += 1
            if now < self._until * 1e9:
                self._submit()
            elif not self._open:
                self._ended.set()

        self._open += 1
        self._host.submit(self._work, 0, self._data, TIMEOUT_US, on_reply)


async def measure(host: Host, work: Work, data: bytes, outstanding: int, seconds: float) -> dict[str, object]:
    await Load(host, work, data).run(outstanding, WARM_UP_S)
    load = Load(host, work, data)
    cpu = time.process_time()
    before = host.status().turns.turns
    took = await load.run(outstanding, seconds)
    cpu = time.process_time() - cpu
    turns = host.status().turns.turns - before
    latencies = sorted(load.latencies_us)
    count = len(latencies)
    return {
        "work": work.value,
        "outstanding": outstanding,
        "per_s": round(count / took),
        "p50_us": latencies[count // 2],
        "p99_us": latencies[count * 99 // 100],
        "cpu_us_each": round(cpu / count * 1e6, 1),
        "requests_a_turn": round(count / turns, 1),
        "refused": load.refused,
    }


async def serve(arguments: argparse.Namespace) -> None:
    """One of the three processes: obeys lines on standard input, answers in JSON on standard output."""
    listener = socket.socket(fileno=arguments.listen_fd)
    host = await Host.start(
        HostConfig(
            name=arguments.serve,
            data_dir=arguments.data_dir,
            cluster=json.loads(arguments.cluster),
            listen=[listener],
            engine=ENGINES[arguments.engine],
        ),
        Sink,
    )
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        match line.split():
            case ["leads"]:
                await host.query(b"")
                answer: object = host.leader() == host.member
            case ["load", work, outstanding, seconds, value_bytes, profile]:
                profiler = cProfile.Profile() if profile != "-" else None
                if profiler is not None:
                    profiler.enable()
                answer = await measure(host, Work(work), bytes(int(value_bytes)), int(outstanding), float(seconds))
                if profiler is not None:
                    profiler.disable()
                    profiler.dump_stats(profile)
            case _:
                raise SystemExit(f"no such order: {line!r}")
        print(json.dumps(answer), flush=True)
    await host.close()


def bare_syncs_per_s(directory: str, seconds: float = 1.0) -> float:
    """Writes of one sector, each with its fdatasync."""
    descriptor = os.open(Path(directory) / "bare", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, 64 << 20)
    os.fsync(descriptor)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        os.pwrite(descriptor, bytes(512), count * 512 % (64 << 20))
        os.fdatasync(descriptor)
        count += 1
    os.close(descriptor)
    return count / (time.perf_counter() - began)


class Process:
    """A serving process and its orders."""

    def __init__(
        self, name: str, directory: str, cluster: dict[str, str], listener: socket.socket, engine: str
    ) -> None:
        command = [sys.executable, __file__, "--serve", name, "--data-dir", f"{directory}/{name}"]
        command += ["--cluster", json.dumps(cluster), "--engine", engine, "--listen-fd", str(listener.fileno())]
        self._process = subprocess.Popen(
            command, pass_fds=[listener.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        listener.close()

    def order(self, line: str) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outstanding", type=int, nargs="+", default=[1, 64, 512])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--at", choices=["leader", "follower"], default="leader")
    parser.add_argument("--work", choices=["propose", "read"], nargs="+", default=["propose", "read"])
    parser.add_argument("--engine", choices=list(ENGINES), default=DEFAULT_ENGINE)
    parser.add_argument("--profile", default="-")
    for internal in ("--serve", "--data-dir", "--cluster"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    parser.add_argument("--listen-fd", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(arguments))
        return
    with tempfile.TemporaryDirectory(dir=".") as directory:
        print(json.dumps({"bare_syncs_per_s": round(bare_syncs_per_s(directory))}))
        listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in NAMES}
        cluster = {name: "{}:{}".format(*listener.getsockname()) for name, listener in listeners.items()}
        processes = [Process(name, directory, cluster, listeners[name], arguments.engine) for name in NAMES]
        try:
            loading = next(each for each in processes if each.order("leads") is (arguments.at == "leader"))
            runs = [(work, outstanding) for work in arguments.work for outstanding in arguments.outstanding]
            for work, outstanding in runs:
                profile = arguments.profile if (work, outstanding) == runs[-1] else "-"
                order = f"load {work} {outstanding} {arguments.seconds} {arguments.value_bytes} {profile}"
                print(json.dumps(loading.order(order)), flush=True)
        finally:
            for each in processes:
                each.end()


if __name__ == "__main__":
    main()
