"""The lab's one source of chance."""

from __future__ import annotations

from collections.abc import Iterator

_INCREMENT = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def sm(value: int) -> int:
    """The lab's mixing function; ``sm(0) == 0x8B57DAFCA0CEE644``.

    The first multiplier is the lab's own, one digit pair away from splitmix64's: this is not
    ``consensus.draws.splitmix64``.
    """
    value = (value + _INCREMENT) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E7B5) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def draws(seed: int) -> Iterator[int]:
    """The lab's one generator with state: ``state += 0x9E37...15``, and out comes its mixture."""
    state = seed
    while True:
        yield sm(state)
        state = (state + _INCREMENT) & _MASK
