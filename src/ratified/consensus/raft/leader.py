"""Leading (figure 2, "Leaders"; sections 5.3 and 5.4).

Rules of this file:

1. A ``Leader`` lives for one term: nothing that it knows of its peers outlives it.
2. The log of a leader only grows. AppendEntries goes at once, beside the leader's own write (dissertation, 10.2.1).
3. An index commits when a quorum has it *durably*, this member counted by its own disk, and the entry at that index
   is of this term (section 5.4.2). Nothing older is ever committed by counting.
4. A read is answered only when an entry of this term is committed, and after a round of answers that began after it
   was asked for.
5. What is sent is decided in ``flush``, once a turn, from the progress of each peer; inputs only change progress.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import Entry, Kind, Progress, Proposal, ReadIndex, Refused, RefusedReason, Taken
from ratified.consensus.entry import ENTRY_HEADER_BYTES, make_entry
from ratified.consensus.quorum import quorum_value
from ratified.consensus.raft.core import Core
from ratified.consensus.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    CommitAdvanced,
    Heartbeat,
)
from ratified.consensus.raft.progress import Mode, PeerProgress
from ratified.consensus.reads import Reads


class Leader:
    """This member while it leads, in one term."""

    __slots__ = ("_core", "_heartbeat_deadline", "_heartbeat_due", "_peers", "_reads", "_shared", "leader", "serving")

    def __init__(self, core: Core) -> None:
        self._core = core
        self.leader = core.member
        self.serving = False
        """Is an entry of this term committed?"""
        mode = Mode.REPLICATE if core.options.extensions.pipelining else Mode.PROBE
        self._peers = {peer: PeerProgress(core.log.last + 1, mode, core.now) for peer in core.peers}
        self._reads = Reads()
        self._heartbeat_due = True
        self._heartbeat_deadline = core.now + core.options.heartbeat_us
        self._shared: dict[tuple[int, int], AppendEntries] = {}
        if core.options.extensions.noop_on_election:
            core.append([make_entry(core.log.last + 1, (core.term, 0), Kind.NOOP, None, b"")])

    # ------------------------------------------------------------------------------------------------------ inputs

    def propose(self, proposals: Sequence[Proposal]) -> Taken | Refused:
        """Append the proposals to the own log, all or none."""
        core = self._core
        waiting = core.undurable_bytes
        if waiting:
            size = sum([len(proposal.data) for proposal in proposals]) + ENTRY_HEADER_BYTES * len(proposals)
            if waiting + size > core.options.limits.undurable_bytes_max:
                return Refused(RefusedReason.OVERLOADED, core.member)
        first = core.log.last + 1
        era = (core.term, 0)
        core.append(
            [
                make_entry(index, era, Kind.COMMAND, proposal.id, proposal.data)
                for index, proposal in enumerate(proposals, first)
            ]
        )
        if not core.options.extensions.pipelining:
            self._ask_all()
        return Taken(first)

    def read_barrier(self, token: int) -> None:
        """A read waits for the next round."""
        if len(self._reads) >= self._core.options.limits.barriers_max:
            self._core.reads.append(ReadIndex(token, None))
        else:
            self._reads.ask(token)

    def on_append_entries_response(self, sender: int, message: AppendEntriesResponse) -> None:
        """A peer's log is equal up to some index, or does not fit."""
        peer = self._heard(sender, message.round)
        if peer is None:
            return
        peer.answered = True
        if not message.success:
            self._on_refusal(peer, message)
        elif message.index > self._core.log.last:
            self._core.ignore("AppendEntriesResponse beyond the log")
        else:
            self._on_success(peer, message.index)

    def on_heartbeat_response(self, sender: int, round_: int) -> None:
        """A peer still follows this leader."""
        self._heard(sender, round_)

    def on_session_change(self, member: int) -> None:
        """A session with a peer ended or began: what was under way is lost."""
        peer = self._peers.get(member)
        if peer is not None:
            peer.reset()

    def on_fetched(self, token: int, entries: Sequence[Entry]) -> None:
        """Old entries for a peer that is behind came back from the log."""
        for member, peer in self._peers.items():
            if peer.fetching == token:
                peer.fetching = None
                self._send_fetched(member, peer, entries)

    def tick(self, now: int) -> None:
        """Figure 2, "repeat during idle periods"; what was sent and not answered is asked about again."""
        if now < self._heartbeat_deadline:
            return
        self._heartbeat_deadline = now + self._core.options.heartbeat_us
        self._heartbeat_due = True
        for peer in self._peers.values():
            if peer.mode is Mode.PROBE or (peer.match + 1 < peer.next and not peer.answered):
                peer.due = True
            peer.answered = False

    def stop(self) -> None:
        """This member leads no longer."""
        self._core.reads.extend(self._reads.fail())

    # ----------------------------------------------------------------------------------------------------- timers

    @property
    def deadline(self) -> int | None:
        """The next heartbeat, or the end of the disk's patience, whichever comes first."""
        heartbeat = self._heartbeat_deadline if self._peers else None
        since = self._core.durability.waiting_since
        if since is None or not self._core.options.extensions.step_down_on_slow_disk:
            return heartbeat
        slow = since + self._core.options.election_timeout_us
        return slow if heartbeat is None else min(heartbeat, slow)

    def disk_is_slow(self, now: int) -> bool:
        """Has the oldest write waited a whole election timeout (rule 11)?"""
        since = self._core.durability.waiting_since
        options = self._core.options
        return (
            options.extensions.step_down_on_slow_disk
            and since is not None
            and now - since >= options.election_timeout_us
        )

    def quorum_is_silent(self, now: int) -> bool:
        """Has no quorum answered for a whole election timeout (dissertation, section 6.2)?"""
        options = self._core.options
        if not options.extensions.check_quorum:
            return False
        heard = quorum_value(
            self._core.membership, lambda member: now if member == self._core.member else self._peers[member].heard
        )
        return now - heard >= options.election_timeout_us

    # ------------------------------------------------------------------------------------------------------ commit

    def advance_commit(self) -> None:
        """Figure 2, last rule for leaders."""
        core = self._core
        index = quorum_value(core.membership, self._durable_at)
        if index > core.commit and self.may_commit(index):
            core.commit_to(index)
            self.serving = core.log.term_at(index) == core.term

    def may_commit(self, index: int) -> bool:
        """Section 5.4.2: only an entry of the own term is committed by counting."""
        return self._core.log.term_at(index) == self._core.term

    def _durable_at(self, member: int) -> int:
        return self._core.durability.index if member == self._core.member else self._peers[member].match

    # ------------------------------------------------------------------------------------------------------- reads

    def may_serve_reads(self) -> bool:
        """Section 8: before the first commit of its term a leader does not know what is committed."""
        return self.serving

    def round_is_confirmed(self) -> bool:
        """Has a quorum answered the round that is under way? Then no later term had a leader when it began."""
        return quorum_value(self._core.membership, self._round_of) >= self._reads.round

    def _round_of(self, member: int) -> int:
        return self._reads.round if member == self._core.member else self._peers[member].round

    def _advance_reads(self) -> None:
        if self._reads.under_way and self.round_is_confirmed():
            self._core.reads.extend(self._reads.confirmed())
        if self._reads.wanted and self.may_serve_reads():
            self._reads.begin(self._core.commit)
            self._heartbeat_due = True
            if self.round_is_confirmed():  # by this member alone
                self._core.reads.extend(self._reads.confirmed())

    # -------------------------------------------------------------------------------------------------- replication

    def flush(self) -> None:
        """Send what this turn's inputs call for."""
        self._advance_reads()
        if self._heartbeat_due:
            self._heartbeat_due = False
            self._send_heartbeats()
        for member, peer in self._peers.items():
            if peer.mode is Mode.REPLICATE:
                self._replicate(member, peer)
                self._tell_commit(member, peer)
            elif peer.due:
                self._probe(member, peer)
        self._shared.clear()

    def progress(self) -> dict[int, Progress]:
        """For people."""
        return {member: Progress(peer.match, peer.next, peer.mode.value) for member, peer in self._peers.items()}

    def _heard(self, sender: int, round_: int) -> PeerProgress | None:
        peer = self._peers.get(sender)
        if peer is None:
            self._core.ignore("an answer from no peer of this leader")
        elif round_ > self._reads.round:
            self._core.ignore("an answer to a round that never began")
            return None
        else:
            peer.heard = self._core.now
            peer.round = max(peer.round, round_)
        return peer

    def _on_success(self, peer: PeerProgress, match: int) -> None:
        peer.acknowledged(match)
        if not self._core.options.extensions.pipelining:
            peer.due = peer.due or peer.next <= self._core.log.last
        elif peer.mode is Mode.PROBE:
            peer.replicate()
        self.advance_commit()

    def _on_refusal(self, peer: PeerProgress, message: AppendEntriesResponse) -> None:
        refused = message.index
        stale = refused <= peer.match if peer.mode is Mode.REPLICATE else refused != peer.next - 1
        if stale:
            return
        base = self._core.log.base
        next_index = refused
        if self._core.options.extensions.conflict_hints:
            meet, _ = self._core.log.last_at_most(message.hint_index, message.hint_term)
            next_index = min(meet + 1, refused)
        peer.probe(max(next_index, base + 1))
        # A peer that needs what lies below the base can only wait; it is asked once a heartbeat.
        peer.due = peer.next - 1 < refused

    def _ask_all(self) -> None:
        for peer in self._peers.values():
            peer.due = True

    def _send_heartbeats(self) -> None:
        core = self._core
        if not core.options.extensions.separate_heartbeats:
            self._ask_all()
            return
        for member, peer in self._peers.items():
            commit = min(peer.match, core.commit)
            peer.commit_told = max(peer.commit_told, commit)
            core.send(member, Heartbeat(core.term, commit, self._reads.round))

    def _tell_commit(self, member: int, peer: PeerProgress) -> None:
        """Without entries on their way, a peer would learn the commit index only from the next heartbeat."""
        core = self._core
        commit = min(peer.match, core.commit)
        if commit > peer.commit_told and core.options.extensions.separate_heartbeats:
            peer.commit_told = commit
            core.send(member, CommitAdvanced(core.term, commit))

    def _replicate(self, member: int, peer: PeerProgress) -> None:
        """Send ahead of the answers, as far as window and memory reach."""
        log, limits = self._core.log, self._core.options.limits
        if peer.due:
            peer.due = False
            self._send_append(member, peer, self._append_entries(peer.next, peer.next - 1))
        while peer.next <= log.last and peer.has_room(limits):
            if peer.next < log.first_in_memory:
                self._fetch_for(peer)
                return
            last = self._last_of_message(peer.next)
            self._send_append(member, peer, self._append_entries(peer.next, last))
            peer.sent(last, log.bytes_between(peer.next, last))

    def _probe(self, member: int, peer: PeerProgress) -> None:
        """Ask once. Where entries are sent ahead later, the question carries none."""
        peer.due = False
        log = self._core.log
        if self._core.options.extensions.pipelining or peer.next > log.last:
            self._send_append(member, peer, self._append_entries(peer.next, peer.next - 1))
        elif peer.next < log.first_in_memory:
            self._fetch_for(peer)
        else:
            last = self._last_of_message(peer.next)
            self._send_append(member, peer, self._append_entries(peer.next, last))

    def _fetch_for(self, peer: PeerProgress) -> None:
        if peer.fetching is None:
            last = peer.next + self._core.options.limits.entries_per_message_max - 1
            peer.fetching = self._core.fetch(peer.next, min(last, self._core.log.first_in_memory - 1))

    def _send_fetched(self, member: int, peer: PeerProgress, entries: Sequence[Entry]) -> None:
        """Send what was fetched, if the peer still needs it there; what does not fit is fetched again."""
        limits = self._core.options.limits
        start = 0
        while start < len(entries) and peer.next == entries[start].index and peer.has_room(limits):
            size = len(entries[start].encoded)
            end = start + 1
            while end < min(len(entries), start + limits.entries_per_message_max):
                size += len(entries[end].encoded)
                if size > limits.bytes_per_message_max:
                    size -= len(entries[end].encoded)
                    break
                end += 1
            message = self._message(peer.next, [entry.encoded for entry in entries[start:end]])
            self._send_append(member, peer, message)
            if peer.mode is Mode.PROBE:
                return
            peer.sent(entries[end - 1].index, size)
            start = end

    def _last_of_message(self, first: int) -> int:
        limits = self._core.options.limits
        last = min(self._core.log.last, first + limits.entries_per_message_max - 1)
        return max(first, self._core.log.fit(first, last, limits.bytes_per_message_max))

    def _append_entries(self, first: int, last: int) -> AppendEntries:
        """The message with the entries ``first`` to ``last``, one object for all peers that need it this turn."""
        message = self._shared.get((first, last))
        if message is None:
            entries = [entry.encoded for entry in self._core.log.entries(first, last)] if first <= last else []
            message = self._shared[first, last] = self._message(first, entries)
        return message

    def _message(self, first: int, entries: Sequence[bytes]) -> AppendEntries:
        core = self._core
        prev_term = core.log.term_at(first - 1)
        assert prev_term is not None, f"entry {first - 1} is not in the log"
        return AppendEntries(core.term, first - 1, prev_term, core.commit, self._reads.round, entries)

    def _send_append(self, member: int, peer: PeerProgress, message: AppendEntries) -> None:
        peer.commit_told = max(peer.commit_told, min(message.commit, message.prev_index + len(message.entries)))
        self._core.send(member, message)
