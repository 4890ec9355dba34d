"""A copy of one cluster's keys in another one, of any two that speak etcd's API: made once, or kept up for ever.

Rules of this module:

1. The copy keeps its *place* in the target, in a key of its own, and every transaction that changes the target moves
   the place with it, on the condition that it is where this copy left it. So each change of the source is made once,
   whoever is stopped or restarted in between and however often a write is tried, and of two copies at work one ends.
2. ``through`` of the place is a revision of the source: of every key that was last changed at it or before, the target
   has what the source had. A copy that was stopped goes on behind it.
3. A *snapshot* is read at one revision of the source: the names of all its keys first, then what was changed behind
   ``through``, in the order of mod revisions. Keys of one revision are not torn apart, unless they are more than a
   transaction holds. What the source has no more is deleted. The target has the source's state of that revision at the
   end of it, and no state that ever was before; ``complete`` says so.
4. Behind a snapshot the source's changes are *followed*: each revision whole, in order. Where the source has compacted
   them before they were read, another snapshot makes up for them; and so that nothing depends on what a server says of
   its progress (see ``watching``), one ends a copy that is to *catch up* with what the source has now.
5. Keys that begin with ``ratified/copies/`` are places of copies, and are not copied.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from ratified.client import calls
from ratified.client.calls import Do, When, compare_mod
from ratified.client.errors import (
    CallOutcomeUnknown,
    CallRefused,
    ClientError,
    Compacted,
    LeaseExists,
    LeaseNotFound,
    Unavailable,
)
from ratified.client.recipes.conditions import PAGE_KEYS_DEFAULT, Pages
from ratified.client.recipes.steps import ask
from ratified.client.results import Event, Range, Txn
from ratified.client.sync import Client, Watch

T = TypeVar("T")

PLACES = b"ratified/copies/"
BATCH_KEYS_DEFAULT = 100
BATCH_KEYS_MAX = 127
"""Of a transaction of 128 operations, one moves the place."""
BATCH_BYTES_MAX = 1 << 20
"""Of keys and values in one transaction; one key alone may have more. etcd takes 1.5 MiB."""
RETRY_S = 0.5

Side: TypeAlias = Literal["source", "target"]


class CopyFailed(Exception):
    """The copy cannot go on; the text says why, and what to do."""


class TargetNotEmpty(CopyFailed):
    """The target has keys, and no copy of this source was begun there."""


class PlaceTaken(CopyFailed):
    """Another copy of the same keys is at work."""


class Scope(msgspec.Struct, frozen=True):
    """Which keys: those of the source that begin with ``prefix``; in the target they begin with ``target_prefix``."""

    prefix: bytes = b""
    target_prefix: bytes = b""

    def named(self, key: bytes) -> bytes:
        """What the target calls a key of the source."""
        return self.target_prefix + key[len(self.prefix) :]


class Place(msgspec.Struct, frozen=True):
    """How far a copy is, as it stands in the target. ``run`` and ``moves`` tell any two places apart."""

    through: int = 0
    complete: bool = False
    run: str = ""
    """Which process put it there."""
    moves: int = 0


class Told(NamedTuple):
    """How far it is: of ``keys`` of the snapshot so many are ``done``; ``through`` of the source is in the target."""

    done: int
    keys: int
    through: int
    waits_for: str = ""
    """Why it does not go on at the moment."""


class _Name(NamedTuple):
    """A key of the snapshot, without its value."""

    mod_revision: int
    key: bytes
    lease: int


class Copy:
    """A copy from one cluster to another, by one thread.

    Raises ``CopyFailed`` where it cannot go on. Where a cluster cannot be reached it waits, but not in ``begin``.
    """

    def __init__(
        self,
        source: Client,
        target: Client,
        *,
        scope: Scope = Scope(),  # noqa: B008 - frozen
        leases: bool = False,
        batch_keys: int = BATCH_KEYS_DEFAULT,
        told: Callable[[Told], None] = lambda _: None,
    ) -> None:
        """``leases``: keys end with leases of the same ids and what is left of them; else the copy has none."""
        if not 1 <= batch_keys <= BATCH_KEYS_MAX:
            raise ValueError(f"batch_keys is {batch_keys}; give 1 to {BATCH_KEYS_MAX}")
        self._source = source
        self._target = target
        self._scope = scope
        self._leases = leases
        self._batch_keys = batch_keys
        self._told = told
        self._run = uuid.uuid4().hex
        self._place = Place()
        self.place_key = b""
        """Where the copy keeps its place, from ``begin`` on."""
        self._place_revision = 0
        self._granted: set[int] = set()
        self._stopped = threading.Event()
        self._watch: Watch | None = None
        self.leases_granted = 0

    @property
    def through(self) -> int:
        return self._place.through

    def begin(self, *, overwrite: bool = False) -> bool:
        """Find the place, or take one. Did a copy that was stopped go on?

        Raises ``TargetNotEmpty``, unless the target may be overwritten: then what the source does not have is deleted.
        """
        try:
            cluster = self._source.carry_out(ask(calls.cluster_id()))
            newest = self._source.range(PLACES).revision
        except ClientError as failed:
            raise CopyFailed(f"the source: {failed.text} ({failed.code})") from failed
        kind = "with-leases" if self._leases else "plain"
        names = f"{kind}/{cluster:x}/{self._scope.prefix.hex()}/{self._scope.target_prefix.hex()}"
        self.place_key = PLACES + names.encode()
        try:
            found = self._target.get(self.place_key)
        except ClientError as failed:
            raise CopyFailed(f"the target: {failed.text} ({failed.code})") from failed
        if found is not None:
            self._place = msgspec.json.decode(found.value, type=Place)
            self._place_revision = found.mod_revision
            if self.through > newest:
                raise CopyFailed(
                    f"the target has revision {self.through} of the source, which is at {newest}: was it restored? To"
                    f" copy it anew, delete the key {self.place_key.decode()} in the target, and allow to overwrite"
                )
            return True
        if not overwrite:
            self._check_empty()
        return False

    @property
    def complete(self) -> bool:
        """Has the target been brought to one revision of the source once?"""
        return self._place.complete

    def snapshot(self) -> int:
        """Bring the target to one revision of the source, which is ``through`` then; gives how many keys that has."""
        while True:
            try:
                return self._snapshot()
            except Compacted:
                continue  # it took longer than the source keeps history: what is done is done, take a newer one

    def catch_up(self) -> None:
        """Copy all changes that the source has by now."""
        newest = self._insist("source", lambda: self._source.range(self.place_key)).revision
        self._follow(newest)
        self.snapshot()

    def follow(self) -> None:
        """Copy changes as they come, until ``stop``."""
        self._follow(None)

    def stop(self) -> None:
        """Have it end; from any thread."""
        self._stopped.set()
        if self._watch is not None:
            self._watch.close()

    def forget(self) -> None:
        """Delete the place: the copy is done, and will not be gone on with."""
        place = When(compare_mod(self.place_key, "==", self._place_revision)).then(Do.delete(self.place_key))
        self._insist("target", lambda: self._target.commit(place))

    def _check_empty(self) -> None:
        for page in self._target_pages():
            if page:
                raise TargetNotEmpty(
                    f"the target is not empty ({page[0].decode(errors='backslashreplace')!r} is there), and no copy of"
                    " this source was begun in it: take an empty one, or allow to overwrite"
                )

    def _target_pages(self) -> Iterator[list[bytes]]:
        """The names of the target's keys in the scope."""
        for page in self._pages("target", self._target, self._scope.target_prefix):
            yield [pair.key for pair in page.pairs if not pair.key.startswith(PLACES)]

    def _pages(self, side: Side, client: Client, prefix: bytes) -> Iterator[Range]:
        """All keys that begin with a prefix, without their values, at one revision."""
        pages = Pages(prefix, prefix=True, end=None, revision=0, page_keys=PAGE_KEYS_DEFAULT, keys_only=True)
        while pages.more:
            yield self._insist(side, lambda: client.carry_out(pages.next_page()), expected=(Compacted,))

    def _snapshot(self) -> int:
        revision, names = self._names()
        changed = sorted(name for name in names if name.mod_revision > self.through)
        done = 0
        self._told(Told(done, len(changed), self.through))
        self._delete_others({self._scope.named(name.key) for name in names})
        for batch, through in self._batches(changed):
            self._put(batch, revision, through)
            done += len(batch)
            self._told(Told(done, len(changed), self.through))
            if self._stopped.is_set():
                return self.through
        self._move((), revision, complete=True)
        self._told(Told(done, len(changed), self.through))
        return len(names)

    def _names(self) -> tuple[int, list[_Name]]:
        """Of all keys of the source, at its newest revision, which is given first."""
        names: list[_Name] = []
        revision = 0
        for page in self._pages("source", self._source, self._scope.prefix):
            revision = revision or page.revision
            names += (
                _Name(pair.mod_revision, pair.key, pair.lease) for pair in page.pairs if not pair.key.startswith(PLACES)
            )
        return revision, names

    def _delete_others(self, names: set[bytes]) -> None:
        """Delete what the source does not have."""
        for page in self._target_pages():
            others = iter([key for key in page if key not in names])
            while batch := list(islice(others, self._batch_keys)):
                self._move([Do.delete(key) for key in batch], self.through)

    def _batches(self, changed: Sequence[_Name]) -> Iterator[tuple[Sequence[_Name], int]]:
        """With the revision that the target has after each."""
        at = 0
        while at < len(changed):
            end = min(at + self._batch_keys, len(changed))
            if end < len(changed):
                ends = (cut for cut in range(end, at, -1) if changed[cut - 1].mod_revision < changed[cut].mod_revision)
                end = next(ends, end)
            torn = end < len(changed) and changed[end - 1].mod_revision == changed[end].mod_revision
            yield changed[at:end], changed[end - 1].mod_revision - torn
            at = end

    def _put(self, batch: Sequence[_Name], revision: int, through: int) -> None:
        values = self._values([name.key for name in batch], revision)
        sized = [(name, value) for name, value in zip(batch, values, strict=True)]
        parts = list(_parts(sized, lambda each: len(each[0].key) + len(each[1])))
        for number, part in enumerate(parts, start=1):
            self._put_part(part, through if number == len(parts) else self.through)

    def _put_part(self, part: Sequence[tuple[_Name, bytes]], through: int) -> None:
        while True:
            for lease in sorted({name.lease for name, _ in part if name.lease} - self._granted if self._leases else ()):
                self._grant(lease)
            puts = [
                Do.put(self._scope.named(name.key), value, lease=name.lease if self._leases else 0)
                for name, value in part
            ]
            try:
                self._move(puts, through)
            except LeaseNotFound:
                self._granted -= {name.lease for name, _ in part}  # one has ended before its keys were there
            else:
                return

    def _values(self, keys: Sequence[bytes], revision: int) -> list[bytes]:
        """Read together, or in halves where that is more than the source answers at once."""
        reading = When().then(*(Do.get(key, revision=revision) for key in keys))
        try:
            done = self._insist("source", lambda: self._source.commit(reading), expected=(CallRefused,))
        except CallRefused as refused:
            if isinstance(refused, Compacted):
                raise
            if len(keys) == 1:
                raise CopyFailed(f"the source does not give {keys[0]!r}: {refused.text} ({refused.code})") from refused
            half = len(keys) // 2
            return self._values(keys[:half], revision) + self._values(keys[half:], revision)
        return [answer.pairs[0].value for answer in done.results if isinstance(answer, Range)]

    def _grant(self, id: int) -> None:
        """A lease with what is left of it; one that has ended meanwhile ends in the target soon."""
        left = self._insist("source", lambda: self._source.lease_time_to_live(id))
        ttl = max(left.ttl, 1) if left is not None else 1
        try:
            self._insist("target", lambda: self._target.lease_grant(ttl, id=id), expected=(LeaseExists,))
            self.leases_granted += 1
        except LeaseExists:
            self._told(Told(0, 0, self.through))  # by this copy, before it was stopped, or without knowing that it had
        self._granted.add(id)

    def _follow(self, until: int | None) -> None:
        while not self._stopped.is_set():
            try:
                self._follow_once(until)
                break
            except Compacted:
                self.snapshot()
            except Unavailable as failed:
                self._wait("source", failed)
            except ClientError as failed:
                raise CopyFailed(f"the source ended the watch: {failed.text} ({failed.code})") from failed

    def _follow_once(self, until: int | None) -> None:
        with self._source.watch(self._scope.prefix, prefix=True, revision=self.through + 1) as watch:
            self._watch = watch
            if self._stopped.is_set():
                return
            for batch in watch.batches(progress=True):
                self._copy_changes([event for event in batch if not event.pair.key.startswith(PLACES)])
                self._told(Told(0, 0, self.through))
                if until is not None and watch.seen_revision >= until:
                    return

    def _copy_changes(self, events: Sequence[Event]) -> None:
        for part, through in _transactions(events, self._batch_keys):
            operations = [
                Do.delete(self._scope.named(event.pair.key))
                if event.kind == "delete"
                else Do.put(self._scope.named(event.pair.key), event.pair.value)
                for event in part
            ]
            self._move(operations, max(through, self.through))

    def _move(self, operations: Sequence[Do], through: int, *, complete: bool | None = None) -> None:
        """Change the target and move the place, together and once."""
        complete = self._place.complete if complete is None else complete
        place = Place(through, complete, self._run, self._place.moves + 1)
        content = msgspec.json.encode(place)
        here = compare_mod(self.place_key, "==", self._place_revision)
        moving = When(here).then(*operations, Do.put(self.place_key, content)).otherwise(Do.get(self.place_key))
        done = self._insist("target", lambda: self._target.commit(moving), expected=(LeaseNotFound,))
        if done.succeeded:
            self._place_revision = done.revision
        else:
            self._place_revision = self._moved_before(done, content)
        self._place = place

    def _moved_before(self, done: Txn, content: bytes) -> int:
        """The revision of the place, where an attempt of which that was not known had moved it."""
        (found,) = done.results
        if isinstance(found, Range) and found.pairs and found.pairs[0].value == content:
            return found.pairs[0].mod_revision
        raise PlaceTaken(
            f"another copy of the same keys is at work, or somebody changed its place ({self.place_key.decode()})"
        )

    def _insist(self, side: Side, call: Callable[[], T], expected: tuple[type[CallRefused], ...] = ()) -> T:
        """Until it is done or refused: what is insisted on may be done twice, or is conditional."""
        while True:
            try:
                return call()
            except (Unavailable, CallOutcomeUnknown) as failed:
                self._wait(side, failed)
            except expected:
                raise
            except ClientError as failed:
                raise CopyFailed(f"the {side}: {failed.text} ({failed.code})") from failed

    def _wait(self, side: Side, failed: ClientError) -> None:
        self._told(Told(0, 0, self.through, f"the {side}: {failed.text}"))
        if self._stopped.wait(RETRY_S):
            raise CopyFailed(f"stopped while the {side} could not be reached: {failed.text}") from failed


def _parts(all: Iterable[T], size_bytes: Callable[[T], int]) -> Iterator[list[T]]:
    """In order, each of at most ``BATCH_BYTES_MAX``, or of one."""
    part: list[T] = []
    left_bytes = BATCH_BYTES_MAX
    for each in all:
        if part and size_bytes(each) > left_bytes:
            yield part
            part, left_bytes = [], BATCH_BYTES_MAX
        part.append(each)
        left_bytes -= size_bytes(each)
    if part:
        yield part


def _transactions(events: Sequence[Event], keys_max: int) -> Iterator[tuple[Sequence[Event], int]]:
    """Events in transactions that write no key twice, with the revision that the target has after each. A revision is
    torn apart only where it is larger than a transaction."""
    part: list[Event] = []
    through = 0
    for revision, group in groupby(events, lambda event: event.revision):
        pieces = list(_pieces(list(group), keys_max))
        together = part + pieces[0]
        keys = {event.pair.key for event in together}
        fits = len(pieces) == 1 and len(keys) == len(together) <= keys_max and _bytes_of(together) <= BATCH_BYTES_MAX
        if fits:
            part = together
        else:
            if part:
                yield part, through
            yield from ((piece, through) for piece in pieces[:-1])
            part = pieces[-1]
        through = revision
    if part:
        yield part, through


def _pieces(events: Sequence[Event], keys_max: int) -> Iterator[list[Event]]:
    """One revision, in as few transactions as it fits in."""
    for part in _parts(events, lambda event: len(event.pair.key) + len(event.pair.value)):
        for at in range(0, len(part), keys_max):
            yield part[at : at + keys_max]


def _bytes_of(events: Sequence[Event]) -> int:
    return sum(len(event.pair.key) + len(event.pair.value) for event in events)
