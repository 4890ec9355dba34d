"""What applying costs: batches of 64 puts of 256 bytes, each batch one transaction, on LMDB and in memory.

Run ``python bench/kv_apply.py [batches]``. Prints microseconds of processor time an operation; the bare LMDB line
writes the same three rows a put with nothing around them, in the same run, and is what the store is compared with.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ratified.kv import commands, queries
from ratified.kv.store import KvStore
from ratified.machine import Command
from ratified.storage.lmdb import LmdbEnvironment
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.space import Environment
from ratified.wire.etcd import rpc_pb2

BATCH = 64
VALUE = bytes(range(256))
KEYS = 20_000


def put_commands(batches: int) -> list[list[bytes]]:
    keys = [b"/registry/pods/%08d" % (number * 7919 % KEYS) for number in range(batches * BATCH)]
    puts = [commands.put(rpc_pb2.PutRequest(key=key, value=VALUE).SerializeToString()) for key in keys]
    return [puts[at : at + BATCH] for at in range(0, len(puts), BATCH)]


def report(what: str, operations: int, run: Callable[[], None]) -> None:
    begun = time.process_time()
    run()
    print(f"{what:58} {(time.process_time() - begun) / operations * 1e6:8.2f} us")


def apply_all(environment: Environment, store: KvStore, batches: list[list[bytes]]) -> None:
    for batch in batches:
        index = store.applied
        with environment.transaction():
            store.apply([Command(index + at, data) for at, data in enumerate(batch, 1)], index + len(batch), (1, 0))
        for watch in store.woken(0):
            watch.advance(0, 1000, 1 << 20)


def open_watches(store: KvStore, number: int) -> None:
    for at in range(number):
        request = rpc_pb2.WatchCreateRequest(key=b"/other/%06d/" % at, range_end=b"/other/%06d0" % at)
        watch = store.read(0, queries.watch(1, request.SerializeToString()))
        assert not isinstance(watch, bytes)
        watch.advance(0, 1000, 1 << 20)


def bare_lmdb(environment: Environment, batches: list[list[bytes]]) -> None:
    space = environment.space(9)
    number = 0
    for batch in batches:
        with environment.transaction():
            for data in batch:
                key = data[4:30]
                number += 1
                at = number.to_bytes(12, "big")
                space.get("live", key)
                space.put("live", key, data)
                space.put("history", key + at, b"\x00")
                space.put("events", at, data)


def get_queries(keys: int) -> list[bytes]:
    return [
        queries.range_(rpc_pb2.RangeRequest(key=b"/registry/pods/%08d" % at).SerializeToString()) for at in range(keys)
    ]


def read_all(store: KvStore, requests: list[bytes]) -> None:
    for request in requests:
        store.read(0, request)


def range_all(store: KvStore, revision: int) -> None:
    request = rpc_pb2.RangeRequest(key=b"/registry/", range_end=b"/registry0", revision=revision)
    answer = store.read(0, queries.range_(request.SerializeToString()))
    while not isinstance(answer, bytes) and not answer.advance(0, 500, 1 << 18).finished:
        pass


def measure(name: str, environment: Environment, batches: list[list[bytes]]) -> None:
    puts = len(batches) * BATCH
    store = KvStore(environment.space(0))
    report(f"{name}: put of a new or old key", puts, lambda: apply_all(environment, store, batches))
    report(f"{name}: put over an old key", puts, lambda: apply_all(environment, store, batches))
    gets = get_queries(KEYS)
    report(f"{name}: get of one key", KEYS, lambda: read_all(store, gets))
    pairs = min(KEYS, puts)
    report(f"{name}: range, a pair", pairs, lambda: range_all(store, 0))
    report(f"{name}: range at an old revision, a pair", pairs, lambda: range_all(store, store.revision - 10))
    open_watches(store, 10_000)
    report(f"{name}: put with 10,000 other ranges watched", puts, lambda: apply_all(environment, store, batches))
    everything = rpc_pb2.WatchCreateRequest(key=b"\x00", range_end=b"\x00")
    store.read(0, queries.watch(1, everything.SerializeToString()))
    report(f"{name}: the same, and everything watched once", puts, lambda: apply_all(environment, store, batches))


def main() -> None:
    batches = put_commands(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
    with tempfile.TemporaryDirectory() as directory:
        environment = LmdbEnvironment(Path(directory))
        report("bare LMDB: get and three rows", len(batches) * BATCH, lambda: bare_lmdb(environment, batches))
        measure("LMDB", environment, batches)
        environment.close()
    measure("memory", MemoryEnvironment(), batches)


if __name__ == "__main__":
    main()
