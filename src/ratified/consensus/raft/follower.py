"""Taking entries from a leader (figure 2, "AppendEntries RPC, receiver implementation").

Rules of this file:

1. A message is checked as a whole before anything changes: what no correct leader sends is counted and dropped.
2. What is committed here is in the log of every later leader (Leader Completeness, section 5.4), so it is neither
   compared nor truncated: the part of a message at or below the commit index is skipped.
3. Only an entry that conflicts truncates; one that is there already does not (an old message may be shorter).
"""

from __future__ import annotations

from ratified.consensus.raft.core import Core
from ratified.consensus.raft.messages import AppendEntries, AppendEntriesResponse
from ratified.consensus.replication.incoming import UnfitEntries, check_sequence, decode_entries


class Follower:
    """This member while it follows ``leader``, or (None) while it knows of no leader in its term."""

    __slots__ = ("_core", "leader")

    def __init__(self, core: Core, leader: int | None) -> None:
        self._core = core
        self.leader = leader

    @property
    def has_everything(self) -> bool:
        """Is all that is here known to be committed? Only its leader knows whether there is more."""
        return self._core.log.commit == self._core.log.last

    def on_append_entries(self, message: AppendEntries) -> AppendEntriesResponse | None:
        """Append what is new; the answer, or None where the message was dropped."""
        core, log = self._core, self._core.log
        prev, prev_era = message.prev_index, (message.prev_term, 0)
        try:
            entries = decode_entries(message.entries)
            check_sequence(entries, prev + 1, prev_era, core.era)
        except UnfitEntries as unfit:
            core.outbox.ignore(f"AppendEntries: {unfit}")
            return None
        if prev < log.commit:
            entries = entries[log.commit - prev :]
            prev, committed_era = log.commit, log.era_at(log.commit)
            if entries and committed_era is not None and entries[0].era < committed_era:
                core.outbox.ignore("AppendEntries contradicts what is committed")
                return None
        elif log.era_at(prev) != prev_era:
            return self._refusal(message)
        new = entries[log.first_new(entries) :]
        if new:
            if new[0].index <= log.last:
                core.journal.truncate(new[0].index)
            core.append(new)
        match = prev + len(entries)
        self.learn_commit(min(message.commit, match))
        return AppendEntriesResponse(core.term, True, match, message.round)

    def learn_commit(self, index: int) -> None:
        """The leader says that everything up to ``index`` is committed, all of which was compared with its log."""
        core = self._core
        if index > core.log.last:
            core.outbox.ignore("commit index beyond the log")
        elif index > core.log.commit:
            core.journal.commit_to(index)

    def _refusal(self, message: AppendEntries) -> AppendEntriesResponse:
        """Nothing fits behind ``prev_index`` (AppendEntries 2)."""
        core = self._core
        hint_index, hint_era = 0, (0, 0)
        if core.extensions.conflict_hints:
            bound = min(message.prev_index - 1, core.log.last)
            hint_index, hint_era = core.log.last_at_most(bound, (message.prev_term, 0))
        return AppendEntriesResponse(core.term, False, message.prev_index, message.round, hint_index, hint_era[0])
