"""Cost before consent, and bounded turns, broken: few bytes ask for much, and get it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.kv import cost
from ratified.kv.store import KvStore
from ratified.kv.tables import LIVE
from ratified.kv.tombstones import VisibleRows
from ratified.kv.txn_reads import TxnRead
from tests.mutants.mutant import Mutant


def transactions_that_write_seem_short() -> AbstractContextManager[Any]:
    """They are applied in one turn, whatever they look at."""
    return patch.object(KvStore, "_rows_cost", lambda store, kind, body, most: 0)


def transactions_that_read_take_one_turn() -> AbstractContextManager[Any]:
    advance = TxnRead.advance
    return patch.object(TxnRead, "advance", lambda read, rows_max, bytes_max: advance(read, sys.maxsize, sys.maxsize))


def answers_of_any_size() -> AbstractContextManager[Any]:
    return patch.object(cost.Cost, "_answer", lambda counted, size: None)


def who_was_put_and_is_gone_is_not_looked_at() -> AbstractContextManager[Any]:
    """Between the put and the delete, and both behind a pending tombstone, names are passed over uncounted."""

    def _live(rows: VisibleRows, first: bytes, last: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        return ((name, pair) for name, pair in live(rows, first, last) if rows.get(LIVE, name) is not None)

    live = VisibleRows._live
    return patch.object(VisibleRows, "_live", _live)


MUTANTS = [
    Mutant(
        "takes long transactions for short ones", transactions_that_write_seem_short, "large-requests", "session", 4
    ),
    Mutant(
        "reads long transactions in one turn", transactions_that_read_take_one_turn, "large-requests", "session", 48
    ),
    Mutant("gives answers of any size", answers_of_any_size, "large-requests", "session", 5),
    Mutant(
        "passes over who was put and is gone",
        who_was_put_and_is_gone_is_not_looked_at,
        "large-requests",
        "datagram",
        48,
    ),
]
