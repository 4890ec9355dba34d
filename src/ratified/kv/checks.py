"""Whether all members hold the same: what each says of itself, for one point of the log.

Rules
1. A CHECK command names a point: each replica notes there its revision, its compact revision and its digest, which are
   a matter of what was applied. What its rows add up to it reads later, over many turns (``hashes``), and says so by
   a CHECKED command, so that every member knows what every other one has said.
2. This is no part of the state: it is in no row, digest or snapshot. Whoever missed a check says nothing about it.
3. Nothing is decided here. Who raises an alarm, or does not begin to serve, is who asked (``api.corruption``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from typing_extensions import override

from ratified.kv.encoding import OK
from ratified.machine import Continuation, Slice

CHECKS_MAX = 8
"""So many are remembered: of later ones the oldest is forgotten."""
MEMBERS_MAX = 1_000
"""That say something of one check."""


class Said(NamedTuple):
    """What a member has said of itself."""

    hash: int
    """Of its rows, as far as ``compacted`` leaves them."""
    compacted: int
    digest: bytes


class Check(msgspec.Struct, frozen=True):
    """A point of the log, as this replica has seen it."""

    index: int
    revision: int
    digest: bytes
    said: dict[int, Said]
    """By member."""


class Report(msgspec.Struct, frozen=True, array_like=True):
    """The body of a CHECKED command: what ``member`` says of the check at ``index``."""

    index: int
    member: int
    said: Said


class Checks:
    """Those of one store."""

    def __init__(self) -> None:
        self._checks: dict[int, Check] = {}
        """By index, the oldest first."""
        self._feeds: dict[Continuation, None] = {}
        self.woken: dict[Continuation, None] = {}
        """Feeds with something to tell."""

    def begin(self, check: Check) -> None:
        if len(self._checks) == CHECKS_MAX:
            del self._checks[next(iter(self._checks))]
        self._checks[check.index] = check
        self.woken.update(self._feeds)

    def note(self, report: Report) -> None:
        check = self._checks.get(report.index)
        if check is not None and len(check.said) < MEMBERS_MAX:
            check.said[report.member] = report.said
            self.woken.update(self._feeds)

    def clear(self) -> None:
        self._checks.clear()
        self.woken.update(self._feeds)

    def feed(self) -> CheckFeed:
        feed = CheckFeed(self.encode, self._leave)
        self._feeds[feed] = None
        return feed

    def _leave(self, feed: Continuation) -> None:
        self._feeds.pop(feed, None)
        self.woken.pop(feed, None)

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(list(self._checks.values()))

    def take_woken(self) -> list[Continuation]:
        woken, self.woken = list(self.woken), {}
        return woken


def decode(answer: bytes) -> list[Check]:
    """What a feed has told."""
    return msgspec.msgpack.decode(answer, type=list[Check])


class CheckFeed(Continuation):
    """Tells all that is known of the checks, at first and whenever that changes, until it is cancelled."""

    def __init__(self, encode: Callable[[], bytes], left: Callable[[CheckFeed], None]) -> None:
        self._encode = encode
        self._left = left
        self._has_begun = False

    @property
    @override
    def deadline(self) -> int | None:
        return None if self._has_begun else 0

    @override
    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        self._has_begun = True
        return Slice([OK + self._encode()], False)

    @override
    def cancel(self) -> None:
        self._left(self)
