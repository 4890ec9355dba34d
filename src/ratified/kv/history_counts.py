"""How many keys there were at older revisions, by ``history`` alone: one pass for several revisions.

Rules
1. A key was there if its last change up to the revision is a put. So the number of those that were there is that of the
   puts up to then, less that of the changes up to then which follow a put of the same key. Both are sorted, and each
   revision is looked up in them.
2. Where a tombstone covers the names, only changes from its position on count.
3. Rows are read in batches. What is read of the last key of a batch may not be all, so it is left to the next batch.
4. Of a long history of one key only some changes are read, the more the more revisions there are; then its last one up
   to each revision is sought. Behind a long history fewer are read, for the next one may be as long.
5. A batch is counted by what works on whole lists: a step of Python for each change takes longer than to read it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from itertools import compress
from operator import and_, eq
from typing import NamedTuple, TypeAlias

from ratified.kv import names
from ratified.kv.history import DELETE, HISTORY, PUT, name_of, past, position_of
from ratified.kv.tombstones import VisibleRows

_CHANGES_A_STEP = 256
_CHANGES_A_LOOK = 8
"""How many changes are read in the time that it takes to look at a row."""
_CHANGES_WALKED_MAX = 24
"""Of a long history of one key only so many changes are walked for each revision; then its last one is sought."""
_CHANGES_WALKED_AFTER_LONG = 4
"""The same of the key behind it."""
_SOUGHT = 2
"""The work of seeking the last change up to one revision."""
_REVISIONS_A_LOOK = 2
"""For so many revisions a batch is counted in the time that it takes to look at a row."""


_Rows: TypeAlias = list[bytes]


class Piece(NamedTuple):
    """Of the names that were to be counted: those from where the last piece ended up to ``end``."""

    end: bytes | None
    """A bound of names; None: this is the last piece."""
    keys: list[int]
    """How many of them were there, at each of the revisions that were asked for."""
    work: int


def keys_between(
    rows: VisibleRows,
    first: bytes,
    last: bytes | None,
    behind: Sequence[bytes],
    since: bytes = b"",
    among: Container[bytes] | None = None,
) -> Iterator[Piece]:
    """The keys with names between these bounds, at each revision; ``behind`` has the position behind each of them.

    ``among``: only those names of a group count that have these hashes.
    """
    usual_max = min(_CHANGES_WALKED_MAX * len(behind), _CHANGES_A_STEP)
    after_long_max = min(_CHANGES_WALKED_AFTER_LONG * len(behind), _CHANGES_A_STEP)
    changes_max = walked_max = usual_max
    start = first
    while True:
        changes, kinds = rows.columns(HISTORY, start, last, changes_max)
        work = len(changes) // _CHANGES_A_LOOK + len(behind) // _REVISIONS_A_LOOK + 1
        changed = list(map(name_of, changes))
        if len(changes) < changes_max:
            yield Piece(None, _keys(*_among(among, changed, changes, kinds), behind, since), work)
            return
        newest = changed[-1]
        whole = bisect_left(changed, newest)
        keys = _keys(*_among(among, changed[:whole], changes[:whole], kinds[:whole]), behind, since)
        if len(changes) - whole < walked_max:
            yield Piece(newest, keys, work)
            start = newest
            walked_max = usual_max
            changes_max = max(min(2 * changes_max, _CHANGES_A_STEP), walked_max)
        else:
            for at, each in enumerate(behind if among is None or names.hash_in(newest) in among else ()):
                keys[at] += last_kind(rows, newest, since, each) == PUT
            yield Piece(_behind(newest), keys, work + _SOUGHT * len(behind))
            start = past(newest)
            changes_max = walked_max = after_long_max


def _among(among: Container[bytes] | None, changed: _Rows, changes: _Rows, kinds: _Rows) -> tuple[_Rows, _Rows, _Rows]:
    """Those changes alone whose names count."""
    if among is None:
        return changed, changes, kinds
    count = list(map(among.__contains__, map(names.hash_in, changed)))
    return list(compress(changed, count)), list(compress(changes, count)), list(compress(kinds, count))


def _keys(
    changed: Sequence[bytes], changes: Sequence[bytes], kinds: Sequence[bytes], behind: Sequence[bytes], since: bytes
) -> list[int]:
    """Of whole histories; ``changed`` are the names of the changes."""
    if not changes:
        return [0] * len(behind)
    positions = list(map(position_of, changes))
    if since:
        counts = list(map(since.__le__, positions))
        changed, kinds, positions = (list(compress(each, counts)) for each in (changed, kinds, positions))
    again = map(eq, changed, changed[1:])
    if DELETE in kinds:
        is_put = list(map(PUT.__eq__, kinds))
        puts = list(compress(positions, is_put))
        ended = list(compress(positions[1:], map(and_, again, is_put)))
    else:
        puts = positions
        ended = list(compress(positions[1:], again))
    if len(behind) == 1:
        return [_before(behind[0], puts) - _before(behind[0], ended)]
    puts.sort()
    ended.sort()
    return [bisect_left(puts, each) - bisect_left(ended, each) for each in behind]


def _before(bound: bytes, positions: Sequence[bytes]) -> int:
    return sum([position < bound for position in positions])


def last_kind(rows: VisibleRows, name: bytes, since: bytes, behind: bytes) -> bytes | None:
    """``PUT`` or ``DELETE``, of the last change between these positions; None: there is none."""
    changes = name + names.TERMINATOR
    for _, kind in rows.scan(HISTORY, changes + since, changes + behind, reverse=True):
        return kind
    return None


def _behind(name: bytes) -> bytes:
    """The bound of all names up to this one."""
    behind = name + b"\x00\xff"
    if names.is_whole(behind) or not names.is_whole(name):
        return behind
    return names.first_name(names.key_of(name) + b"\x00")
