"""What a member is in every role: its epochs and history (paper, section III).

Rules of this file:

1. Epochs change here and nowhere else, the history in its ``Journal``; each change asserts what it must keep.
2. What changes becomes part of the next write, in the order in which it changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import NO_ERA, Base, Durable, Entry, Era, StateRecord, Write
from ratified.consensus.replication.incoming import INDEX_MAX
from ratified.consensus.replication.journal import Journal
from ratified.consensus.replication.member import Member
from ratified.consensus.zab import zxid
from ratified.consensus.zab.messages import Candidacy, Ending, Fitness
from ratified.consensus.zab.state import EpochState, decode_state, encode_state

ORIGIN_CUT_OFF = INDEX_MAX
"""The origin of a current epoch whose initial history is no longer here whole."""


class Core:
    """One member's state, whatever its role. A write of it claims both epochs."""

    __slots__ = (
        "_links_opened",
        "configurations",
        "epoch_seen",
        "journal",
        "log",
        "member",
        "options",
        "outbox",
        "round",
        "sessions",
        "state",
    )

    def __init__(self, member: Member[EpochState], durable: Durable) -> None:
        self.member = member
        self.options = member.options
        self.outbox = member.outbox
        self.configurations = member.configurations
        self.state = decode_state(durable.state)
        self.journal = Journal(member, durable, self.state)
        self.log = self.journal.history
        assert self.log.last_era <= self.era, "the log holds an entry of an epoch that was not accepted"
        self.sessions = member.sessions
        self.round = 0
        """The latest election round that this member took part in or heard of."""
        self.epoch_seen = 0
        """The latest epoch that anybody is known to have accepted; where it is forgotten a later one is found again."""
        self._links_opened = 0

    # ------------------------------------------------------------------------------------------------------- epochs

    @property
    def era(self) -> Era:
        """The accepted epoch, as it stands in entries."""
        return self.state.accepted_epoch, 0

    @property
    def accepted_epoch(self) -> int:
        """The epoch of the last NEWEPOCH that this member accepted (paper: f.p)."""
        return self.state.accepted_epoch

    @property
    def current_epoch(self) -> int:
        """The epoch of the last NEWLEADER whose history this member took (paper: f.a)."""
        return self.state.current_epoch

    def may_accept(self, epoch: int) -> bool:
        """Step f.1.2: an epoch is accepted once, and none after a later one."""
        return epoch > self.accepted_epoch

    def accept_epoch(self, epoch: int) -> None:
        """No earlier epoch is followed from now on."""
        self.epoch_seen = max(self.epoch_seen, epoch)
        self._change_state(EpochState(epoch, self.current_epoch, self.state.origin))

    def adopt_epoch(self, epoch: int, origin: int) -> None:
        """Step f.2.1, or by a pull: this member's history begins with the initial history of ``epoch``."""
        adopted = (self.current_epoch, self.state.origin != ORIGIN_CUT_OFF)
        assert adopted < (epoch, True), f"epoch {epoch} is adopted already"
        assert epoch <= self.accepted_epoch, f"epoch {epoch} was not accepted"
        assert self.log.last >= origin, f"the initial history of epoch {epoch} is not here whole"
        self._change_state(EpochState(self.accepted_epoch, epoch, origin))

    def _change_state(self, state: EpochState) -> None:
        self.state = state
        self.outbox.records.append(StateRecord(encode_state(state)))

    # ------------------------------------------------------------------------------------------------------ history

    def append(self, entries: Sequence[Entry]) -> None:
        assert entries[-1].era[0] <= self.accepted_epoch, "an entry of an epoch that was not accepted here"
        self.journal.append(entries)

    def truncate(self, first: int) -> None:
        """Remove the entries from ``first`` on, for a history that ranks above this one."""
        if first <= self.state.origin != ORIGIN_CUT_OFF:
            self._change_state(EpochState(self.accepted_epoch, self.current_epoch, ORIGIN_CUT_OFF))
        self.journal.truncate(first)

    def install(self, base: Base) -> None:
        """A snapshot takes the history's place. It begins with the current epoch's initial history only where its last
        entry is of that epoch."""
        epoch, _ = base.era
        if self.may_accept(epoch):
            self.accept_epoch(epoch)
        if epoch != self.current_epoch and self.state.origin != ORIGIN_CUT_OFF:
            self._change_state(EpochState(self.accepted_epoch, self.current_epoch, ORIGIN_CUT_OFF))
        self.journal.install(base)

    def zxid_at(self, index: int) -> int | None:
        """The zxid of the entry at ``index``; None where its epoch's beginning was compacted away."""
        era = self.log.era_at(index) or NO_ERA
        if era == NO_ERA:
            return 0
        origin = self.log.origin_of(era)
        if era[0] == self.current_epoch and self.state.origin != ORIGIN_CUT_OFF:
            origin = self.state.origin
        return None if origin is None else zxid.pack(era[0], index - origin)

    @property
    def ending(self) -> Ending:
        """Where the history ends, as this member has it."""
        return Ending(self.current_epoch, self.log.last_era[0], self.log.last)

    @property
    def durable_ending(self) -> Ending:
        """The same as the disk has it: what this member would still have if it crashed now."""
        index = self.log.durable
        epoch, _ = self.log.era_at(index) or NO_ERA
        return Ending(self.journal.claimed.current_epoch, epoch, index)

    def candidacy(self, fitness: Fitness) -> Candidacy:
        """This member's own."""
        return Candidacy(Fitness.SLOW if self.member.disk_is_poor else fitness, self.durable_ending, self.member.id)

    # -------------------------------------------------------------------------------------------- sessions and links

    def session_ended(self, member: int) -> None:
        """What was to leave for ``member`` in this turn was for that session."""
        self.sessions.pop(member, None)
        self.outbox.forget(member)

    def new_link(self) -> int:
        """A number that no link of this start had before."""
        self._links_opened += 1
        return self._links_opened

    # --------------------------------------------------------------------------------------------------------- disk

    @property
    def next_ticket(self) -> int:
        """What must be durable for all that was changed so far to be so."""
        return self.member.writes.issued + (1 if self.outbox.records else 0)

    def take_write(self) -> Write | None:
        return self.journal.write(self.outbox.take_records(), self.state)
