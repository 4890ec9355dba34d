"""What one request at the limits does to a cluster, and to everybody else meanwhile: Ratified beside etcd.

    python bench/pathological.py [--keys 100000] [--only PART] [--systems ratified etcd] [--engine raft] [--json]

Three processes of each, on this machine, one system after the other, filled alike. Each request goes to the leader. For
each: how long it took, the longest put of other clients that were under way at any moment of it, whether the term
changed, and for Ratified the longest turn of the leader, as the upper bound of its class (``TURN_CLASSES_MS``).
etcd is the one found on the PATH (Debian: ``etcd-server``); without one its column is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import msgspec
from transactions import ops

from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.runtime.loop import TURN_CLASSES_MS
from ratified.testing.processes import LocalCluster, free_ports
from ratified.wire.etcd import rpc_pb2
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    StatusRequest,
    TxnRequest,
    WatchCreateRequest,
    WatchRequest,
)
from ratified.wire.report import REPORT_METHOD, NodeReport

TIMEOUT_S = 120.0
OTHERS = 4
"""Clients that put meanwhile, each a key of its own."""
OTHERS_PAUSE_S = 0.03
"""Between two puts of one of them."""
OPS_A_TXN = 100
SHARED = b"s" * 476
SHARING = 20_000
LEASE = 77
EXPIRES_S = 10
EXPIRING = 20_000
STREAMS, WATCHES = 4, 9_000
BEGINNINGS = 4_000
DELETED, DELETED_UNDER = 30_000, 20
"""Keys of one delete, and the watches that want each of them with the pair before."""
KV, LEASES = "/etcdserverpb.KV/", "/etcdserverpb.Lease/"
MESSAGES_OF_ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


# ---------------------------------------------------------------------------------------------------------------
# Systems


class System:
    """Three running processes, and what is asked of them."""

    def __init__(self, name: str, endpoints: Sequence[str]) -> None:
        self.name = name
        self.endpoints = list(endpoints)
        self._channels = {end: grpc.insecure_channel(end, MESSAGES_OF_ANY_SIZE) for end in self.endpoints}
        self.leader = self._find_leader()

    def call(self, path: str, request: bytes, endpoint: str | None = None) -> bytes:
        method = self._channels[endpoint or self.leader].unary_unary(path)
        answer: bytes = method(request, timeout=TIMEOUT_S, wait_for_ready=True)
        return answer

    def stream(self, path: str) -> Any:
        return self._channels[self.leader].stream_stream(path)

    def status(self, endpoint: str) -> rpc_pb2.StatusResponse:
        answer = self.call("/etcdserverpb.Maintenance/Status", StatusRequest().SerializeToString(), endpoint)
        return rpc_pb2.StatusResponse.FromString(answer)

    def term(self) -> int:
        return max(self.status(endpoint).raftTerm for endpoint in self.endpoints)

    def turn_classes(self) -> list[int] | None:
        """How many turns of the leader fell into each class."""
        if self.name != "ratified":
            return None
        return msgspec.json.decode(self.call(REPORT_METHOD, b""), type=NodeReport).turn_classes

    def _find_leader(self) -> str:
        while True:
            for endpoint in self.endpoints:
                status = self.status(endpoint)
                if status.leader and status.leader == status.header.member_id:
                    return endpoint
            time.sleep(0.1)


@contextmanager
def ratified(directory: Path, engine: str) -> Iterator[System]:
    with LocalCluster(directory, arguments=[f"--engine={engine}"]) as cluster:
        yield System("ratified", cluster.endpoints)


@contextmanager
def etcd(directory: Path, engine: str) -> Iterator[System]:
    ports = free_ports(6)
    members = ",".join(f"n{at}=http://127.0.0.1:{ports[3 + at]}" for at in range(3))
    with ExitStack() as running:
        for at in range(3):
            client, peer = (f"http://127.0.0.1:{port}" for port in (ports[at], ports[3 + at]))
            log = running.enter_context((directory / f"n{at}.log").open("w"))
            process = subprocess.Popen(
                [
                    "etcd",
                    f"--name=n{at}",
                    f"--data-dir={directory / f'n{at}'}",
                    f"--listen-client-urls={client}",
                    f"--advertise-client-urls={client}",
                    f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster={members}",
                    "--logger=zap",
                ],
                stdout=log,
                stderr=log,
            )
            running.callback(process.wait)
            running.callback(process.kill)
        yield System("etcd", [f"127.0.0.1:{port}" for port in ports[:3]])


# ---------------------------------------------------------------------------------------------------------------
# Others


class Others:
    """Clients in a process of their own; asked, they say what their longest put since the last time was."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--others", *endpoints],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask()

    def ask(self) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


async def put_for_ever(endpoints: Sequence[str]) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    seen = {"longest_ms": 0.0, "puts": 0, "errors": 0}
    begun: dict[int, float] = {}

    async def client(number: int) -> None:
        channel = grpc.aio.insecure_channel(endpoints[number % len(endpoints)])
        put = channel.unary_unary(KV + "Put")
        while True:
            begun[number] = time.monotonic()
            try:
                await put(PutRequest(key=b"other/%d" % number, value=b"v" * 100).SerializeToString(), timeout=TIMEOUT_S)
                seen["puts"] += 1
            except grpc.aio.AioRpcError:
                seen["errors"] += 1
            seen["longest_ms"] = max(seen["longest_ms"], (time.monotonic() - begun.pop(number)) * 1e3)
            await asyncio.sleep(OTHERS_PAUSE_S)

    clients = [asyncio.ensure_future(client(number)) for number in range(OTHERS)]
    while await lines.readline():
        await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0.1)), *clients], return_when=asyncio.FIRST_COMPLETED)
        waiting_ms = [(time.monotonic() - at) * 1e3 for at in begun.values()]
        print(json.dumps({**seen, "longest_ms": max([seen["longest_ms"], *waiting_ms])}), flush=True)
        seen.update(longest_ms=0.0, puts=0, errors=0)


# ---------------------------------------------------------------------------------------------------------------
# Requests


def nested(widths: Sequence[int], prefix: bytes = b"nested/") -> TxnRequest:
    """Transactions in transactions, with puts of distinct keys in the innermost ones."""
    width, *rest = widths
    if not rest:
        return TxnRequest(success=ops(*(PutRequest(key=prefix + bytes([65 + at])) for at in range(width))))
    return TxnRequest(success=ops(*(nested(rest, prefix + bytes([65 + at])) for at in range(width))))


@dataclass
class Case:
    name: str
    run: Callable[[System], str]
    """Asks, and says what came of it."""
    prepare: Callable[[System], None] | None = None
    """What is not measured."""


@dataclass
class Filled:
    """What the requests are about."""

    keys: int
    then: int = 0
    """The revision before the keys ``later/`` were put."""
    then_long: int = 0
    """The revision at which those that share 476 bytes were there."""
    cases: list[Case] = field(default_factory=list)


def fill(system: System, keys: int) -> Filled:
    filled = Filled(keys)
    put_all(system, (b"keys/%08d" % at for at in range(keys)))
    filled.then = revision(system)
    put_all(system, (b"later/%08d" % at for at in range(keys)))
    put_all(system, (SHARED + b"%08d" % at for at in range(SHARING)))
    filled.then_long = revision(system)
    put_all(system, (b"double/%08d" % at for at in range(2 * keys)))
    grant = LeaseGrantRequest(ID=LEASE, TTL=100_000)
    system.call(LEASES + "LeaseGrant", grant.SerializeToString())
    put_all(system, (b"leased/%08d" % at for at in range(keys)), lease=LEASE)
    system.call(KV + "Put", PutRequest(key=b"large", value=bytes(1_000_000)).SerializeToString())
    return filled


def put_all(system: System, keys: Iterator[bytes], lease: int = 0) -> None:
    lock = threading.Lock()

    def batch() -> list[bytes]:
        with lock:
            return [key for _, key in zip(range(OPS_A_TXN), keys, strict=False)]

    def work() -> None:
        while wanted := batch():
            puts = ops(*(PutRequest(key=key, value=b"v" * 64, lease=lease) for key in wanted))
            system.call(KV + "Txn", TxnRequest(success=puts).SerializeToString())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def revision(system: System) -> int:
    return system.status(system.leader).header.revision


def asked(method: str, request: Any) -> Callable[[System], str]:
    data = request.SerializeToString()

    return lambda system: f"{len(system.call(method, data)):,} bytes"


def nothing(system: System) -> str:
    time.sleep(3)
    return ""


def ranged(key: bytes, end: bytes, **more: Any) -> Callable[[System], str]:
    return asked(KV + "Range", RangeRequest(key=key, range_end=end, **more))


def deleted(key: bytes, end: bytes) -> Callable[[System], str]:
    return asked(KV + "DeleteRange", DeleteRangeRequest(key=key, range_end=end))


def deleted_one_by_one(ranges: Sequence[RangeRequest]) -> Callable[[System], str]:
    deletes = [deleted(each.key, each.range_end) for each in ranges]
    return lambda system: f"{len([delete(system) for delete in deletes])} deletes"


def transaction(**parts: Any) -> Callable[[System], str]:
    return asked(KV + "Txn", TxnRequest(**parts))


def older_ranges(
    filled: Filled, ranges: int, prefix: bytes = b"keys", revisions: int = 1, **more: Any
) -> Callable[[System], str]:
    """Each range begins at another key; the first of ``revisions`` different revisions is ``filled.then``."""
    wanted = [
        RangeRequest(
            key=b"%b/%08d" % (prefix, at), range_end=prefix + b"0", revision=filled.then - at % revisions, **more
        )
        for at in range(ranges)
    ]
    return transaction(success=ops(*wanted))


def watched_from_the_beginning(system: System) -> str:
    """All events there are, with the pairs before them."""
    create = WatchCreateRequest(key=b"\x00", range_end=b"\x00", start_revision=2, prev_kv=True, fragment=True)
    last = revision(system)
    done = threading.Event()

    def requests() -> Iterator[bytes]:
        yield WatchRequest(create_request=create).SerializeToString()
        done.wait()

    events = 0
    for message in system.stream("/etcdserverpb.Watch/Watch")(requests(), timeout=TIMEOUT_S):
        response = rpc_pb2.WatchResponse.FromString(message)
        events += len(response.events)
        if response.events and response.events[-1].kv.mod_revision >= last:
            done.set()
            break
    return f"{events:,} events"


def watch_from_the_beginning_many_times(system: System) -> str:
    """Each from the first revision on, over keys that nobody has put: until all are created, and the leader answers."""
    created = threading.Event()

    def requests() -> Iterator[bytes]:
        for number in range(BEGINNINGS):
            create = WatchCreateRequest(key=b"nobody/%d" % number, start_revision=1)
            yield WatchRequest(create_request=create).SerializeToString()
        created.wait()

    call = system.stream("/etcdserverpb.Watch/Watch")(requests(), timeout=TIMEOUT_S)
    for _ in range(BEGINNINGS):
        next(call)
    system.status(system.leader)
    created.set()
    call.cancel()
    return f"{BEGINNINGS:,} watches"


def put_what_is_watched(system: System) -> None:
    put_all(system, (b"watched/%08d" % at for at in range(DELETED)))


def delete_under_watches(system: System) -> str:
    """Until every watch has every event."""
    create = WatchCreateRequest(key=b"watched/", range_end=b"watched0", prev_kv=True, fragment=True)
    done = threading.Event()

    def requests() -> Iterator[bytes]:
        for _ in range(DELETED_UNDER):
            yield WatchRequest(create_request=create).SerializeToString()
        done.wait()

    call = system.stream("/etcdserverpb.Watch/Watch")(requests(), timeout=TIMEOUT_S)
    for _ in range(DELETED_UNDER):
        next(call)
    deleted(b"watched/", b"watched0")(system)
    events = 0
    while events < DELETED * DELETED_UNDER:
        events += len(rpc_pb2.WatchResponse.FromString(next(call)).events)
    done.set()
    call.cancel()
    return f"{events:,} events"


class Watches:
    """Streams full of watches, opened one after another, and then all ended at once."""

    def __init__(self) -> None:
        self._calls: list[tuple[Any, threading.Event]] = []

    def open(self, system: System) -> str:
        for _ in range(STREAMS):
            ended = threading.Event()

            def requests(ended: threading.Event = ended) -> Iterator[bytes]:
                for number in range(WATCHES):
                    yield WatchRequest(create_request=WatchCreateRequest(key=b"k%d" % number)).SerializeToString()
                ended.wait()

            call = system.stream("/etcdserverpb.Watch/Watch")(requests(), timeout=TIMEOUT_S)
            for _ in range(WATCHES):
                next(call)
            self._calls.append((call, ended))
        return f"{STREAMS * WATCHES:,} watches"

    def open_unless_open(self, system: System) -> None:
        if not self._calls:
            self.open(system)

    def cancel(self, system: System) -> str:
        """Until the leader answers as it did before."""
        for call, ended in self._calls:
            call.cancel()
            ended.set()
        for _ in range(10):
            system.status(system.leader)
        return f"{len(self._calls) * WATCHES:,} watches"


def slow_reader(system: System) -> str:
    """A large range whose reader takes the first bytes and then nothing for a second."""
    channel = grpc.insecure_channel(system.leader, [*MESSAGES_OF_ANY_SIZE, ("grpc.http2.bdp_probe", 0)])
    with channel:
        call = channel.unary_unary(KV + "Range").future(
            RangeRequest(key=b"\x00", range_end=b"\x00").SerializeToString(), timeout=TIMEOUT_S
        )
        return f"{len(call.result()):,} bytes"


def many_leases(system: System) -> str:
    answer = system.call(LEASES + "LeaseLeases", LeaseLeasesRequest().SerializeToString())
    return f"{len(rpc_pb2.LeaseLeasesResponse.FromString(answer).leases):,} leases"


def fill_lease(system: System) -> None:
    """A lease of many keys that runs out within a second."""
    system.call(LEASES + "LeaseGrant", LeaseGrantRequest(ID=LEASE + 1, TTL=EXPIRES_S).SerializeToString())
    put_all(system, (b"expiring/%08d" % at for at in range(EXPIRING)), lease=LEASE + 1)
    left = LeaseTimeToLiveRequest(ID=LEASE + 1).SerializeToString()
    while rpc_pb2.LeaseTimeToLiveResponse.FromString(system.call(LEASES + "LeaseTimeToLive", left)).TTL > 0:
        time.sleep(0.02)


def expires(system: System) -> str:
    """The time has that of waiting, up to a second."""
    wanted = RangeRequest(key=b"expiring/", range_end=b"expiring0", count_only=True).SerializeToString()
    while rpc_pb2.RangeResponse.FromString(system.call(KV + "Range", wanted)).count:
        time.sleep(0.05)
    return f"{EXPIRING:,} keys"


def compacted(system: System) -> str:
    return asked(KV + "Compact", CompactionRequest(revision=revision(system)))(system)


def cases(filled: Filled) -> list[Case]:
    keys = f"{filled.keys:,}"
    everything = Compare(key=b"\x00", range_end=b"\x00", target=Compare.MOD, result=Compare.GREATER, mod_revision=0)
    put = ops(PutRequest(key=b"one", value=b"x"))
    limited = RangeRequest(key=b"keys/", range_end=b"keys0", limit=1)
    older = RangeRequest(key=b"keys/", range_end=b"keys0", count_only=True, revision=filled.then)
    large = RangeRequest(key=b"large")
    deep = nested((26, 26, 26))
    one_shared = SHARED + b"%08d" % (SHARING // 2), SHARED + b"%08d" % (SHARING // 2 + 1)
    one_range = RangeRequest(key=one_shared[0], range_end=one_shared[1])
    a_few = [RangeRequest(key=SHARED + b"%08d" % at, range_end=SHARED + b"%08d" % (at + 1)) for at in range(0, 200, 10)]
    few_older = [RangeRequest(key=each.key, range_end=each.range_end, revision=filled.then_long) for each in a_few]
    few_compared = [
        Compare(key=each.key, range_end=each.range_end, target=Compare.VERSION, result=Compare.EQUAL, version=1)
        for each in a_few
    ]
    from_the_middle = one_shared[0], SHARED + b"\xff"
    values = RangeRequest.VALUE
    all_keys = b"keys/", b"keys0"
    watches = Watches()
    return [
        Case("16 comparisons of all keys", transaction(compare=[everything] * 16)),
        Case("16 comparisons of all keys, then a put", transaction(compare=[everything] * 16, success=put)),
        Case(f"8 ranges over {keys} keys, limit 1", transaction(success=ops(*[limited] * 8))),
        Case(f"range over {keys} keys before they were", ranged(b"later/", b"later0", revision=filled.then)),
        Case(f"{SHARING:,} keys that share 476 bytes", ranged(SHARED, SHARED + b"\xff")),
        Case(f"one of {SHARING:,} keys that share 476 bytes", ranged(*one_shared)),
        Case(f"limit 1 of {SHARING:,} keys that share 476 bytes", ranged(SHARED, SHARED + b"\xff", limit=1)),
        Case("20 ranges of one key that shares 476 bytes", transaction(success=ops(*a_few))),
        Case(
            "20 comparisons of one key that shares 476 bytes", transaction(compare=few_compared, success=ops(one_range))
        ),
        Case(
            "a comparison of one key that shares 476 bytes, and a put",
            transaction(compare=few_compared[:1], success=put),
        ),
        Case("long, older: one of those that share 476 bytes", ranged(*one_shared, revision=filled.then_long)),
        Case("long, older: one of them before they were", ranged(*one_shared, revision=filled.then)),
        Case("long, older: limit 1 of them", ranged(SHARED, SHARED + b"\xff", limit=1, revision=filled.then_long)),
        Case("long, older: all of them", ranged(SHARED, SHARED + b"\xff", revision=filled.then_long)),
        Case(
            "long, older: count of half of them", ranged(*from_the_middle, count_only=True, revision=filled.then_long)
        ),
        Case("long, count of half of them", ranged(*from_the_middle, count_only=True)),
        Case("long, older: 20 ranges of one of them", transaction(success=ops(*few_older))),
        Case("long, delete of one of them", deleted(*one_shared)),
        Case("long, 20 deletes of one of them", deleted_one_by_one(a_few)),
        Case("long, range of one of them after deletes", ranged(SHARED + b"%08d" % 300, SHARED + b"%08d" % 301)),
        Case(f"range of {keys} keys", ranged(*all_keys)),
        Case(f"range of {keys} keys, sorted by value", ranged(*all_keys, sort_target=values, sort_order=1)),
        Case(f"range of {keys} keys, count only", ranged(*all_keys, count_only=True)),
        Case(f"older range of {keys} keys", ranged(*all_keys, revision=filled.then)),
        Case(f"older range of {keys} keys, count only", asked(KV + "Range", older)),
        Case(f"older range of {keys} keys, limit 1", ranged(*all_keys, revision=filled.then, limit=1)),
        Case(f"8 older ranges of {keys} keys, count only", transaction(success=ops(*[older] * 8))),
        Case("8 different counts at one older revision", older_ranges(filled, 8, count_only=True)),
        Case("8 different limits at one older revision", older_ranges(filled, 8, limit=1)),
        Case("128 counts at 128 older revisions", older_ranges(filled, 128, revisions=128, count_only=True)),
        Case(f"128 older ranges of {keys} keys, before they were", older_ranges(filled, 128, b"later")),
        Case(f"range of {keys} keys, keys only", ranged(*all_keys, keys_only=True)),
        Case(f"range of {keys} keys, by revision", ranged(*all_keys, min_mod_revision=1, max_mod_revision=5)),
        Case("range of everything", slow_reader),
        Case(
            "40 x 40 ranges of 1 MB",
            transaction(success=ops(*[TxnRequest(success=ops(*[large] * 40))] * 40)),
        ),
        Case(f"nested transaction of {deep.ByteSize():,} bytes", asked(KV + "Txn", deep)),
        Case(
            "120 puts of 11 KB",
            transaction(success=ops(*(PutRequest(key=b"big/%d" % at, value=bytes(11_000)) for at in range(120)))),
        ),
        Case("watch of everything from the first revision", watched_from_the_beginning),
        Case(f"{STREAMS * WATCHES:,} watches opened", watches.open),
        Case(f"{STREAMS * WATCHES:,} watches cancelled", watches.cancel, watches.open_unless_open),
        Case(f"{BEGINNINGS:,} watches from the first revision on", watch_from_the_beginning_many_times),
        Case(f"delete of {DELETED:,} keys under {DELETED_UNDER} watches", delete_under_watches, put_what_is_watched),
        Case(f"lease of {keys} keys revoked", asked(LEASES + "LeaseRevoke", LeaseRevokeRequest(ID=LEASE))),
        Case(f"lease of {EXPIRING:,} keys runs out", expires, fill_lease),
        Case(f"delete of {keys} keys", deleted(b"later/", b"later0")),
        Case(f"delete of {2 * filled.keys:,} keys", deleted(b"double/", b"double0")),
        Case("delete of long keys", deleted(SHARED, SHARED + b"\xff")),
        Case("compaction", compacted),
    ]


# ---------------------------------------------------------------------------------------------------------------
# Measuring


class Row(msgspec.Struct):
    what: str
    took_ms: float
    others_ms: float
    elections: int
    turn_ms: float | None
    answer: str


def measure(system: System, options: Any) -> list[Row]:
    filled = fill(system, options.keys)
    rows = []
    others = Others(system.endpoints)
    try:
        rest = [Case("nothing, for 3 s", nothing)]
        for case in rest + [case for case in cases(filled) if options.only in case.name]:
            rows.append(measure_one(system, others, case))
            show(system, rows[-1])
    finally:
        others.stop()
    return rows


def measure_one(system: System, others: Others, case: Case) -> Row:
    if case.prepare is not None:
        case.prepare(system)
    others.ask()
    term, turns = system.term(), system.turn_classes()
    began = time.monotonic()
    try:
        answer = case.run(system)
    except grpc.RpcError as error:
        answer = str(error.details())
    took_ms = (time.monotonic() - began) * 1e3
    longest_ms = others.ask()["longest_ms"]
    after = system.turn_classes()
    return Row(case.name, took_ms, longest_ms, system.term() - term, longest_turn(turns, after), answer)


def longest_turn(before: list[int] | None, after: list[int] | None) -> float | None:
    if before is None or after is None:
        return None
    grown = [
        limit for limit, old, new in zip((*TURN_CLASSES_MS, float("inf")), before, after, strict=True) if new > old
    ]
    return max(grown, default=0.0)


def show(system: System, row: Row) -> None:
    turn = "" if row.turn_ms is None else f"{row.turn_ms:.0f}"
    print(
        f"{system.name:9} {row.what:46} {row.took_ms:9.1f} {row.others_ms:9.1f} {turn:>6} {row.elections:3}"
        f"  {row.answer}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--only", default="", help="measure only requests whose name has this in it")
    parser.add_argument("--systems", nargs="+", choices=["ratified", "etcd"], default=["ratified", "etcd"])
    parser.add_argument("--engine", choices=list(ENGINES), default=DEFAULT_ENGINE)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--others", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.others:
        asyncio.run(put_for_ever(options.others))
        return
    found: dict[str, list[Row]] = {}
    print(f"{'':9} {'':46} {'ms':>9} {'others':>9} {'turn':>6} {'el.':>3}")
    for name in options.systems:
        if name == "etcd" and shutil.which("etcd") is None:
            print("no etcd on the PATH", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory(prefix="ratified-bench-") as directory:
            run = ratified if name == "ratified" else etcd
            with run(Path(directory), options.engine) as system:
                found[name] = measure(system, options)
    if options.json:
        print(json.dumps(msgspec.to_builtins(found)))


if __name__ == "__main__":
    main()
