"""What a client that asks for a snapshot and does not read it costs: how far the store's file grows beside it.

    python bench/unread_snapshots.py [--seconds 25] [--keys 100000] [--streams 1] [--read 0] [--systems ratified etcd]

One member of each system. Small puts go on for some seconds, first alone and then beside so many streams of
``Maintenance/Snapshot``, of each of which ``--read`` MiB are read in a second (0: none, but for the 64 KiB that gRPC
takes by itself), and the rest after the puts. For each: how large the file was before, at most and after, and how
the streams ended. etcd is the one found on the PATH.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc.aio

from ratified.client import Do
from ratified.client.aio import AsyncClient
from ratified.testing.processes import LocalCluster, free_ports

OPS_A_TXN = 100
CALLERS = 16
VALUE = "v" * 256
UNREAD = (("grpc.http2.bdp_probe", 0), ("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
"""gRPC takes 64 KiB by itself, and grants no more."""
MIB = 1 << 20


class Member(NamedTuple):
    endpoint: str
    file: Path


@contextmanager
def ratified(directory: Path) -> Iterator[Member]:
    with LocalCluster(directory, 1) as cluster:
        (file,) = (directory / "node1").rglob("data.mdb")
        yield Member(cluster.endpoints[0], file)


@contextmanager
def etcd(directory: Path) -> Iterator[Member]:
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    with (directory / "etcd.log").open("w") as log:
        process = subprocess.Popen(
            [
                "etcd",
                f"--data-dir={directory / 'data'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--logger=zap",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield Member(client.removeprefix("http://"), directory / "data/member/snap/db")
        finally:
            process.kill()
            process.wait()


class Row(NamedTuple):
    what: str
    puts: int
    before_mib: float
    most_mib: float
    after_mib: float
    ended: Counter[str]


async def fill(member: Member, keys: int) -> None:
    async with AsyncClient([member.endpoint], timeout_s=60) as client:
        for first in range(0, keys, OPS_A_TXN):
            await client.txn((), [Do.put(f"key{first + at:07}", VALUE) for at in range(OPS_A_TXN)])


async def put_for(member: Member, seconds: float, keys: int) -> int:
    puts = 0
    end = time.monotonic() + seconds

    async def call(client: AsyncClient) -> None:
        nonlocal puts
        while time.monotonic() < end:
            puts += 1
            await client.put(f"key{puts * 7919 % keys:07}", f"{puts} {VALUE}")

    async with AsyncClient([member.endpoint], timeout_s=60) as client:
        await asyncio.gather(*(call(client) for _ in range(CALLERS)))
    return puts


async def take(member: Member, mib_a_second: float, put: asyncio.Event) -> str:
    """How the stream ended."""
    began = time.monotonic()
    taken = 0
    async with grpc.aio.insecure_channel(member.endpoint, options=UNREAD) as channel:
        stream = channel.unary_stream("/etcdserverpb.Maintenance/Snapshot")(b"")
        if not mib_a_second:
            await put.wait()
        try:
            async for part in stream:
                taken += len(part)
                late_s = began + taken / MIB / mib_a_second - time.monotonic() if mib_a_second else 0
                if late_s > 0:
                    await asyncio.wait([asyncio.ensure_future(put.wait())], timeout=late_s)
            return f"whole, {taken / MIB:.0f} MiB in {time.monotonic() - began:.0f} s"
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"


async def measure(what: str, member: Member, options: argparse.Namespace, streams: int) -> Row:
    def size_mib() -> float:
        return member.file.stat().st_size / MIB

    before = most = size_mib()
    put = asyncio.Event()
    taking = [asyncio.ensure_future(take(member, options.read, put)) for _ in range(streams)]
    await asyncio.sleep(1)
    putting = asyncio.ensure_future(put_for(member, options.seconds, options.keys))
    while not putting.done():
        await asyncio.wait([putting], timeout=0.2)
        most = max(most, size_mib())
    put.set()
    ended = await asyncio.gather(*taking)
    return Row(what, putting.result(), before, most, size_mib(), Counter(ended))


async def run(name: str, member: Member, options: argparse.Namespace) -> None:
    await fill(member, options.keys)
    for what, streams in (("puts alone", 0), (f"beside {options.streams} streams", options.streams)):
        row = await measure(f"{name}, {what}", member, options, streams)
        print(
            f"{row.what:32} {row.puts:7,} puts  MiB {row.before_mib:6.0f} {row.most_mib:6.0f} {row.after_mib:6.0f}",
            flush=True,
        )
        for how, times in row.ended.items():
            print(f"  {times} x {how}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=25)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--read", type=float, default=0, help="MiB that each client reads in a second")
    parser.add_argument("--systems", nargs="+", choices=["ratified", "etcd"], default=["ratified", "etcd"])
    options = parser.parse_args()
    for name in options.systems:
        if name == "etcd" and shutil.which("etcd") is None:
            continue
        system = ratified if name == "ratified" else etcd
        with tempfile.TemporaryDirectory(prefix="ratified-bench-") as directory, system(Path(directory)) as member:
            asyncio.run(run(name, member, options))


if __name__ == "__main__":
    main()
