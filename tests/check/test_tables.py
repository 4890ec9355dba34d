"""What the check of tables at rest rejects: one that never returns to its size."""

from __future__ import annotations

from ratified.check.tables import Tables
from ratified.consensus.contract import Size


def test_before_the_first_sample_nothing_is_known() -> None:
    assert not Tables().swollen


def test_a_table_that_stays_too_large_is_named_with_its_member() -> None:
    tables = Tables()
    for holds in (3, 2, 2):
        tables.sampled({1: {"requests": Size(0)}, 2: {"requests": Size(holds), "peers": Size(2, 2)}})
    assert tables.swollen == ["member 2's table of requests holds 2, and at rest it may hold 0"]


def test_a_table_that_was_once_at_its_size_has_returned() -> None:
    tables = Tables()
    for holds in (1, 0, 1):
        tables.sampled({1: {"frames": Size(holds)}})
    assert not tables.swollen


def test_a_table_that_is_gone_holds_nothing() -> None:
    tables = Tables()
    tables.sampled({1: {"messages in flight": Size(5)}, 2: {"messages in flight": Size(5)}})
    tables.sampled({1: {}})
    assert not tables.swollen


def test_what_is_on_its_way_later_was_not_left_behind() -> None:
    tables = Tables()
    tables.sampled({1: {"frames": Size(0), "marks": Size(1)}})
    tables.sampled({1: {"frames": Size(1), "marks": Size(1)}})
    assert tables.swollen == ["member 1's table of marks holds 1, and at rest it may hold 0"]
