"""The tree of watched ranges finds exactly the ranges that hold a key, and stays balanced."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ratified.kv.intervals import Interval, IntervalMap

points = st.integers(0, 30).map(lambda number: b"%02d" % number)
intervals = st.builds(Interval, points, st.one_of(st.none(), points))


@given(st.lists(st.tuples(intervals, st.integers(0, 5)), max_size=40, unique=True), st.data(), points)
def test_it_finds_what_a_look_at_each_range_finds(
    entries: list[tuple[Interval, int]], data: st.DataObject, key: bytes
) -> None:
    tree: IntervalMap[int] = IntervalMap()
    for interval, value in entries:
        tree.add(interval, value)
    gone = data.draw(st.lists(st.sampled_from(entries), unique=True)) if entries else []
    for interval, value in gone:
        tree.remove(interval, value)
    left = [entry for entry in entries if entry not in gone]
    assert sorted(tree.holding(key)) == sorted(value for interval, value in left if interval.holds(key))
    assert bool(tree) == bool(left)


def test_it_stays_shallow_when_ranges_come_in_order() -> None:
    tree: IntervalMap[int] = IntervalMap()
    for number in range(1024):
        tree.add(Interval(b"%06d" % number, b"%06d" % (number + 1)), number)
    assert tree.height <= 11 * 1.45
    for number in range(0, 1024, 2):
        tree.remove(Interval(b"%06d" % number, b"%06d" % (number + 1)), number)
    assert tree.height <= 10 * 1.45
    assert tree.holding(b"000501") == [501]
    assert tree.holding(b"000502") == []
