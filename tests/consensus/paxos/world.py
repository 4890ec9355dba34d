"""A hostile world for a few Paxos engines, with every invariant of ``check.paxos`` watched on everything that leaves.

Messages are lost, doubled and reordered. Disks complete writes late; a machine that is lost keeps what was durable and
a drawn prefix of the writes behind it. Time passes in drawn steps. Every draw is keyed by the seed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from ratified.check.paxos import PaxosChecks, value_of
from ratified.consensus import paxos
from ratified.consensus.contract import (
    NO_ERA,
    Base,
    Durable,
    Engine,
    Entry,
    Era,
    Extensions,
    Fetch,
    Kind,
    Limits,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Ready,
    Run,
    Send,
    StateRecord,
    Taken,
    Write,
)
from ratified.consensus.draws import mix
from ratified.consensus.paxos import Message

ELECTION_US = 10_000
HEARTBEAT_US = 1_000
STEP_US = 200
DRAWN: dict[str, tuple[int, ...]] = {
    "entries_per_message_max": (1, 2, 4096),
    "bytes_per_message_max": (1, 200, 1 << 20),
    "inflight_messages_max": (1, 3, 64),
    "deliver_bytes_max": (1, 200, 4 << 20),
    "tail_bytes_max": (1, 300, 16 << 20),
    "undurable_bytes_max": (1, 500, 64 << 20),
    "gap_entries_max": (1, 5, 1 << 16),
}


class Member:
    """One member: its engine, its disk, its store's applied index."""

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.engine: Engine | None = None
        self.state = b""
        self.entries: dict[int, Entry] = {}
        self.applied = 0
        self.writes: deque[Write] = deque()
        self.held: list[tuple[int, Send]] = []
        self.durable_ticket = 0
        self.inputs: deque[Callable[[Engine, int], None]] = deque()
        self.barriers: dict[int, int] = {}
        self.delivered: tuple[int, Era] = (0, NO_ERA)
        self.ids_delivered: set[ProposalId] = set()
        self.asked: dict[ProposalId, tuple[Era, int]] = {}

    def take(self, write: Write) -> None:
        """The disk has it."""
        for record in write.records:
            if isinstance(record, StateRecord):
                self.state = record.data
            elif isinstance(record, Entry):
                self.entries[record.index] = record

    def durable(self, membership: Membership, tail_entries: int) -> Durable:
        indexes = sorted(self.entries)
        runs: list[Run] = []
        for index in indexes:
            era = self.entries[index].era
            if runs and runs[-1].last == index - 1 and runs[-1].era == era:
                runs[-1] = Run(runs[-1].first, index, era)
            else:
                runs.append(Run(index, index, era))
        tail = [self.entries[index] for index in indexes[len(indexes) - min(tail_entries, len(indexes)) :]]
        return Durable(self.state, Base(0, NO_ERA, membership), runs, tail, (), self.applied)


class World:
    """Members, what is under way between them, and the checks."""

    def __init__(
        self,
        seed: int,
        members: int = 3,
        *,
        chaos: int = 100,
        limits: Limits | None = None,
        proposing_all_again: tuple[int, ...] = (),
    ) -> None:
        self.seed = seed
        self.now = 0
        self.chaos = chaos
        """Per cent of the full rate of faults."""
        self.membership = Membership(tuple(range(1, members + 1)))
        self.disk_draw = 2 + mix(seed, 8) % 20
        """One in so many steps a waiting write completes."""
        self.checks = PaxosChecks(self.membership)
        self.members = {member: Member(member) for member in self.membership.voters}
        self.under_way: list[tuple[int, int, Message]] = []
        self.cut: tuple[int, ...] = ()
        """Members that nobody hears; where they are ``deaf`` they hear nobody either."""
        self.deaf = False
        self.agreed: dict[int, int] = {}
        self.ids: dict[ProposalId, int] = {}
        self.lost: set[ProposalId] = set()
        self.highest = 0
        self.counts: dict[str, int] = {}
        self._draws = 0
        self._proposed = 0
        self._proposing_all_again = proposing_all_again
        """Members without the extension ``skip_chosen``."""
        self._limits = limits or Limits(
            **{name: values[mix(seed, 7, at) % len(values)] for at, (name, values) in enumerate(DRAWN.items())}
        )
        for member in self.members.values():
            self.start(member)

    def draw(self, bound: int) -> int:
        """The next draw, below ``bound``."""
        self._draws += 1
        return mix(self.seed, 1, self._draws) % bound

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # ------------------------------------------------------------------------------------------------------- life

    def start(self, member: Member) -> None:
        def election_deadline(now: int, era: Era) -> int:
            return now + ELECTION_US + mix(self.seed, 2, member.id, *era) % ELECTION_US

        options = Options(
            member=member.id,
            seed=self.seed,
            election_deadline=election_deadline,
            election_timeout_us=2 * ELECTION_US,
            heartbeat_us=HEARTBEAT_US,
            limits=self._limits,
            extensions=Extensions(skip_chosen=member.id not in self._proposing_all_again),
        )
        self.checks.started(member.id, member.applied)
        member.durable_ticket = 0
        member.engine = paxos.Engine(self.now, options, member.durable(self.membership, self.draw(4)))
        held = member.entries.get(member.applied)
        member.delivered = (member.applied, held.era if held is not None else NO_ERA)

    def crash(self, member: Member) -> None:
        """The machine is lost; of what was not durable a drawn prefix of the writes remains."""
        for _ in range(self.draw(len(member.writes) + 1)):
            write = member.writes.popleft()
            self._complete(member, write)
        if member.writes:
            self.count("writes lost")
        member.engine = None
        member.writes.clear()
        member.held.clear()
        member.inputs.clear()
        member.barriers.clear()
        member.asked.clear()
        if self.draw(4) == 0:
            member.applied = 0
        else:
            member.applied -= self.draw(member.applied + 1) % 3

    def _complete(self, member: Member, write: Write) -> None:
        member.take(write)
        for record in write.records:
            self.checks.durable(member.id, record)

    # ------------------------------------------------------------------------------------------------------ a step

    def step(self) -> None:
        """A little time passes, and something happens."""
        self.now += self.draw(STEP_US)
        self._strike()
        self._deliver_messages()
        for member in self.members.values():
            self._complete_writes(member)
            self._offer_work(member)
            self._turn(member)

    def _strike(self) -> None:
        if self.chaos and self.draw(600 if self.cut else 150) == 0:
            self.cut = () if self.cut else (1 + self.draw(len(self.members)),)
            self.deaf = self.draw(2) == 0
        if self.draw(10_000) >= 150 * self.chaos // 100:
            return
        member = self.members[1 + self.draw(len(self.members))]
        if member.engine is None:
            self.start(member)
        elif self.draw(3) == 0:
            self.crash(member)
            self.count("crashes")

    def _deliver_messages(self) -> None:
        for _ in range(self.draw(2 * len(self.members) + 2) + len(self.under_way) // (8 if self.chaos else 1)):
            if not self.under_way:
                return
            at = self.draw(min(len(self.under_way), 6)) if self.chaos else 0
            sender, to, message = self.under_way[at]
            fate = self.draw(100)
            if not (self.chaos and fate < 5):
                del self.under_way[at]
            if sender in self.cut or (to in self.cut and self.deaf):
                continue
            if not self.chaos or fate < 90:
                self._arrive(sender, self.members[to], message)

    def _arrive(self, sender: int, member: Member, message: Message) -> None:
        if member.engine is not None:
            member.inputs.append(lambda engine, now: engine.step(now, sender, message))

    def _complete_writes(self, member: Member) -> None:
        while member.writes and (not self.chaos or self.draw(self.disk_draw) == 0):
            write = member.writes.popleft()
            self._complete(member, write)
            member.durable_ticket = write.ticket
            self._report_durable(member, write.ticket)
        held, member.held = member.held, []
        for after, send in held:
            if after <= member.durable_ticket:
                self._leave(member, send)
            else:
                member.held.append((after, send))

    def _report_durable(self, member: Member, ticket: int) -> None:
        member.inputs.append(lambda engine, now: engine.persisted(now, ticket))

    def _answer_fetch(self, member: Member, fetch: Fetch) -> None:
        entries = [member.entries[index] for index in range(fetch.first, fetch.last + 1)]
        entries = entries[: 1 + self.draw(len(entries))]
        member.inputs.append(lambda engine, now: engine.fetched(now, fetch.token, entries))
        self.count("fetches")

    def _offer_work(self, member: Member) -> None:
        engine = member.engine
        if engine is None:
            return
        if engine.deadline is not None and engine.deadline <= self.now:
            member.inputs.append(lambda engine, now: engine.tick(now))
        if self.chaos and self.draw(1000) < 2:
            member.inputs.append(lambda engine, now: engine.campaign(now))
        if self.draw(30 if engine.leading is None else 4) == 0:
            token = self._draws
            member.barriers[token] = self.highest
            member.inputs.append(lambda engine, now: engine.read_barrier(now, token))
        if engine.leading is not None and self.draw(12) == 0:
            count = 1 + self.draw(3)
            member.inputs.append(lambda engine, now: self._propose(member, count))

    def _propose(self, member: Member, count: int) -> None:
        engine = member.engine
        assert engine is not None
        era = engine.leading
        proposals = []
        for _ in range(count):
            self._proposed += 1
            proposals.append(Proposal(ProposalId(member.id, 1, self._proposed), b"%d" % self._proposed))
        answer = engine.propose(self.now, proposals)
        if isinstance(answer, Taken):
            assert era is not None
            for at, proposal in enumerate(proposals):
                member.asked[proposal.id] = (era, answer.first + at)

    def _turn(self, member: Member) -> None:
        while member.engine is not None and member.inputs:
            for _ in range(min(len(member.inputs), 1 + self.draw(4))):
                member.inputs.popleft()(member.engine, self.now)
            ready = member.engine.ready()
            if ready is not None:
                self._act(member, ready)

    # ------------------------------------------------------------------------------------------------ what leaves

    def _act(self, member: Member, ready: Ready) -> None:
        if ready.write is not None:
            self.checks.asked_to_write(member.id, ready.write.records)
            member.writes.append(ready.write)
        if ready.deliver:
            self._deliver(member, ready)
        for send in ready.send:
            self._leave(member, send)
        for send in ready.send_after:
            if ready.after <= member.durable_ticket:
                self._leave(member, send)
            else:
                member.held.append((ready.after, send))
        for read in ready.reads:
            floor = member.barriers.pop(read.token)
            assert read.index is None or read.index >= floor, f"rule 8: read at {read.index} < {floor}"
            self.count("reads" if read.index is not None else "reads refused")
        for fetch in ready.fetch:
            self._answer_fetch(member, fetch)
        if ready.leader is not None and ready.leader.serving:
            self.count("leaders")

    def _leave(self, member: Member, send: Send) -> None:
        self.checks.leaves(member.id, send.to, send.message)
        message: Any = msgspec.msgpack.decode(msgspec.msgpack.encode(send.message), type=Message)
        self.under_way.append((member.id, send.to, message))
        self.count(type(message).__name__)

    def _deliver(self, member: Member, ready: Ready) -> None:
        self.checks.delivered(member.id, ready.deliver)
        for entry in ready.deliver:
            assert entry.index == member.delivered[0] + 1, "rule 5: in order, once"
            member.delivered = (entry.index, entry.era)
            value = value_of(entry)
            assert self.agreed.setdefault(entry.index, value) == value, f"two values in slot {entry.index}"
            if entry.proposal is not None:
                assert entry.proposal not in self.lost, f"rule 7: {entry.proposal} was lost"
                assert self.ids.setdefault(entry.proposal, entry.index) == entry.index
                member.asked.pop(entry.proposal, None)
            self.count(f"delivered {Kind(entry.kind).name}")
        self.highest = max(self.highest, member.delivered[0])
        engine = member.engine
        assert engine is not None
        for proposal, (era, index) in list(member.asked.items()):
            if engine.lost(era, index, member.delivered):
                assert proposal not in self.ids, f"rule 7: {proposal} was delivered and is called lost"
                self.lost.add(proposal)
                del member.asked[proposal]
                self.count("lost")
        member.applied, last = member.delivered[0], member.delivered[0]
        member.inputs.append(lambda engine, now: engine.applied(now, last))

    # -------------------------------------------------------------------------------------------------- the end

    def run(self, steps: int) -> None:
        """Let trouble reign."""
        for _ in range(steps):
            self.step()

    def heal(self, steps: int = 3000) -> None:
        """No more faults: everybody starts, and what is delivered anywhere from now on is delivered everywhere."""
        self.chaos = 0
        self.cut = ()
        for member in self.members.values():
            if member.engine is None:
                self.start(member)
        goal = self.highest + 20
        for _ in range(steps):
            self.step()
            if min(member.delivered[0] for member in self.members.values()) >= goal:
                return
        status = "; ".join(str(member.engine and member.engine.status()) for member in self.members.values())
        raise AssertionError(f"no progress after healing: {status}")
