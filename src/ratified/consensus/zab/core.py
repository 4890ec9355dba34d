"""What a member is in every role: its epochs and history, and what waits to leave it (paper, section III).

Rules of this file:

1. Epochs, history and commit index change here and nowhere else, and each change asserts what it must keep.
2. What claims something about this member's own durable state leaves by ``send_after``; everything else by ``send``.
3. What changes becomes part of the next write, in the order in which it changed; the disk is believed only through
   ``Durability``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import (
    Durable,
    Entry,
    Fetch,
    Options,
    ReadIndex,
    Record,
    Send,
    StateRecord,
    TruncateRecord,
    Write,
)
from ratified.consensus.zab import zxid
from ratified.consensus.zab.durability import Durability
from ratified.consensus.zab.log import Log
from ratified.consensus.zab.messages import Candidacy, Ending, Fitness, Message
from ratified.consensus.zab.state import EpochState, decode_state, encode_state


class Core:
    """One member's state, whatever its role, and its outbox."""

    __slots__ = (
        "_fetches_issued",
        "_links_opened",
        "_records",
        "commit",
        "durability",
        "epoch_seen",
        "fetches",
        "ignored",
        "log",
        "member",
        "membership",
        "now",
        "options",
        "outgoing",
        "outgoing_after",
        "reads",
        "round",
        "sessions",
        "state",
    )

    def __init__(self, now: int, options: Options, durable: Durable) -> None:
        assert not durable.memberships, "the log holds a membership entry, which this version cannot follow"
        assert durable.applied >= durable.base.index, "the store is older than the log's base"
        state = decode_state(durable.state)
        self.now = now
        self.options = options
        self.member = options.member
        self.membership = durable.base.membership
        self.state = state
        self.log = Log(durable)
        assert self.log.last_epoch <= state.accepted_epoch, "the log holds an entry of an epoch that was not accepted"
        assert durable.applied <= self.log.last, "the store is ahead of its log"
        self.commit = durable.applied
        self.durability = Durability(self.log.last, state.accepted_epoch, state.current_epoch)
        self.sessions: dict[int, int] = {}
        """The sessions there are, by member."""
        self.round = 0
        """The latest election round that this member took part in or heard of."""
        self.epoch_seen = 0
        """The latest epoch that anybody is known to have accepted; where it is forgotten a later one is found again."""
        self.outgoing: list[Send] = []
        self.outgoing_after: list[Send] = []
        self.reads: list[ReadIndex] = []
        self.fetches: list[Fetch] = []
        self.ignored: dict[str, int] = {}
        """Messages that no correct peer sends, or that arrived out of order, counted by reason."""
        self._records: list[Record] = []
        self._fetches_issued = 0
        self._links_opened = 0

    def at(self, now: int) -> None:
        """An input arrives at ``now`` (rule 1: time never decreases)."""
        assert now >= self.now, f"time went from {self.now} back to {now}"
        self.now = now

    @property
    def is_voter(self) -> bool:
        """May this member vote and lead?"""
        return self.may_vote(self.member)

    def may_vote(self, member: int) -> bool:
        """May that one?"""
        return member in self.membership.voters or member in self.membership.outgoing

    @property
    def peers(self) -> tuple[int, ...]:
        """All other members, ascending."""
        membership = self.membership
        others = {*membership.voters, *membership.outgoing, *membership.learners} - {self.member}
        return tuple(sorted(others))

    # ------------------------------------------------------------------------------------------------------- epochs

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

    def adopt_epoch(self, origin: int) -> None:
        """Step f.2.1: this member's history begins with the initial history of the accepted epoch."""
        assert self.accepted_epoch > self.current_epoch, f"epoch {self.current_epoch} is adopted already"
        self._change_state(EpochState(self.accepted_epoch, self.accepted_epoch, origin))

    def _change_state(self, state: EpochState) -> None:
        self.state = state
        self._records.append(StateRecord(encode_state(state)))

    # ------------------------------------------------------------------------------------------------------ history

    def append(self, entries: Sequence[Entry]) -> None:
        """Entries join the history, and the next write."""
        assert entries[-1].era[0] <= self.accepted_epoch, "an entry of an epoch that was not accepted here"
        self.log.append(entries)
        self._records.extend(entries)

    def truncate(self, first: int) -> None:
        """The entries from ``first`` on are not in the leader's history (TRUNC)."""
        assert first > self.commit, f"entry {first} is committed and must never be removed"
        self.log.truncate(first)
        self.durability.truncated(first)
        self._records.append(TruncateRecord(first))

    def commit_to(self, index: int) -> None:
        """Everything up to ``index`` is committed, for ever."""
        assert self.commit < index <= self.log.last, f"commit {self.commit} -> {index}, history ends at {self.log.last}"
        self.commit = index

    @property
    def undurable_bytes(self) -> int:
        """Encoded bytes of entries that the disk does not have yet."""
        return self.log.bytes_between(self.durability.index + 1, self.log.last)

    def zxid_at(self, index: int) -> int | None:
        """The zxid of the entry at ``index``; None where its epoch's beginning was compacted away."""
        epoch = self.log.epoch_at(index)
        if not epoch:
            return 0
        origin = self.state.origin if epoch == self.current_epoch else self.log.origin_of(epoch)
        return None if origin is None else zxid.pack(epoch, index - origin)

    @property
    def ending(self) -> Ending:
        """Where the history ends, as this member has it."""
        return Ending(self.current_epoch, self.log.last_epoch, self.log.last)

    def candidacy(self, fitness: Fitness) -> Candidacy:
        """This member's own: what it would still have if it crashed now."""
        durability = self.durability
        index = durability.index
        ending = Ending(durability.current_epoch, self.log.epoch_at(index) or 0, index)
        return Candidacy(Fitness.SLOW if self.disk_is_slow else fitness, ending, self.member)

    @property
    def disk_is_slow(self) -> bool:
        """Has the oldest write waited a whole election timeout (rule 11)?"""
        since = self.durability.waiting_since
        options = self.options
        return (
            options.extensions.step_down_on_slow_disk
            and since is not None
            and self.now - since >= options.election_timeout_us
        )

    # ------------------------------------------------------------------------------------------------------- outbox

    def send(self, to: int, message: Message) -> None:
        """Leaves at once."""
        self.outgoing.append(Send(to, message))

    def send_after(self, to: int, message: Message) -> None:
        """Leaves when everything that was changed so far is durable (rule 3)."""
        self.outgoing_after.append(Send(to, message))

    def session_ended(self, member: int) -> None:
        """What was to leave for ``member`` in this turn was for that session."""
        self.sessions.pop(member, None)
        self.outgoing = [send for send in self.outgoing if send.to != member]
        self.outgoing_after = [send for send in self.outgoing_after if send.to != member]

    def fetch(self, first: int, last: int) -> int:
        """Ask for entries that are no longer in memory; they come back under the token returned."""
        self._fetches_issued += 1
        self.fetches.append(Fetch(self._fetches_issued, first, last))
        return self._fetches_issued

    def new_link(self) -> int:
        """A number that no link of this start had before."""
        self._links_opened += 1
        return self._links_opened

    def ignore(self, reason: str) -> None:
        """A message that no correct peer sends, or that is out of order, is dropped and counted."""
        self.ignored[reason] = self.ignored.get(reason, 0) + 1

    @property
    def next_ticket(self) -> int:
        """What must be durable for all that was changed so far to be so."""
        return self.durability.issued + (1 if self._records else 0)

    def take_write(self) -> Write | None:
        """Everything that has changed since the last write; None: nothing."""
        if not self._records:
            return None
        records, self._records = self._records, []
        ticket = self.durability.issue(self.log.last, self.accepted_epoch, self.current_epoch, self.now)
        return Write(ticket, records)
