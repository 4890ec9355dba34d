"""What one request costs a store by itself: requests at the limits, against many keys on LMDB, without a node.

Run ``python bench/store_steps.py [keys]``. Reads are advanced in slices as a node's turns do; a command is applied in
one transaction. Prints for each the milliseconds of processor time in all, and of its longest step: for so long the
loop serves nobody else.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from transactions import ops

from ratified.kv import commands, queries, requests
from ratified.kv.errors import EtcdError
from ratified.kv.store import KvStore
from ratified.machine import Command
from ratified.node.config import NodeLimits
from ratified.storage.lmdb import LmdbEnvironment
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
)

T = TypeVar("T")

BATCH = 1_000
SHARED = b"s" * 476
SHARING = 20_000
LIMITS = NodeLimits()


class Bench:
    """One store on LMDB, and a clock around what it is asked."""

    def __init__(self, path: Path) -> None:
        self.environment = LmdbEnvironment(path)
        self.store = KvStore(self.environment.space(3))
        self._steps: list[float] = []

    def apply(self, *data: bytes) -> bytes:
        index = self.store.applied
        with self.environment.transaction():
            listed = [Command(index + at, one) for at, one in enumerate(data, 1)]
            results = self.store.apply(listed, index + len(data), (1, 0))
        return results[-1]

    def fill(self, keys: Iterator[bytes]) -> None:
        batch: list[bytes] = []
        for key in keys:
            batch.append(commands.put(PutRequest(key=key, value=b"v" * 64).SerializeToString()))
            if len(batch) == BATCH:
                self.apply(*batch)
                batch = []
        if batch:
            self.apply(*batch)

    def read(self, query: bytes) -> bytes:
        answer = self._step(lambda: self.store.read(0, query))
        if isinstance(answer, bytes):
            return answer
        chunks: list[bytes] = []
        finished = False
        while not finished:
            piece = self._step(lambda: answer.advance(0, LIMITS.slice_rows_max, LIMITS.slice_bytes_max))
            chunks += piece.chunks
            finished = piece.finished
        return b"".join(chunks)

    def write(self, command: bytes) -> bytes:
        return self._step(lambda: self.apply(command))

    def write_long(self, command: bytes) -> bytes:
        pieces = self.store.apply_in_pieces(Command(self.store.applied + 1, command), (1, 0), LIMITS.apply_rows_max)
        with self.environment.transaction():
            while True:
                try:
                    self._step(lambda: next(pieces))
                except StopIteration as end:
                    return bytes(end.value)

    def tidy(self) -> None:
        while self.store.untidy:
            self._step(self._tidy_once)

    def _tidy_once(self) -> None:
        with self.environment.transaction():
            self.store.tidy()

    def check(self, request: TxnRequest) -> bytes:
        try:
            self._step(lambda: requests.check_txn(request))
        except EtcdError as error:
            return b"\x01" + error.text.encode()
        return b"\x00"

    def _step(self, do: Callable[[], T]) -> T:
        begun = time.process_time()
        try:
            return do()
        finally:
            self._steps.append(time.process_time() - begun)

    def report(self, what: str, answer: bytes) -> None:
        said = f"{len(answer):,} bytes" if answer[:1] == b"\x00" else answer[2:].decode(errors="replace")
        print(f"{what:62} {sum(self._steps) * 1e3:9.1f} {max(self._steps) * 1e3:9.1f}  {said}")
        self._steps.clear()


def everything(target: Compare.CompareTarget.ValueType = Compare.MOD) -> Compare:
    return Compare(key=b"\x00", range_end=b"\x00", target=target, result=Compare.GREATER, mod_revision=0)


def nested(widths: Sequence[int], prefix: bytes = b"n") -> TxnRequest:
    """Transactions in transactions, with puts of distinct keys in the innermost ones."""
    width, *rest = widths
    if not rest:
        return TxnRequest(success=ops(*(PutRequest(key=prefix + bytes([65 + at])) for at in range(width))))
    return TxnRequest(success=ops(*(nested(rest, prefix + bytes([65 + at])) for at in range(width))))


def main() -> None:
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        bench.fill(b"keys/%08d" % at for at in range(keys))
        then = bench.store.revision
        bench.fill(b"later/%08d" % at for at in range(keys))
        bench.fill(SHARED + b"%08d" % at for at in range(SHARING))
        bench.apply(commands.put(PutRequest(key=b"large", value=bytes(1_000_000)).SerializeToString()))
        print(f"{keys:,} keys, later {keys:,} more, {SHARING:,} that share {len(SHARED)} bytes")
        print(f"{'':62} {'ms':>9} {'longest':>9}  answer")

        read_only = TxnRequest(compare=[everything()] * 16)
        bench.report("transaction of 16 comparisons of all keys, reads only", bench.read(_txn(read_only)))
        one = RangeRequest(key=b"keys/", range_end=b"keys0", limit=1)
        bench.report("transaction of 8 ranges with limit 1", bench.read(_txn(TxnRequest(success=ops(*[one] * 8)))))
        early = RangeRequest(key=b"later/", range_end=b"later0", revision=then)
        bench.report("range at a revision before its keys", bench.read(_range(early)))
        shared = RangeRequest(key=SHARED, range_end=SHARED + b"\xff")
        bench.report(
            "range over long keys that share their beginning", bench.read(queries.range_(shared.SerializeToString()))
        )
        counted = RangeRequest(key=b"keys/", range_end=b"keys0", count_only=True)
        bench.report("count", bench.read(_range(counted)))

        put = ops(PutRequest(key=b"one", value=b"x"))
        bench.report(
            "16 comparisons of all keys, then a put",
            bench.write(_command(TxnRequest(compare=[everything()] * 16, success=put))),
        )
        large = RangeRequest(key=b"large")
        inner = TxnRequest(success=ops(*[large] * 40))
        many = TxnRequest(success=ops(*[inner] * 40))
        bench.report("40 x 40 ranges of a value of 1 MB", bench.write(_command(many)))
        deep = nested((26, 26, 26))
        bench.report(f"check of a nested transaction of {deep.ByteSize():,} bytes", bench.check(deep))
        bench.report("the same, applied", bench.write(_command(deep)))

        bench.report(f"delete of {keys:,} keys, each at once", bench.write(_delete(b"keys/", b"keys0")))
        bench.report(f"delete of {keys:,} keys, by a tombstone", bench.write_long(_delete(b"later/", b"later0")))
        bench.tidy()
        bench.report("the rows of the tombstone", b"\x00")
        bench.report(f"delete of {SHARING:,} long keys", bench.write(_delete(SHARED, SHARED + b"\xff")))
        bench.write(commands.compact(CompactionRequest(revision=bench.store.revision).SerializeToString()))
        bench.report("compaction", b"\x00")


def _range(request: RangeRequest) -> bytes:
    return queries.range_(request.SerializeToString())


def _txn(request: TxnRequest) -> bytes:
    return queries.txn(request.SerializeToString())


def _command(request: TxnRequest) -> bytes:
    return commands.txn(request.SerializeToString())


def _delete(first: bytes, end: bytes) -> bytes:
    return commands.delete_range(DeleteRangeRequest(key=first, range_end=end).SerializeToString())


if __name__ == "__main__":
    main()
