"""Compare: whether what a transaction supposes of the state is so.

A comparison holds where it holds for every pair in its range; the first pair for which it does not ends it. Where there
is no pair it is one with a key of all zeros, but never one with a value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from ratified.kv.tombstones import VisibleRows
from ratified.kv.walks import COVERED, Spared, charged_present, present
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import Compare

_NO_KEY = KeyValue()
_ROWS_A_STEP = 8
_BYTES_A_STEP = 16 * 1024

_RELATIONS = {
    # Of what is given to what is there; a bound method costs half of what a function of two numbers does.
    Compare.EQUAL: "__eq__",
    Compare.NOT_EQUAL: "__ne__",
    Compare.GREATER: "__lt__",
    Compare.LESS: "__gt__",
}
_TARGETS: dict[int, str] = {
    Compare.VALUE: "value",
    Compare.CREATE: "create_revision",
    Compare.MOD: "mod_revision",
    Compare.VERSION: "version",
    Compare.LEASE: "lease",
}


class Looked(NamedTuple):
    """What a comparison has looked at since it last said so; ``covered`` rows by tombstones, which are in no cost."""

    rows: int
    covered: int
    bytes: int
    spared: Spared = Spared(0, 0)


def holds(rows: VisibleRows, compare: Compare, *, charged: bool = False) -> Generator[Looked, None, bool]:
    """Whether it does; yields what it has looked at since. ``charged``: of a transaction whose cost is summed up."""
    of, is_related = _relation(compare)
    parse = KeyValue.FromString
    empty = True
    looked_rows = covered_rows = looked_bytes = 0
    walk = charged_present if charged else present
    for look in walk(rows, compare.key, compare.range_end):
        if isinstance(look, Spared):
            yield Looked(0, 0, 0, look)
            continue
        if look == COVERED:
            covered_rows += 1
        else:
            looked_rows += 1
        if look:
            pair = look[1]
            if not is_related(of(parse(pair))):
                yield Looked(looked_rows, covered_rows, looked_bytes)
                return False
            empty = False
            looked_bytes += len(pair)
        if looked_rows + covered_rows >= _ROWS_A_STEP or looked_bytes >= _BYTES_A_STEP:
            yield Looked(looked_rows, covered_rows, looked_bytes)
            looked_rows = covered_rows = looked_bytes = 0
    yield Looked(looked_rows, covered_rows, looked_bytes)
    return not empty or (compare.target != Compare.VALUE and is_related(of(_NO_KEY)))


def _relation(compare: Compare) -> tuple[Callable[[KeyValue], Any], Callable[[Any], bool]]:
    """What of a pair is compared, and how it must be.

    proto3 lets numbers through that mean nothing: of an unknown target 0 is compared with 0, as etcd does.
    """
    target = _TARGETS.get(compare.target)
    given = 0 if target is None else getattr(compare, target)
    of = operator.attrgetter(target) if target is not None else lambda pair: 0
    relation = _RELATIONS.get(compare.result)
    return of, getattr(given, relation) if relation is not None else lambda value: True
