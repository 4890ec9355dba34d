"""Puts and linearizable gets a second on three local node processes, through gRPC, and where the time goes.

    python bench/serve.py [--clients 1 64 512] [--seconds 4] [--value-bytes 256] [--engine raft] [--json]

Clients are grpcio's own (asyncio), spread over two processes and all three nodes; each has one call open. In the same
run the same clients call three bare grpcio servers that do nothing: what they reach is the bound that grpcio and this
machine set. For each row the CPU time of clients and nodes is taken from the kernel, and that of the nodes' turns
(protocol, log planning, applying) from the nodes, so that the rest can be seen: gRPC and the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio
import msgspec

from ratified.client import Client
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.testing.processes import LocalCluster, free_ports
from ratified.wire.etcd import rpc_pb2

CLIENT_PROCESSES = 2
KEYS = 10_000
WARM_UP_S = 1.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"


class Load(msgspec.Struct):
    """What one client process does."""

    method: str
    targets: list[str]
    clients: int
    first: int
    seconds: float
    value_bytes: int


class Sample(msgspec.Struct):
    """What one client process saw; latencies in microseconds."""

    latencies: list[int]
    errors: int
    cpu_s: float


class Row(msgspec.Struct):
    """One line of the table."""

    what: str
    clients: int
    per_s: float
    p50_ms: float
    p99_ms: float
    client_cpu_us: float
    node_cpu_us: float
    turn_us: float
    errors: int


class Used(NamedTuple):
    """CPU seconds of processes, and microseconds of turns, so far."""

    cpu_s: float
    turns_us: int


def request(load: Load, number: int) -> bytes:
    key = b"/bench/%06d" % (number * 7919 % KEYS)
    if load.method == PUT:
        return rpc_pb2.PutRequest(key=key, value=os.urandom(load.value_bytes)).SerializeToString()
    return rpc_pb2.RangeRequest(key=key).SerializeToString()


async def load_process(load: Load) -> Sample:
    """The clients of one process."""
    channels = [grpc.aio.insecure_channel(target) for target in load.targets]
    calls = [channel.unary_unary(load.method) for channel in channels]
    sample = Sample([], 0, 0.0)
    loop = asyncio.get_running_loop()
    begin = loop.time() + WARM_UP_S
    end = begin + load.seconds

    async def client(number: int) -> None:
        call = calls[number % len(calls)]
        count = number * 104_729
        while (now := loop.time()) < end:
            count += 1
            try:
                await call(request(load, count), timeout=30)
            except grpc.aio.AioRpcError:
                sample.errors += 1
            if now >= begin:
                sample.latencies.append(int((loop.time() - now) * 1e6))

    clients = [asyncio.ensure_future(client(load.first + number)) for number in range(load.clients)]
    await asyncio.sleep(WARM_UP_S)
    cpu_s = time.process_time()
    await asyncio.gather(*clients)
    sample.cpu_s = time.process_time() - cpu_s
    for channel in channels:
        await channel.close()
    return sample


async def bare_process(port: int) -> None:
    """A grpcio server whose handler does nothing."""

    async def nothing(data: bytes, context: Any) -> bytes:
        return b""

    class Bare(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(nothing)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Bare(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("serving", flush=True)
    await server.wait_for_termination()


def measure(what: str, method: str, targets: list[str], clients: int, options: Any, used: Any) -> Row:
    """Run the clients' processes once."""
    processes = []
    count = min(clients, CLIENT_PROCESSES)
    for number in range(count):
        share = clients // count + (number < clients % count)
        load = Load(method, targets, share, number * (clients // count), options.seconds, options.value_bytes)
        command = [sys.executable, __file__, "--load", msgspec.json.encode(load).decode()]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
    time.sleep(WARM_UP_S + 0.5)
    before: Used = used()
    began = time.monotonic()
    time.sleep(max(options.seconds - 1.0, 0.5))
    after: Used = used()
    window_s = time.monotonic() - began
    samples = [msgspec.json.decode(process.communicate()[0], type=Sample) for process in processes]
    latencies = sorted(latency for sample in samples for latency in sample.latencies)
    done = len(latencies)
    per_s = done / options.seconds
    in_window = max(per_s * window_s, 1.0)
    return Row(
        what=what,
        clients=clients,
        per_s=per_s,
        p50_ms=latencies[done // 2] / 1000,
        p99_ms=latencies[done * 99 // 100] / 1000,
        client_cpu_us=sum(sample.cpu_s for sample in samples) / done * 1e6,
        node_cpu_us=(after.cpu_s - before.cpu_s) / in_window * 1e6,
        turn_us=(after.turns_us - before.turns_us) / in_window,
        errors=sum(sample.errors for sample in samples),
    )


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time of these processes."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


def measure_bare(options: Any) -> list[Row]:
    """Three servers that do nothing."""
    ports = free_ports(3)
    servers = [
        subprocess.Popen([sys.executable, __file__, "--bare", str(port)], stdout=subprocess.PIPE, text=True)
        for port in ports
    ]
    try:
        for server in servers:
            assert server.stdout is not None
            server.stdout.readline()
        pids = [server.pid for server in servers]
        targets = [f"127.0.0.1:{port}" for port in ports]
        return [
            measure("bare grpcio", PUT, targets, clients, options, lambda: Used(cpu_s(pids), 0))
            for clients in options.clients
        ]
    finally:
        for server in servers:
            server.kill()
            server.wait()


def measure_cluster(options: Any) -> list[Row]:
    """Three nodes."""
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="ratified-bench-") as directory,
        LocalCluster(Path(directory), arguments=[f"--engine={options.engine}"]) as cluster,
        Client(cluster.endpoints) as client,
    ):
        pids = [node.pid for node in cluster.nodes if node.pid is not None]

        def used() -> Used:
            return Used(cpu_s(pids), sum(client.report(endpoint).turns_us for endpoint in cluster.endpoints))

        for what, method in (("put", PUT), ("get", RANGE)):
            for clients in options.clients:
                rows.append(measure(what, method, cluster.endpoints, clients, options, used))
    return rows


def show(rows: list[Row]) -> None:
    print(
        f"{'':12} {'clients':>7} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8}"
        f" {'client us':>10} {'nodes us':>9} {'of it turns us':>15} {'errors':>7}"
    )
    for row in rows:
        print(
            f"{row.what:12} {row.clients:7} {row.per_s:8.0f} {row.p50_ms:8.2f} {row.p99_ms:8.2f}"
            f" {row.client_cpu_us:10.0f} {row.node_cpu_us:9.0f} {row.turn_us:15.0f} {row.errors:7}"
        )
    print(
        "us: CPU microseconds an operation, all clients, all three nodes; the nodes' rest is gRPC and the event loop.\n"
        "Turns are measured by the wall clock: where processes wait for a core, they hold that too."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 64, 512])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--engine", choices=list(ENGINES), default=DEFAULT_ENGINE)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        sample = asyncio.run(load_process(msgspec.json.decode(options.load, type=Load)))
        sys.stdout.buffer.write(msgspec.json.encode(sample))
    elif options.bare:
        asyncio.run(bare_process(options.bare))
    else:
        rows = [*measure_bare(options), *measure_cluster(options)]
        if options.json:
            print(json.dumps(msgspec.to_builtins(rows)))
        else:
            show(rows)


if __name__ == "__main__":
    main()
