"""One engine, driven by hand: what it is told, and what leaves it."""

from __future__ import annotations

from functools import partial

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    Entry,
    Era,
    Extensions,
    Kind,
    Lead,
    Limits,
    Links,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Ready,
    Refused,
    Taken,
    UnlimitedLinks,
)
from ratified.consensus.driver import Driver, DurableLog, Ports
from ratified.consensus.entry import make_entry
from ratified.consensus.paxos.engine import Paxos
from ratified.consensus.paxos.extensions import PRODUCTION, PaxosExtensions
from ratified.consensus.paxos.messages import Message, Promise
from ratified.consensus.replication.engine import Engine
from tests.consensus.ticks import tick as tick_engine

ELECTION_US = 1000
HEARTBEAT_US = 100


def entry(slot: int, era: Era, data: bytes = b"") -> Entry:
    """A command, or without data a no-op."""
    return make_entry(slot, era, Kind.COMMAND if data else Kind.NOOP, None, data)


def log(*entries: Entry, state: bytes = b"", members: int = 3) -> DurableLog:
    """What a disk of one of ``members`` holds."""
    return DurableLog(Base(0, NO_ERA, Membership(tuple(range(1, members + 1)))), state, entries)


class Hand:
    """Member 1, with nothing of its log in memory at start, whose writes become durable when ``sync`` says so."""

    def __init__(
        self,
        start: DurableLog | None = None,
        *,
        applied: int = 0,
        limits: Limits | None = None,
        links: Links | None = None,
        own: PaxosExtensions = PRODUCTION,
        **extensions: bool,
    ) -> None:
        options = Options(
            member=1,
            seed=1,
            election_deadline=lambda now, era: now + ELECTION_US,
            election_timeout_max_us=ELECTION_US,
            election_timeout_min_us=ELECTION_US,
            heartbeat_us=HEARTBEAT_US,
            limits=limits or Limits(),
            links=links or UnlimitedLinks(),
            extensions=Extensions(**extensions),
        )
        self.now = 0
        self.sent: list[tuple[int, Message]] = []
        """What may have left by now, with its target."""
        self.delivered: list[Entry] = []
        self.written: list[Entry] = []
        self.lead: Lead | None = None
        self.fetches: list[tuple[int, int, int]] = []
        self.reads: dict[int, int | None] = {}
        ports = Ports(
            send=lambda send, session: self.sent.append((send.to, send.message)),
            fetch=lambda fetch: 0,
            observe=self._observe,
        )
        engine = partial(Engine, partial(Paxos, extensions=own))
        self.driver = Driver(engine, options, start or log(), ports)
        self.driver.start(0, applied=applied, tail_entries=0)
        self.engine = self.driver.engine
        self.drain()

    def _observe(self, ready: Ready) -> None:
        if ready.write is not None:
            self.written += [record for record in ready.write.records if isinstance(record, Entry)]
        if ready.leader is not None:
            self.lead = ready.leader
        self.delivered += ready.deliver
        self.fetches += [(fetch.token, fetch.first, fetch.last) for fetch in ready.fetch]
        self.reads |= {read.token: read.index for read in ready.reads}

    def drain(self) -> None:
        """Everything that leaves without the disk."""
        self.driver.drain(self.now)

    def sync(self) -> None:
        """Everything written is durable, and so on until nothing more is written."""
        self.driver.settle(self.now)

    def step(self, sender: int, message: Message) -> None:
        self.driver.feed(lambda engine, now: engine.step(now, sender, message))
        self.drain()

    def tick(self, now: int) -> None:
        self.now = now
        self.driver.feed(tick_engine)
        self.drain()

    def propose(self, *datas: bytes) -> Taken | Refused:
        answer = self.engine.propose(
            self.now, [Proposal(ProposalId(1, 1, number + 1), data) for number, data in enumerate(datas)]
        )
        self.drain()
        return answer

    def take(self, kind: type, to: int | None = None) -> list[Message]:
        """The messages of this type that have left (to this target), and forget all that have."""
        taken = [message for target, message in self.sent if isinstance(message, kind) and to in (None, target)]
        self.sent.clear()
        return taken

    def candidate(self) -> Era:
        """Begin a ballot, durably."""
        self.engine.campaign(self.now)
        self.sync()
        return self.engine.status().era

    def promise(self, sender: int, first: int = 1, *entries: Entry, chosen: int = 0) -> None:
        """``sender`` promises the present ballot in one part."""
        last = entries[-1].index if entries else first
        ballot = self.engine.status().era
        self.step(sender, Promise(ballot, first, last, True, chosen, [each.encoded for each in entries]))

    def lead_with(self, *reported: Entry, promiser: int = 2) -> Era:
        """Win phase 1 by one other member's promise."""
        ballot = self.candidate()
        self.promise(promiser, 1, *reported)
        assert self.engine.leading == ballot
        return ballot
