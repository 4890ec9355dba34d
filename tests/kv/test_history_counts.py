"""How many keys there were at several revisions is found in one pass over ``history``, in short steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratified.kv import history_counts, names
from ratified.kv.history import DELETE, HISTORY, PUT
from ratified.kv.tombstones import VisibleRows
from ratified.storage.memory import MemoryEnvironment

WHOLE = names.NAME_BYTES_MAX
KEYS = [
    b"a",
    b"a\x00",
    b"b",
    b"b" * (WHOLE - 1),
    b"b" * (WHOLE - 1) + b"\x00",
    b"b" * WHOLE,
    b"b" * WHOLE + b"1",
    b"b" * WHOLE + b"2",
    b"c",
    b"\xff" * (WHOLE + 1),
]
"""Whole names of all lengths, two groups of long keys, and what sorts between them."""

History = list[tuple[bytes, bytes]]
"""Changes, one each revision: the key, and whether it is put."""

history_of = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(KEYS), st.sampled_from([PUT, PUT, DELETE])).map(lambda change: [change]),
        st.tuples(st.sampled_from(KEYS), st.integers(2, 9)).map(lambda times: [(times[0], PUT)] * times[1]),
    ),
    max_size=16,
).map(lambda parts: [change for part in parts for change in part])


def rows_of(history: History) -> VisibleRows:
    environment = MemoryEnvironment()
    space = environment.space(1)
    with environment.transaction():
        for revision, (key, kind) in enumerate(history, 1):
            space.put(HISTORY, names.history_key(names.name(key), revision, 0), kind)
    return VisibleRows(space)


def there(history: History, since: int, revision: int, first: bytes, last: bytes | None) -> int:
    """One change after another."""
    kinds: dict[bytes, bytes] = {}
    for at, (key, kind) in enumerate(history[:revision], 1):
        if at >= since:
            kinds[names.name(key)] = kind
    return sum(kind == PUT for name, kind in kinds.items() if first <= name and (last is None or name < last))


def check(history: History, first: bytes, last: bytes | None, since: int, revisions: Sequence[int]) -> None:
    """Each piece has the keys up to its end, and where the last one ends all are counted."""
    behind = [names.position(revision + 1, 0) for revision in revisions]
    from_position = names.position(since, 0) if since else b""
    counting = history_counts.keys_between(rows_of(history), first, last, behind, from_position)
    pieces = list(islice(counting, 2 * len(history) + 2))
    ends = [first, *(piece.end for piece in pieces)]
    assert [end is None for end in ends] == [False] * len(pieces) + [True]
    for (begin, end), piece in zip(pairwise(ends), pieces, strict=True):
        assert begin is not None
        assert end is None or begin <= end
        assert piece.keys == [
            there(history, since, revision, begin, last if end is None else end) for revision in revisions
        ]


@pytest.fixture(params=[(1, 1, 1), (1, 4, 2), (3, 8, 2), (24, 256, 4)], ids=str)
def steps(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    set_steps(monkeypatch, *request.param)


def set_steps(monkeypatch: pytest.MonkeyPatch, walked_max: int, step_max: int, after_long: int) -> None:
    monkeypatch.setattr(history_counts, "_CHANGES_WALKED_MAX", walked_max)
    monkeypatch.setattr(history_counts, "_CHANGES_A_STEP", step_max)
    monkeypatch.setattr(history_counts, "_CHANGES_WALKED_AFTER_LONG", after_long)


bound_of = st.sampled_from(sorted({bound(key) for key in KEYS for bound in (names.first_name, names.last_name)}))


@pytest.mark.usefixtures("steps")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=history_of,
    first=st.just(b"") | bound_of,
    last=st.none() | bound_of,
    since=st.integers(0, 12),
    revisions=st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_each_piece_has_its_keys(
    history: History, first: bytes, last: bytes | None, since: int, revisions: Sequence[int]
) -> None:
    check(history, first, last, since, revisions)


def a_history() -> History:
    """A case of each rule: long and short histories, keys that are gone, and that came back."""
    history = [(key, PUT) for key in KEYS]
    history += [(key, DELETE) for key in KEYS[::2]]
    history += [(b"b", PUT)] * 40
    history += [(b"c", PUT)] * 40
    history += [(b"c", DELETE), (b"b", DELETE), (b"b", PUT), (b"a", PUT)]
    return history


def check_all() -> None:
    history = a_history()
    for since in (0, 12, 60):
        check(history, b"", None, since, range(1, len(history) + 1))
        for revision in range(1, len(history) + 1):
            check(history, b"", None, since, [revision])


def with_the_last_key_of_each_batch(whole: Callable[..., int]) -> Callable[..., int]:
    return lambda changed, newest: len(changed) if len(changed) > 1 else whole(changed, newest)


def no_deletions(find: Callable[..., list[int]]) -> Callable[..., list[int]]:
    return lambda changed, changes, kinds, *more: find(changed, changes, [PUT] * len(kinds), *more)


def each_change_of_another_key(find: Callable[..., list[int]]) -> Callable[..., list[int]]:
    return lambda changed, *more: find([b"%d" % at for at in range(len(changed))], *more)


def from_the_first_change(find: Callable[..., list[int]]) -> Callable[..., list[int]]:
    return lambda changed, changes, kinds, behind, since: find(changed, changes, kinds, behind, b"")


BROKEN: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a key that was deleted is there": ("_keys", no_deletions),
    "a key counts for each put": ("_keys", each_change_of_another_key),
    "what was before a tombstone counts": ("_keys", from_the_first_change),
    "what is read of the last key of a batch is all": ("bisect_left", with_the_last_key_of_each_batch),
    "a long history is one of a key that is there": ("last_kind", lambda _: lambda *_: PUT),
    "a long history is one of a key that is gone": ("last_kind", lambda _: lambda *_: None),
    "a piece with a long history ends before it": ("_behind", lambda _: lambda name: name),
}


@pytest.mark.usefixtures("steps")
def test_each_rule_is_seen() -> None:
    check_all()


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_seen(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    set_steps(monkeypatch, 3, 8, 2)
    name, breaking = BROKEN[rule]
    monkeypatch.setattr(history_counts, name, breaking(getattr(history_counts, name)))
    with pytest.raises(AssertionError):
        check_all()


@pytest.mark.parametrize(("changes", "revisions"), [(100, 1), (100, 3), (100, 5), (100, 128), (400, 128)])
def test_of_long_histories_behind_each_other_few_changes_are_read(
    monkeypatch: pytest.MonkeyPatch, changes: int, revisions: int
) -> None:
    """So many that to seek the last one for each revision would not take less."""
    read: list[int] = []
    sought: list[bytes] = []
    rows = rows_of([(b"%03d" % key, PUT) for key in range(50) for _ in range(changes)])
    columns = rows.columns

    def noted(*asked: Any) -> tuple[list[bytes], list[bytes]]:
        found = columns(*asked)
        read.append(len(found[0]))
        return found

    def seeking(rows: VisibleRows, name: bytes, since: bytes, behind: bytes) -> bytes:
        sought.append(name)
        return PUT

    monkeypatch.setattr(rows, "columns", noted)
    monkeypatch.setattr(history_counts, "last_kind", seeking)
    behind = [names.position(50 * changes + at, 0) for at in range(revisions)]
    counted = list(history_counts.keys_between(rows, b"", None, behind))
    assert [sum(keys) for keys in zip(*(piece.keys for piece in counted), strict=True)] == [50] * revisions
    walked_max, after_long_max = (
        min(revisions * each, history_counts._CHANGES_A_STEP)
        for each in (history_counts._CHANGES_WALKED_MAX, history_counts._CHANGES_WALKED_AFTER_LONG)
    )
    if changes < walked_max:
        assert not sought
        assert sum(read) <= 2 * 50 * changes
    else:
        assert len(sought) == 50 * revisions
        assert sum(read) <= walked_max + 50 * after_long_max


@pytest.mark.parametrize("revisions", [1, 8, 128])
def test_a_step_says_what_it_took(monkeypatch: pytest.MonkeyPatch, revisions: int) -> None:
    rows = rows_of([(b"%03d" % (at % 400), PUT) for at in range(2_000)] + [(b"x", PUT)] * 200)
    columns, last_kind = rows.columns, history_counts.last_kind
    changes: list[bytes] = []
    sought: list[bytes] = []

    def noted(*asked: Any) -> tuple[list[bytes], list[bytes]]:
        found = columns(*asked)
        changes.extend(found[0])
        return found

    def seeking(rows: VisibleRows, name: bytes, since: bytes, behind: bytes) -> bytes | None:
        sought.append(name)
        return last_kind(rows, name, since, behind)

    monkeypatch.setattr(rows, "columns", noted)
    monkeypatch.setattr(history_counts, "last_kind", seeking)
    behind = [names.position(at * 15 + 2, 0) for at in range(revisions)]
    for piece in history_counts.keys_between(rows, b"", None, behind):
        took = len(changes) / history_counts._CHANGES_A_LOOK + len(sought) * history_counts._SOUGHT
        assert took + revisions // history_counts._REVISIONS_A_LOOK <= piece.work <= took + revisions + 1
        assert len(changes) <= history_counts._CHANGES_A_STEP
        assert len(sought) in (0, revisions)
        changes.clear()
        sought.clear()
