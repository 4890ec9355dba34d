"""Nobody sees a part of a batch: the check rejects who does."""

import pytest

from ratified.check.batches import Batches
from ratified.check.violation import Violation
from ratified.check.watches import Event


def keys(batch: bytes, numbers: range, revision: int, value: bytes = b"1") -> list[Event]:
    return [Event(revision, b"%s/%d" % (batch, number), value) for number in numbers]


def test_whole_batches_of_several_revisions_pass() -> None:
    Batches(0, 3).read(9, [*keys(b"m0", range(3), 4), *keys(b"m1", range(3), 7, b"2")])
    Batches(0, 3).deleted(10, 6)
    Batches(0, 3).deleted(10, 0)


@pytest.mark.parametrize(
    "pairs",
    [
        keys(b"m0", range(2), 4),
        [*keys(b"m0", range(3), 4), *keys(b"m1", range(1), 7)],
        [*keys(b"m0", range(2), 4), *keys(b"m0", range(2, 3), 5)],
        [*keys(b"m0", range(2), 4), *keys(b"m0", range(2, 3), 4, b"2")],
    ],
    ids=["a key is missing", "a key of another batch is left", "two revisions", "two values"],
)
def test_a_part_of_a_batch_is_rejected(pairs: list[Event]) -> None:
    with pytest.raises(Violation, match="whole batches"):
        Batches(0, 3).read(9, pairs)


def test_a_delete_of_a_part_is_rejected() -> None:
    with pytest.raises(Violation, match="removed 4 keys"):
        Batches(0, 3).deleted(10, 4)
