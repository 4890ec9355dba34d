"""What the API adds to a request: decoding, checks, command, header; without transport, consensus or disk.

Run ``python bench/api_request.py [requests]``. The handlers of the table run against one store in memory, to which
what is proposed is applied at once. Prints microseconds of processor time a request, and beside them what the store
alone takes for the same commands and queries, in the same run.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import cast

from google.protobuf.message import Message

from ratified.api.access import Access
from ratified.api.methods import METHODS, MethodKind
from ratified.api.service import Service
from ratified.kv.errors import EtcdError
from ratified.kv.store import KvStore
from ratified.machine import Command
from ratified.runtime import Host, Outcome, Reply, Work
from ratified.runtime.callbacks import OnReply
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
    open_requests = 100_000, 0

    def __init__(self) -> None:
        self.environment = MemoryEnvironment()
        self.store = KvStore(self.environment.space(0))
        self.store.lead(0, (1, 0))
        self.apply(self.store.duties(0)[0][0])
        self.asked: list[tuple[Callable[[bytes], bytes], bytes]] = []
        self.turns = 0

    def leader(self) -> int:
        return 1

    def raft_term(self) -> int:
        return 1

    async def propose(self, command: bytes, *, timeout_s: float) -> bytes:
        self.asked.append((self.apply, command))
        return self.apply(command)

    async def query_parts(self, request: bytes, *, timeout_s: float, linearizable: bool) -> Sequence[bytes]:
        self.asked.append((self.read, request))
        return [self.read(request)]

    def submit(self, work: Work, group: int, data: bytes, timeout_us: int, on_reply: OnReply) -> int:
        run = self.apply if work is Work.PROPOSE else self.ask_store if work is Work.ASK else self.read
        self.asked.append((run, data))
        on_reply(Reply(0, Outcome.DONE, run(data)))
        return 0

    def all_speak(self, version: int) -> bool:
        return True

    def apply(self, command: bytes) -> bytes:
        index = self.store.applied + 1
        with self.environment.transaction():
            return self.store.apply([Command(index, command)], index, (1, 0))[0]

    def read(self, request: bytes) -> bytes:
        self.turns += 1  # each has room to read
        answer = self.store.read(self.turns, request)
        assert isinstance(answer, bytes)
        return answer

    def ask_store(self, request: bytes) -> bytes:
        return self.store.ask(0, request)

    def again(self) -> None:
        """What was asked, once more, without the API."""
        for run, data in self.asked:
            run(data)


class Expecting:
    """The ``Caller`` of all requests."""

    def __init__(self) -> None:
        self.answered_requests = 0

    def answered(self, message: bytes) -> None:
        self.answered_requests += 1

    def answered_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        self.answered_requests += 1

    def failed(self, error: EtcdError) -> None:
        raise error


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


async def ask(service: Service, path: str, requests: list[bytes]) -> None:
    """One after another, each alone."""
    method, caller = METHODS[path], Expecting()
    for request in requests:
        if method.kind is MethodKind.SUBMISSION:
            service.submit(method.handler(service, request), None, caller)
            await asyncio.sleep(0)  # what might come together with it does not
        else:
            await method.handler(Access(service), request)
    assert method.kind is not MethodKind.SUBMISSION or caller.answered_requests == len(requests)


async def measure(path: str, requests: list[bytes]) -> tuple[float, float]:
    """Microseconds a request, through the API and in the store alone."""
    host = StoreAtOnce()
    service = Service(
        cast(Host, host), election_timeout_s=1.0, request_bytes_max=1 << 20, quota_bytes=1 << 40, lease_ttl_min_s=2
    )
    await ask(service, "/etcdserverpb.KV/Put", [put(number).SerializeToString() for number in range(KEYS)])
    host.asked.clear()
    begun = time.process_time()
    await ask(service, path, requests)
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
