"""What a store keeps its rows in: an ordered map of bytes per table, in one environment per node.

Two implementations stand behind these protocols, LMDB (``storage.lmdb``) and memory (``storage.memory``); a test
holds them equal. No key is longer than ``KEY_BYTES_MAX``; who has longer ones must shorten them first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

SPACE_BYTES = 4
"""In front of every key in the file stands its space, a u32, big-endian."""

SECOND = 1 << 31
"""Added to a group's space, the number of its second one."""

KEY_BYTES_MAX = 507
"""LMDB's 511, less the space."""


def check_key(key: bytes) -> None:
    """Raise ``ValueError`` where a key is too long to be written."""
    if len(key) > KEY_BYTES_MAX:
        raise ValueError(f"a key has {len(key)} bytes and may have at most {KEY_BYTES_MAX}: shorten it before writing")


class View(Protocol):
    """A consistent view of one group's space: a snapshot, or the open transaction."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None."""

    def scan(
        self, table: str, first: bytes, last: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows with first <= key < last (None: to the end), ascending, or descending with ``reverse``."""

    def keys(self, table: str, first: bytes, last: bytes | None, keys_max: int) -> list[bytes]:
        """The first so many keys of the rows that ``scan`` gives; many times as fast."""

    def columns(self, table: str, first: bytes, last: bytes | None, rows_max: int) -> tuple[list[bytes], list[bytes]]:
        """The keys and the values of the first so many rows that ``scan`` gives; three times as fast."""

    @property
    def kept_bytes(self) -> int:
        """About how much room what was written since takes only because this view, or an older one, is open."""

    def close(self) -> None:
        """Let go of the snapshot; a view that is the open transaction is closed with it."""


class Space(Protocol):
    """One group's rows. What writes needs the environment's transaction to be open."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None; inside the transaction what it wrote is seen."""

    def scan(
        self, table: str, first: bytes, last: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """As ``View.scan``; rows must not be written while the iterator is in use."""

    def keys(self, table: str, first: bytes, last: bytes | None, keys_max: int) -> list[bytes]:
        """As ``View.keys``."""

    def columns(self, table: str, first: bytes, last: bytes | None, rows_max: int) -> tuple[list[bytes], list[bytes]]:
        """As ``View.columns``."""

    def put(self, table: str, key: bytes, value: bytes) -> None: ...

    def delete(self, table: str, key: bytes) -> bool:
        """Remove one row; False where there was none."""

    def put_all(self, table: str, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """As ``put`` of each row."""

    def delete_all(self, table: str, keys: Iterable[bytes]) -> None:
        """As ``delete`` of each row."""

    def view(self) -> View:
        """A snapshot of what is committed, to read from over several turns; the caller closes it."""

    def second(self) -> Space:
        """The group's other space (``storage.group_spaces``)."""


class Copy(Protocol):
    """All spaces as of one commit, in bytes that an environment can be filled with. Another thread may read them."""

    @property
    def length(self) -> int:
        """How many bytes there are."""

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes of them. May raise ``OSError``."""

    def close(self) -> None:
        """Let go of the commit; on the environment's thread, and after the last ``read``."""


class Environment(Protocol):
    """All spaces of one node, written together."""

    def space(self, number: int) -> Space:
        """The rows whose keys begin with ``number`` (u32)."""

    def transaction(self) -> AbstractContextManager[None]:
        """One write transaction over all spaces: committed where the block ends, undone where it raises."""

    def savepoint(self) -> AbstractContextManager[None]:
        """Inside a transaction: undoes what the block wrote, and only that, where it raises."""

    def suspend(self) -> None:
        """Set the open transaction aside: until ``resume`` what is read is the last commit, and nothing is written."""

    def resume(self) -> None:
        """Go on with the transaction that was set aside."""

    @property
    def size_bytes(self) -> int:
        """About how long a copy would be."""

    def copy(self) -> Copy:
        """The last commit, to be copied while the environment goes on; at most one at a time."""

    def close(self) -> None: ...

    def abandon(self) -> None:
        """Leave it as a process that dies would."""
