"""Taking entries from a leader (figure 2, "AppendEntries RPC, receiver implementation").

Rules of this file:

1. A message is checked as a whole before anything changes: what no correct leader sends is counted and dropped.
2. What is committed here is in the log of every later leader (Leader Completeness, section 5.4), so it is neither
   compared nor truncated: the part of a message at or below the commit index is skipped.
3. Only an entry that conflicts truncates; one that is there already does not (an old message may be shorter).
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import Entry, Kind
from ratified.consensus.entry import EntryFormatError, decode_entry
from ratified.consensus.raft.core import Core
from ratified.consensus.raft.messages import AppendEntries, AppendEntriesResponse


class Follower:
    """This member while it follows ``leader``, or (None) while it knows of no leader in its term."""

    __slots__ = ("_core", "leader")

    def __init__(self, core: Core, leader: int | None) -> None:
        self._core = core
        self.leader = leader

    def on_append_entries(self, message: AppendEntries) -> AppendEntriesResponse | None:
        """Append what is new; the answer, or None where the message was dropped."""
        core = self._core
        entries = self._decode(message)
        if entries is None:
            return None
        prev, prev_term = message.prev_index, message.prev_term
        if prev < core.commit:
            entries = entries[core.commit - prev :]
            prev, prev_term = core.commit, core.log.term_at(core.commit) or 0
            if entries and entries[0].era[0] < prev_term:
                core.ignore("AppendEntries contradicts what is committed")
                return None
        elif core.log.term_at(prev) != prev_term:
            return self._refusal(message)
        new = entries[core.log.first_new(entries) :]
        if new:
            if new[0].index <= core.log.last:
                core.truncate(new[0].index)
            core.append(new)
        match = prev + len(entries)
        self.learn_commit(min(message.commit, match))
        return AppendEntriesResponse(core.term, True, match, message.round)

    def learn_commit(self, index: int) -> None:
        """The leader says that everything up to ``index`` is committed, all of which was compared with its log."""
        core = self._core
        if index > core.log.last:
            core.ignore("commit index beyond the log")
        elif index > core.commit:
            core.commit_to(index)

    def _refusal(self, message: AppendEntries) -> AppendEntriesResponse:
        """Nothing fits behind ``prev_index`` (AppendEntries 2)."""
        core = self._core
        hint_index, hint_term = 0, 0
        if core.options.extensions.conflict_hints:
            bound = min(message.prev_index - 1, core.log.last)
            hint_index, hint_term = core.log.last_at_most(bound, message.prev_term)
        return AppendEntriesResponse(core.term, False, message.prev_index, message.round, hint_index, hint_term)

    def _decode(self, message: AppendEntries) -> Sequence[Entry] | None:
        """The message's entries if they can follow one another in a log; None (and counted) where they cannot."""
        term = message.prev_term
        index = message.prev_index
        if term > message.term:
            self._core.ignore("AppendEntries whose terms decrease")
            return None
        entries: list[Entry] = []
        for encoded in message.entries:
            try:
                entry = decode_entry(encoded)
            except EntryFormatError:
                self._core.ignore("AppendEntries with a malformed entry")
                return None
            index += 1
            if entry.index != index:
                self._core.ignore("AppendEntries with a gap")
                return None
            if not term <= entry.era[0] <= message.term or entry.era[1]:
                self._core.ignore("AppendEntries whose terms decrease")
                return None
            if entry.kind is Kind.MEMBERSHIP:
                self._core.ignore("AppendEntries with a membership, which this version cannot follow")
                return None
            term = entry.era[0]
            entries.append(entry)
        return entries
