"""The contract between a consensus engine and everything that drives one.

`docs/contract.md` has the rules, by the numbers that this package cites. In short:

- Inputs (``propose``, ``step``, ``tick``, ``persisted``, ...) change the engine; ``ready()`` drains what must leave
  it, once per turn. Safety never depends on where turns are cut (rule 1).
- What claims something about the sender's own durable state leaves in ``Ready.send_after``; the caller releases it
  when that Ready's ticket is durable (rule 3).
- ``Ready.deliver`` holds only entries that are committed and durable here (rule 5).
- Outside an engine an era is opaque: it is compared, never computed with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum, StrEnum
from typing import Annotated, Any, NamedTuple, Protocol, TypeAlias

import msgspec

U64: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
"""An unsigned number in a message: a decoder refuses what is negative (msgpack itself ends at 2^64 - 1)."""

Era: TypeAlias = tuple[U64, U64]
"""An ordered pair of u64: Raft (term, 0), Paxos (round, proposer), ZAB (epoch, 0)."""

NO_ERA: Era = (0, 0)
U64_MAX = 2**64 - 1


class Kind(IntEnum):
    COMMAND = 0
    NOOP = 1
    MEMBERSHIP = 2
    NODE = 3
    """The node's own: to an engine a command like any other, and no store sees it."""


class ProposalId(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Names one proposal, once and for ever: ``incarnation`` counts the starts of the node ``origin``, from 1."""

    origin: U64
    incarnation: U64
    sequence: U64


class Proposal(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is on its way into the log: a command, an entry of the node's own, or a change of the
    configuration.

    ``data`` of a MEMBERSHIP proposal is a ``Change``, as ``entry.encode_change`` writes it; such a proposal is proposed
    alone.
    """

    id: ProposalId
    data: bytes
    kind: Kind = Kind.COMMAND


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One position of the delivered sequence.

    ``era`` of what is delivered never decreases. On Paxos it is the *fence* (rule 13): the log's entry, whose encoding
    is kept, was accepted in some ballot, and may be a command that is void and delivered as a no-op.

    ``encoded`` is the entry's one encoding (``consensus.entry``), made where the entry is made and carried along,
    so that log and peers share it. Build entries with ``entry.make_entry`` and ``entry.decode_entry`` only.
    """

    index: int
    era: Era
    kind: Kind
    proposal: ProposalId | None
    data: bytes
    encoded: bytes
    birth: Era | None = None
    """The era in which the value was first proposed, where a later one may propose it again (Paxos, rule 13)."""


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """A whole configuration: member ids by role, each ascending; ``outgoing`` are the old voters while joint."""

    voters: tuple[int, ...]
    outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    apply_version: int = 1


class Change(msgspec.Struct, frozen=True):
    """What a MEMBERSHIP proposal asks for: that ``after`` holds in place of ``before``.

    A leader whose configuration is not ``before`` refuses: somebody else has changed it. ``context`` is the caller's
    own (names, addresses): it travels in the entry that has the proposal's id, beside the configuration
    (``entry.decode_configuration``).
    """

    before: Membership
    after: Membership
    context: bytes = b""


class Base(msgspec.Struct, frozen=True):
    """Where a group's log begins: what is at or below ``index`` is gone from it.

    It says what a snapshot is of, too: the state with exactly the entries up to ``index`` applied. ``era`` is that with
    which the entry there was delivered (on Paxos the fence, which nothing else implies).
    """

    index: int
    era: Era
    membership: Membership
    snapshot: int = 0
    """Names the snapshot that holds the state, chosen by whoever sent it; 0: none, this member's own store has it."""


# ---------------------------------------------------------------------------------------------------------------
# Records: what an engine asks the log to remember


class StateRecord(msgspec.Struct, frozen=True, gc=False):
    """The engine's own small state (Raft: term and vote), in the engine's own encoding; the latest one counts."""

    data: bytes


class TruncateRecord(msgspec.Struct, frozen=True, gc=False):
    """Entries with an index >= ``first`` are gone."""

    first: int


class BaseRecord(msgspec.Struct, frozen=True):
    """What is at or below ``base.index`` is gone."""

    base: Base


Record: TypeAlias = StateRecord | Entry | TruncateRecord | BaseRecord
"""An ``Entry`` as a record replaces that index alone."""


class Run(NamedTuple):
    """The entries ``first`` to ``last``, both included, are of ``era``."""

    first: int
    last: int
    era: Era


class Durable(msgspec.Struct, frozen=True):
    """What a group's log held at start: all that an engine may know of its past.

    ``state`` is b"" where none was ever written. ``runs`` cover what the log holds above the base, ascending.
    ``tail`` is some suffix of the entries (perhaps all, perhaps none); ``memberships`` are all MEMBERSHIP entries
    above the base. ``applied`` is the store's applied index, from which delivery goes on, and ``applied_era`` the era
    with which that entry was delivered, of the same transaction: on Paxos nothing else says it (rule 13).
    """

    state: bytes
    base: Base
    runs: Sequence[Run] = ()
    tail: Sequence[Entry] = ()
    memberships: Sequence[Entry] = ()
    applied: int = 0
    applied_era: Era = NO_ERA


# ---------------------------------------------------------------------------------------------------------------
# Options


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's limits. Each admits at least one item, however small it is set."""

    entries_per_message_max: int = 4096
    bytes_per_message_max: int = 1 << 20
    inflight_messages_first: int = 1
    """How many of those below may be under way at first, where one that overtakes another ends them all (ZAB)."""
    inflight_messages_max: int = 64
    """Messages with entries under way to one peer before its answers are awaited."""
    inflight_bytes_max: int = 8 << 20
    """Bytes of entries in those messages; well below what a peer's queue holds, or catching up would overflow it."""
    deliver_bytes_max: int = 1 << 20
    """Bytes of entries delivered and not yet reported by ``applied``."""
    deliver_entries_max: int = 512
    """How many entries that may be: applying them is most of a turn."""
    tail_bytes_max: int = 16 << 20
    """Bytes in memory of durable entries that are kept there; older ones come back through ``fetch``."""
    undurable_bytes_max: int = 64 << 20
    """Bytes in memory of entries not yet durable here; beyond it ``propose`` refuses."""
    uncommitted_bytes_max: int = 64 << 20
    """Bytes in memory of entries not yet committed; beyond it ``propose`` refuses: the others' disks may hang."""
    gap_entries_max: int = 1 << 16
    """How far above the last entry one may be written, on engines that write out of order; 1: next to it."""
    barriers_max: int = 100_000
    """Read barriers waiting in this engine; beyond it a further one is answered with None at once."""


class Links(Protocol):
    """What an engine asks about the way to a peer, before it makes what carries entries."""

    def has_credit(self, member: int) -> bool:
        """May such a message be made now? If not, ``ready`` is called again when it may."""

    def is_clear(self, member: int) -> bool:
        """Has all that was made for this member arrived, or else got lost? Then sending again makes sense."""


class UnlimitedLinks:
    def has_credit(self, member: int) -> bool:
        return True

    def is_clear(self, member: int) -> bool:
        return True


ElectionDeadline: TypeAlias = Callable[[int, Era], int]
"""``(now, era) -> deadline``, microseconds in and out; asked at start and at each reset of the election timer."""


class Extensions(msgspec.Struct, frozen=True, kw_only=True):
    """What production engines do beyond their papers' figures, each where its protocol has room for it. All off is the
    textbook.

    Here stands what the parts that engines share do, and what more than one protocol lacks. What a single protocol's
    engine adds is switched in its own package (``RaftExtensions``, ``PaxosExtensions``), and is known there only.
    """

    noop_on_election: bool = True
    """A leader begins its era with a no-op: on Paxos the opening, without which there is no fence (rule 13)."""
    separate_heartbeats: bool = True
    """A heartbeat is a message of its own, whose answer does not wait for the disk (Raft); it is answered (Paxos)."""
    keep_election_deadline: bool = True
    """Adopting a later term or ballot does not restart the election timer (rule 11)."""
    step_down_on_slow_disk: bool = True
    """A leader whose oldest write has waited a whole election timeout stops leading (rule 11)."""
    check_quorum: bool = True
    """A leader that hears from no quorum for the shortest election timeout stops leading."""
    suspicion: bool = True
    """A member asks whether it would be elected before it stands, and asks at once when the session with its leader
    ends; a leader that stops leading by itself says so (rule 14). Without it a member stands at its deadline."""
    quiescence: bool = False
    """A group in which nothing happens rests until something does: nobody keeps time (rule 11). For callers that end
    the session with whoever is silent, as nodes do; needs suspicion, and heartbeats of their own."""


class LeaseKind(StrEnum):
    """What lets a leader read without asking (rule 9)."""

    CLOCK = "clock"
    """Members promise it to elect nobody else."""
    LOG = "log"
    """Whoever is elected next commits nothing for a while."""


CLOCK_DRIFT_PPM_MAX = 100_000
"""Beside what a quartz does, what a time daemon does to a clock: chrony slews by up to 83,333 unless told otherwise."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How one engine runs: own id, seed of its draws, timers (microseconds), limits, extensions."""

    member: int
    seed: int
    election_deadline: ElectionDeadline
    election_timeout_max_us: int
    """The longest election timeout that ``election_deadline`` gives, as a duration."""
    election_timeout_min_us: int
    """The shortest one: a leader of whom nothing was heard for so long is no longer heard (rule 14)."""
    heartbeat_us: int
    lease_us: int = 0
    """For how long members promise their leader to elect nobody else (rule 9); 0: reads ask a quorum each time.

    No longer than the shortest election timeout, and the same on all members: none grants a longer one than its own.
    """
    log_lease_us: int = 0
    """For how long an entry lets the leader that made it read alone, and whoever is elected next commits nothing (rule
    9); 0: reads ask a quorum each time. The same on all members, for nobody asks the others; and not beside
    ``lease_us``."""
    clock_drift_ppm_max: int = CLOCK_DRIFT_PPM_MAX
    """By how much a member's clock may be fast or slow against true time, in millionths."""
    limits: Limits = Limits()
    extensions: Extensions = Extensions()
    links: Links = UnlimitedLinks()

    def __post_init__(self) -> None:
        if not 0 <= self.lease_us <= self.election_timeout_min_us:
            raise ValueError(
                f"a lease of {self.lease_us} µs; at most the shortest election timeout, {self.election_timeout_min_us}"
            )
        if self.lease_us and not (self.extensions.suspicion and self.extensions.separate_heartbeats):
            raise ValueError("leases need the extensions suspicion and separate_heartbeats")
        if self.log_lease_us and self.lease_us:
            raise ValueError("reads under clock leases and under log leases: one of the two")
        if not 0 <= self.log_lease_us <= self.election_timeout_min_us:
            raise ValueError(
                f"a log lease of {self.log_lease_us} µs; "
                f"at most the shortest election timeout, {self.election_timeout_min_us}"
            )
        if not 0 <= self.clock_drift_ppm_max < 1_000_000:
            raise ValueError(
                f"a clock's drift of {self.clock_drift_ppm_max} millionths; it must be less than a million"
            )

    def textbook(self) -> Options:
        """Without limits, and without extensions: for the engine that a row of the table calls ``textbook``."""
        no_limit = 2**62
        limits = Limits(**dict.fromkeys(Limits.__struct_fields__, no_limit))
        extensions = Extensions(**dict.fromkeys(Extensions.__struct_fields__, False))
        return msgspec.structs.replace(self, lease_us=0, log_lease_us=0, limits=limits, extensions=extensions)


# ---------------------------------------------------------------------------------------------------------------
# Answers


class RefusedReason(StrEnum):
    """Why an engine did not take something. Nothing of what was refused has happened."""

    NOT_LEADER = "not the leader"
    OVERLOADED = "too many bytes wait for the disk, or for a quorum"
    CHANGE_UNDER_WAY = "a change of the members is under way"
    """Of a further change; on Paxos also of commands, which wait until the change is over (rule 6)."""
    NOT_SERVING = "nothing of the leader's own era is committed yet"
    """So no change can begin (rule 6)."""
    CONFIGURATION_CHANGED = "the configuration is not the one that the change starts from"
    NOT_ALONE = "a change of the members is proposed alone"
    NO_VOTER = "the configuration would have no voter"
    UNFIT_CONFIGURATION = "this is no configuration that can be asked for"
    UNSUPPORTED = "this protocol has no such thing"
    TRANSFERRING = "the lead is on its way to another member"
    """What was proposed may be proposed again: the transfer ends within an election timeout."""
    LEADS_ALREADY = "it leads already"
    UNKNOWN_MEMBER = "no member has this id"
    LEARNER = "a learner cannot lead"
    UNREACHABLE = "nothing was heard from it for an election timeout"
    NOT_NEEDED = "everything up to there is known to be committed here"
    INSTALLING = "another snapshot is being installed"


class Taken(msgspec.Struct, frozen=True, gc=False):
    """The proposals have the indexes ``first``, ``first + 1``, ... in the engine's present era."""

    first: int


class Refused(msgspec.Struct, frozen=True, gc=False):
    """None of the proposals was taken; ``leader`` is who may take them, if known."""

    reason: RefusedReason
    leader: int | None


class Lead(msgspec.Struct, frozen=True, gc=False):
    """Who leads, as far as this engine knows. ``serving`` is about oneself: committed in the own era."""

    member: int | None
    era: Era
    serving: bool


class Progress(msgspec.Struct, frozen=True, gc=False):
    """How far a peer is, as its leader sees it."""

    match: int
    next: int
    state: str
    acknowledged: int
    """The highest index that it has acknowledged to this leader, or at least this much: a later log of it ends there or
    behind, unless it has taken part in a later era."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """For metrics and people, and for what a node asks for, or refuses to ask for. What is committed never depends on
    it; that a member may leave the cluster does, by ``settled``."""

    member: int
    role: str
    era: Era
    raft_term: int
    """The era as the one u64 that etcd's ``raft_term`` fields have room for."""
    leader: int | None
    serving: bool
    base: int
    """What is at or below is gone from the log."""
    last: int
    durable: int
    commit: int
    applied: int
    membership: Membership
    settled: bool
    """This member leads, and ``membership`` is in force for good: no other change is under way, and members that it has
    left out are not needed any more."""
    rests: bool
    """Nothing happens, and this member keeps no time (rule 11)."""
    progress: dict[int, Progress]
    words: dict[str, str]
    """The protocol's own words, such as ``{"term": "7"}``, for tables that people read."""


class Size(NamedTuple):
    """How much a table holds, and the most that it may hold at rest: when nothing is asked for, and nobody stands."""

    holds: int
    at_rest_max: int = 0


Sizes: TypeAlias = dict[str, Size]
"""By the table's name."""


# ---------------------------------------------------------------------------------------------------------------
# Ready


class Write(msgspec.Struct, frozen=True):
    """Records for the log, as one unit; durable in ticket order (rule 2)."""

    ticket: int
    records: Sequence[Record]


class Send(msgspec.Struct, frozen=True, gc=False):
    """A message to a peer; ``message`` is of the protocol's own tagged union."""

    to: int
    message: Any


class Limbo(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Entries that a new leader has, and of which it does not say whether they are committed: those behind the index
    of the answer that this comes with, up to ``last``, which is of ``era`` in the logs that are meant."""

    last: U64
    era: Era


class ReadIndex(msgspec.Struct, frozen=True, gc=False):
    """A barrier's answer: serve when applied >= ``index``; None: not confirmed, ask again or fail.

    With ``limbo`` only what none of its entries touches may be served (``Engine.limbo``); the rest asks again.
    """

    token: int
    index: int | None
    limbo: Limbo | None = None


class Fetch(msgspec.Struct, frozen=True, gc=False):
    """Entries ``first`` to ``last`` are needed and no longer in memory.

    The caller answers with ``fetched(token, entries)``: a prefix of the range, at least one entry, perhaps fewer
    than asked for.
    """

    token: int
    first: int
    last: int


class SnapshotTo(msgspec.Struct, frozen=True, gc=False):
    """``member`` lacks what is gone from the log here: send it a snapshot of a state that is applied here, ``index`` at
    the least.

    The caller answers each with one ``snapshot_sent``, whatever becomes of the session; until then none is asked for.
    """

    member: int
    index: int


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What must leave an engine after one turn's inputs.

    ``after`` is the ticket that ``send_after`` waits for: this Ready's write, or without one the last ticket issued
    (0: nothing was ever written, so it waits for nothing).

    ``install`` is the base in this Ready's write. When that is durable the caller ends as unknown what is open of the
    group's proposals (rule 7), switches the store to the snapshot's state, and feeds ``installed``; until then nothing
    is delivered. A start from a log whose base is ahead of the store switches first.
    """

    write: Write | None = None
    send: Sequence[Send] = ()
    send_after: Sequence[Send] = ()
    after: int = 0
    deliver: Sequence[Entry] = ()
    reads: Sequence[ReadIndex] = ()
    membership: Membership | None = None
    leader: Lead | None = None
    fetch: Sequence[Fetch] = ()
    snapshot_to: Sequence[SnapshotTo] = ()
    install: Base | None = None


class Engine(Protocol):
    """One member's part in one group's consensus. Every method takes the turn's ``now`` in microseconds."""

    def __init__(self, now: int, options: Options, durable: Durable) -> None: ...

    @property
    def deadline(self) -> int | None:
        """When to ``tick`` next; None: there is no timer at all."""

    @property
    def leading(self) -> Era | None:
        """The era in which this engine leads at this moment, so that ``propose`` would take; None: it does not lead."""

    def tick(self, now: int) -> None:
        """The last reported deadline has passed; an early tick does nothing."""

    def step(self, now: int, sender: int, message: Any) -> None:
        """A message from ``sender``'s current session."""

    def peer(self, now: int, member: int, session: int | None) -> None:
        """A session with ``member`` was opened (its number), or lost (None)."""

    def propose(self, now: int, proposals: Sequence[Proposal]) -> Taken | Refused:
        """Take all of them, in order, or none; never forwards. A MEMBERSHIP proposal comes alone."""

    def read_barrier(self, now: int, token: int, *, may_write: bool = True) -> None:
        """Ask for an index to read at; the answer comes in ``Ready.reads`` under the same token. ``may_write``: is
        there room for an entry that lets later reads ask nobody (log leases)?"""

    def disk_full(self, now: int, full: bool) -> None:
        """There is no room for what is proposed, or there is again. A leader then gives the lead away, if others can
        lead."""

    def persisted(self, now: int, ticket: int) -> None:
        """This write and all earlier ones of the group are durable."""

    def applied(self, now: int, index: int) -> bool:
        """The store has everything up to ``index``. True: there is more to deliver."""

    def fetched(self, now: int, token: int, entries: Sequence[Entry]) -> None: ...

    def compacted(self, now: int, index: int, era: Era) -> None:
        """What is at or below ``index`` goes from the log; whoever turns out to lack it is sent a snapshot.

        ``index`` is applied here, in a durable checkpoint; ``era`` is that with which the entry there was delivered.
        """

    def snapshot_sent(self, now: int, peer: int, index: int, ok: bool) -> None:
        """What ``Ready.snapshot_to`` asked for is over. ``ok``: ``peer`` has installed the state at ``index``, or does
        not need it; else it may be asked for again, a heartbeat later."""

    def snapshot_offered(self, now: int, sender: int, base: Base) -> Refused | None:
        """``sender`` begins to send the state at ``base``; None: it is wanted, so receive it."""

    def snapshot_received(self, now: int, sender: int, base: Base) -> Refused | None:
        """All of it is durable here; None: the next Ready installs it. Refused: it came too late and can go."""

    def installed(self, now: int, base: Base) -> None:
        """The base is durable, the store is the snapshot's: delivery goes on behind ``base.index``."""

    def membership_at(self, index: int) -> Membership:
        """The configuration in force at ``index``, from the log's base on: what a snapshot of that state says."""

    def limbo(self, index: int, limbo: Limbo) -> Sequence[Entry] | None:
        """The entries of ``limbo`` behind ``index``, which was answered with it, here or by the leader; None: this
        member does not have the same, or not in memory."""

    def campaign(self, now: int) -> None: ...

    def transfer_leadership(self, now: int, to: int) -> Refused | None:
        """Hand the lead to ``to``; None: it is under way.

        It has succeeded when ``to`` is reported as the leader, and failed when the longest election timeout has passed;
        until then ``propose`` refuses.
        """

    def ready(self) -> Ready | None:
        """Drain what must leave, once per turn; None: nothing."""

    def status(self) -> Status:
        """What this engine knows, for metrics and people."""

    def sizes(self) -> Sizes:
        """Of everything that grows with the load or with what goes wrong."""

    def lost(self, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        """Can a proposal addressed to ``era`` (taken at ``index``, if known) never be delivered any more?

        ``delivered`` is index and era of the last entry that was delivered here; the proposal was not among them.
        """
