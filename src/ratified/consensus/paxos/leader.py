"""Phase 2 by the distinguished proposer (*Paxos Made Simple*, sections 2.2, 2.4 and 3).

Rules of this file:

1. A ``Leader`` lives for one ballot. Every slot gets one value in it: first the values that phase 1 found, no-ops where
   it found none between them, then a no-op of its own, then what is proposed, in ascending slots.
2. Accept goes at once, beside the leader's own write. The leader accepts its own proposals like any acceptor, and
   counts itself when its disk has them.
3. A slot is chosen when a quorum of members has accepted it in this ballot. Acceptors answer in any order and may miss
   slots in between; chosen slots are told as a prefix.
4. A read is answered only when everything that phase 1 found, and a slot of this ballot's own, is chosen, and after a
   round of answers that began after it was asked for.
5. What is sent is decided in ``flush``, once a turn, from the progress of each peer; inputs only change progress.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratified.consensus.contract import Entry, Era, Kind, Progress, Proposal, ReadIndex, Refused, RefusedReason, Taken
from ratified.consensus.entry import ENTRY_HEADER_BYTES, make_entry
from ratified.consensus.paxos.core import Core
from ratified.consensus.paxos.messages import Accept, Accepted, Decided, Heartbeat
from ratified.consensus.paxos.progress import PeerProgress
from ratified.consensus.paxos.purposes import ForAcceptor
from ratified.consensus.paxos.spans import Spans
from ratified.consensus.quorum import quorum_value
from ratified.consensus.reads import Reads


class Leader:
    """This member while it leads, in one ballot."""

    __slots__ = (
        "_accepted",
        "_beat",
        "_core",
        "_first",
        "_heartbeat_deadline",
        "_heartbeat_due",
        "_next",
        "_opening",
        "_peers",
        "_reads",
        "_shared",
        "ballot",
        "leader",
    )

    def __init__(self, core: Core, first: int, found: Mapping[int, Entry]) -> None:
        """Take the lead with what phase 1 ``found`` in the open slots, which begin at ``first``."""
        self._core = core
        self.ballot = core.own
        self.leader = core.member
        self._accepted = Spans()
        self._beat = 0
        self._first = self._next = first
        resends = core.options.extensions.resend
        self._peers = {peer: PeerProgress(first, core.now, resends=resends) for peer in core.peers}
        self._reads = Reads()
        self._heartbeat_due = True
        self._heartbeat_deadline = core.now + core.options.heartbeat_us
        self._shared: dict[tuple[int, int], Accept] = {}
        self._propose_again(found)
        self._opening = self._next
        if core.options.extensions.noop_on_election:
            self._put([make_entry(self._next, self.ballot, Kind.NOOP, None, b"")])

    def _propose_again(self, found: Mapping[int, Entry]) -> None:
        """Section 3: what may have been chosen is proposed again, and the gaps between get no-ops."""
        for slot in range(self._next, max(found, default=self._core.chosen) + 1):
            entry = found.get(slot)
            assert entry is not None or slot > self._core.chosen, f"phase 1 found nothing in slot {slot}, it is chosen"
            if entry is None:
                self._fill_gap(slot)
            else:
                self._put([make_entry(slot, self.ballot, entry.kind, entry.proposal, entry.data)])

    def _fill_gap(self, slot: int) -> None:
        """Nothing can have been chosen in ``slot``, and nothing behind it can be delivered before something is."""
        self._put([make_entry(slot, self.ballot, Kind.NOOP, None, b"")])

    def _put(self, entries: Sequence[Entry]) -> None:
        self._core.put(entries)
        self._next = entries[-1].index + 1

    # ------------------------------------------------------------------------------------------------------ inputs

    def propose(self, proposals: Sequence[Proposal]) -> Taken | Refused:
        """Give each of the proposals a slot, all or none."""
        core = self._core
        waiting = core.slots.undurable_bytes
        if waiting:
            size = sum([len(proposal.data) for proposal in proposals]) + ENTRY_HEADER_BYTES * len(proposals)
            if waiting + size > core.options.limits.undurable_bytes_max:
                return Refused(RefusedReason.OVERLOADED, core.member)
        first = self._next
        ballot = self.ballot
        self._put(
            [
                make_entry(slot, ballot, Kind.COMMAND, proposal.id, proposal.data)
                for slot, proposal in enumerate(proposals, first)
            ]
        )
        return Taken(first)

    def read_barrier(self, token: int) -> None:
        """A read waits for the next round."""
        if len(self._reads) >= self._core.options.limits.barriers_max:
            self._core.reads.append(ReadIndex(token, None))
        else:
            self._reads.ask(token)

    def on_accepted(self, sender: int, message: Accepted) -> None:
        """An acceptor has accepted a range of slots in this ballot."""
        peer = self._heard(self.credited(sender))
        if peer is None:
            return
        if not 0 < message.first <= message.last < self._next:
            self._core.ignore("Accepted for slots that were not proposed")
            return
        peer.answered(message.first, message.last)
        self.advance()

    def credited(self, sender: int) -> int:
        """A quorum is one of members: however often one of them answers, it is one."""
        return sender

    def on_heartbeat_answer(self, sender: int, round_: int) -> None:
        """A peer has promised nothing above this ballot."""
        peer = self._heard(sender)
        if peer is not None and round_ <= self._reads.round:
            peer.round = max(peer.round, round_)

    def on_persisted(self, fresh: Sequence[tuple[int, Era]]) -> None:
        """Of these (slot, ballot) the own disk has got hold."""
        first = last = 0
        for slot, ballot in fresh:
            if ballot != self.ballot:
                continue
            if slot != last + 1:
                if last:
                    self._accepted.add(first, last)
                first = slot
            last = slot
        if last:
            self._accepted.add(first, last)
        self.advance()

    def on_session_change(self, member: int) -> None:
        """A session with a peer ended or began: what was under way is lost."""
        peer = self._peers.get(member)
        if peer is not None:
            peer.reset(peer.accepted.reach(self._first) + 1)

    def on_fetched(self, purpose: ForAcceptor, fetched: Sequence[Entry]) -> None:
        """Old proposals of this ballot, to be sent once more."""
        peer = self._peers.get(purpose.member)
        if purpose.ballot != self.ballot or peer is None:
            return
        entries = self._core.slots.fit(fetched)
        if entries and peer.wanted(self._next - 1)[0] == entries[0].index:
            self._send_accept(purpose.member, peer, self._accept(entries), entries[0].index)

    def tick(self, now: int) -> None:
        """A heartbeat; what was sent and not answered for long is sent again."""
        if now < self._heartbeat_deadline:
            return
        self._heartbeat_deadline = now + self._core.options.heartbeat_us
        self._heartbeat_due = True
        self._beat += 1
        for peer in self._peers.values():
            peer.beat(self._beat)

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
        """Has the oldest write waited a whole election timeout (rule 11 of the contract)?"""
        since = self._core.durability.waiting_since
        options = self._core.options
        return (
            options.extensions.step_down_on_slow_disk
            and since is not None
            and now - since >= options.election_timeout_us
        )

    def quorum_is_silent(self, now: int) -> bool:
        """Has no quorum answered for a whole election timeout?"""
        options = self._core.options
        if not options.extensions.check_quorum:
            return False
        heard = quorum_value(
            self._core.membership, lambda member: now if member == self._core.member else self._peers[member].heard
        )
        return now - heard >= options.election_timeout_us

    # ------------------------------------------------------------------------------------------------------ chosen

    def advance(self) -> None:
        """A value is chosen when a majority of the acceptors has accepted it (section 2.1); slot ranges at a time."""
        core = self._core
        while (reach := self._quorum_reach(slot := self.first_open())) >= slot:
            core.choose_to(reach)

    def _quorum_reach(self, slot: int) -> int:
        return quorum_value(self._core.membership, lambda member: self.accepted_by(member).reach(slot))

    def first_open(self) -> int:
        """The first slot that is not known to be chosen; nothing is delivered beyond it."""
        return self._core.chosen + 1

    def accepted_by(self, member: int) -> Spans:
        """The slots that ``member`` has durably accepted in this ballot."""
        return self._accepted if member == self._core.member else self._peers[member].accepted

    @property
    def serving(self) -> bool:
        """Is everything chosen that phase 1 found, and a slot of this ballot's own?"""
        return self._core.chosen >= self._opening

    # ------------------------------------------------------------------------------------------------------- reads

    def may_serve_reads(self) -> bool:
        """Before that a leader does not know all that was chosen."""
        return self.serving

    def round_is_confirmed(self) -> bool:
        """Has a quorum answered the round that is under way?

        Whoever chose something in a higher ballot had a promise of some member of that quorum first. So what this
        leader knew to be chosen when the round began is all that was, anywhere.
        """
        return quorum_value(self._core.membership, self._round_of) >= self._reads.round

    def _round_of(self, member: int) -> int:
        return self._reads.round if member == self._core.member else self._peers[member].round

    def _advance_reads(self) -> None:
        if self._reads.under_way and self.round_is_confirmed():
            self._core.reads.extend(self._reads.confirmed())
        if self._reads.wanted and self.may_serve_reads():
            self._reads.begin(self._core.chosen)
            self._heartbeat_due = True
            if self.round_is_confirmed():  # by this member alone
                self._core.reads.extend(self._reads.confirmed())

    # ----------------------------------------------------------------------------------------------------- sending

    def flush(self) -> None:
        """Send what this turn's inputs call for."""
        self._advance_reads()
        if self._heartbeat_due:
            self._heartbeat_due = False
            self._send_heartbeats()
        for member, peer in self._peers.items():
            self._send_proposals(member, peer)
            self._tell_chosen(member, peer)
        self._shared.clear()

    def progress(self) -> dict[int, Progress]:
        """For people."""
        first = self._core.chosen + 1
        return {
            member: Progress(peer.accepted.reach(first), peer.next, "resend" if peer.resend else "send")
            for member, peer in self._peers.items()
        }

    def _heard(self, sender: int) -> PeerProgress | None:
        peer = self._peers.get(sender)
        if peer is None:
            self._core.ignore("an answer from no peer of this leader")
        else:
            peer.heard = self._core.now
        return peer

    def _send_heartbeats(self) -> None:
        core = self._core
        for member, peer in self._peers.items():
            peer.chosen_told = self._tellable(peer)
            core.send(member, Heartbeat(self.ballot, peer.chosen_told, self._reads.round))

    def _tellable(self, peer: PeerProgress) -> int:
        """The chosen prefix as far as the peer can have it by now: the rest of this ballot's slots is on its way to it,
        and it need not ask anybody. Without ``decided_after_accepted``, as far as a quorum has it in this ballot."""
        each_its_own = self._core.options.extensions.decided_after_accepted
        accepted = peer.accepted.reach(self._first) if each_its_own else self._quorum_reach(self._first)
        return min(self._core.chosen, accepted)

    def _tell_chosen(self, member: int, peer: PeerProgress) -> None:
        """Without an Accept on its way that says so, a peer would learn of it only from the next heartbeat."""
        chosen = self._tellable(peer)
        if chosen > peer.chosen_told:
            peer.chosen_told = chosen
            self._core.send(member, Decided(self.ballot, chosen))

    def _send_proposals(self, member: int, peer: PeerProgress) -> None:
        """First what was lost, then ahead of the answers, as far as window and memory reach."""
        window = max(self._core.options.limits.inflight_messages_max, 1)
        while len(peer.in_flight) < window:
            first, end = peer.wanted(self._next - 1)
            if first > end:
                return
            message = self._shared.get((first, end))
            if message is None:
                entries = self._core.slots.batch(first, end)
                if not entries:
                    self._fetch_for(member, first, end)
                    return
                message = self._shared[first, end] = self._accept(entries)
            self._send_accept(member, peer, message, first)

    def _fetch_for(self, member: int, first: int, end: int) -> None:
        purpose = ForAcceptor(self.ballot, member)
        if not self._core.is_fetching(purpose):
            self._core.fetch(*self._core.slots.missing(first, end), purpose)

    def _accept(self, entries: Sequence[Entry]) -> Accept:
        return Accept(self.ballot, self._core.chosen, [entry.encoded for entry in entries])

    def _send_accept(self, member: int, peer: PeerProgress, message: Accept, first: int) -> None:
        last = first + len(message.entries) - 1
        peer.sent(first, last, self._beat)
        peer.chosen_told = max(peer.chosen_told, min(message.chosen, self._tellable(peer)))
        self._core.send(member, message)
