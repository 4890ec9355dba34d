"""One ZAB engine, and the test in its peers' place: what leaves it, and what its peers would say."""

from __future__ import annotations

from typing import Any

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    Entry,
    Extensions,
    Kind,
    Limits,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Ready,
    Send,
)
from ratified.consensus.driver import Driver, DurableLog, Ports
from ratified.consensus.entry import make_entry
from ratified.consensus.replication import engine
from ratified.consensus.zab import Engine, zxid
from ratified.consensus.zab.engine import Zab
from ratified.consensus.zab.messages import (
    AckEpoch,
    AckNewLeader,
    Candidacy,
    CEpoch,
    Ending,
    Fitness,
    Mode,
    NewEpoch,
    NewLeader,
    Propose,
    Standing,
    UpToDate,
    Vote,
)
from ratified.consensus.zab.state import EpochState, encode_state

MEMBERS = Membership((1, 2, 3))
NOTHING = Ending(0, 0, 0)


def entry(index: int, epoch: int, data: bytes = b"") -> Entry:
    return make_entry(index, (epoch, 0), Kind.COMMAND, ProposalId(1, 1, index), data)


class Alone:
    """Member 1 (of three) at time 0, in sessions with the others, with a history whose entries have these epochs."""

    def __init__(
        self,
        *epochs: int,
        state: EpochState | None = None,
        applied: int = 0,
        membership: Membership = MEMBERS,
        limits: Limits | None = None,
        **extensions: bool,
    ) -> None:
        last = epochs[-1] if epochs else 0
        self.state = state or EpochState(last, last, epochs.index(last) if epochs else 0)
        options = Options(
            member=1,
            seed=1,
            election_deadline=lambda now, era: now + 1000,
            election_timeout_max_us=1000,
            election_timeout_min_us=1000,
            heartbeat_us=100,
            extensions=Extensions(**extensions),
            limits=limits or Limits(),
        )
        entries = [entry(index, each) for index, each in enumerate(epochs, 1)]
        log = DurableLog(Base(0, NO_ERA, membership), encode_state(self.state), entries)
        self.now = 0
        self._sent: list[tuple[int, Any]] = []
        self.driver = Driver(Engine, options, log, Ports(send=self._send))
        self.driver.start(0, applied=applied)
        running = self.driver.engine
        assert isinstance(running, engine.Engine)
        self.engine: engine.Engine[Zab] = running
        for peer in (each for each in (2, 3) if each in (*membership.voters, *membership.learners)):
            self.driver.connect(peer, peer)
        self.drain()

    def _send(self, send: Send, session: int | None) -> None:
        if session is not None:
            self._sent.append((send.to, send.message))

    # ------------------------------------------------------------------------------------------------- what leaves

    def turn(self) -> Ready:
        """The turn's Ready, its write still in flight."""
        return self.driver.turn(self.now) or Ready()

    def drain(self) -> list[tuple[int, Any]]:
        """Everything that leaves, the disk being infinitely fast."""
        self._sent.clear()
        self.driver.settle(self.now)
        return list(self._sent)

    def say(self, sender: int, message: Any) -> list[tuple[int, Any]]:
        """The message arrives; everything that leaves."""
        self.driver.feed(lambda engine, now: engine.step(now, sender, message))
        return self.drain()

    def answer(self, sender: int, message: Any) -> Any:
        """The one message that goes back."""
        ((to, answer),) = self.say(sender, message)
        assert to == sender
        return answer

    def propose(self, *datas: bytes) -> Any:
        proposals = [Proposal(ProposalId(1, 1, 100 + at), data) for at, data in enumerate(datas)]
        return self.engine.propose(self.now, proposals)

    def ignored(self) -> dict[str, str]:
        words = self.engine.status().words
        return {word.removeprefix("ignored: "): count for word, count in words.items() if word.startswith("ignored")}

    @property
    def role(self) -> str:
        return self.engine.status().role

    # ------------------------------------------------------------------------------------------------ what peers say

    def candidacy(self, member: int, ending: Ending = NOTHING) -> Candidacy:
        return Candidacy(Fitness.READY, ending, member)

    def vote(self, candidate: int, *, round_: int = 1, ending: Ending = NOTHING) -> Vote:
        return Vote(round_, Standing.LOOKING, 0, self.candidacy(candidate, ending))

    def follow(self, leader: int = 3, ending: Ending = NOTHING) -> int:
        """Member 1 finds that ``leader`` leads; the number of the link that it opens."""
        sent = self.say(leader, Vote(1, Standing.LEADING, 0, self.candidacy(leader, ending)))
        (cepoch,) = [message for to, message in sent if to == leader and isinstance(message, CEpoch)]
        assert cepoch.seq == 1
        return int(cepoch.link)

    def synchronised(self, epoch: int = 5) -> int:
        """Member 1 follows member 3 in ``epoch``, its own history being the initial one, committed; the link."""
        link = self.follow()
        ack = self.answer(3, NewEpoch(link, 1, epoch))
        assert isinstance(ack, AckEpoch)
        at, last = ack.ending.last_index, ack.ending.last_epoch
        assert isinstance(self.answer(3, NewLeader(link, 1, epoch, Mode.DIFF, last, at, at)), AckNewLeader)
        self.say(3, UpToDate(link, 2, zxid.pack(epoch, 0)))
        return link

    def elected(self) -> None:
        """Member 1 wins, by the votes of member 2 and itself."""
        self.engine.campaign(self.now)
        self.drain()
        self.say(2, self.vote(1, round_=2, ending=NOTHING))
        assert self.role == "leading"

    def connect(self, peer: int, accepted_epoch: int = 0, link: int = 1) -> NewEpoch | None:
        """``peer`` opens a link to this leader; the epoch that it is offered, if any."""
        sent = self.say(peer, CEpoch(link, 1, accepted_epoch))
        offers = [message for to, message in sent if to == peer and isinstance(message, NewEpoch)]
        return offers[0] if offers else None

    def ack_epoch(
        self,
        epoch: int,
        ending: Ending = NOTHING,
        last_origin: int = 0,
        *,
        now: bool = True,
        link: int = 1,
    ) -> AckEpoch:
        return AckEpoch(link, 2, epoch, now, ending, last_origin)

    def broadcasting(self) -> int:
        """Member 1 leads, member 2 follows and is up to date; the epoch."""
        self.elected()
        offer = self.connect(2, self.state.accepted_epoch)
        assert offer is not None
        history = self.driver.log.in_order()
        last_epoch = history[-1].era[0] if history else 0
        origin = sum(each.era[0] < last_epoch for each in history)
        ending = Ending(self.state.current_epoch, last_epoch, len(history))
        self.say(2, self.ack_epoch(offer.epoch, ending, origin))
        self.say(2, AckNewLeader(1, 3, offer.epoch))
        assert self.engine.leading == (offer.epoch, 0)
        return offer.epoch


def proposed(link: int, seq: int, epoch: int, origin: int, *indexes: int) -> Propose:
    """A PROPOSE of entries at these indexes, in an epoch that begins behind ``origin``."""
    entries = [entry(index, epoch).encoded for index in indexes]
    return Propose(link, seq, zxid.pack(epoch, indexes[0] - origin), entries)
