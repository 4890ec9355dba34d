"""The sums behind the store's digest, kept up with every change in constant time.

Let h(e) be the 128-bit hash of an event's key-value pair. All sums are modulo 2^128.

- ``events``: the sum of h over all events there ever were.
- ``dead(r)``: the sum of h over the events that a compaction at r drops: those below r that are not a key's newest at
  r, or are deletions. Each row of the events table carries the value of this sum for its revision, so that a
  compaction at any revision is one look-up and one assignment: ``dropped = dead(r)``.
- The *retained* sum, ``events - dropped``, is then the sum of h over exactly the events that the store logically has,
  whatever a slow physical removal has left lying about.
- ``order`` is a polynomial over h in the order of events: the sums alone would not see two changes of one revision
  exchanged.
- ``leases``: the sum of the hashes of the lease rows.

An event at revision r counts into dead(r) what it replaces from earlier revisions. Deletions of r, and what r itself
both wrote and replaced (nested transactions can), must still reach a watch from r; they wait in ``carry`` and count
from the next revision on.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

import msgspec

MODULUS_MASK = 2**128 - 1
_FACTOR = 0x2D99787926D46932A4C1F32680F70C55


def row_hash(row: bytes) -> int:
    return int.from_bytes(blake2b(row, digest_size=16).digest(), "little")


class Deletion(NamedTuple):
    """The pair that a key had, whether that was put at the present revision too, and the pair of the deletion."""

    before: bytes
    same_revision: bool
    pair: bytes


class Sums(msgspec.Struct, gc=False):
    """The running sums; see above."""

    events: int = 0
    dead: int = 0
    carry: int = 0
    dropped: int = 0
    order: int = 0
    leases: int = 0

    def begin_revision(self) -> None:
        """The next change is the first of a new revision."""
        self.dead = (self.dead + self.carry) & MODULUS_MASK
        self.carry = 0

    def add_put(self, pair: bytes) -> None:
        number = row_hash(pair)
        self.events = (self.events + number) & MODULUS_MASK
        self.order = (self.order * _FACTOR + number) & MODULUS_MASK

    def delete(self, deletions: Iterable[Deletion]) -> list[int]:
        """Gives the value of ``dead`` behind each."""
        events, dead, carry, order = self.events, self.dead, self.carry, self.order
        values: list[int] = []
        for before, same_revision, pair in deletions:
            if same_revision:
                carry += row_hash(before)
            else:
                dead = (dead + row_hash(before)) & MODULUS_MASK
            number = row_hash(pair)
            events += number
            carry += number
            order = (order * _FACTOR + number) & MODULUS_MASK
            values.append(dead)
        self.events, self.dead, self.carry, self.order = events & MODULUS_MASK, dead, carry & MODULUS_MASK, order
        return values

    def replace(self, pair: bytes, same_revision: bool) -> None:
        """A key's present pair is no longer its newest."""
        if same_revision:
            self.carry = (self.carry + row_hash(pair)) & MODULUS_MASK
        else:
            self.dead = (self.dead + row_hash(pair)) & MODULUS_MASK

    def add_lease(self, row: bytes) -> None:
        self.leases = (self.leases + row_hash(row)) & MODULUS_MASK

    def remove_lease(self, row: bytes) -> None:
        self.leases = (self.leases - row_hash(row)) & MODULUS_MASK

    @property
    def retained(self) -> int:
        """The sum over the events that the store logically has."""
        return (self.events - self.dropped) & MODULUS_MASK

    def digest(self, *numbers: int) -> bytes:
        """16 bytes over everything, and over ``numbers`` (revision, compact revision, era)."""
        all_numbers = (self.retained, self.order, self.leases, *numbers)
        whole = b"".join((number & MODULUS_MASK).to_bytes(16, "little") for number in all_numbers)
        return blake2b(whole, digest_size=16).digest()

    def encode(self) -> bytes:
        """96 bytes."""
        numbers = (self.events, self.dead, self.carry, self.dropped, self.order, self.leases)
        return b"".join(number.to_bytes(16, "little") for number in numbers)

    @classmethod
    def decode(cls, data: bytes) -> Sums:
        return cls(*(int.from_bytes(data[at : at + 16], "little") for at in range(0, 96, 16)))
