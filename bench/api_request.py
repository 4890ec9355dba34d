"""What the API adds to a request: decoding, checks, command, header; without transport, consensus or disk.

Run ``python bench/api_request.py [requests]``. The handlers of the table run against one store in memory, to which
what is proposed is applied at once. Prints microseconds of processor time a request, and beside them what the store
alone takes for the same commands and queries, in the same run.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import cast

from google.protobuf.message import Message

from ratified.api.access import Access
from ratified.api.methods import METHODS
from ratified.api.service import Service
from ratified.kv.store import KvStore
from ratified.machine import Command
from ratified.runtime import Host
from ratified.storage.memory import MemoryEnvironment
from ratified.wire.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)

VALUE = bytes(range(256))
KEYS = 1_000
ROUNDS = 5


class StoreAtOnce:
    """What the API asks of a ``Host``, answered by a store without a log; keeps what it was asked."""

    cluster = 1
    member = 1

    def __init__(self) -> None:
        self.environment = MemoryEnvironment()
        self.store = KvStore(self.environment.space(0))
        self.store.lead(0, (1, 0))
        self.apply(self.store.duties(0)[0][0])
        self.asked: list[tuple[Callable[[bytes], bytes], bytes]] = []

    def leader(self) -> int:
        return 1

    def raft_term(self) -> int:
        return 1

    async def propose(self, command: bytes, *, timeout_s: float) -> bytes:
        self.asked.append((self.apply, command))
        return self.apply(command)

    async def query(self, request: bytes, *, timeout_s: float, linearizable: bool) -> bytes:
        self.asked.append((self.read, request))
        return self.read(request)

    async def ask(self, request: bytes, *, timeout_s: float) -> bytes:
        self.asked.append((self.ask_store, request))
        return self.ask_store(request)

    def apply(self, command: bytes) -> bytes:
        index = self.store.applied + 1
        with self.environment.transaction():
            return self.store.apply([Command(index, command)], index, (1, 0))[0]

    def read(self, request: bytes) -> bytes:
        answer = self.store.read(0, request)
        assert isinstance(answer, bytes)
        return answer

    def ask_store(self, request: bytes) -> bytes:
        return self.store.ask(0, request)

    def again(self) -> None:
        """What was asked, once more, without the API."""
        for run, data in self.asked:
            run(data)


def key(number: int) -> bytes:
    return b"/registry/pods/%08d" % (number * 7919 % KEYS)


def put(number: int) -> Message:
    return PutRequest(key=key(number), value=VALUE)


def get(number: int) -> Message:
    return RangeRequest(key=key(number))


def update(number: int) -> Message:
    """As Kubernetes writes: put where the revision is as read, else read again."""
    return TxnRequest(
        compare=[Compare(key=key(number), target=Compare.MOD, result=Compare.GREATER, mod_revision=0)],
        success=[RequestOp(request_put=PutRequest(key=key(number), value=VALUE))],
        failure=[RequestOp(request_range=RangeRequest(key=key(number)))],
    )


def gets(number: int) -> Message:
    operations = [RequestOp(request_range=RangeRequest(key=key(number + at))) for at in range(4)]
    return TxnRequest(success=operations)


def delete(number: int) -> Message:
    return DeleteRangeRequest(key=key(number))


def grant(number: int) -> Message:
    return LeaseGrantRequest(TTL=60)


def time_to_live(number: int) -> Message:
    return LeaseTimeToLiveRequest(ID=number)


KINDS = (
    ("put", "/etcdserverpb.KV/Put", put),
    ("get", "/etcdserverpb.KV/Range", get),
    ("txn: compare, put or get", "/etcdserverpb.KV/Txn", update),
    ("txn: four gets", "/etcdserverpb.KV/Txn", gets),
    ("delete", "/etcdserverpb.KV/DeleteRange", delete),
    ("lease grant", "/etcdserverpb.Lease/LeaseGrant", grant),
    ("lease time to live", "/etcdserverpb.Lease/LeaseTimeToLive", time_to_live),
)


async def measure(path: str, requests: list[bytes]) -> tuple[float, float]:
    """Microseconds a request, through the API and in the store alone."""
    host = StoreAtOnce()
    service = Service(
        cast(Host, host), election_timeout_s=1.0, request_bytes_max=1 << 20, quota_bytes=1 << 40, lease_ttl_min_s=2
    )
    for number in range(KEYS):
        await METHODS["/etcdserverpb.KV/Put"].handler(Access(service), put(number).SerializeToString())
    handler = METHODS[path].handler
    host.asked.clear()
    begun = time.process_time()
    for request in requests:
        await handler(Access(service), request)
    through = time.process_time() - begun
    host.again()
    begun = time.process_time()
    host.again()
    alone = time.process_time() - begun
    return through / len(requests) * 1e6, alone / len(requests) * 1e6


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print(f"{'':26} {'request':>9} {'store':>9} {'API':>9}   us, the least of {ROUNDS}")
    for name, path, make in KINDS:
        requests = [make(number).SerializeToString() for number in range(count)]
        rounds = [asyncio.run(measure(path, requests)) for _ in range(ROUNDS)]
        through, alone = min(row[0] for row in rounds), min(row[1] for row in rounds)
        print(f"{name:26} {through:9.2f} {alone:9.2f} {through - alone:9.2f}")


if __name__ == "__main__":
    main()
