"""How long others have been silent, and the own disk; when the next heartbeat is due (rules 11 and 14 of the contract).

Rules of this file:

1. A ``Liveness`` lives for one leadership. Being elected counts as having heard everybody, and so does joining.
2. A leader that no quorum answers for the shortest election timeout stops leading (dissertation, section 6.2): its
   followers look for another one by then. So does one whose oldest write has waited the longest one. One whose disk is
   full does so once: if it is elected all the same, or is alone, nobody else could lead. When it has had room since,
   it does so again.
3. Where a quorum has to follow before anything is led (ZAB), that has a deadline of its own, ``establish_by``, and
   silence counts from then on.
4. Without peers there is no heartbeat, and so no deadline for one; nor while the group rests (``rest``).
"""

from __future__ import annotations

from typing import Any

from ratified.consensus.replication.member import Member


class Liveness:
    """What a leader knows of who is alive."""

    __slots__ = (
        "_began_full",
        "_heard",
        "_heartbeat_deadline",
        "_lost",
        "_member",
        "_peers",
        "_since",
        "establish_by",
        "others_rest",
        "rests",
    )

    def __init__(self, member: Member[Any]) -> None:
        self._member = member
        self._since = member.now
        self._began_full = member.disk_is_full
        self._peers = member.configurations.peers
        self._heard: dict[int, int] = {}
        self._lost: dict[int, None] = {}
        """Whose session is another one, or none, since they were heard."""
        self._heartbeat_deadline = member.now + member.options.heartbeat_us
        self.establish_by: int | None = None
        """Until when a quorum has to follow; None: it does."""
        self.rests = False
        """The group rests, as far as this leader knows: it keeps no time."""
        self.others_rest = False
        """What it said last, to everybody, was that they may rest."""

    @property
    def deadline(self) -> int | None:
        """The next heartbeat, the end of the patience with the disk or with a quorum, whichever comes first."""
        if self.rests:
            return None
        member = self._member
        heartbeat = self._heartbeat_deadline if member.configurations.peers else None
        deadlines = (heartbeat, member.disk_deadline, self.establish_by)
        return min([each for each in deadlines if each is not None], default=None)

    def heard(self, member: int) -> None:
        self._heard[member] = self._member.now
        if self._lost:
            self._lost.pop(member, None)

    def session_changed(self, member: int) -> None:
        self._lost[member] = None

    def hears(self, member: int) -> bool:
        """Was anything heard from it within the shortest election timeout, in the present session?"""
        if member in self._lost:
            return False
        return self._member.now - self._heard_at(member) < self._member.options.election_timeout_min_us

    def heartbeat_is_due(self) -> bool:
        """Is it time for a heartbeat? Then the next one is due a whole interval from now."""
        member = self._member
        if member.now < self._heartbeat_deadline:
            return False
        self._heartbeat_deadline = member.now + member.options.heartbeat_us
        return True

    def rest(self) -> None:
        """The heartbeat that is due is the last one, until something happens."""
        self.rests = True

    def wake(self) -> None:
        """Something has happened: heartbeats go on, and who is in session had no reason to say anything until now."""
        if self.rests:
            self.rests = False
            for member in self._member.sessions:
                self.heard(member)

    def tell_whether_it_rests(self) -> bool:
        """A heartbeat leaves, to all: does it say that they may rest?"""
        self.others_rest = self.rests
        return self.rests

    def may_lead_on(self) -> bool:
        """Does the disk answer, and has it room, and does a quorum answer in time?"""
        return not self._member.disk_is_slow and not self._disk_has_filled() and not self._quorum_is_silent()

    def _disk_has_filled(self) -> bool:
        member = self._member
        self._began_full &= member.disk_is_full
        return member.disk_is_full and not self._began_full and bool(member.configurations.peers)

    def _quorum_is_silent(self) -> bool:
        member = self._member
        options = member.options
        if self.establish_by is not None:
            return member.now >= self.establish_by
        if not options.extensions.check_quorum:
            return False
        self._note_joined()
        return member.now - member.configurations.quorum_value(self._heard_at) >= options.election_timeout_min_us

    def _note_joined(self) -> None:
        peers = self._member.configurations.peers
        if peers is not self._peers:
            for joined in {*peers}.difference(self._peers):
                self.heard(joined)
            self._peers = peers

    def _heard_at(self, member: int) -> int:
        return self._member.now if member == self._member.id else self._heard.get(member, self._since)
