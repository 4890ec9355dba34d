"""Whoever waits until the rows are removed that nobody can see any more."""

from __future__ import annotations

from typing_extensions import override

from ratified.kv.encoding import header_only
from ratified.kv.mvcc import Mvcc
from ratified.machine import Continuation, Slice

LOOKS_EVERY_US = 10_000


class Tidied(Continuation):
    """Answers once no delete and no compaction has rows to write or to remove; later ones may make it wait longer."""

    def __init__(self, mvcc: Mvcc) -> None:
        self._mvcc = mvcc
        self._looks_at = 0

    @property
    @override
    def deadline(self) -> int | None:
        return self._looks_at

    @override
    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        if self._mvcc.tombstones or self._mvcc.holds_dead_rows:
            self._looks_at = now + LOOKS_EVERY_US
            return Slice((), False)
        return Slice([header_only(self._mvcc.revision)], True)

    @override
    def cancel(self) -> None:
        """It holds nothing."""
