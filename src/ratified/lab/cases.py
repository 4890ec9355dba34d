"""The published cases: the same parameters for every protocol."""

from __future__ import annotations

import msgspec


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One small cluster's run. ``rounds`` are ticks; ``partition`` are directed pairs that drop what they carry."""

    seed: int
    nodes: int
    rounds: int
    proposals: int
    partition: tuple[tuple[int, int], ...] = ()


CASES: dict[str, Case] = {
    "A": Case(seed=42, nodes=3, rounds=1000, proposals=5),
    "B": Case(seed=7, nodes=5, rounds=2000, proposals=20),
    "C": Case(seed=99, nodes=3, rounds=500, proposals=0),
    "D": Case(seed=1, nodes=1, rounds=200, proposals=5),
    "E": Case(seed=42, nodes=3, rounds=1000, proposals=3, partition=((0, 1), (0, 2), (1, 0), (2, 0))),
    "F": Case(seed=3, nodes=5, rounds=1500, proposals=10, partition=((0, 1),)),
}


class CaseInvalid(ValueError):
    """Parameters that make no case; the message says which, and what is possible."""


def parse_partition(text: str, nodes: int) -> tuple[tuple[int, int], ...]:
    """``"s,d,s,d"``: directed pairs of node ids. Raises ``CaseInvalid``."""
    if not text:
        return ()
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise CaseInvalid(f"partition {text!r}: node ids separated by commas are wanted, such as 0,1,1,0") from error
    if len(numbers) % 2:
        raise CaseInvalid(f"partition {text!r}: ids come in pairs source,destination; this has {len(numbers)} ids")
    for number in numbers:
        if not 0 <= number < nodes:
            raise CaseInvalid(f"partition {text!r}: there is no node {number}; ids are 0 to {nodes - 1}")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
