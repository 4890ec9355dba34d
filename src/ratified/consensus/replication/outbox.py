"""What waits to leave an engine: messages, records, answers to reads, requests for old entries, what is reported.

Rules of this file:

1. What claims something about this member's own durable state leaves by ``send_after``; everything else by ``send``
   (rule 3 of the contract).
2. Records leave in the order in which they were made, as one write.
3. At most one fetch of a purpose is under way. A purpose says for what, and of whose leadership, so that an answer that
   comes too late serves nobody.
4. Who leads and which configuration holds is reported only when it has changed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from ratified.consensus.contract import (
    Base,
    Entry,
    Fetch,
    Lead,
    Limbo,
    Membership,
    ReadIndex,
    Ready,
    Record,
    Send,
    Size,
    Sizes,
    SnapshotTo,
    Write,
)


class Outbox:
    """Everything since the last ``take``."""

    __slots__ = (
        "_fetches",
        "_fetches_issued",
        "_install",
        "_purposes",
        "_reads",
        "_reported_lead",
        "_reported_membership",
        "_send",
        "_send_after",
        "_snapshot_to",
        "_tokens",
        "ignored",
        "records",
    )

    def __init__(self) -> None:
        self.records: list[Record] = []
        """What changed since the last write."""
        self.ignored: dict[str, int] = {}
        """Messages that were dropped because no correct peer sends them, counted by reason."""
        self._send: list[Send] = []
        self._send_after: list[Send] = []
        self._reads: list[ReadIndex] = []
        self._fetches: list[Fetch] = []
        self._fetches_issued = 0
        self._snapshot_to: list[SnapshotTo] = []
        self._install: Base | None = None
        self._purposes: dict[int, Hashable] = {}
        self._tokens: dict[Hashable, int] = {}
        self._reported_lead: Lead | None = None
        self._reported_membership: Membership | None = None

    def send(self, to: int, message: Any) -> None:
        """Leaves at once."""
        self._send.append(Send(to, message))

    def send_after(self, to: int, message: Any) -> None:
        """Leaves when everything that was changed so far is durable."""
        self._send_after.append(Send(to, message))

    def forget(self, member: int) -> None:
        """A session ended: what was to leave for ``member`` in this turn was for that session."""
        self._send = [send for send in self._send if send.to != member]
        self._send_after = [send for send in self._send_after if send.to != member]

    def answer_reads(self, tokens: Iterable[int], index: int | None, limbo: Limbo | None = None) -> None:
        """These barriers may be served at ``index``, but for what ``limbo`` touches; None: they were not confirmed."""
        self._reads += [ReadIndex(token, index, limbo) for token in tokens]

    def ignore(self, reason: str) -> None:
        """A message that no correct peer sends, or that is out of order, is dropped and counted."""
        self.ignored[reason] = self.ignored.get(reason, 0) + 1

    # ----------------------------------------------------------------------------------------------------- fetches

    def fetch(self, wanted: tuple[int, int], purpose: Hashable) -> None:
        """Ask for the entries of this range, which are no longer in memory, unless such a fetch is under way."""
        if purpose in self._tokens:
            return
        self._fetches_issued += 1
        token = self._fetches_issued
        self._purposes[token] = purpose
        self._tokens[purpose] = token
        self._fetches.append(Fetch(token, *wanted))

    def take_purpose(self, token: int) -> Hashable:
        """What the fetch that is answered was for."""
        purpose = self._purposes.pop(token)
        del self._tokens[purpose]
        return purpose

    # --------------------------------------------------------------------------------------------------- snapshots

    def send_snapshot(self, to: int, index: int) -> None:
        self._snapshot_to.append(SnapshotTo(to, index))

    def install(self, base: Base) -> None:
        """The next write has this base; when it is durable the store is switched."""
        self._install = base

    # ------------------------------------------------------------------------------------------------------- leaving

    def take_records(self) -> list[Record]:
        records, self.records = self.records, []
        return records

    def take(
        self, *, write: Write | None, after: int, deliver: Sequence[Entry], lead: Lead, membership: Membership
    ) -> Ready | None:
        """All that waits, together with what the turn made; None: there is nothing."""
        new_lead = lead if lead != self._reported_lead else None
        new_membership = membership if membership is not self._reported_membership else None
        send, send_after, reads, fetch = self._send, self._send_after, self._reads, self._fetches
        snapshot_to, install = self._snapshot_to, self._install
        asks = reads or fetch or snapshot_to
        if not (write or send or send_after or deliver or asks or new_lead or new_membership):
            return None
        self._reported_lead, self._reported_membership = lead, membership
        self._send, self._send_after, self._reads, self._fetches = [], [], [], []
        self._snapshot_to, self._install = [], None
        return Ready(
            write=write,
            send=send,
            send_after=send_after,
            after=after,
            deliver=deliver,
            reads=reads,
            membership=new_membership,
            leader=new_lead,
            fetch=fetch,
            snapshot_to=snapshot_to,
            install=install,
        )

    def sizes(self) -> Sizes:
        leaves = len(self._send) + len(self._send_after) + len(self._reads) + len(self.records)
        return {"what is to leave": Size(leaves), "fetches under way": Size(len(self._purposes))}
