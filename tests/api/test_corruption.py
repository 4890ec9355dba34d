"""Who is wrong, by what members have said of themselves."""

from __future__ import annotations

import pytest

from ratified.api.corruption import UNKNOWN_MEMBER, wrong
from ratified.kv.checks import Check, Said

VOTERS = (1, 2, 3)
GOOD = Said(7, 10, b"good")
OTHER_ROWS = Said(8, 10, b"good")
COMPACTED_FURTHER = Said(9, 20, b"good")
OTHER_STATE = Said(9, 20, b"bad")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({1: GOOD, 2: GOOD, 3: GOOD}, set()),
        ({1: GOOD, 2: COMPACTED_FURTHER, 3: GOOD}, set()),
        ({1: GOOD}, set()),
        ({}, set()),
        ({1: GOOD, 2: GOOD, 3: OTHER_ROWS}, {3}),
        ({1: OTHER_ROWS, 2: GOOD, 3: GOOD}, {1}),
        ({1: GOOD, 2: OTHER_STATE, 3: GOOD}, {2}),
        ({1: GOOD, 2: OTHER_ROWS}, {UNKNOWN_MEMBER}),
        ({1: GOOD, 2: OTHER_STATE}, {UNKNOWN_MEMBER}),
        ({1: GOOD, 2: GOOD, 9: OTHER_ROWS}, {9}),
        ({1: GOOD, 2: OTHER_ROWS, 9: GOOD}, {UNKNOWN_MEMBER}),
    ],
)
def test_who_differs_from_more_than_half_of_the_voters_is_wrong(said: dict[int, Said], expected: set[int]) -> None:
    assert wrong(Check(1, 1, b"", said), VOTERS) == expected
