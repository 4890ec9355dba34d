"""Compare: whether what a transaction supposes of the state is so.

A comparison holds where it holds for every pair in its range; the first pair for which it does not ends it. Where there
is no pair it is one with a key of all zeros, but never one with a value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator
from typing import Any

from ratified.kv.mvcc import Rows
from ratified.kv.ranges import present
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import Compare

_NO_KEY = KeyValue()
_ROWS_A_STEP = 8
_BYTES_A_STEP = 16 * 1024

_RELATIONS: dict[int, Callable[[Any, Any], bool]] = {
    Compare.EQUAL: operator.eq,
    Compare.NOT_EQUAL: operator.ne,
    Compare.GREATER: operator.gt,
    Compare.LESS: operator.lt,
}
_TARGETS: dict[int, str] = {
    Compare.VALUE: "value",
    Compare.CREATE: "create_revision",
    Compare.MOD: "mod_revision",
    Compare.VERSION: "version",
    Compare.LEASE: "lease",
}


def holds(rows: Rows, compare: Compare) -> Generator[tuple[int, int], None, bool]:
    """Whether it does; yields how many rows it has looked at since, and their bytes."""
    relation = _relation(compare)
    empty = True
    looked_rows = looked_bytes = 0
    for look in present(rows, compare.key, compare.range_end):
        looked_rows += 1
        if look is not None:
            pair = look[1]
            if not relation(KeyValue.FromString(pair)):
                yield looked_rows, looked_bytes
                return False
            empty = False
            looked_bytes += len(pair)
        if looked_rows == _ROWS_A_STEP or looked_bytes >= _BYTES_A_STEP:
            yield looked_rows, looked_bytes
            looked_rows = looked_bytes = 0
    yield looked_rows, looked_bytes
    return not empty or (compare.target != Compare.VALUE and relation(_NO_KEY))


def _relation(compare: Compare) -> Callable[[KeyValue], bool]:
    """proto3 lets numbers through that mean nothing: of an unknown target 0 is compared with 0, as etcd does."""
    related = _RELATIONS.get(compare.result)
    if related is None:
        return lambda pair: True
    target = _TARGETS.get(compare.target)
    if target is None:
        return lambda pair: related(0, 0)
    present_value, given = operator.attrgetter(target), getattr(compare, target)
    return lambda pair: related(present_value(pair), given)
