"""The contract's inputs and ``ready``, for every protocol.

Rules of this file:

1. An input moves time on, then reaches what it is for. What a paper says is in the ``Algorithm``, and nothing else is.
2. Only who leads takes proposals and read barriers. What cannot be done yet is refused here.
3. What is delivered is committed *and* durable here (rule 5 of the contract).
4. A snapshot is judged twice, when it is offered and when it is here whole: by then it may have come too late. The log
   changes in the latter turn, in one write with the new base; delivery goes on when the store is switched.
5. ``ready`` collects, and hands out the ticket of the write. It decides nothing that an input did not decide, but for
   what is done once a turn: the next step of a change of the configuration, and what is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from typing_extensions import override

from ratified.consensus import contract
from ratified.consensus.contract import (
    Base,
    Change,
    Durable,
    Entry,
    Era,
    Kind,
    Lead,
    Limbo,
    Membership,
    Options,
    Progress,
    Proposal,
    ProposalId,
    Ready,
    Refused,
    RefusedReason,
    Sizes,
    Status,
    Taken,
    Write,
)
from ratified.consensus.entry import memory_bytes
from ratified.consensus.replication.delivery import FOR_DELIVERY, Delivery, Source
from ratified.consensus.replication.liveness import Liveness
from ratified.consensus.replication.log_leases import LEASE_ENDS
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.proposals import encoded_bytes
from ratified.consensus.replication.reads import ReadRounds
from ratified.consensus.replication.reconfiguration import change_of, last_step
from ratified.consensus.replication.rest import Rest
from ratified.consensus.replication.transfer import Transfer, why_not


class Log(Source, Protocol):
    """A member's entries: a ``History``, or the slots of Paxos."""

    @property
    def base(self) -> int:
        """What is at or below is gone."""

    @property
    def last(self) -> int: ...

    @property
    def durable(self) -> int:
        """Everything up to here is durable here."""

    @property
    def commit(self) -> int:
        """Everything up to here is known to be committed."""

    @property
    def undurable_bytes(self) -> int:
        """What the entries that the disk does not have yet take in memory."""

    @property
    def uncommitted_bytes(self) -> int:
        """What the entries that are not known to be committed take in memory."""

    def limbo(self, index: int, limbo: Limbo) -> Sequence[Entry] | None:
        """The entries behind ``index`` that whoever said ``limbo`` has; None: they are not here, or not in memory."""

    def sizes(self) -> Sizes: ...


class Core(Protocol):
    """What a member is in every role."""

    @property
    def log(self) -> Log: ...

    @property
    def era(self) -> Era:
        """The present one, as it is reported."""


class Role(Protocol):
    """What a member is at present; its class names it."""

    @property
    def leader(self) -> int | None:
        """Who leads, as far as is known."""


class Leading(Role, Protocol):
    """The role of a member that leads, or is about to: ``leader`` is itself as soon as it does."""

    @property
    def liveness(self) -> Liveness: ...

    @property
    def reads(self) -> ReadRounds: ...

    @property
    def serving(self) -> bool:
        """Is something of this leader's own era committed?"""

    def on_heartbeat_due(self) -> None: ...

    @property
    def is_settled(self) -> bool:
        """Is the configuration in force for good, so that nobody who left it is needed any more?"""

    @property
    def takes_commands(self) -> bool:
        """Not while a change asks for the log to stand still (Paxos)."""

    def propose(self, proposals: Sequence[Proposal]) -> Taken | None:
        """Take all of them; None: this leader cannot number so many, and is to step down."""

    def first_step(self, after: Membership) -> Membership:
        """The configuration that comes first on the way to ``after``."""

    def configure(self, proposal: ProposalId | None, membership: Membership, context: bytes) -> Taken | None:
        """Take this configuration; None: as above."""

    def add_noop(self, data: bytes = b"") -> Taken | None:
        """Take an entry that nobody proposed; None: as above."""

    def advance_commit(self) -> None:
        """A lease was in the way of committing, and is over."""

    def flush(self) -> None:
        """The turn ends: decide what is sent."""

    def has_everything(self, member: int) -> bool:
        """Does ``member`` have all that this leader has, durably, and the commit index with it?"""

    def tell_to_campaign(self, member: int) -> None:
        """It is to be the next leader (dissertation, section 3.10, TimeoutNow)."""

    def progress(self) -> dict[int, Progress]: ...

    def sizes(self) -> Sizes: ...


class Algorithm(Protocol):
    """One protocol, as its paper has it. The present time is ``Member.now``."""

    @property
    def core(self) -> Core: ...

    @property
    def role(self) -> Role: ...

    @property
    def leading(self) -> Leading | None: ...

    @property
    def election_deadline(self) -> int | None:
        """While this member does not lead: when it tries to, or takes the next step of an election; None: never."""

    @property
    def rests(self) -> bool:
        """Does the leader rest that this member follows, and this member with it?"""

    def on_election_deadline(self) -> None: ...

    def step_down(self) -> None:
        """Lead no longer: no quorum answers, or the own disk does not, or there are no numbers left for proposals."""

    def on_message(self, sender: int, message: Any) -> None: ...

    def on_session(self, member: int, session: int | None) -> None: ...

    def on_persisted(self, ticket: int) -> None: ...

    def on_fetched(self, purpose: Hashable, entries: Sequence[Entry]) -> None: ...

    def on_compacted(self, base: Base) -> None:
        """What is at or below ``base.index``, which is applied here, goes from the log."""

    def on_snapshot_sent(self, peer: int, index: int, ok: bool) -> None:
        """``peer`` has the state at ``index``, or (not ``ok``) it could not be sent."""

    def takes_offers_of(self, sender: int) -> bool:
        """May it begin to send a snapshot? Not a leader whose era is over."""

    def refuses_snapshot(self, sender: int, base: Base) -> RefusedReason | None:
        """Why can the state at ``base``, which ``sender`` has, not be installed now? None: it can, and is lacking. A
        leader that sent it for nothing is told how far this member is."""

    def install(self, base: Base) -> None:
        """The snapshot is durable here: the log begins at ``base``, of which nothing is acknowledged yet."""

    def on_installed(self, sender: int, base: Base) -> None:
        """The store has what ``sender`` sent: from now on the log counts."""

    def on_delivery(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The log's next entries are delivered: as what?"""

    def campaign(self) -> None:
        """Try to lead; this member does not yet, and may."""

    def take_write(self) -> Write | None:
        """Everything that has changed since the last write; None: nothing."""

    def lost(self, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool: ...

    def words(self) -> dict[str, str]: ...

    def sizes(self) -> Sizes:
        """Beside those of ``core.log`` and ``leading``."""


A = TypeVar("A", bound=Algorithm)


class Engine(contract.Engine, Generic[A]):
    """One member's part in one group's consensus."""

    __slots__ = ("_algorithm", "_delivery", "_member", "_rest", "_transfer")

    def __init__(
        self, algorithm: Callable[[Member[Any], Durable], A], now: int, options: Options, durable: Durable
    ) -> None:
        self._member: Member[Any] = Member(now, options, durable)
        self._delivery = Delivery(durable.applied, options.limits, self._member.outbox)
        self._algorithm = algorithm(self._member, durable)
        self._rest = Rest(self._member)
        self._transfer: Transfer | None = None
        """The latest one; of an earlier leadership it is over."""

    # ------------------------------------------------------------------------------------------------------ inputs

    @override
    def tick(self, now: int) -> None:
        self._member.at(now)
        deadline = self.deadline
        if deadline is None or now < deadline:
            return
        leading, transfer = self._algorithm.leading, self._transfer
        if transfer is not None and now >= transfer.deadline:
            self._transfer = None
        if leading is not None and leading.reads.log_lease.may_end_wait():
            leading.advance_commit()
        if leading is None:
            self._algorithm.on_election_deadline()
        elif not leading.liveness.may_lead_on():
            self._algorithm.step_down()
        elif leading.liveness.heartbeat_is_due():
            if self._transfer is None:
                self._rest.on_heartbeat_due(leading)
            leading.on_heartbeat_due()

    @override
    def step(self, now: int, sender: int, message: Any) -> None:
        self._member.at(now)
        self._algorithm.on_message(sender, message)
        self._rest.wake(self._algorithm.leading)

    @override
    def peer(self, now: int, member: int, session: int | None) -> None:
        self._member.at(now)
        leading, sessions = self._algorithm.leading, self._member.sessions
        self._rest.asked(leading)  # before it is known that somebody is lost, whose silence counts from now on too
        if leading is not None:
            leading.liveness.session_changed(member)
        if self._transfer is not None and self._transfer.to == member:
            self._transfer = None
        self._algorithm.on_session(member, session)
        if session is None:
            sessions.pop(member, None)
        else:
            sessions[member] = session

    @override
    def propose(self, now: int, proposals: Sequence[Proposal]) -> Taken | Refused:
        assert proposals, "nothing was proposed"
        member, algorithm = self._member, self._algorithm
        member.at(now)
        leading, leader = algorithm.leading, algorithm.role.leader
        if leading is None or leader != member.id:
            return Refused(RefusedReason.NOT_LEADER, leader)
        if self._transfer is not None and self._transfer.era == algorithm.core.era:
            return Refused(RefusedReason.TRANSFERRING, leader)
        limits, log = member.options.limits, algorithm.core.log
        more = memory_bytes(encoded_bytes(proposals), len(proposals))
        for waiting, most in (
            (log.undurable_bytes, limits.undurable_bytes_max),
            (log.uncommitted_bytes, limits.uncommitted_bytes_max),
        ):
            if waiting and waiting + more > most:
                return Refused(RefusedReason.OVERLOADED, leader)
        self._rest.asked(leading)
        if Kind.MEMBERSHIP in [proposal.kind for proposal in proposals]:
            return self._propose_change(leading, proposals)
        if not leading.takes_commands:
            return Refused(RefusedReason.CHANGE_UNDER_WAY, leader)
        taken = self._taken(leading.propose(proposals))
        if isinstance(taken, Taken):
            leading.reads.log_lease.made(taken.first + len(proposals) - 1)
        return taken

    def _propose_change(self, leading: Leading, proposals: Sequence[Proposal]) -> Taken | Refused:
        """Rule 6."""
        proposal = proposals[0]
        change = change_of(proposal) if len(proposals) == 1 else RefusedReason.NOT_ALONE
        if not isinstance(change, RefusedReason):
            change = self.why_no_change(leading, change) or change
        if isinstance(change, RefusedReason):
            return Refused(change, leading.leader)
        return self._taken(leading.configure(proposal.id, leading.first_step(change.after), change.context))

    def why_no_change(self, leading: Leading, change: Change) -> RefusedReason | None:
        """What is in the way of it; None: nothing."""
        if not leading.serving:
            return RefusedReason.NOT_SERVING
        if not leading.is_settled:
            return RefusedReason.CHANGE_UNDER_WAY
        if change.before != self._member.configurations.latest:
            return RefusedReason.CONFIGURATION_CHANGED
        return None

    def _taken(self, taken: Taken | None) -> Taken | Refused:
        if taken is None:
            self._algorithm.step_down()
            return Refused(RefusedReason.NOT_LEADER, None)
        return taken

    def _go_on_with_change(self, leading: Leading) -> None:
        """Rule 6: the final configuration follows when the joint one is committed, and who is not in it hands over."""
        member = self._member
        configurations = member.configurations
        if leading.leader != member.id:
            return
        if configurations.latest.outgoing:
            if configurations.latest_is_committed:
                self._taken(leading.configure(None, last_step(configurations.latest), b""))
        elif not configurations.is_voter(member.id) and leading.is_settled:
            self._algorithm.step_down()

    @override
    def read_barrier(self, now: int, token: int, *, may_write: bool = True) -> None:
        self._member.at(now)
        leading = self._algorithm.leading
        if leading is None or leading.leader is None:
            self._member.outbox.answer_reads((token,), None)
        else:
            self._rest.asked(leading)
            leading.reads.ask(token)
            if leading.reads.log_lease.is_on and may_write:
                self._make_entry_to_read_by(leading)

    def _make_entry_to_read_by(self, leading: Leading) -> None:
        log, log_lease = self._algorithm.core.log, leading.reads.log_lease
        is_idle = leading.serving and log.commit == log.last and leading.takes_commands and self._transfer is None
        if log_lease.wants_entry(log.commit) and is_idle and not self._member.disk_is_full:
            taken = self._taken(leading.add_noop())
            if isinstance(taken, Taken):
                log_lease.made(taken.first)

    @override
    def disk_full(self, now: int, full: bool) -> None:
        self._member.at(now)
        self._member.disk_is_full = full
        self._rest.asked(self._algorithm.leading)

    @override
    def persisted(self, now: int, ticket: int) -> None:
        self._member.at(now)
        self._algorithm.on_persisted(ticket)

    @override
    def applied(self, now: int, index: int) -> bool:
        self._member.at(now)
        self._delivery.on_applied(index)
        return self._delivery.delivered < self.deliverable()

    @override
    def fetched(self, now: int, token: int, entries: Sequence[Entry]) -> None:
        self._member.at(now)
        purpose = self._member.outbox.take_purpose(token)
        if purpose == FOR_DELIVERY:
            self._delivery.on_fetched(entries)
        else:
            self._algorithm.on_fetched(purpose, entries)

    @override
    def compacted(self, now: int, index: int, era: Era) -> None:
        self._member.at(now)
        applied = self._delivery.applied
        assert index <= applied, f"entry {index} is to go, and what is applied ends at {applied}"
        if index > self._algorithm.core.log.base:
            membership = self._member.configurations.at(index)
            self._algorithm.on_compacted(Base(index, era, membership))

    @override
    def snapshot_sent(self, now: int, peer: int, index: int, ok: bool) -> None:
        self._member.at(now)
        self._member.snapshots.sent(peer, now, ok)
        self._algorithm.on_snapshot_sent(peer, index, ok)

    @override
    def snapshot_offered(self, now: int, sender: int, base: Base) -> Refused | None:
        self._member.at(now)
        if not self._algorithm.takes_offers_of(sender):
            return Refused(RefusedReason.NOT_LEADER, self._algorithm.role.leader)
        return self._refusal(sender, base)

    @override
    def snapshot_received(self, now: int, sender: int, base: Base) -> Refused | None:
        member = self._member
        member.at(now)
        refused = self._refusal(sender, base)
        if refused is None:
            member.snapshots.installing, member.snapshots.sender = base, sender
            self._delivery.is_held = True
            self._algorithm.install(base)
            member.outbox.install(base)
        return refused

    def _refusal(self, sender: int, base: Base) -> Refused | None:
        if self._member.snapshots.installing is not None:
            reason: RefusedReason | None = RefusedReason.INSTALLING
        else:
            reason = self._algorithm.refuses_snapshot(sender, base)
        return None if reason is None else Refused(reason, self._algorithm.role.leader)

    @override
    def installed(self, now: int, base: Base) -> None:
        snapshots = self._member.snapshots
        self._member.at(now)
        assert base == snapshots.installing, f"{base} is installed, and {snapshots.installing} was to be"
        snapshots.installing = None
        self._delivery.installed(base.index)
        self._algorithm.on_installed(snapshots.sender, base)

    @override
    def membership_at(self, index: int) -> Membership:
        return self._member.configurations.at(index)

    @override
    def campaign(self, now: int) -> None:
        member = self._member
        member.at(now)
        may_campaign = member.configurations.may_campaign and member.snapshots.installing is None
        if may_campaign and not member.is_bound and self._algorithm.leading is None:
            self._algorithm.campaign()

    @override
    def transfer_leadership(self, now: int, to: int) -> Refused | None:
        member, algorithm = self._member, self._algorithm
        member.at(now)
        leading, leader, era = algorithm.leading, algorithm.role.leader, algorithm.core.era
        if leading is None or leader != member.id:
            return Refused(RefusedReason.NOT_LEADER, leader)
        if self._transfer is not None and self._transfer.era == era:
            return Refused(RefusedReason.TRANSFERRING, leader)
        self._rest.asked(leading)
        reason = why_not(member, leading.liveness, to)
        if reason is not None:
            return Refused(reason, leader)
        self._transfer = Transfer(era, to, now + member.options.election_timeout_max_us)
        return None

    def _hand_over(self, leading: Leading, transfer: Transfer) -> None:
        if transfer.era != self._algorithm.core.era or not self._member.configurations.is_voter(transfer.to):
            self._transfer = None
        elif not transfer.is_told and leading.has_everything(transfer.to):
            if self._ends_log_lease(leading):
                return
            transfer.is_told = True
            leading.tell_to_campaign(transfer.to)

    def _ends_log_lease(self, leading: Leading) -> bool:
        """Is an entry on its way that spares the successor the wait? All that was proposed is committed: on Paxos it
        would say nothing above a slot that another leader may fill."""
        log_lease, log = leading.reads.log_lease, self._algorithm.core.log
        if not log_lease.may_end(log.commit) or self._member.disk_is_full or not leading.takes_commands:
            return False
        taken = self._taken(leading.add_noop(LEASE_ENDS))
        if isinstance(taken, Taken):
            log_lease.end(taken.first)
        return True

    # ------------------------------------------------------------------------------------------------------- ready

    @override
    def ready(self) -> Ready | None:
        member, algorithm = self._member, self._algorithm
        if (leading := algorithm.leading) is not None:
            self._go_on_with_change(leading)
        leading = algorithm.leading
        if leading is None:
            self._transfer = None
        else:
            leading.flush()
            if self._transfer is not None:
                self._hand_over(leading, self._transfer)
        write = algorithm.take_write()
        return member.outbox.take(
            write=write,
            after=member.writes.issued,
            deliver=algorithm.on_delivery(self._delivery.take(algorithm.core.log, self.deliverable())),
            lead=Lead(algorithm.role.leader, algorithm.core.era, leading is not None and leading.serving),
            membership=member.configurations.latest,
        )

    def deliverable(self) -> int:
        """Rule 5: what is committed and durable; else the store could be ahead of its own log."""
        log = self._algorithm.core.log
        return min(log.commit, log.durable)

    # ----------------------------------------------------------------------------------------------------- read only

    @property
    @override
    def deadline(self) -> int | None:
        leading, transfer = self._algorithm.leading, self._transfer
        if leading is None:
            return self._algorithm.election_deadline
        deadline = leading.liveness.deadline
        if leading.reads.log_lease.waits_until is not None:
            deadline = _earlier(deadline, leading.reads.log_lease.waits_until)
        return deadline if transfer is None else _earlier(deadline, transfer.deadline)

    @property
    @override
    def leading(self) -> Era | None:
        algorithm = self._algorithm
        return algorithm.core.era if algorithm.role.leader == self._member.id else None

    @override
    def limbo(self, index: int, limbo: Limbo) -> Sequence[Entry] | None:
        return self._algorithm.core.log.limbo(index, limbo)

    @override
    def status(self) -> Status:
        member, algorithm = self._member, self._algorithm
        log, leading, era = algorithm.core.log, algorithm.leading, algorithm.core.era
        ignored = {f"ignored: {why}": str(count) for why, count in member.outbox.ignored.items()}
        return Status(
            member=member.id,
            role=type(algorithm.role).__name__.lower(),
            era=era,
            raft_term=era[0],
            leader=algorithm.role.leader,
            serving=leading is not None and leading.serving,
            base=log.base,
            last=log.last,
            durable=log.durable,
            commit=log.commit,
            applied=self._delivery.applied,
            membership=member.configurations.latest,
            settled=leading is not None and leading.is_settled,
            rests=algorithm.rests if leading is None else leading.liveness.rests or self.deadline is None,
            progress={} if leading is None else leading.progress(),
            words={**algorithm.words(), **ignored},
        )

    @override
    def sizes(self) -> Sizes:
        member, algorithm = self._member, self._algorithm
        leading = algorithm.leading
        return {
            **member.outbox.sizes(),
            **member.writes.sizes(),
            **self._delivery.sizes(),
            **algorithm.core.log.sizes(),
            **({} if leading is None else leading.sizes()),
            **algorithm.sizes(),
        }

    @override
    def lost(self, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        return self._algorithm.lost(era, index, delivered)


def _earlier(deadline: int | None, other: int) -> int:
    return other if deadline is None else min(deadline, other)
