"""The sequential model of one key of a key-value store: what each client operation may answer.

A key holds nothing, or a value and its version (1 after its creation, one more with each put), as in etcd.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Held: TypeAlias = tuple[bytes, int] | None
"""Value and version, or nothing."""


class Put(NamedTuple):
    """Set the value; answers what was held before."""

    value: bytes


class Get(NamedTuple):
    """Answers what is held."""


class Delete(NamedTuple):
    """Remove the key; answers what was held before."""


class Swap(NamedTuple):
    """Set the value if the version is ``version`` (0: nothing is held); answers True, or else what is held."""

    version: int
    value: bytes


Call: TypeAlias = Put | Get | Delete | Swap
Result: TypeAlias = Held | Literal[True]


class Register:
    """One key, beginning empty."""

    @property
    def initial(self) -> Held:
        return None

    def step(self, state: Held, call: Call, result: Result, known: bool) -> tuple[bool, Held]:
        version = 0 if state is None else state[1]
        match call:
            case Get():
                return not known or result == state, state
            case Put(value):
                return not known or result == state, (value, version + 1)
            case Delete():
                return not known or result == state, None
            case Swap(expected, value):
                swapped = version == expected
                answer = True if swapped else state
                return not known or result == answer, (value, version + 1) if swapped else state

    def only_reads(self, call: Call) -> bool:
        return isinstance(call, Get)
