"""The cluster table of one node, kept in its log.

Rules:

1. A delivered entry of group 0 that changes the table waits, and all behind it, until the table that it makes is
   durable: only then is it applied. So a restart finds in the log's last ``cluster`` record a table that is as late as
   the store, or later; an entry at or below its index has been taken into it and is passed over.
2. The table is never read off entries in the log: it may hold values that are void, and that they are is known at
   delivery only (rule 13 of the contract).
3. What others read is the durable table.
4. A snapshot brings the table of its sender, of its base's index or later: it is written ahead of that base.
5. Members tell each other their tables (``peers``). One that is later than the own says which members are met, and
   where they are dialled, until the own one is as late. It is not recorded, changes nothing that is replicated, and is
   told to nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from ratified.consensus.contract import Entry, Kind, Size, Sizes
from ratified.consensus.entry import decode_configuration
from ratified.node.cluster_table import (
    Change,
    ClusterTable,
    Context,
    changed,
    configured,
    decode_change,
    decode_context,
    decode_table,
    encode_table,
)
from ratified.storage.format import ClusterRecord

_COMMAND = Kind.COMMAND
_NODE = Kind.NODE
_MEMBERSHIP = Kind.MEMBERSHIP


class ClusterLog:
    def __init__(
        self,
        append: Callable[[ClusterRecord], None],
        first: ClusterTable,
        found: ClusterRecord | None,
        others: tuple[int, ...] = (),
    ) -> None:
        """``append`` writes a record of the node's own. ``found`` is the log's last one; None: the table is still the
        first one. ``others`` are the groups that follow group 0, ascending. Raises ``ClusterFormatError``."""
        self.table = first if found is None else decode_table(found.data)
        """Durably."""
        self._append = append
        self.others = others
        self._written = self.table
        """What will be the table once the log is durable."""
        self._held: deque[Entry] = deque()
        """Delivered, and not to be applied yet."""
        self._refusals: dict[int, str] = {}
        """Why the entry with this index changes nothing, until it is applied."""
        self._told: ClusterTable | None = None
        """Later than the own one, of a member (rule 5)."""

    @property
    def latest(self) -> ClusterTable:
        """The latest table that this node knows of: who is met, and where."""
        return self.table if self._told is None else self._told

    def tell(self, table: ClusterTable) -> bool:
        """A member knows this table; is it the latest here too?"""
        is_news = table.index > self.latest.index
        if is_news:
            self._told = table
        return is_news

    def deliver(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Take what group 0 delivers; what of it can be applied at once. Raises ``ClusterFormatError``."""
        first = next(
            (at for at, entry in enumerate(entries) if entry.kind is not _COMMAND and self._is_news(entry)), None
        )
        if self._held:
            first = 0
        if first is None:
            return entries
        for entry in entries[first:]:
            self._held.append(entry)
            if self._is_news(entry):
                self._write(entry)
        return entries[:first]

    def install(self, record: ClusterRecord) -> None:
        """A snapshot brings this table: what is below its base is not delivered here any more."""
        if record.index > self._written.index:
            self._written = decode_table(record.data)
            self._append(record)

    def recorded(self, record: ClusterRecord) -> Sequence[Entry]:
        """This table is durable; returns what can be applied now."""
        self.table = decode_table(record.data)
        if self._told is not None and self._told.index <= self.table.index:
            self._told = None
        released: list[Entry] = []
        while self._held and not (self._changes(self._held[0]) and self._held[0].index > record.index):
            released.append(self._held.popleft())
        return released

    @property
    def record(self) -> ClusterRecord:
        """What a snapshot brings."""
        return ClusterRecord(self.table.index, encode_table(self.table))

    def result_of(self, entry: Entry) -> bytes:
        """What the proposer is answered: nothing, or why it has changed nothing."""
        return self._refusals.pop(entry.index, "").encode()

    def abandon(self) -> None:
        """Nothing more is applied here."""
        self._held.clear()

    def sizes(self) -> Sizes:
        return {
            "deliveries that wait for the cluster table": Size(len(self._held)),
            "changes of the cluster table refused": Size(len(self._refusals)),
        }

    def _is_news(self, entry: Entry) -> bool:
        return self._changes(entry) and entry.index > self._written.index

    def _changes(self, entry: Entry) -> bool:
        """Does it change the table? A configuration without a context does where other groups follow it."""
        if entry.kind is _MEMBERSHIP:
            follows = bool(self.others) and self._written.configuration is not None
            return follows or bool(decode_configuration(entry.data)[1])
        return entry.kind is _NODE

    def _write(self, entry: Entry) -> None:
        if entry.kind is _NODE:
            self._change(entry.index, decode_change(entry.data))
        else:
            membership, context = decode_configuration(entry.data)
            if context:
                self._change(entry.index, decode_context(context))
            self._written = configured(self._written, entry.index, membership, self.others)
        self._append(ClusterRecord(entry.index, encode_table(self._written)))

    def _change(self, index: int, change: Change | Context) -> None:
        self._written, refusal = changed(self._written, index, change)
        if refusal:
            self._refusals[index] = refusal
