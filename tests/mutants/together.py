"""One rule broken each of puts that are one command, and of gets that are one query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.kv import plain, store
from ratified.kv.encoding import header_only
from ratified.kv.mvcc import Mvcc
from ratified.kv.plain import PlainPut
from ratified.kv.store import KvStore
from ratified.kv.watch import WatchHub
from tests.mutants.mutant import Mutant

SCENARIO = "together"


def makes_one_revision_of_puts_together() -> AbstractContextManager[Any]:
    """Where they cannot be applied with others."""
    return patch.object(Mvcc, "next_revision", lambda mvcc: None)


def answers_the_last_of_the_revisions() -> AbstractContextManager[Any]:
    """And not the first."""
    apply = KvStore._apply_puts

    def broken(one: KvStore, commands: Sequence[Sequence[PlainPut]], index: int) -> Sequence[bytes]:
        revision = one.revision
        apply(one, commands, index)
        return [header_only(revision := revision + len(puts)) for puts in commands]

    return patch.object(KvStore, "_apply_puts", broken)


def wakes_watches_behind_puts_in_pieces() -> AbstractContextManager[Any]:
    """Only when all are done, and not before the first: watches then read on from the last of their revisions."""
    put = KvStore._put_several

    def broken(one: KvStore, body: bytes) -> bytes:
        with patch.object(WatchHub, "catch_up_all", lambda hub, tombstone=None: None):
            return put(one, body)

    return patch.object(KvStore, "_put_several", broken)


def reads_the_first_of_gets_alone() -> AbstractContextManager[Any]:
    """Of many, the same key again and again."""

    def broken(body: bytes) -> Iterator[bytes]:
        keys = list(gets(body))
        yield from (keys[0] for _ in keys)

    gets = plain.plain_gets
    return patch.object(store, "plain_gets", broken)


MUTANTS = [
    Mutant("makes one revision of puts together", makes_one_revision_of_puts_together, SCENARIO, "session", 1),
    Mutant("answers the last of the revisions", answers_the_last_of_the_revisions, SCENARIO, "session", 4),
    Mutant("wakes watches behind puts in pieces", wakes_watches_behind_puts_in_pieces, SCENARIO, "session", 1),
    Mutant("reads the first of gets alone", reads_the_first_of_gets_alone, SCENARIO, "session", 2),
]
