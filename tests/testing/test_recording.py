"""The checks behind ``ratified demo`` would notice what they look for."""

from __future__ import annotations

import pytest

from ratified.check.register import Get, Put
from ratified.testing.clients import Recording


def test_a_history_that_an_order_explains_is_linearizable() -> None:
    recording = Recording()
    first = recording.position()
    recording.open(1, "k", Put(b"maybe"), recording.position())
    recording.returned(0, "k", Put(b"a"), first, None)
    recording.returned(0, "k", Get(), recording.position(), (b"a", 1))
    recording.returned(2, "k", Get(), recording.position(), (b"maybe", 2))
    assert recording.verdict() == "linearizable"


def test_a_lost_write_is_not_linearizable() -> None:
    recording = Recording()
    recording.returned(0, "k", Put(b"a"), recording.position(), None)
    recording.returned(0, "k", Get(), recording.position(), None)
    assert recording.verdict().startswith("NOT linearizable: k: ")


def test_the_time_without_a_write_is_the_longest_gap_between_acknowledgements() -> None:
    recording = Recording()
    recording.acknowledged_at_s = [1.0, 1.5, 4.0]
    assert recording.longest_gap_s(0.9, 5.0) == pytest.approx(2.5)
    assert recording.longest_gap_s(1.2, 1.4) == pytest.approx(0.2)
