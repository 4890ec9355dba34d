"""What was: a key's pair at a revision, and the walk over all keys that there were, from ``history`` and ``events``."""

from __future__ import annotations

from collections.abc import Iterator

from ratified.kv import names
from ratified.kv.tombstones import VisibleRows

HISTORY = "history"
EVENTS = "events"
PUT = b"\x00"
DELETE = b"\x01"
PAIR_AT = 1
"""Where the pair begins in a row of ``events``."""

CHANGES_WALKED_MAX = 8
"""Of a long history of one key only so many changes are walked; then its newest one is sought."""
_POSITION_BYTES = 12


def newest_at(rows: VisibleRows, name: bytes, revision: int) -> bytes | None:
    """A key's pair at ``revision``, by its name; None where it did not exist."""
    first, last = name + names.TERMINATOR, names.history_key(name, revision + 1, 0)
    for key, kind in rows.scan(HISTORY, first, last, reverse=True):
        return None if kind == DELETE else _pair_of(rows, key, revision)
    return None


def names_at(
    rows: VisibleRows, first: bytes, last: bytes | None, revision: int
) -> Iterator[tuple[bytes, bytes | None]]:
    """Each name that has a history, and its pair at ``revision``."""
    behind = names.position(revision + 1, 0)
    cursor: bytes | None = first
    while cursor is not None:
        name = b""
        newest: bytes | None = None
        walked = 0
        start, cursor = cursor, None
        for key, kind in rows.scan(HISTORY, start, last):
            if walked == 0 or not _is_change_of(name, key):
                if walked:
                    yield name, None if newest is None else _pair_of(rows, newest, revision)
                name, newest, walked = key[: -names.HISTORY_SUFFIX_BYTES], None, 0
            if key[-_POSITION_BYTES:] < behind:
                newest = None if kind == DELETE else key
            walked += 1
            if walked == CHANGES_WALKED_MAX:
                yield name, newest_at(rows, name, revision)
                walked, cursor = 0, past(name)
                break
        if walked:
            yield name, None if newest is None else _pair_of(rows, newest, revision)


def is_dropped(rows: VisibleRows, name: bytes, compact_revision: int) -> bool:
    """Whether that compaction drops all that there was of a key, which some replicas have removed already."""
    first, last = name + names.TERMINATOR, past(name)
    for key, kind in rows.scan(HISTORY, first, last, reverse=True):
        if kind == DELETE:
            return key[-_POSITION_BYTES:] < names.position(max(compact_revision, 0), 0)
        event = rows.get(EVENTS, key[-_POSITION_BYTES:])
        assert event is not None, "every row of history has its event"
        tombstone = rows.covered_by(event[PAIR_AT:])
        return tombstone is not None and tombstone.revision < compact_revision
    return True


def _is_change_of(name: bytes, key: bytes) -> bool:
    return len(key) == len(name) + names.HISTORY_SUFFIX_BYTES and key.startswith(name)


def past(name: bytes) -> bytes:
    """Behind all changes of the key with that name."""
    return name + names.TERMINATOR + b"\xff" * _POSITION_BYTES


def _pair_of(rows: VisibleRows, change: bytes, revision: int) -> bytes | None:
    """The pair that a put has put, unless a tombstone covers it at ``revision``."""
    event = rows.get(EVENTS, change[-_POSITION_BYTES:])
    assert event is not None, "every row of history has its event"
    pair = event[PAIR_AT:]
    return None if rows.covered_by(pair, revision) else pair
