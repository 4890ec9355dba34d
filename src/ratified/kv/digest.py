"""The sums behind the store's digest, kept up with every change in constant time.

All sums are modulo 2^128.

- ``order`` is a polynomial over the hashes of what commands did, in their order: of each put its event, of each delete
  its range and how many keys it found, of the end of each lease the lease. A delete counts alike however many keys it
  found and however many of their rows have been written, so that its digest is known before they are.
- ``rows``: the sum of the hashes of the rows of leases, and of users, roles and alarms.

The digest is over these, the revision, the compact revision and the era. Compaction is in it as a number.

Whether rows are those of the digest is a question for another sum, that of the hashes of all rows in ``events``: each
store keeps its own (``mvcc``), for what is there physically depends on how far its removal has come.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

MODULUS_MASK = 2**128 - 1
FACTOR = 0x2D99787926D46932A4C1F32680F70C55


def row_hash(row: bytes) -> int:
    return int.from_bytes(blake2b(row, digest_size=16).digest(), "little")


class Sums(msgspec.Struct, gc=False):
    """The running sums; see above."""

    order: int = 0
    rows: int = 0

    def add(self, number: int) -> None:
        """What has this hash was done."""
        self.order = (self.order * FACTOR + number) & MODULUS_MASK

    def add_row(self, row: bytes) -> None:
        self.rows = (self.rows + row_hash(row)) & MODULUS_MASK

    def remove_row(self, row: bytes) -> None:
        self.rows = (self.rows - row_hash(row)) & MODULUS_MASK

    def digest(self, *numbers: int) -> bytes:
        """16 bytes over everything, and over ``numbers`` (revision, compact revision, era)."""
        all_numbers = (self.order, self.rows, *numbers)
        whole = b"".join((number & MODULUS_MASK).to_bytes(16, "little") for number in all_numbers)
        return blake2b(whole, digest_size=16).digest()

    def encode(self) -> bytes:
        """32 bytes."""
        return self.order.to_bytes(16, "little") + self.rows.to_bytes(16, "little")

    @classmethod
    def decode(cls, data: bytes) -> Sums:
        return cls(int.from_bytes(data[:16], "little"), int.from_bytes(data[16:32], "little"))
