"""Fast leader election (ZooKeeper; the paper's phase 0), on (current epoch, last zxid, id).

Rules of this file:

1. The winner is a hint: discovery asks a quorum. So votes go at once, and a wrong or an old one costs time only.
2. A vote names the greatest candidacy seen in this round; it is sent at the start and at each change. Whoever comes
   with a later round takes everybody along; whoever is behind is told.
3. What a candidacy says of a history is what the disk has of it: the rest would be lost in a crash.
4. Nobody is voted for who is no voter, or whom this member has no session with.
5. Who hears that a leader leads already joins it, unless it campaigns.
"""

from __future__ import annotations

from ratified.consensus.zab.core import Core
from ratified.consensus.zab.messages import Candidacy, CEpoch, Fitness, Standing, Vote


class Looking:
    """This member while it looks for a leader, in one round or in later ones that it heard of."""

    __slots__ = ("_core", "_fitness", "_view", "candidacy", "early")

    leader: int | None = None

    def __init__(self, core: Core, fitness: Fitness, better: Candidacy | None = None) -> None:
        """Begin a round with a vote for oneself, or for who is known to be better."""
        self._core = core
        self._fitness = fitness
        self.candidacy: Candidacy
        """Whom this member votes for."""
        self._view: dict[int, Candidacy]
        """The latest vote of each other member, in this round."""
        self.early: dict[int, CEpoch]
        """What followers sent that have seen this member win."""
        self._begin(core.round + 1, better)

    @property
    def winner(self) -> int | None:
        """Whom a quorum votes for, this member included; a member whose disk is slow does not take its own election."""
        member = self.candidacy.member
        if member == self._core.member.id and self._core.member.disk_is_slow:
            return None
        votes = [voter for voter, candidacy in self._view.items() if candidacy.member == member]
        return member if self._core.configurations.is_quorum([*votes, self._core.member.id]) else None

    def on_vote(self, sender: int, vote: Vote) -> int | None:
        """A vote arrived; the member to follow if it says that one leads already."""
        if vote.standing is not Standing.LOOKING:
            return self._on_established(sender, vote)
        core = self._core
        if vote.round < core.round:
            self._tell(sender)
            return None
        if vote.round > core.round:
            self._begin(vote.round, vote.candidacy)
        elif self._may_win(vote.candidacy) and vote.candidacy.rank() > self.candidacy.rank():
            self.candidacy = vote.candidacy
            self._tell_all()
        self._view[sender] = vote.candidacy
        return None

    def on_early_cepoch(self, sender: int, message: CEpoch) -> None:
        """Its sender has seen this member win before this member has: kept until then."""
        if self.candidacy.member == self._core.member.id:
            self.early[sender] = message
        else:
            self._tell(sender)

    def on_session(self, member: int) -> None:
        """A session with a peer began, or (it is not in ``core.sessions``) ended."""
        if member in self._core.sessions:
            self._tell(member)
            return
        self._view.pop(member, None)
        self.early.pop(member, None)
        if self.candidacy.member == member:
            self._begin(self._core.round + 1, None)

    def _on_established(self, sender: int, vote: Vote) -> int | None:
        if self._fitness is Fitness.CAMPAIGNING:
            if vote.round >= self._core.round:  # it has not heard this member's round yet, or that of another campaign
                self._begin(vote.round + 1, None)
            return None
        return sender if vote.standing is Standing.LEADING else None

    def _begin(self, round_: int, other: Candidacy | None) -> None:
        core = self._core
        core.round = round_
        self._view = {}
        self.early = {}
        candidacies = [core.candidacy(self._fitness)]
        if other is not None and self._may_win(other):
            candidacies.append(other)
        self.candidacy = max(candidacies, key=Candidacy.rank)
        self._tell_all()

    def _may_win(self, other: Candidacy) -> bool:
        """Is it a voter, and is there a session with it?"""
        return other.member in self._core.sessions and self._core.configurations.is_voter(other.member)

    def _tell_all(self) -> None:
        for peer in self._core.configurations.peers:
            if peer in self._core.sessions:
                self._tell(peer)

    def _tell(self, peer: int) -> None:
        core = self._core
        core.outbox.send(peer, Vote(core.round, Standing.LOOKING, core.accepted_epoch, self.candidacy))
