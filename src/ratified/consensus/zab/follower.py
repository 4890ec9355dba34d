"""Following: the follower's steps of the paper's three phases.

Rules of this file:

1. A link is opened by CEPOCH and ends with this object. Every message of the leader is the next one of its lane, or the
   link ends: what was lost, or came twice, is never papered over.
2. An epoch is accepted once and answered when it is durable. The current epoch becomes the accepted one when the whole
   initial history is here, behind it in the log, and is acknowledged when both are durable.
3. What conflicts is removed by TRUNC only, before the initial history is taken; in the broadcast phase entries are
   added and nothing else.
4. An entry is committed here when the leader says so, by UPTODATE or COMMIT of this epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from ratified.consensus.contract import Entry, Era, Size, Sizes
from ratified.consensus.replication.incoming import UnfitEntries, check_sequence, decode_entries
from ratified.consensus.zab import zxid
from ratified.consensus.zab.core import Core
from ratified.consensus.zab.link import Answers, Lane, Link
from ratified.consensus.zab.messages import (
    Ack,
    AckEpoch,
    AckHistory,
    AckNewLeader,
    Candidacy,
    CEpoch,
    Commit,
    FromLeader,
    History,
    LinkBroken,
    Mode,
    NewEpoch,
    NewLeader,
    Ping,
    Pong,
    Propose,
    Resign,
    TimeoutNow,
    UpToDate,
)


class FollowerPhase(Enum):
    """What a follower waits for."""

    DISCOVERY = "discovery"
    """NEWEPOCH."""
    ACCEPTED = "epoch accepted"
    """NEWLEADER."""
    SYNCHRONISATION = "synchronisation"
    """The rest of the initial history."""
    BROADCAST = "broadcast"
    """UPTODATE, then proposals and commits."""


class Following:
    """This member while it follows one leader, over one link."""

    __slots__ = (
        "_answers",
        "_answers_told",
        "_core",
        "_leads",
        "_link",
        "_origin",
        "_up_to_date",
        "candidacy",
        "ended",
        "is_handed_the_lead",
        "joined_epoch",
        "leader_id",
        "link_is_broken",
        "phase",
        "resigned",
        "rests",
        "round",
    )

    def __init__(self, core: Core, candidacy: Candidacy, epoch: int, round_: int) -> None:
        """Step f.1.1: tell the leader, who leads ``epoch`` or is about to lead a later one, the last epoch accepted."""
        self._core = core
        self.candidacy = candidacy
        self.leader_id = candidacy.member
        self.joined_epoch = epoch
        """A leader of an earlier one, which has not found out yet, is not joined instead."""
        self.round = round_
        """The leader's election round when it was found: it looks for another one in a later round only."""
        self.phase = FollowerPhase.DISCOVERY
        self.ended = False
        """The link is broken, or the leader leads an old epoch, or no longer: look again."""
        self.is_handed_the_lead = False
        """The leader wants this member to stand."""
        self.resigned = False
        """It ended because the leader said so."""
        self.link_is_broken = False
        """It ended because of what came, or did not; the leader may lead on."""
        self.rests = False
        """The leader has said last that nothing happens; everything is here, and nothing was answered."""
        self._origin = 0
        self._up_to_date = False
        self._leads = False
        """The leader is known to broadcast, and commits nothing yet."""
        self._link = Link(core.new_link())
        self._answers = Answers()
        self._answers_told = 0
        self._answer(CEpoch(self._link.number, self._next_answer(), core.accepted_epoch))

    @property
    def leader(self) -> int | None:
        """The leader, once it is known to broadcast: before UPTODATE it would take nothing that is forwarded to it, or
        else (under log leases) it has proposed something."""
        return self.leader_id if self._up_to_date or self._leads else None

    @property
    def waits_for_disk(self) -> bool:
        """Has the CEPOCH not left yet? The leader does not know of this member; looking again would not help."""
        return self._answers.left == 0

    def on_persisted(self) -> None:
        self._answers.durable(self._core.member.writes.done)

    def turn_ends(self) -> None:
        """What was answered in this turn leaves when all that was written so far is durable."""
        writes = self._core.member.writes
        self._answers.turn_ends(writes.issued)
        self._answers.durable(writes.done)

    def on_message(self, message: FromLeader) -> bool:
        """A message of the leader; False: it is of a link that ended, and says nothing."""
        if message.link != self._link.number:
            return False
        if not self._link.follows(_lane(message), message.seq):
            self._break("FIFO: a gap or a repetition")
            return False
        self.rests = False
        match message:
            case Propose():
                self._on_propose(message)
            case Commit():
                self._on_commit(message)
            case Ping():
                self._on_ping(message)
            case NewEpoch():
                self._on_new_epoch(message)
            case NewLeader():
                self._on_new_leader(message)
            case History():
                self._on_history(message)
            case UpToDate():
                self._on_up_to_date(message)
            case Resign():
                self.ended = self.resigned = True
            case TimeoutNow():
                self.is_handed_the_lead = self._up_to_date
            case LinkBroken():
                self.ended = self.link_is_broken = True
        return True

    # ---------------------------------------------------------------------------------------------------- discovery

    def _on_new_epoch(self, message: NewEpoch) -> None:
        """Step f.1.2."""
        core = self._core
        if self.phase is not FollowerPhase.DISCOVERY:
            self._break("NEWEPOCH twice")
            return
        if core.may_accept(message.epoch) and core.member.bars(self.leader_id):
            self._break("NEWEPOCH while another leader has a lease")
            return
        accepted_now = core.may_accept(message.epoch)
        if accepted_now:
            core.accept_epoch(message.epoch)
        elif message.epoch < core.accepted_epoch:
            self.ended = True
            return
        self.phase = FollowerPhase.ACCEPTED
        self._answer(
            AckEpoch(
                link=self._link.number,
                seq=self._next_answer(),
                epoch=message.epoch,
                accepted_now=accepted_now,
                ending=core.ending,
                last_origin=core.log.last_origin,
            )
        )

    # ----------------------------------------------------------------------------------------------- synchronisation

    def _on_new_leader(self, message: NewLeader) -> None:
        """Step f.2.1: keep what is in the leader's history, remove what is not, wait for the rest."""
        core = self._core
        if self.phase is not FollowerPhase.ACCEPTED or message.epoch != core.accepted_epoch:
            self._break("NEWLEADER of an epoch that was not accepted")
        elif core.member.snapshots.installing is not None:
            self._break("NEWLEADER while a snapshot is installed")
        elif message.meet_index < core.log.commit or core.log.era_at(message.meet_index) != (message.meet_epoch, 0):
            self._break("NEWLEADER where the histories do not meet")
        elif message.mode is Mode.DIFF and core.log.last != message.meet_index:
            self._break("DIFF of a history that goes on behind where it meets")
        elif core.current_epoch == message.epoch and core.state.origin != message.origin:
            self._break("NEWLEADER with another initial history")
        else:
            if core.log.last > message.meet_index:
                core.truncate(message.meet_index + 1)
            self._origin = message.origin
            self.phase = FollowerPhase.SYNCHRONISATION
            self._advance()

    def _on_history(self, message: History) -> None:
        core = self._core
        if self.phase is not FollowerPhase.SYNCHRONISATION:
            self._break("HISTORY that was not asked for")
            return
        entries = self._decode(message.entries, core.log.last_era, (core.accepted_epoch - 1, 0))
        if entries is None:
            return
        if entries[-1].index > self._origin:
            self._break("HISTORY beyond the initial history")
            return
        core.append(entries)
        self._answer(AckHistory(self._link.number, self._next_answer(), core.log.last))
        self._advance()

    def _advance(self) -> None:
        """The current epoch after the whole initial history, the acknowledgement after both."""
        core = self._core
        if core.current_epoch < core.accepted_epoch and self.may_adopt_epoch():
            core.adopt_epoch(core.accepted_epoch, self._origin)
        if self.history_is_complete():
            self.phase = FollowerPhase.BROADCAST
            self._answer(AckNewLeader(self._link.number, self._next_answer(), core.accepted_epoch))

    def may_adopt_epoch(self) -> bool:
        """Who has the current epoch has its initial history, after any crash; else it could pass for synchronised."""
        return self.history_is_complete()

    def history_is_complete(self) -> bool:
        return self._core.log.last >= self._origin

    # ---------------------------------------------------------------------------------------------------- broadcast

    def _on_up_to_date(self, message: UpToDate) -> None:
        if self.phase is not FollowerPhase.BROADCAST or self._up_to_date:
            self._break("UPTODATE before the history is acknowledged, or twice")
            return
        self._up_to_date = True
        self._learn_commit(message.zxid)

    def _on_propose(self, message: Propose) -> None:
        """Step f.3.1, and f.3.2 when it is durable."""
        core = self._core
        if self.phase is not FollowerPhase.BROADCAST or zxid.unpack(message.zxid) != (
            core.accepted_epoch,
            core.log.last + 1 - self._origin,
        ):
            self._break("PROPOSE out of place")
            return
        entries = self._decode(message.entries, core.era, core.era)
        if entries is None:
            return
        core.append(entries)
        self._leads = core.options.log_lease_us > 0
        counter = core.log.last - self._origin
        self._answer(Ack(self._link.number, self._next_answer(), zxid.pack(core.accepted_epoch, counter)))

    def _on_commit(self, message: Commit) -> None:
        """Step f.3.3."""
        if not self._up_to_date:
            self._break("COMMIT before UPTODATE")
            return
        self._learn_commit(message.zxid)

    def _learn_commit(self, committed: int) -> None:
        core = self._core
        epoch, counter = zxid.unpack(committed)
        index = self._origin + counter
        if epoch != core.accepted_epoch or index > core.log.last:
            self._break("a commit of what was not proposed")
        elif index > core.log.commit:
            core.journal.commit_to(index)

    def _on_ping(self, message: Ping) -> None:
        """The epoch was durable before ACKEPOCH left, so the answer waits for nothing."""
        core = self._core
        if self.phase is FollowerPhase.DISCOVERY or core.journal.claimed.accepted_epoch < core.accepted_epoch:
            self._break("PING before the epoch was accepted")
            return
        if not self._link.has_received(Lane.AT_ONCE, message.before):
            self._break("FIFO: a gap before a PING")
            return
        if message.rests and self._up_to_date and core.log.commit == core.log.last and core.member.may_rest:
            self.rests = True
            return
        # What had left at the PING before this one is surely ahead of this answer, whenever the caller sends it.
        answers, self._answers_told = self._answers_told, self._answers.left
        seq = self._link.next(Lane.AT_ONCE)
        core.outbox.send(self.leader_id, Pong(self._link.number, seq, core.accepted_epoch, message.round, answers))

    # ------------------------------------------------------------------------------------------------------ the link

    def sizes(self) -> Sizes:
        return {"answers that wait for the disk": Size(len(self._answers))}

    def _answer(self, message: CEpoch | AckEpoch | AckHistory | AckNewLeader | Ack) -> None:
        self._answers.made()
        self._core.outbox.send_after(self.leader_id, message)

    def _next_answer(self) -> int:
        return self._link.next(Lane.AFTER_WRITE)

    def _break(self, reason: str) -> None:
        self._core.outbox.ignore(reason)
        self.ended = self.link_is_broken = True

    def _decode(self, encoded: Sequence[bytes], era_least: Era, era_most: Era) -> Sequence[Entry] | None:
        """The entries if they can follow behind the history; None (and the link ends) where they cannot."""
        try:
            entries = decode_entries(encoded)
            check_sequence(entries, self._core.log.last + 1, era_least, era_most)
        except UnfitEntries as unfit:
            self._break(str(unfit))
            return None
        if not entries:
            self._break("a message without entries")
            return None
        return entries


def _lane(message: FromLeader) -> Lane:
    match message:
        case NewEpoch():
            return Lane.AFTER_WRITE
        case Ping() | Resign() | LinkBroken():
            return Lane.PING
        case _:
            return Lane.AT_ONCE
