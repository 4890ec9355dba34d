"""One rule broken each of how commands are applied over several turns, and of what watches send."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from ratified.kv.event_chunks import EventChunks
from ratified.kv.mvcc import Mvcc
from ratified.kv.names import position
from ratified.kv.tombstones import Tombstone, VisibleRows
from ratified.kv.watch import Watcher, WatchHub, _Unsent
from ratified.node.node import Node
from ratified.node.replica import Replica
from ratified.storage.memory import MemoryEnvironment, MemorySpace, MemoryView
from tests.mutants.mutant import Mutant


@contextmanager
def shows_what_is_half_done() -> Iterator[None]:
    """Between two turns of a long command reads see what it has done so far."""

    def of_now(space: MemorySpace) -> MemoryView:
        space.views.append(MemoryView(space))
        return space.views[-1]

    with (
        patch.multiple(MemoryEnvironment, suspend=lambda environment: None, resume=lambda environment: None),
        patch.object(MemorySpace, "view", of_now),
    ):
        yield


def hands_long_commands_to_nobody() -> AbstractContextManager[Any]:
    """Watches are not told to read again what a long command has changed."""
    return patch.object(WatchHub, "catch_up_all", lambda hub, tombstone=None: None)


def loses_the_begin_of_a_long_revision() -> AbstractContextManager[Any]:
    """What a watch has read of a revision is not there any more when it reads on."""
    catch_up = Watcher._catch_up

    def broken(watcher: Watcher, rows_max: int, bytes_max: int) -> Sequence[bytes]:
        if watcher._unsent is not None:
            watcher._unsent.partial = []
        return catch_up(watcher, rows_max, bytes_max)

    return patch.object(Watcher, "_catch_up", broken)


def sends_part_of_a_revision() -> AbstractContextManager[Any]:
    """A watch sends what it has read so far, be it a whole revision or not."""
    read = Watcher._read

    def reads_whole_revisions(watcher: Watcher, unsent: _Unsent, rows_max: int, bytes_max: int) -> None:
        read(watcher, unsent, rows_max, bytes_max)
        unsent.end_revision()

    return patch.object(Watcher, "_read", reads_whole_revisions)


def says_the_present_revision_whatever_waits() -> AbstractContextManager[Any]:
    """A response says that the watch has been sent everything, although more is to follow."""
    respond = Watcher._responses
    return patch.object(
        Watcher, "_responses", lambda watcher, events, _: respond(watcher, events, watcher._hub.mvcc.revision)
    )


def reads_past_tombstones() -> AbstractContextManager[Any]:
    """Who reads, puts or compares finds what a pending tombstone covers."""
    return patch.object(VisibleRows, "covered_by", lambda rows, pair, revision=None: None)


def watches_past_tombstones() -> AbstractContextManager[Any]:
    """A watch does not wait for the events of a pending tombstone."""
    return patch.object(Mvcc, "first_unwritten", lambda mvcc, revision: mvcc.revision + 1)


def keeps_the_last_of_the_events_over_a_new_revision() -> AbstractContextManager[Any]:
    """Watchers share what they read of the table's end, as if nothing had been written behind it."""
    return patch.object(EventChunks, "_end_after", lambda chunks, at: position(1 << 62, 0))


def shares_what_a_tombstone_has_still_to_write() -> AbstractContextManager[Any]:
    """Watchers share rows from both sides of a tombstone of which not all rows are written."""
    return patch.object(EventChunks, "_end_after", lambda chunks, at: position(chunks._mvcc.revision + 1, 0))


def tells_nobody_of_a_tombstone() -> AbstractContextManager[Any]:
    """A watch of what a tombstone covers does not go back to the table."""
    catch_up_all = WatchHub.catch_up_all

    def only_without_a_tombstone(hub: WatchHub, tombstone: Tombstone | None = None) -> None:
        if tombstone is None:
            catch_up_all(hub)

    return patch.object(WatchHub, "catch_up_all", only_without_a_tombstone)


def removes_only_beside_what_is_applied() -> AbstractContextManager[Any]:
    """What was compacted goes piece by piece with each entry that is applied, and when none is, it stays."""

    def tidy(node: Node, now: int, untidy: Sequence[Replica]) -> None:
        node._tidy_at = now + node.config.limits.tidy_pause_us

    return patch.object(Node, "_tidy", tidy)


MUTANTS: list[Mutant] = [
    Mutant("shows what is half done", shows_what_is_half_done, "everything", "session", 1),
    Mutant("hands long commands to no watch", hands_long_commands_to_nobody, "everything", "session", 2),
    Mutant("loses the begin of a long revision", loses_the_begin_of_a_long_revision, "everything", "session", 30),
    Mutant("sends part of a revision", sends_part_of_a_revision, "everything", "session", 18),
    Mutant(
        "says the present revision whatever waits", says_the_present_revision_whatever_waits, "everything", "session", 1
    ),
    Mutant("reads past tombstones", reads_past_tombstones, "everything", "session", 5),
    Mutant("watches past tombstones", watches_past_tombstones, "everything", "session", 5),
    Mutant(
        "keeps the last of the events over a new revision",
        keeps_the_last_of_the_events_over_a_new_revision,
        "everything",
        "session",
        1,
    ),
    Mutant(
        "shares what a tombstone has still to write",
        shares_what_a_tombstone_has_still_to_write,
        "everything",
        "session",
        38,
    ),
    Mutant("tells nobody of a tombstone", tells_nobody_of_a_tombstone, "everything", "session", 2),
    Mutant(
        "removes only beside what is applied", removes_only_beside_what_is_applied, "disks", "session", 18, seeds=300
    ),
]
