"""What is replicated: the ``StateMachine`` that users write, and the ``Store`` that a replica calls.

Rules of this file:

1. It imports nothing of ours: what a user writes against it stays small and stable.
2. The state after index i is a function of the entries up to i, byte for byte. Nothing here looks at a clock while
   applying, and a store's digest is the same on every replica at the same applied index.
3. A store commits data and applied index together. An exception while applying never becomes a result: it stops the
   replica, as a crash would.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

Era = tuple[int, int]


class StateMachine(ABC):
    """A deterministic state machine of your own, replicated by ``ratified.Host``.

    It keeps nothing durable: its state is rebuilt from snapshot and log. Every method must depend on nothing but the
    machine's state and its argument: no clock, no random number, no set order.
    """

    @abstractmethod
    def apply(self, command: bytes) -> bytes:
        """Change the state by one committed command and return what its proposer gets as the result."""

    @abstractmethod
    def query(self, request: bytes) -> bytes:
        """Answer from the state without changing it."""

    @abstractmethod
    def snapshot(self) -> bytes:
        """The whole state, in bytes that ``restore`` understands on every replica."""

    @abstractmethod
    def restore(self, snapshot: bytes) -> None:
        """Replace the whole state by one that ``snapshot`` gave."""


class Command(msgspec.Struct, frozen=True, gc=False):
    """A committed command and its index in the log."""

    index: int
    data: bytes


class ApplyFailed(Exception):
    """Applying met a local failure: the replica that met it stops; other groups serve on."""

    def __init__(self, index: int, cause: BaseException) -> None:
        super().__init__(f"applying the entry with index {index} failed: {type(cause).__name__}: {cause}")
        self.index = index


class Slice(NamedTuple):
    """What a continuation yielded in one go; after ``finished`` it is never advanced again."""

    chunks: Sequence[bytes]
    finished: bool


class Continuation(Protocol):
    """A read that takes more than one turn: a long range in slices, or a watch."""

    @property
    def deadline(self) -> int | None:
        """When it wants to be advanced although nothing was applied (microseconds); None: never."""

    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        """Yield at most about this much. Called when the store lists it in ``woken`` or its deadline has passed."""

    def cancel(self) -> None:
        """The reader is gone; let go of everything."""


class Store(Protocol):
    """What a replica calls. All methods are called on one thread."""

    @property
    def applied(self) -> int:
        """The index up to which the store's last commit has applied the log."""

    def apply(self, commands: Sequence[Command], last_index: int) -> Sequence[bytes]:
        """Apply, in order, and set ``applied`` to ``last_index`` (entries that are no commands count too).

        Runs inside the transaction that the caller holds open for the turn; the caller commits. Returns one result
        a command. Raises ``ApplyFailed`` on a local failure.
        """

    def read(self, now: int, request: bytes) -> bytes | Continuation:
        """Answer from the committed state."""

    def woken(self, now: int) -> Sequence[Continuation]:
        """The continuations that have something to yield since the last call, each once, in a stable order."""

    def digest(self) -> bytes:
        """16 bytes that are the same on every replica at the same applied index."""

    def snapshot(self) -> Sequence[bytes]:
        """The committed state as sorted, store-independent rows."""

    def restore(self, rows: Sequence[bytes], index: int) -> None:
        """Replace the state by ``rows``, applied up to ``index``."""

    def lead(self, now: int, era: Era | None) -> None:
        """This replica leads in ``era`` from now on, with nothing remembered of earlier ones; None: no longer."""

    def duties(self, now: int) -> tuple[Sequence[bytes], int | None]:
        """Commands that only a leader proposes (the first of an era tells the store the era), and when to ask next."""

    def ask(self, now: int, request: bytes) -> bytes:
        """Answer what needs the leader but no entry; ``now`` is when the barrier before it was fed."""
