"""What a member is on every engine and in every role: its id, time, options, configurations, writes and outbox."""

from __future__ import annotations

from typing import Any, Generic

from ratified.consensus.contract import Durable, Era, Options
from ratified.consensus.membership import Configurations
from ratified.consensus.replication.grants import Grants
from ratified.consensus.replication.outbox import Outbox
from ratified.consensus.replication.snapshots import Snapshots
from ratified.consensus.replication.writes import Claim, Writes


class Member(Generic[Claim]):
    """``Claim`` is what one of its writes claims beside entries."""

    __slots__ = (
        "configurations",
        "disk_is_full",
        "grants",
        "id",
        "now",
        "options",
        "outbox",
        "received_at",
        "sessions",
        "snapshots",
        "writes",
    )

    def __init__(self, now: int, options: Options, durable: Durable) -> None:
        self.id = options.member
        self.now = now
        """When the present input arrived (microseconds)."""
        self.options = options
        self.configurations = Configurations(options.member, durable.base)
        self.writes: Writes[Claim] = Writes()
        self.outbox = Outbox()
        self.snapshots = Snapshots()
        self.grants = Grants(now, options)
        self.received_at = now if durable.base.index or durable.runs else None
        """When something came to the log last; None: nothing ever did."""
        self.sessions: dict[int, int] = {}
        """The sessions there are, by member."""
        self.disk_is_full = False
        """There is no room for what is proposed."""

    def at(self, now: int) -> None:
        """An input arrives at ``now`` (rule 1 of the contract: time never decreases)."""
        assert now >= self.now, f"time went from {self.now} back to {now}"
        self.now = now

    def receive(self) -> None:
        """Something comes to the log, whoever made it (``log_leases``)."""
        self.received_at = self.now

    def election_deadline(self, era: Era) -> int:
        """When an election that begins now, in ``era``, is overdue (rule 11 of the contract)."""
        return self.options.election_deadline(self.now, era)

    def campaign_deadline(self, era: Era) -> int | None:
        """The same, where this member would stand by itself; None: it may not."""
        return self.election_deadline(era) if self.configurations.may_campaign else None

    def send_to_peers(self, message: Any) -> None:
        """The same message to all peers, at once."""
        for peer in self.configurations.peers:
            self.outbox.send(peer, message)

    def send_snapshot(self, peer: int, index: int) -> bool:
        """``peer`` lacks what is at or below ``index``, which is applied here and gone from the log. Is a snapshot on
        its way to it by now?"""
        snapshots = self.snapshots
        if snapshots.may_send(peer, self.now, self.options.heartbeat_us):
            snapshots.sends(peer)
            self.outbox.send_snapshot(peer, index)
        return snapshots.is_under_way(peer)

    @property
    def may_rest(self) -> bool:
        """Does its caller end the session with whoever is silent, and does it ask before it stands?"""
        extensions = self.options.extensions
        return extensions.quiescence and extensions.suspicion and extensions.separate_heartbeats

    @property
    def may_stand(self) -> bool:
        """Does its disk answer, and is its store where its log begins?"""
        return not self.disk_is_slow and self.snapshots.installing is None

    @property
    def is_bound(self) -> bool:
        """Must it not stand, nor say that it would vote, for it has granted a lease (rule 9 of the contract)?"""
        return self.grants.bind(self.now)

    def bars(self, candidate: int) -> bool:
        """Must it not vote for ``candidate``?"""
        return self.grants.bar(self.now, candidate)

    def grant(self, leader: int, era: Era, round_: int, lease_us: int) -> bool:
        """A lease, to the leader of ``era``; False: it asks for too long a one."""
        granted = self.grants.grant(self.now, leader, era, round_, lease_us)
        if not granted:
            self.outbox.ignore("a longer lease is asked for than this member grants")
        return granted

    def release(self, era: Era, round_: int) -> bool:
        """The leader of ``era`` counts on no grant of a round up to ``round_``; True: so this member is bound no
        longer."""
        was_bound = self.is_bound
        self.grants.release(self.now, era, round_)
        return was_bound and not self.is_bound

    @property
    def disk_deadline(self) -> int | None:
        """When the oldest write will have waited a whole election timeout; None: nothing waits, or nobody asks."""
        since = self.writes.waiting_since
        if since is None or not self.options.extensions.step_down_on_slow_disk:
            return None
        return since + self.options.election_timeout_max_us

    @property
    def disk_is_slow(self) -> bool:
        """Has the oldest write waited that long?"""
        deadline = self.disk_deadline
        return deadline is not None and self.now >= deadline

    @property
    def may_be_handed_the_lead(self) -> bool:
        """Would it be of use as a leader?"""
        return self.configurations.may_campaign and not self.disk_is_poor and not self.is_bound

    @property
    def disk_is_poor(self) -> bool:
        """Should somebody else lead, if anybody can?"""
        return self.disk_is_slow or self.disk_is_full
