"""What was: a key's pair at a revision, and the walk over all keys that there were, from ``history`` and ``events``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

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
_KEYS_MAX = 256
"""Keys of changes that are read together, where each is of another key."""
_POSITION_BYTES = 12
NAME = slice(None, -names.HISTORY_SUFFIX_BYTES)
POSITION = slice(-_POSITION_BYTES, None)
"""Of a key of ``history``."""
name_of = itemgetter(NAME)
position_of = itemgetter(POSITION)
"""Of a key of ``history``, without a step of Python for each."""


def newest_at(rows: VisibleRows, name: bytes, revision: int) -> bytes | None:
    """A key's pair at ``revision``, by its name; None where it did not exist."""
    first, last = name + names.TERMINATOR, names.history_key(name, revision + 1, 0)
    for key, _ in rows.scan(HISTORY, first, last, reverse=True):
        return _pair_at(rows, key, revision)
    return None


def names_at(
    rows: VisibleRows, first: bytes, last: bytes | None, revision: int
) -> Iterator[tuple[bytes, bytes | None]]:
    """Each name that has a history, and its pair at ``revision``."""
    for found in changes_at(rows, first, last, revision):
        if isinstance(found, list):
            yield from ((name, None) for name in names_of(found))
        else:
            yield found


def changes_at(
    rows: VisibleRows, first: bytes, last: bytes | None, revision: int
) -> Iterator[tuple[bytes, bytes | None] | list[bytes]]:
    """The same, where keys that are all of names without a pair at ``revision`` come as they are, in lists."""
    behind = names.position(revision + 1, 0)
    cursor, keys_max = first, CHANGES_WALKED_MAX
    name: bytes | None = None
    newest: bytes | None = None
    """Of the name whose changes may go on in what is read next."""
    while found := rows.keys(HISTORY, cursor, last, keys_max):
        if name is None and min(map(position_of, found)) >= behind:
            yield found
            cursor = past(name_of(found[-1]))
            is_long = is_change_of(name_of(found[-1]), found[-CHANGES_WALKED_MAX:][0])
            keys_max = CHANGES_WALKED_MAX if is_long else min(2 * keys_max, _KEYS_MAX)
            continue
        seen = walked = 0
        for key in found:
            if name is None or not is_change_of(name, key):
                if name is not None:
                    yield name, _pair_at(rows, newest, revision)
                name, newest = name_of(key), None
                seen += 1
                walked = 0
            walked += 1
            if key[POSITION] < behind:
                newest = key
        cursor = found[-1] + b"\x00"
        goes_on = newest == found[-1]
        if name is not None and (not goes_on or walked >= CHANGES_WALKED_MAX):
            yield name, newest_at(rows, name, revision) if goes_on else _pair_at(rows, newest, revision)
            cursor, name = past(name), None
        keys_max = min(max(2 * seen, CHANGES_WALKED_MAX), _KEYS_MAX)
    if name is not None:
        yield name, _pair_at(rows, newest, revision)


def is_dropped(rows: VisibleRows, name: bytes, compact_revision: int) -> bool:
    """Whether that compaction drops all that there was of a key, which some replicas have removed already."""
    first, last = name + names.TERMINATOR, past(name)
    for key, kind in rows.scan(HISTORY, first, last, reverse=True):
        if kind == DELETE:
            return key[POSITION] < names.position(max(compact_revision, 0), 0)
        event = rows.get(EVENTS, key[POSITION])
        assert event is not None, "every row of history has its event"
        tombstone = rows.covered_by(event[PAIR_AT:])
        return tombstone is not None and tombstone.revision < compact_revision
    return True


def is_change_of(name: bytes, key: bytes) -> bool:
    """Whether a key of ``history`` is of the key with that name."""
    return len(key) == len(name) + names.HISTORY_SUFFIX_BYTES and key.startswith(name)


def past(name: bytes) -> bytes:
    """Behind all changes of the key with that name."""
    return name + names.TERMINATOR + b"\xff" * _POSITION_BYTES


def names_of(changes: Sequence[bytes]) -> Iterable[bytes]:
    """The names of the keys that were changed, each once."""
    return dict.fromkeys(map(name_of, changes))


def _pair_at(rows: VisibleRows, change: bytes | None, revision: int) -> bytes | None:
    """The pair of a key whose newest change at ``revision`` this was."""
    if change is None:
        return None
    event = rows.get(EVENTS, change[POSITION])
    assert event is not None, "every row of history has its event"
    pair = event[PAIR_AT:]
    return None if event[:PAIR_AT] == DELETE or rows.covered_by(pair, revision) else pair
