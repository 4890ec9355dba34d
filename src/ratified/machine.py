"""What is replicated: the ``StateMachine`` that users write, and the ``Store`` that a replica calls.

Rules of this file:

1. It imports nothing of ours: what a user writes against it stays small and stable.
2. The state after index i is a function of the entries up to i, byte for byte. Nothing here looks at a clock while
   applying, and a store's digest is the same on every replica at the same applied index.
3. A store commits data and applied index together. An exception while applying never becomes a result: it stops the
   replica, as a crash would.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, TypeAlias

import msgspec
from typing_extensions import override

Era = tuple[int, int]


class StateMachine(ABC):
    """A deterministic state machine of your own, replicated by ``ratified.Host``.

    Its state is in memory; a restart rebuilds it from the last snapshot that was saved, and the log behind that. Every
    method must depend on nothing but the machine's state and its argument: no clock, no random number, no set order.
    """

    @abstractmethod
    def apply(self, command: bytes) -> bytes:
        """Change the state by one committed command and return what its proposer gets as the result."""

    @abstractmethod
    def query(self, request: bytes) -> bytes:
        """Answer from the state without changing it."""

    @abstractmethod
    def snapshot(self) -> bytes | Iterable[bytes]:
        """The whole state, in bytes that ``restore`` understands on every replica; or in pieces, to be yielded.

        All pieces are taken before the next command is applied. Where it raises, the log is not cut, and all goes on.
        """

    @abstractmethod
    def restore(self, pieces: Iterable[bytes]) -> None:
        """Replace the whole state by one that ``snapshot`` gave: in the same pieces, one where it returned bytes."""


def pieces_of(machine: StateMachine) -> Iterator[bytes]:
    """Its snapshot. Raises what it raises, and ``TypeError`` where it gives no bytes."""
    snapshot = machine.snapshot()
    for piece in (snapshot,) if isinstance(snapshot, bytes) else snapshot:
        wrong = _why_not_bytes("snapshot", piece)
        if wrong is not None:
            raise TypeError(wrong)
        yield piece


class Command(msgspec.Struct, frozen=True, gc=False):
    """A committed command and its index in the log."""

    index: int
    data: bytes


class ApplyFailed(Exception):
    """Applying met a local failure: the replica that met it stops; other groups serve on."""

    def __init__(self, index: int, cause: BaseException) -> None:
        super().__init__(f"applying the entry with index {index} failed: {type(cause).__name__}: {cause}")
        self.index = index


class TidyFirst(Exception):
    """Nothing was done, and it must be asked for again once the store is not ``untidy`` any more."""


class SaveFailed(Exception):
    """A state machine's ``snapshot`` raised; nothing was saved."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"its snapshot raised {type(cause).__name__}: {cause}")


class RestoreFailed(Exception):
    """A state machine's ``restore`` raised at a start."""

    def __init__(self, index: int, cause: BaseException) -> None:
        super().__init__(
            f"a state machine does not take back its own snapshot of entry {index}: {type(cause).__name__}: {cause}: "
            "start the version of it that the snapshot was saved with, or mend its restore"
        )


class NoResult(msgspec.Struct, frozen=True, gc=False):
    """In the place of a result: the command was applied, and what came of it is nothing that can be passed on."""

    why: str


Result: TypeAlias = bytes | NoResult


class ReadFailed(Exception):
    """A request that the store cannot answer; its text goes to whoever asked."""


Touches: TypeAlias = Callable[[bytes], bool]
"""Could what a read asks for be changed?"""


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


class SnapshotDamaged(Exception):
    """What was read of a state is not one whole state, or not the one whose digest it carries."""


class StateReader(ABC):
    """A group's committed state, read in pieces over many turns. What is applied meanwhile does not show."""

    index: int
    era: Era
    """The entry up to which it is applied, and the era with which that was delivered."""

    @abstractmethod
    def read(self, bytes_max: int) -> bytes | None:
        """The next piece, never empty, of so many bytes at most; None: all was read. The last ends with the digest."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the state; nothing more is read."""


class StateLoader(ABC):
    """Fills a fresh space beside the one that serves."""

    @abstractmethod
    def load(self, piece: bytes) -> None:
        """Take the next piece, in the open transaction.

        Raises ``SnapshotDamaged``, with the last piece at the latest; what was loaded is then to be abandoned.
        """

    @abstractmethod
    def switch(self) -> None:
        """Make what was loaded the state, in the open transaction, after the last piece.

        Raises ``SnapshotDamaged`` where the last piece has not come, or was damaged.
        """

    @abstractmethod
    def abandon(self) -> None:
        """What was loaded is of no use; the store removes it in its own time."""


def load_all(
    loader: StateLoader, pieces: Iterable[bytes], transaction: Callable[[], AbstractContextManager[object]]
) -> None:
    """Load a whole state and switch to it, each piece in a transaction of its own. Raises ``SnapshotDamaged``."""
    for piece in pieces:
        with transaction():
            loader.load(piece)
    with transaction():
        loader.switch()


class Store(Protocol):
    """What a replica calls. All methods are called on one thread."""

    @property
    def applied(self) -> int:
        """The index up to which the store's last commit has applied the log."""

    @property
    def applied_era(self) -> Era:
        """The era with which the entry at ``applied`` was delivered, committed with it; ``(0, 0)``: none was."""

    @property
    def durable(self) -> tuple[int, Era]:
        """Where a store on a copy of its rows goes on from: the index that is applied there (0: none), and its era."""

    def save(self) -> None:
        """A checkpoint is due: see that ``durable`` becomes what is applied now, while ``tidy`` is called.

        Raises ``SaveFailed``, and ``TidyFirst``.
        """

    @property
    def saving(self) -> bool:
        """Is what ``save`` has begun not over yet?"""

    def apply(self, commands: Sequence[Command], last_index: int, era: Era) -> Sequence[Result]:
        """Apply, in order, and set ``applied`` to ``last_index`` (entries that are no commands count too) and
        ``applied_era`` to ``era``, which is no part of the state and of its digest.

        Runs inside the transaction that the caller holds open for the turn; the caller commits. Returns one result
        a command. Raises ``ApplyFailed`` on a local failure.
        """

    def cost(self, command: bytes, most: int) -> int:
        """About how long a command will take to apply, in rows looked at, in the state as it is; at most ``most``.

        Asked of each command that waits, in their order, before ``apply`` of some or ``apply_in_pieces`` of one.
        """

    def apply_in_pieces(self, command: Command, era: Era, rows_max: int) -> Generator[None, None, Result]:
        """As ``apply`` of this one command, in pieces that cost about ``rows_max``; returns its result.

        Runs inside a transaction of its own, which the caller sets aside where this yields. Until it returns,
        everything that is read is the state before the command. Raises ``TidyFirst``, never while the store is not
        ``untidy``.
        """

    @property
    def untidy(self) -> bool:
        """Whether ``tidy`` has something to do."""

    def tidy(self) -> None:
        """Do a piece of the work that nobody can see, such as removing what a compaction left.

        Called in turns in which nothing is applied; otherwise as ``apply``, which does such a piece too.
        """

    def read(self, now: int, request: bytes) -> bytes | Continuation:
        """Answer from the committed state. Raises ``ReadFailed`` where it cannot."""

    def touched_by(self, commands: Sequence[bytes]) -> Touches:
        """Could one of these commands, which may or may not be applied next, change what a read is answered? Says so of
        a request for ``read``. What cannot be judged is touched; here everything is, by whatever command."""
        return lambda request: bool(commands)

    def woken(self, now: int) -> Sequence[Continuation]:
        """The continuations that have something to yield since the last call, each once, in a stable order."""

    def digest(self) -> bytes:
        """16 bytes that are the same on every replica at the same applied index."""

    def read_state(self) -> StateReader:
        """Read the state of the last commit; whoever asks closes it."""

    def load_state(self, index: int, era: Era) -> StateLoader:
        """Have another state loaded: one that is applied up to ``index``, whose entry was delivered with ``era``.

        What was loaded before and not switched to is abandoned. Raises ``TidyFirst`` while rows of an earlier state
        are still to be removed.
        """

    def lead(self, now: int, era: Era | None) -> None:
        """This replica leads in ``era`` from now on, with nothing remembered of earlier ones; None: no longer."""

    def duties(self, now: int) -> tuple[Sequence[bytes], int | None]:
        """Commands that only a leader proposes (the first of an era tells the store the era), and when to ask next."""

    def ask(self, now: int, request: bytes) -> bytes:
        """Answer what needs the leader but no entry; ``now`` is when the barrier before it was fed.

        Raises ``ReadFailed`` where it cannot.
        """


class _MachineReader(StateReader):
    """The snapshot of a machine, all taken at once."""

    def __init__(self, index: int, era: Era, snapshot: bytes) -> None:
        self.index, self.era = index, era
        self._left = snapshot + hashlib.sha256(snapshot).digest()

    @override
    def read(self, bytes_max: int) -> bytes | None:
        piece, self._left = self._left[:bytes_max], self._left[bytes_max:]
        return piece or None

    @override
    def close(self) -> None:
        self._left = b""


class _MachineLoader(StateLoader):
    """Keeps the pieces until the switch."""

    def __init__(self, index: int, era: Era, restore: Callable[[bytes, int, Era], None]) -> None:
        self._restore = restore
        self._at = (index, era)
        self._pieces: list[bytes] = []

    @override
    def load(self, piece: bytes) -> None:
        self._pieces.append(piece)

    @override
    def switch(self) -> None:
        whole = b"".join(self._pieces)
        snapshot, digest = whole[:-32], whole[-32:]
        if hashlib.sha256(snapshot).digest() != digest:
            raise SnapshotDamaged("a snapshot does not have the digest that it ends with")
        self._restore(snapshot, *self._at)

    @override
    def abandon(self) -> None:
        self._pieces.clear()


class StateMachineStore(Store):
    """A ``Store`` of a ``StateMachine``. It keeps nothing durable: ``applied`` begins at 0, so the log is replayed."""

    def __init__(self, machine: StateMachine) -> None:
        self._machine = machine
        self._applied = 0
        self._applied_era: Era = (0, 0)

    @property
    @override
    def applied(self) -> int:
        return self._applied

    @property
    @override
    def applied_era(self) -> Era:
        return self._applied_era

    @property
    @override
    def durable(self) -> tuple[int, Era]:
        return 0, (0, 0)

    @override
    def save(self) -> None:
        pass  # it has no rows

    @property
    @override
    def saving(self) -> bool:
        return False

    @override
    def apply(self, commands: Sequence[Command], last_index: int, era: Era) -> Sequence[Result]:
        results: list[Result] = []
        for command in commands:
            try:
                result = self._machine.apply(command.data)
            except Exception as error:
                raise ApplyFailed(command.index, error) from error
            wrong = _why_not_bytes("apply", result)
            results.append(result if wrong is None else NoResult(f"the command was applied, but {wrong}"))
        self._applied, self._applied_era = last_index, era
        return results

    @override
    def cost(self, command: bytes, most: int) -> int:
        return 1  # what a machine of one's own does cannot be interrupted

    @override
    def apply_in_pieces(self, command: Command, era: Era, rows_max: int) -> Generator[None, None, Result]:
        yield from ()
        (result,) = self.apply((command,), command.index, era)
        return result

    @property
    @override
    def untidy(self) -> bool:
        return False

    @override
    def tidy(self) -> None:
        pass

    @override
    def read(self, now: int, request: bytes) -> bytes | Continuation:
        return self._query(request)

    @override
    def woken(self, now: int) -> Sequence[Continuation]:
        return ()

    @override
    def digest(self) -> bytes:
        """The first 16 bytes of the SHA-256 of the machine's snapshot."""
        return hashlib.sha256(b"".join(pieces_of(self._machine))).digest()[:16]

    @override
    def read_state(self) -> StateReader:
        return _MachineReader(self._applied, self._applied_era, b"".join(pieces_of(self._machine)))

    @override
    def load_state(self, index: int, era: Era) -> StateLoader:
        return _MachineLoader(index, era, self._restore)

    def _restore(self, snapshot: bytes, index: int, era: Era) -> None:
        self._machine.restore((snapshot,))
        self._applied, self._applied_era = index, era

    @override
    def lead(self, now: int, era: Era | None) -> None:
        pass  # a state machine does nothing by itself

    @override
    def duties(self, now: int) -> tuple[Sequence[bytes], int | None]:
        return (), None

    @override
    def ask(self, now: int, request: bytes) -> bytes:
        return self._query(request)

    def _query(self, request: bytes) -> bytes:
        try:
            answer = self._machine.query(request)
        except Exception as error:
            raise ReadFailed(f"{type(error).__name__}: {error}") from error
        wrong = _why_not_bytes("query", answer)
        if wrong is not None:
            raise ReadFailed(wrong)
        return answer


def _why_not_bytes(method: str, returned: object) -> str | None:
    """What is wrong with what a user's method returned; None: nothing."""
    return None if isinstance(returned, bytes) else f"{method} returned {type(returned).__name__}, not bytes"
