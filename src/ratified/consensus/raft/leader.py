"""Leading (figure 2, "Leaders"; sections 5.3 and 5.4).

Rules of this file:

1. A ``Leader`` lives for one term: nothing that it knows of its peers outlives it.
2. The log of a leader only grows. AppendEntries goes at once, beside the leader's own write (dissertation, 10.2.1).
3. An index commits when a quorum has it *durably*, this member counted by its own disk, and the entry at that index
   is of this term (section 5.4.2). Nothing older is ever committed by counting. Under log leases nothing is before an
   earlier leader's lease has run out (``replication/log_leases``).
4. A read is answered only when an entry of this term is committed, and after a round of answers that began after it
   was asked for.
5. Whoever lacks what is gone from the log, and only who has shown it by a refusal, is sent a snapshot (section 7).
6. What is sent is decided in ``flush``, once a turn, from the progress of each peer; inputs only change progress.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ratified.consensus.contract import Entry, Membership, Progress, Proposal, ProposalId, Size, Sizes, Taken
from ratified.consensus.raft.core import Core
from ratified.consensus.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    AskLease,
    CommitAdvanced,
    Heartbeat,
    HeartbeatResponse,
    LeaseReleased,
    Resign,
    TimeoutNow,
)
from ratified.consensus.raft.progress import Mode, PeerProgress
from ratified.consensus.replication.liveness import Liveness
from ratified.consensus.replication.peers import Peers
from ratified.consensus.replication.proposals import commands, configuration, noop
from ratified.consensus.replication.reads import ReadRounds
from ratified.consensus.replication.reconfiguration import first_step
from ratified.consensus.replication.window import fitting


class ForPeer(msgspec.Struct, frozen=True, gc=False):
    """Entries are fetched to be sent to ``member``, by the leader of ``term``."""

    term: int
    member: int


class Leader:
    __slots__ = ("_core", "_heartbeat_due", "_peers", "_shared", "leader", "liveness", "reads", "serving")

    def __init__(self, core: Core) -> None:
        self._core = core
        self.leader = core.member.id
        self.serving = False
        """Is an entry of this term committed?"""
        mode = Mode.REPLICATE if core.extensions.pipelining else Mode.PROBE
        self._peers = Peers(core.configurations, lambda: self._begin(mode), lambda: self._begin(Mode.PROBE))
        self.liveness = Liveness(core.member)
        self.reads = ReadRounds(core.member)
        self._heartbeat_due = True
        self._shared: dict[tuple[int, int], AppendEntries] = {}
        self.reads.log_lease.elected_with(core.log)
        if core.options.extensions.noop_on_election:
            core.append([noop(core.log.last + 1, core.era)])

    def _begin(self, mode: Mode) -> PeerProgress:
        log = self._core.log
        return PeerProgress(log.last + 1, mode, self._core.options.limits, log.base + 1)

    # ------------------------------------------------------------------------------------------------------ inputs

    def propose(self, proposals: Sequence[Proposal]) -> Taken:
        core = self._core
        return self._take(commands(proposals, core.log.last + 1, core.era))

    @property
    def is_settled(self) -> bool:
        return self._core.configurations.is_settled

    takes_commands = True

    def first_step(self, after: Membership) -> Membership:
        return first_step(self._core.configurations.latest, after)

    def configure(self, proposal: ProposalId | None, membership: Membership, context: bytes) -> Taken:
        """Section 6: a configuration is an entry, in force as soon as it is in the log."""
        core = self._core
        return self._take([configuration(core.log.last + 1, core.era, proposal, membership, context)])

    def add_noop(self, data: bytes = b"") -> Taken:
        core = self._core
        return self._take([noop(core.log.last + 1, core.era, data)])

    def _take(self, entries: Sequence[Entry]) -> Taken:
        self._core.append(entries)
        if not self._core.extensions.pipelining:
            self._ask_all()
        return Taken(entries[0].index)

    def on_response(self, sender: int, message: AppendEntriesResponse | HeartbeatResponse) -> None:
        """A peer knows of no later term. To AppendEntries it also says up to where the logs are equal, or that nothing
        fits.
        """
        peer = self._hear(sender, message.round)
        if peer is None or isinstance(message, HeartbeatResponse):
            return
        peer.answered = True
        if not message.success:
            self._on_refusal(sender, peer, message)
        elif message.index > self._core.log.last:
            self._core.outbox.ignore("AppendEntriesResponse beyond the log")
        else:
            self._on_success(peer, message.index)

    def on_session_change(self, member: int) -> None:
        """A session with a peer ended or began: what was under way is lost."""
        peer = self._peers.table.get(member)
        if peer is not None:
            peer.reset()

    def on_fetched(self, purpose: ForPeer, entries: Sequence[Entry]) -> None:
        """Old entries for a peer that is behind came back from the log."""
        peer = self._peers.table.get(purpose.member)
        if purpose.term == self._core.term and peer is not None:
            self._send_fetched(purpose.member, peer, entries)

    def on_compacted(self, base: int) -> None:
        for peer in self._peers.table.values():
            peer.compacted(base)

    def on_snapshot_sent(self, member: int, index: int, ok: bool) -> None:
        """It has the state at ``index``; if not, it is asked again what it has."""
        peer = self._peers.table.get(member)
        if peer is None or peer.mode is not Mode.SNAPSHOT:
            return
        if ok:
            peer.probe(index + 1)
        else:
            peer.pause(self._core.log.base + 1)

    def on_heartbeat_due(self) -> None:
        """Figure 2, "repeat during idle periods"; what was sent and not answered is asked about again."""
        self._heartbeat_due = True
        for member, peer in self._peers.table.items():
            if peer.is_overdue and self._core.options.links.is_clear(member):
                peer.due = True
            peer.answered = False

    def resign(self) -> None:
        """This leader leads no longer, and its peers need not wait to find out."""
        if (round_ := self.reads.lease.release()) is not None:
            self._core.member.send_to_peers(LeaseReleased(self._core.term, round_))
        self._core.member.send_to_peers(Resign(self._core.term, self.reads.round))

    # ------------------------------------------------------------------------------------------------------ commit

    def advance_commit(self) -> None:
        """Figure 2, last rule for leaders."""
        core = self._core
        if self.reads.log_lease.waits:
            return
        index = core.configurations.quorum_value(self._durable_at)
        if index > core.log.commit and self.may_commit(index):
            core.journal.commit_to(index)
            self.serving = core.log.era_at(index) == core.era

    def may_commit(self, index: int) -> bool:
        """Section 5.4.2: only an entry of the own term is committed by counting."""
        return self._core.log.era_at(index) == self._core.era

    def _durable_at(self, member: int) -> int:
        return self._core.log.durable if member == self.leader else self._peers.table[member].match

    # -------------------------------------------------------------------------------------------------- replication

    def flush(self) -> None:
        core = self._core
        if self.reads.advance(serving=self.serving, commit=core.log.commit):
            self._heartbeat_due = True
        if self._heartbeat_due:
            self._heartbeat_due = False
            self._send_heartbeats()
        for member, peer in self._peers.table.items():
            if peer.mode is Mode.REPLICATE:
                self._replicate(member, peer)
                self._tell_commit(member, peer)
            elif peer.due:
                self._ask(member, peer)
        self._shared.clear()

    def has_everything(self, member: int) -> bool:
        log = self._core.log
        return self._peers.table[member].match == log.last == log.commit

    def tell_to_campaign(self, member: int) -> None:
        if (round_ := self.reads.lease.release()) is not None:
            self._core.outbox.send(member, LeaseReleased(self._core.term, round_))
        self._core.outbox.send(member, TimeoutNow(self._core.term))

    def progress(self) -> dict[int, Progress]:
        return {
            member: Progress(peer.match, peer.next, peer.mode.value, peer.match)
            for member, peer in self._peers.table.items()
        }

    def sizes(self) -> Sizes:
        peers = self._peers.table
        return {
            "barriers": Size(len(self.reads)),
            **self.reads.log_lease.sizes(),
            "peers": Size(len(peers), len(self._core.configurations.peers)),
            "messages in flight": Size(sum(len(peer.window) for peer in peers.values())),
        }

    def _hear(self, sender: int, round_: int) -> PeerProgress | None:
        peer = self._peers.table.get(sender)
        if peer is None:
            self._core.outbox.ignore("an answer from no peer of this leader")
        elif round_ > self.reads.round:
            self._core.outbox.ignore("an answer to a round that never began")
            return None
        else:
            self.liveness.heard(sender)
            self.reads.on_answer(sender, round_)
        return peer

    def _on_success(self, peer: PeerProgress, match: int) -> None:
        peer.acknowledged(match)
        if not self._core.extensions.pipelining:
            peer.due = peer.due or peer.next <= self._core.log.last
        elif peer.mode is Mode.PROBE or (peer.mode is Mode.SNAPSHOT and match >= self._core.log.base):
            peer.replicate()
        self.advance_commit()

    def _on_refusal(self, member: int, peer: PeerProgress, message: AppendEntriesResponse) -> None:
        refused = message.index
        stale = refused <= peer.match if peer.mode is Mode.REPLICATE else refused != peer.next - 1
        if stale or peer.mode is Mode.SNAPSHOT:
            return
        next_index = self._next_after_refusal(message)
        if self.needs_snapshot(next_index):
            self._send_snapshot(member, peer)
        else:
            peer.probe(next_index)

    def _next_after_refusal(self, message: AppendEntriesResponse) -> int:
        """``nextIndex`` one down, or with hints to where the logs can meet."""
        log, refused, hint = self._core.log, message.index, message.hint_index
        if not self._core.extensions.conflict_hints:
            return refused
        meet = hint if hint < log.base else log.last_at_most(hint, (message.hint_term, 0))[0]
        return min(meet + 1, refused)

    def needs_snapshot(self, next_index: int) -> bool:
        """Do the logs meet, if they do, only below what this log still has?"""
        return next_index <= self._core.log.base

    def _send_snapshot(self, member: int, peer: PeerProgress) -> None:
        core = self._core
        if core.member.send_snapshot(member, core.log.base):
            peer.await_snapshot()
        else:
            peer.pause(core.log.base + 1)

    def _ask_all(self) -> None:
        for peer in self._peers.table.values():
            peer.due = True

    def _send_heartbeats(self) -> None:
        core = self._core
        rests = self.liveness.tell_whether_it_rests()
        if not core.options.extensions.separate_heartbeats:
            self._ask_all()
            return
        for member, peer in self._peers.table.items():
            commit = min(peer.match, core.log.commit)
            peer.commit_told = max(peer.commit_told, commit)
            core.outbox.send(member, Heartbeat(core.term, commit, self.reads.round, rests))
        if not rests and (round_ := self.reads.lease.ask()) is not None:
            core.member.send_to_peers(AskLease(core.term, round_, core.options.lease_us))

    def _tell_commit(self, member: int, peer: PeerProgress) -> None:
        """Without entries on their way, a peer would learn the commit index only from the next heartbeat."""
        core = self._core
        commit = min(peer.match, core.log.commit)
        if commit > peer.commit_told and core.options.extensions.separate_heartbeats:
            peer.commit_told = commit
            core.outbox.send(member, CommitAdvanced(core.term, commit))

    def _replicate(self, member: int, peer: PeerProgress) -> None:
        """Send ahead of the answers, as far as window and memory reach."""
        log = self._core.log
        if peer.due:
            peer.due = False
            self._send_append(member, peer, self._append_entries(peer.next, peer.next - 1))
        while peer.next <= log.last and peer.window.has_room() and self._core.options.links.has_credit(member):
            if peer.next < log.first_in_memory:
                self._fetch_for(member, peer)
                return
            last = log.message_end(peer.next, log.last)
            self._send_append(member, peer, self._append_entries(peer.next, last))
            peer.sent(last, log.bytes_between(peer.next, last))

    def _ask(self, member: int, peer: PeerProgress) -> None:
        """Ask once where the logs meet. Where entries are sent ahead later, the question carries none."""
        peer.due = False
        log = self._core.log
        if self._core.extensions.pipelining or peer.next > log.last or peer.mode is Mode.SNAPSHOT:
            self._send_append(member, peer, self._append_entries(peer.next, peer.next - 1))
        elif peer.next < log.first_in_memory:
            self._fetch_for(member, peer)
        else:
            self._send_append(member, peer, self._append_entries(peer.next, log.message_end(peer.next, log.last)))

    def _fetch_for(self, member: int, peer: PeerProgress) -> None:
        core = self._core
        last = peer.next + core.options.limits.entries_per_message_max - 1
        core.outbox.fetch(core.log.missing(peer.next, last), ForPeer(core.term, member))

    def _send_fetched(self, member: int, peer: PeerProgress, entries: Sequence[Entry]) -> None:
        """Send what was fetched, if the peer still needs it there; what does not fit is fetched again."""
        while entries and peer.next == entries[0].index and peer.window.has_room():
            fit, size = fitting(entries, self._core.options.limits)
            self._send_append(member, peer, self._message(peer.next, [entry.encoded for entry in fit]))
            if peer.mode is Mode.PROBE:
                return
            peer.sent(fit[-1].index, size)
            entries = entries[len(fit) :]

    def _append_entries(self, first: int, last: int) -> AppendEntries:
        """The message with the entries ``first`` to ``last``, one object for all peers that need it this turn."""
        message = self._shared.get((first, last))
        if message is None:
            entries = [entry.encoded for entry in self._core.log.entries(first, last)] if first <= last else []
            message = self._shared[first, last] = self._message(first, entries)
        return message

    def _message(self, first: int, entries: Sequence[bytes]) -> AppendEntries:
        core = self._core
        prev_era = core.log.era_at(first - 1)
        assert prev_era is not None, f"entry {first - 1} is not in the log"
        return AppendEntries(core.term, first - 1, prev_era[0], core.log.commit, self.reads.round, entries)

    def _send_append(self, member: int, peer: PeerProgress, message: AppendEntries) -> None:
        peer.commit_told = max(peer.commit_told, min(message.commit, message.prev_index + len(message.entries)))
        self._core.outbox.send(member, message)
