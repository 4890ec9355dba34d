"""The checks behind ``ratified demo`` would notice what they look for."""

from __future__ import annotations

import pytest

from ratified.check.register import Get, Put
from ratified.cli.faults import History


def test_a_history_that_an_order_explains_is_linearizable() -> None:
    history = History()
    first = history.position()
    history.open(1, "k", Put(b"maybe"), history.position())
    history.returned(0, "k", Put(b"a"), first, None)
    history.returned(0, "k", Get(), history.position(), (b"a", 1))
    history.returned(2, "k", Get(), history.position(), (b"maybe", 2))
    assert history.verdict() == "linearizable"


def test_a_lost_write_is_not_linearizable() -> None:
    history = History()
    history.returned(0, "k", Put(b"a"), history.position(), None)
    history.returned(0, "k", Get(), history.position(), None)
    assert history.verdict().startswith("NOT linearizable: k: ")


def test_the_time_without_a_write_is_the_longest_gap_between_acknowledgements() -> None:
    history = History()
    history.acknowledged_at_s = [1.0, 1.5, 4.0]
    assert history.longest_gap_s(0.9, 5.0) == pytest.approx(2.5)
    assert history.longest_gap_s(1.2, 1.4) == pytest.approx(0.2)
