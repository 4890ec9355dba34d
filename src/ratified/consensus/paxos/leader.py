"""Phase 2 by the distinguished proposer (*Paxos Made Simple*, sections 2.2, 2.4 and 3).

Rules of this file:

1. A ``Leader`` lives for one ballot. Every slot gets one value in it: first the values that phase 1 found, no-ops where
   it found none between them, then a no-op of its own, then what is proposed, in ascending slots.
2. Accept goes at once, beside the leader's own write. The leader accepts its own proposals like any acceptor, and
   counts itself when its disk has them.
3. A slot is chosen when a quorum of members has accepted it in this ballot. Acceptors answer in any order and may miss
   slots in between; chosen slots are told as a prefix. Under log leases nothing counts as chosen before the lease of
   whoever led before has run out (``replication/log_leases``), since the last of what phase 1 found was found.
4. A read is answered only when everything that phase 1 found, and a slot of this ballot's own, is chosen, and after a
   round of answers that began after it was asked for.
5. What is sent is decided in ``flush``, once a turn, from the progress of each peer; inputs only change progress.
6. A change of the members waits until all below it is chosen, and stands alone: nothing is proposed above a
   configuration until it is chosen, nor until a quorum of it has promised this ballot (phase 1 goes on; all who have
   not promised yet are asked at once, for writes wait). What phase 1 finds above it comes next, and the opening behind
   the last of that. So a configuration is never void: when it is first proposed all below it is chosen, its proposer's
   opening too and no later one.
7. Members that left are needed until a quorum of the new configuration has on disk all up to it, and that it is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratified.consensus.contract import (
    NO_ERA,
    Entry,
    Era,
    Kind,
    Limbo,
    Membership,
    Progress,
    Proposal,
    ProposalId,
    Size,
    Sizes,
    Taken,
)
from ratified.consensus.entry import decode_configuration, make_entry
from ratified.consensus.paxos.candidate import Candidate
from ratified.consensus.paxos.core import Core
from ratified.consensus.paxos.learner import Learner
from ratified.consensus.paxos.messages import (
    Accept,
    Accepted,
    AskLease,
    Decided,
    Heartbeat,
    HeartbeatAnswer,
    LeaseReleased,
    Resign,
    TimeoutNow,
)
from ratified.consensus.paxos.progress import PeerProgress
from ratified.consensus.paxos.purposes import ForAcceptor
from ratified.consensus.paxos.spans import Spans
from ratified.consensus.replication.liveness import Liveness
from ratified.consensus.replication.peers import Peers
from ratified.consensus.replication.proposals import commands, configuration, noop
from ratified.consensus.replication.reads import ReadRounds


class Leader:
    __slots__ = (
        "_accepted",
        "_asked_in",
        "_beat",
        "_change",
        "_chosen_durably",
        "_configuration",
        "_core",
        "_first",
        "_heartbeat_due",
        "_learner",
        "_next",
        "_opening",
        "_peers",
        "_phase_1",
        "_prepared",
        "_proposed",
        "_shared",
        "ballot",
        "leader",
        "liveness",
        "reads",
    )

    def __init__(self, core: Core, learner: Learner, phase_1: Candidate) -> None:
        """Take the lead with what phase 1 found in the open slots."""
        self._core = core
        self._learner = learner
        self._phase_1 = phase_1
        self._prepared: Membership | None = None
        """The configuration in which phase 1 is complete, and all that it found is proposed."""
        self._asked_in: Membership | None = None
        """The one in which all have been asked whose promises were not needed before."""
        self._configuration = 0
        """The slot of the last one that was proposed."""
        self._proposed: Membership | None = None
        """The members that it names; None until one is proposed."""
        self._change: tuple[ProposalId | None, Membership, bytes] | None = None
        """What is to be proposed as soon as all below it is chosen."""
        self._chosen_durably: dict[int, int] = {}
        """By member, up to where its disk knows what was chosen."""
        self.ballot = core.own
        self.leader = core.member.id
        self._accepted = Spans()
        self._beat = 0
        self._first = self._next = phase_1.first_open
        self._peers = Peers(core.configurations, self._begin, self._begin)
        self.liveness = Liveness(core.member)
        self.reads = ReadRounds(core.member)
        self._heartbeat_due = True
        self._shared: dict[tuple[int, int], tuple[Accept, int]] = {}
        """What was made in this turn, and its bytes: one object for all peers that need it."""
        self._opening: int | None = None
        """The first slot of its own; None: not before all that phase 1 finds."""
        self.reads.log_lease.begin(core.slots.in_memory(core.slots.last))
        self._go_on()

    def _begin(self) -> PeerProgress:
        core = self._core
        peer = PeerProgress(self._first, core.options.limits, resends=core.extensions.resend)
        peer.skip_to(core.slots.base)
        return peer

    def _go_on(self) -> None:
        """Propose what phase 1 found, up to a configuration; behind all of it the opening; then a change, if all below
        it is chosen."""
        if not self.may_propose():
            return
        found = self._phase_1.to_propose
        if self._opening is None and (last := max(found, default=0)) >= self._next:
            self.reads.log_lease.begin(found[last])
        self._propose_again(found)
        if self._has_open_configuration:
            return
        self._prepared = self._core.configurations.latest
        if self._opening is None:
            self._open()
        if self._change is not None and self.is_drained():
            change, self._change = self._change, None
            self._put_configuration(configuration(self._next, self.ballot, *change, birth=self.ballot))

    def may_propose(self) -> bool:
        """Is the last configuration chosen, and has a quorum of it promised this ballot?"""
        return not self._has_open_configuration and self._phase_1.has_won

    @property
    def is_overtaken(self) -> bool:
        """Is more chosen than was proposed in this ballot? Phase 1 sees to it that it is not, but for what lies above a
        configuration in which it is not complete: there an earlier leader may have gone on."""
        return self._core.slots.chosen >= self._next

    def is_drained(self) -> bool:
        """Is everything chosen that was proposed?"""
        return self._core.slots.chosen + 1 == self._next

    @property
    def _has_open_configuration(self) -> bool:
        return self._configuration > self._core.slots.chosen

    def _open(self) -> None:
        self._opening = self._next
        self.reads.log_lease.limbo = Limbo(self._next - 1, self.ballot)
        if self._core.options.extensions.noop_on_election:
            self._put([noop(self._next, self.ballot, birth=self.ballot)])

    def _put_configuration(self, entry: Entry) -> None:
        self._put([entry])
        self._configuration = entry.index
        self._proposed, _ = decode_configuration(entry.data)

    def _propose_again(self, found: Mapping[int, Entry]) -> None:
        """Section 3: what may have been chosen is proposed again, and the gaps between get no-ops."""
        for slot in range(self._next, max(found, default=self._core.slots.chosen) + 1):
            entry = found.get(slot)
            assert entry is not None or slot > self._core.slots.chosen, (
                f"phase 1 found nothing in slot {slot}, it is chosen"
            )
            if entry is None:
                self._fill_gap(slot)
            elif entry.kind is Kind.MEMBERSHIP:
                self._put_configuration(self._again(slot, entry))
                return
            else:
                self._put([self._again(slot, entry)])

    def _again(self, slot: int, found: Entry) -> Entry:
        """The same value, its birth with it."""
        return make_entry(slot, self.ballot, found.kind, found.proposal, found.data, birth=found.birth)

    def _fill_gap(self, slot: int) -> None:
        """Nothing can have been chosen in ``slot``, and nothing behind it can be delivered before something is."""
        self._put([noop(slot, self.ballot, birth=NO_ERA)])

    def _put(self, entries: Sequence[Entry]) -> None:
        self._core.put(entries)
        self._next = entries[-1].index + 1

    # ------------------------------------------------------------------------------------------------------ inputs

    def propose(self, proposals: Sequence[Proposal]) -> Taken:
        first = self._next
        self._put(commands(proposals, first, self.ballot, birth=self.ballot))
        return Taken(first)

    def add_noop(self, data: bytes = b"") -> Taken:
        """It opens nothing: so it is born in no ballot."""
        first = self._next
        self._put([noop(first, self.ballot, data, birth=NO_ERA)])
        return Taken(first)

    @property
    def takes_commands(self) -> bool:
        return self._change is None and self.phase_1 is None and not self._has_open_configuration

    @property
    def phase_1(self) -> Candidate | None:
        """What asks for promises, if some are wanted: a configuration is new."""
        return None if self._prepared is self._core.configurations.latest else self._phase_1

    def first_step(self, after: Membership) -> Membership:
        """No joint configuration: where the log stands still, each slot has one."""
        return after

    def configure(self, proposal: ProposalId | None, membership: Membership, context: bytes) -> Taken:
        self._change = (proposal, membership, context)
        taken = Taken(self._next)
        self._go_on()
        return taken

    @property
    def is_settled(self) -> bool:
        configurations = self._core.configurations
        return self.takes_commands and configurations.quorum_value(self._chosen_at) >= configurations.since

    def _chosen_at(self, member: int) -> int:
        return self._core.durable_chosen if member == self.leader else self._chosen_durably.get(member, 0)

    def on_phase_1(self) -> None:
        """Promises have come that were wanted."""
        self._go_on()

    def on_accepted(self, sender: int, message: Accepted) -> None:
        """An acceptor has accepted a range of slots in this ballot."""
        peer = self._hear(self.credited(sender))
        if peer is None:
            return
        if not 0 < message.first <= message.last < self._next:
            self._core.outbox.ignore("Accepted for slots that were not proposed")
            return
        peer.answered(message.first, message.last)
        self.advance_commit()

    def credited(self, sender: int) -> int:
        """A quorum is one of members: however often one of them answers, it is one."""
        return sender

    def on_heartbeat_answer(self, sender: int, message: HeartbeatAnswer) -> None:
        """A peer has promised nothing above this ballot."""
        if self._hear(sender) is not None and message.round <= self.reads.round:
            self.reads.on_answer(sender, message.round)
            self._chosen_durably[sender] = max(message.chosen, self._chosen_durably.get(sender, 0))

    def on_persisted(self, fresh: Sequence[tuple[int, Era]]) -> None:
        """The own disk has these (slot, ballot) from now on."""
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
        self.advance_commit()

    def on_session_change(self, member: int) -> None:
        """A session with a peer ended or began: what was under way is lost."""
        peer = self._peers.table.get(member)
        if peer is not None:
            peer.reset(peer.reach(self._first) + 1)
            if self.phase_1 is not None:
                self._phase_1.on_session(member)

    def on_fetched(self, purpose: ForAcceptor, fetched: Sequence[Entry]) -> None:
        """Old proposals of this ballot, to be sent once more."""
        peer = self._peers.table.get(purpose.member)
        if purpose.ballot != self.ballot or peer is None:
            return
        entries, size = self._core.slots.fit(fetched)
        if entries and peer.wanted(self._next - 1)[0] == entries[0].index:
            self._send_accept(purpose.member, peer, self._accept(entries), entries[0].index, size)

    def on_compacted(self, base: int) -> None:
        """What was chosen up to ``base`` is gone; who lacks it is told that it was chosen, and asks."""
        for peer in self._peers.table.values():
            peer.skip_to(base)

    def on_known(self, member: int, chosen: int) -> None:
        """A peer knows what was chosen up to there, in this ballot or a later one: what is not known here to be chosen
        is sent again until it is."""
        peer = self._hear(member)
        if peer is not None:
            peer.skip_to(min(chosen, self._core.slots.chosen))

    def on_heartbeat_due(self) -> None:
        """What was sent and not answered for long is sent again, and what was not learned asked for again."""
        self._heartbeat_due = True
        self._learner.ask()
        self._beat += 1
        if self.phase_1 is not None:
            self._phase_1.ask_again()
        for member, peer in self._peers.table.items():
            if self._core.options.links.is_clear(member):
                peer.beat(self._beat)

    def resign(self) -> None:
        """This leader leads no longer, and its peers need not wait to find out."""
        self.liveness.others_rest = False
        if (round_ := self.reads.lease.release()) is not None:
            self._core.member.send_to_peers(LeaseReleased(self.ballot, round_))
        self._core.member.send_to_peers(Resign(self.ballot, self.reads.round))

    # ------------------------------------------------------------------------------------------------------ chosen

    def advance_commit(self) -> None:
        """A value is chosen when a majority of the acceptors has accepted it (section 2.1); slot ranges at a time."""
        core = self._core
        if self.reads.log_lease.waits:
            return
        while (reach := self._quorum_reach(slot := self.first_open())) >= slot:
            core.choose_to(reach)

    def _quorum_reach(self, slot: int) -> int:
        return self._core.configurations.quorum_value(lambda member: self.accepted_by(member).reach(slot))

    def first_open(self) -> int:
        """The first slot that is not known to be chosen; nothing is delivered beyond it."""
        return self._core.slots.chosen + 1

    def accepted_by(self, member: int) -> Spans:
        """The slots that ``member`` has durably accepted in this ballot."""
        return self._accepted if member == self.leader else self._peers.table[member].accepted

    @property
    def serving(self) -> bool:
        """Has this member delivered everything that phase 1 found, and the opening?

        Without one, as in the textbook: is the former chosen, and a slot of this ballot's own?
        """
        core = self._core
        if core.options.extensions.noop_on_election:
            return core.fence.era == self.ballot
        return self._opening is not None and core.slots.chosen >= self._opening

    # ----------------------------------------------------------------------------------------------------- sending

    def flush(self) -> None:
        if self._change is not None or self.phase_1 is not None:
            self._ask_for_promises()
            self._go_on()
        proposed = self._proposed if self._has_open_configuration else None
        if self.reads.advance(serving=self.serving, commit=self._core.slots.chosen, proposed=proposed):
            self._heartbeat_due = True
        if self._heartbeat_due:
            self._heartbeat_due = False
            self._send_heartbeats()
        for member, peer in self._peers.table.items():
            self._send_proposals(member, peer)
            self._tell_chosen(member, peer)
        self._shared.clear()

    def _ask_for_promises(self) -> None:
        """Of those who joined, and once of all who were not needed so far: writes wait for them."""
        latest = self._core.configurations.latest
        if self.phase_1 is not None and self._asked_in is not latest:
            self._asked_in = latest
            if not self._phase_1.has_won:
                self._phase_1.ask_again()
        self._phase_1.ask_those_who_joined()

    def has_everything(self, member: int) -> bool:
        """All that was proposed is chosen, and the member has accepted it, and was told so."""
        core, peer = self._core, self._peers.table[member]
        last = self._next - 1
        return core.slots.chosen == last <= min(peer.reach(self._first), peer.chosen_told)

    def tell_to_campaign(self, member: int) -> None:
        if (round_ := self.reads.lease.release()) is not None:
            self._core.outbox.send(member, LeaseReleased(self.ballot, round_))
        self._core.outbox.send(member, TimeoutNow(self.ballot))

    def progress(self) -> dict[int, Progress]:
        first = self._core.slots.chosen + 1
        return {
            member: Progress(peer.reach(first), peer.next, "resend" if peer.resend else "send", peer.acknowledged)
            for member, peer in self._peers.table.items()
        }

    def sizes(self) -> Sizes:
        peers = self._peers.table
        return {
            "barriers": Size(len(self.reads)),
            **self.reads.log_lease.sizes(),
            "bytes of uncommitted entries": Size(self._core.slots.uncommitted_bytes),
            "peers": Size(len(peers), len(self._core.configurations.peers)),
            "messages in flight": Size(sum(len(peer.window) for peer in peers.values())),
            "ranges to send again": Size(sum(len(peer.resend) for peer in peers.values())),
            "ranges accepted": Size(
                len(self._accepted) + sum(len(peer.accepted) for peer in peers.values()), 1 + len(peers)
            ),
        }

    def _hear(self, sender: int) -> PeerProgress | None:
        peer = self._peers.table.get(sender)
        if peer is None:
            self._core.outbox.ignore("an answer from no peer of this leader")
        else:
            self.liveness.heard(sender)
            peer.heard = True
        return peer

    def _send_heartbeats(self) -> None:
        core = self._core
        rests = self.liveness.tell_whether_it_rests()
        for member, peer in self._peers.table.items():
            peer.chosen_told = self._tellable(peer)
            core.outbox.send(member, Heartbeat(self.ballot, peer.chosen_told, self.reads.round, rests))
        if not rests and (round_ := self.reads.lease.ask()) is not None:
            core.member.send_to_peers(AskLease(self.ballot, round_, core.options.lease_us))

    def _tellable(self, peer: PeerProgress) -> int:
        """The chosen prefix as far as the peer can have it by now: the rest of this ballot's slots is on its way to it,
        and it need not ask anybody. Without ``decided_after_accepted``, as far as a quorum has it in this ballot."""
        if self._core.extensions.decided_after_accepted:
            accepted = peer.reach(self._first)
        else:
            accepted = self._quorum_reach(max(self._first, self._core.slots.base + 1))
        return min(self._core.slots.chosen, accepted)

    def _tell_chosen(self, member: int, peer: PeerProgress) -> None:
        """Without an Accept on its way that says so, a peer would learn of it only from the next heartbeat."""
        chosen = self._tellable(peer)
        if chosen > peer.chosen_told:
            peer.chosen_told = chosen
            self._core.outbox.send(member, Decided(self.ballot, chosen))

    def _send_proposals(self, member: int, peer: PeerProgress) -> None:
        """First what was lost, then ahead of the answers, as far as window and memory reach."""
        while peer.window.has_room() and self._core.options.links.has_credit(member):
            first, end = peer.wanted(self._next - 1)
            if first > end:
                return
            made = self._shared.get((first, end))
            if made is None:
                entries, size = self._core.slots.message(first, end)
                if not entries:
                    self._core.outbox.fetch(self._core.slots.missing(first, end), ForAcceptor(self.ballot, member))
                    return
                made = self._shared[first, end] = self._accept(entries), size
            self._send_accept(member, peer, made[0], first, made[1])

    def _accept(self, entries: Sequence[Entry]) -> Accept:
        return Accept(self.ballot, self._core.slots.chosen, [entry.encoded for entry in entries])

    def _send_accept(self, member: int, peer: PeerProgress, message: Accept, first: int, size: int) -> None:
        last = first + len(message.entries) - 1
        peer.sent(first, last, size, self._beat)
        peer.chosen_told = max(peer.chosen_told, min(message.chosen, self._tellable(peer)))
        self._core.outbox.send(member, message)
