"""Keyed random numbers: every draw is a function of a seed and of what it is for (splitmix64).

There is no generator state, so one draw more moves no other.
"""

from __future__ import annotations

_MASK = 2**64 - 1


def splitmix64(value: int) -> int:
    """One step of splitmix64 with its published constants; ``splitmix64(0) == 0xE220A8397B1DCDAF``."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def mix(*keys: int) -> int:
    """A u64 drawn from the keys, in their order; any change of any key gives an unrelated number."""
    state = 0
    for key in keys:
        state = splitmix64(state ^ (key & _MASK))
    return state


def key_of(text: str) -> int:
    """A text as a key: the same in every process, as Python's ``hash`` is not."""
    return mix(*text.encode())
