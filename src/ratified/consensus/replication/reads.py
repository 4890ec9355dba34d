"""Linearizable reads without an entry of their own, in batches (rule 8 of the contract; Ongaro's dissertation, 6.4).

A *round* has a number. It begins by taking the leader's commit index and asking all peers whether it still leads; every
barrier that waited when it began is answered when a quorum has answered a message that carried this number or a later
one. One round is under way at a time; what arrives meanwhile waits for the next one, whatever its number.

Each leadership counts its rounds from 1. Whoever answers in another era than the question's says ``NO_ROUND``: who
asked may lead that era too by the time of the answer, and would take it for one to a round of its present count.

What a peer's answer means is each protocol's own: in Raft that it knows no later term, in Paxos that it has promised
nothing above the ballot, in ZAB that it has accepted no later epoch. Whoever commits something in a later era needed
a quorum for that first, and one of its members answers here. What it answers, it answers before; so what the later
leader commits, it commits after this round began.

Under a valid lease (``leases``: no later leader exists; ``log_leases``: none has committed anything) what waits is
answered without a round. A leader that waits for the end of earlier log leases has rounds too, whose answers say so.
"""

from __future__ import annotations

from typing import Any

from ratified.consensus.contract import Limbo, Membership
from ratified.consensus.replication.leases import Lease
from ratified.consensus.replication.log_leases import LogLease
from ratified.consensus.replication.member import Member

NO_ROUND = 0
"""The first round is 1, so this one confirms nothing."""


class ReadRounds:
    """The barriers that wait at one leader, in one era, and who has answered which round."""

    __slots__ = (
        "_answered",
        "_confirming",
        "_index",
        "_limbo",
        "_member",
        "_waiting",
        "lease",
        "log_lease",
        "round",
    )

    def __init__(self, member: Member[Any]) -> None:
        self.round = 0
        """The number of the latest round."""
        self.lease = Lease(member)
        self.log_lease = LogLease(member)
        self._member = member
        self._waiting: list[int] = []
        self._confirming: list[int] = []
        self._index = 0
        self._limbo: Limbo | None = None
        self._answered: dict[int, int] = {}
        """By member, the latest round that it has answered."""

    def __len__(self) -> int:
        """How many barriers wait."""
        return len(self._waiting) + len(self._confirming)

    def ask(self, token: int) -> None:
        """A barrier waits for the next round."""
        if len(self) >= self._member.options.limits.barriers_max:
            self._member.outbox.answer_reads([token], None)
        else:
            self._waiting.append(token)

    def on_answer(self, member: int, round_: int) -> None:
        """``member`` has answered a message that carried ``round_``."""
        assert round_ <= self.round, f"round {round_} never began"
        if round_ > self._answered.get(member, NO_ROUND):
            self._answered[member] = round_

    def forget(self, member: int) -> None:
        """What ``member`` has answered counts no longer."""
        self._answered.pop(member, None)

    def advance(self, *, serving: bool, commit: int, proposed: Membership | None = None) -> bool:
        """Answer what is confirmed, begin a round for what waits; True: one began, and all peers are to be asked.
        ``proposed``: a configuration in which others may elect by now."""
        self.log_lease.commits(commit)
        self._confirm()
        serves = self.may_begin(serving)
        if len(self) and serves and (self.lease.is_held(proposed) or self.log_lease.is_held(commit)):
            self._member.outbox.answer_reads([*self._confirming, *self._waiting], commit)
            self._confirming, self._waiting = [], []
            return False
        limbo = None if serves else self.log_lease.readable_limbo
        if not self._waiting or self._confirming or not (serves or limbo):
            return False
        self.round += 1
        self._confirming, self._waiting = self._waiting, []
        self._index, self._limbo = commit, limbo
        self._confirm()  # by this member alone
        return True

    def may_begin(self, serving: bool) -> bool:
        """Before it has committed in its own era, a leader does not know all that is committed (Raft, section 8)."""
        return serving

    def is_confirmed(self) -> bool:
        return self._member.configurations.quorum_value(self._round_of) >= self.round

    def _round_of(self, member: int) -> int:
        return self.round if member == self._member.id else self._answered.get(member, NO_ROUND)

    def _confirm(self) -> None:
        if self._confirming and self.is_confirmed():
            self._member.outbox.answer_reads(self._confirming, self._index, self._limbo)
            self._confirming = []

    def fail(self) -> None:
        """This leader leads no longer: nothing that waits can be confirmed."""
        self._member.outbox.answer_reads([*self._confirming, *self._waiting], None)
        self._confirming, self._waiting = [], []
