"""One engine, driven by hand: what it is told, and what leaves it."""

from __future__ import annotations

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    Durable,
    Entry,
    Era,
    Extensions,
    Kind,
    Lead,
    Limits,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Ready,
    Refused,
    Run,
    Taken,
)
from ratified.consensus.entry import make_entry
from ratified.consensus.paxos import Engine, Message
from ratified.consensus.paxos.messages import Promise

ELECTION_US = 1000
HEARTBEAT_US = 100


def entry(slot: int, era: Era, data: bytes = b"") -> Entry:
    """A command, or without data a no-op."""
    return make_entry(slot, era, Kind.COMMAND if data else Kind.NOOP, None, data)


def durable(*entries: Entry, state: bytes = b"", applied: int = 0, members: int = 3) -> Durable:
    """A log with these entries, none of them in memory."""
    runs = [Run(each.index, each.index, each.era) for each in entries]
    return Durable(state, Base(0, NO_ERA, Membership(tuple(range(1, members + 1)))), runs, (), (), applied)


class Hand:
    """Member ``member``, whose writes become durable when ``sync`` says so."""

    def __init__(
        self, member: int = 1, start: Durable | None = None, limits: Limits | None = None, **extensions: bool
    ) -> None:
        options = Options(
            member=member,
            seed=1,
            election_deadline=lambda now, era: now + ELECTION_US,
            election_timeout_us=ELECTION_US,
            heartbeat_us=HEARTBEAT_US,
            limits=limits or Limits(),
            extensions=Extensions(**extensions),
        )
        self.now = 0
        self.engine = Engine(0, options, start or durable())
        self.sent: list[tuple[int, Message]] = []
        """What may have left by now, with its target."""
        self.delivered: list[Entry] = []
        self.written: list[Entry] = []
        self.lead: Lead | None = None
        self.fetches: list[tuple[int, int, int]] = []
        self.reads: dict[int, int | None] = {}
        self._held: list[tuple[int, int, Message]] = []
        self._tickets: list[int] = []
        self.drain()

    def drain(self) -> None:
        """One turn."""
        while (ready := self.engine.ready()) is not None:
            self._act(ready)

    def _act(self, ready: Ready) -> None:
        if ready.write is not None:
            self._tickets.append(ready.write.ticket)
            self.written += [record for record in ready.write.records if isinstance(record, Entry)]
        if ready.leader is not None:
            self.lead = ready.leader
        self.sent += [(send.to, send.message) for send in ready.send]
        self._held += [(ready.after, send.to, send.message) for send in ready.send_after]
        self.delivered += ready.deliver
        self.fetches += [(fetch.token, fetch.first, fetch.last) for fetch in ready.fetch]
        self.reads |= {read.token: read.index for read in ready.reads}
        if not self._tickets:
            self._release(2**63)

    def sync(self) -> None:
        """Everything written is durable, and so on until nothing more is written."""
        while self._tickets:
            ticket = self._tickets[-1]
            self._tickets.clear()
            self.engine.persisted(self.now, ticket)
            self._release(ticket)
            self.drain()

    def _release(self, ticket: int) -> None:
        held, self._held = self._held, []
        for after, to, message in held:
            if after <= ticket:
                self.sent.append((to, message))
            else:
                self._held.append((after, to, message))

    def step(self, sender: int, message: Message) -> None:
        self.engine.step(self.now, sender, message)
        self.drain()

    def tick(self, now: int) -> None:
        self.now = now
        self.engine.tick(now)
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
        self.drain()
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
