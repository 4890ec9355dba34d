"""A hostile world for a few ZAB engines, with every invariant of ``check.zab`` watched on everything that leaves.

Messages travel in sessions that keep order, stall, and break; ``lossy`` worlds also lose, double and swap messages
inside a session, which ZAB must notice. Disks complete writes late; a machine that is lost keeps what was durable and a
drawn prefix of the writes behind it. Time passes in drawn steps. Every draw is keyed by the seed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec

from ratified.check.image import LogImage
from ratified.check.zab import ZabChecks
from ratified.consensus import zab
from ratified.consensus.contract import (
    NO_ERA,
    Base,
    Durable,
    Engine,
    Entry,
    Era,
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
    TruncateRecord,
    Write,
)
from ratified.consensus.draws import mix
from ratified.consensus.zab import Message

ELECTION_US = 10_000
HEARTBEAT_US = 1_000
STEP_US = 200
DRAWN: dict[str, tuple[int, ...]] = {
    "entries_per_message_max": (1, 2, 4096),
    "bytes_per_message_max": (1, 200, 1 << 20),
    "inflight_messages_max": (1, 3, 64),
    "inflight_bytes_max": (1, 200, 8 << 20),
    "deliver_bytes_max": (1, 200, 4 << 20),
    "tail_bytes_max": (1, 300, 16 << 20),
    "undurable_bytes_max": (1, 500, 64 << 20),
    "barriers_max": (1, 100, 100),
}


class Member:
    """One member: its engine, its disk, its store's applied index."""

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.engine: Engine | None = None
        self.state = b""
        self.log: list[Entry] = []
        self.applied = 0
        self.writes: deque[Write] = deque()
        self.held: list[tuple[int, int, Send]] = []
        """(ticket, session, message) of what waits for the disk."""
        self.durable_ticket = 0
        self.inputs: deque[Callable[[Engine, int], None]] = deque()
        self.barriers: dict[int, int] = {}
        self.delivered: tuple[int, Era] = (0, NO_ERA)
        self.asked: dict[ProposalId, tuple[Era, int]] = {}

    def take(self, write: Write) -> None:
        """The disk has it."""
        for record in write.records:
            match record:
                case StateRecord(data):
                    self.state = data
                case TruncateRecord(first):
                    del self.log[first - 1 :]
                case Entry():
                    assert record.index == len(self.log) + 1
                    self.log.append(record)

    def durable(self, membership: Membership, tail_entries: int) -> Durable:
        runs: list[Run] = []
        for entry in self.log:
            if runs and runs[-1].era == entry.era:
                runs[-1] = Run(runs[-1].first, entry.index, entry.era)
            else:
                runs.append(Run(entry.index, entry.index, entry.era))
        tail = self.log[max(0, len(self.log) - tail_entries) :]
        return Durable(self.state, Base(0, NO_ERA, membership), runs, tail, (), self.applied)

    def image(self) -> LogImage:
        image = LogImage()
        image.take(StateRecord(self.state))
        for entry in self.log:
            image.take(entry)
        return image


class World:
    """Members, the sessions between them, and the checks."""

    def __init__(
        self, seed: int, members: int = 3, *, chaos: bool = True, lossy: bool = False, limits: Limits | None = None
    ) -> None:
        self.seed = seed
        self.now = 0
        self.chaos = chaos
        self.lossy = lossy
        self.membership = Membership(tuple(range(1, members + 1)))
        self.disk_draw = 2 + mix(seed, 8) % 20
        """One in so many steps a waiting write completes."""
        self.checks = ZabChecks(self.membership)
        self.members = {member: Member(member) for member in self.membership.voters}
        self.pairs = [(a, b) for a in self.members for b in self.members if a < b]
        self.sessions: dict[tuple[int, int], int] = {}
        self.under_way: dict[tuple[int, int], deque[Message]] = {}
        self.stalled: set[tuple[int, int]] = set()
        self.cut: int | None = None
        """A member without sessions."""
        self.held_disk: int | None = None
        self.agreed: dict[int, bytes] = {}
        self.ids: dict[ProposalId, int] = {}
        self.lost: set[ProposalId] = set()
        self.highest = 0
        self.counts: Counter[str] = Counter()
        self._draws = 0
        self._proposed = 0
        self._sessions_opened = 0
        self._limits = limits or Limits(
            **{name: values[mix(seed, 7, at) % len(values)] for at, (name, values) in enumerate(DRAWN.items())}
        )
        for member in self.members.values():
            self.start(member)

    def draw(self, bound: int) -> int:
        """The next draw, below ``bound``."""
        self._draws += 1
        return mix(self.seed, 1, self._draws) % bound

    # ------------------------------------------------------------------------------------------------------- life

    def start(self, member: Member) -> None:
        def election_deadline(now: int, era: Era) -> int:
            return now + ELECTION_US + mix(self.seed, 2, member.id, *era, now) % ELECTION_US

        options = Options(
            member=member.id,
            seed=self.seed,
            election_deadline=election_deadline,
            election_timeout_us=2 * ELECTION_US,
            heartbeat_us=HEARTBEAT_US,
            limits=self._limits,
        )
        self.checks.recovered(member.id, member.image())
        self.checks.started(member.id, member.applied)
        member.durable_ticket = 0
        member.engine = zab.Engine(self.now, options, member.durable(self.membership, self.draw(4)))
        member.delivered = (member.applied, member.log[member.applied - 1].era if member.applied else NO_ERA)

    def crash(self, member: Member) -> None:
        """The machine is lost; of what was not durable a drawn prefix of the writes remains."""
        for _ in range(self.draw(len(member.writes) + 1)):
            self._complete(member, member.writes.popleft())
        if member.writes:
            self.counts["writes lost"] += 1
        self.counts["crashes"] += 1
        member.engine = None
        for waiting in (member.writes, member.held, member.inputs, member.barriers, member.asked):
            waiting.clear()
        for pair in self.pairs:
            if member.id in pair:
                self._break(pair)
        member.applied = 0 if self.draw(4) == 0 else member.applied - self.draw(member.applied + 1) % 3

    def _complete(self, member: Member, write: Write) -> None:
        member.take(write)
        for record in write.records:
            self.checks.durable(member.id, record)

    # ---------------------------------------------------------------------------------------------------- sessions

    def _open(self, pair: tuple[int, int]) -> None:
        self._sessions_opened += 1
        self.sessions[pair] = self._sessions_opened
        self._tell(pair, self._sessions_opened)

    def _break(self, pair: tuple[int, int]) -> None:
        if self.sessions.pop(pair, None) is not None:
            self.under_way.pop(pair, None)
            self.under_way.pop((pair[1], pair[0]), None)
            self._tell(pair, None)

    def _tell(self, pair: tuple[int, int], session: int | None) -> None:
        for member, peer in (pair, (pair[1], pair[0])):
            if self.members[member].engine is not None:
                self._tell_one(self.members[member], peer, session)

    def _tell_one(self, member: Member, peer: int, session: int | None) -> None:
        member.inputs.append(lambda engine, now: engine.peer(now, peer, session))

    def session(self, a: int, b: int) -> int:
        """The current session; 0: none."""
        return self.sessions.get((min(a, b), max(a, b)), 0)

    # ------------------------------------------------------------------------------------------------------ a step

    def step(self) -> None:
        """A little time passes, and something happens."""
        self.now += self.draw(STEP_US)
        if self.chaos:
            self._strike()
        self._connect()
        self._deliver_messages()
        for member in self.members.values():
            self._complete_writes(member)
            self._offer_work(member)
            self._turn(member)

    def _strike(self) -> None:
        ids = list(self.members)
        chosen = ids[self.draw(len(ids))]
        match self.draw(600):
            case 0 | 1 | 2 if self.cut is None:
                self.cut = chosen
            case 0 | 1 | 2 | 3:
                self.cut = None
            case 4 | 5 | 6:
                self._break(self.pairs[self.draw(len(self.pairs))])
                self.counts["sessions broken"] += 1
            case 7 | 8:
                self.stalled = {(chosen, ids[self.draw(len(ids))]), (ids[self.draw(len(ids))], chosen)}
            case 9 | 10 | 11:
                self.stalled = set()
            case 12 | 13:
                self.held_disk = chosen
            case 14 | 15 | 16:
                self.held_disk = None
            case 17 | 18 | 19 if self.members[chosen].engine is not None:
                self.crash(self.members[chosen])

    def _connect(self) -> None:
        for member in self.members.values():
            if member.engine is None and (not self.chaos or self.draw(100) == 0):
                self.start(member)
        for pair in self.pairs:
            if self.cut in pair:
                self._break(pair)
            elif pair not in self.sessions and all(self.members[member].engine is not None for member in pair):
                self._open(pair)

    def _deliver_messages(self) -> None:
        for channel, waiting in list(self.under_way.items()):
            if channel in self.stalled:
                continue
            for _ in range(min(len(waiting), self.draw(4) if self.chaos else len(waiting))):
                if self.lossy and self.chaos and self.draw(50) == 0 and self._violate(waiting):
                    continue
                self._arrive(channel[0], self.members[channel[1]], waiting.popleft())

    def _violate(self, waiting: deque[Message]) -> bool:
        """Break the order of a session; True: the next message is gone."""
        self.counts["order violated"] += 1
        match self.draw(3):
            case 0:
                waiting.popleft()
                return True
            case 1:
                waiting.appendleft(waiting[0])
            case 2:
                waiting.rotate(-1)
        return False

    def _arrive(self, sender: int, member: Member, message: Message) -> None:
        member.inputs.append(lambda engine, now: engine.step(now, sender, message))

    def _complete_writes(self, member: Member) -> None:
        while member.writes and (not self.chaos or (self.held_disk != member.id and self.draw(self.disk_draw) == 0)):
            write = member.writes.popleft()
            self._complete(member, write)
            member.durable_ticket = write.ticket
            self._report_durable(member, write.ticket)
        held, member.held = member.held, []
        for after, session, send in held:
            if after <= member.durable_ticket:
                self._leave(member, send, session)
            else:
                member.held.append((after, session, send))

    def _report_durable(self, member: Member, ticket: int) -> None:
        member.inputs.append(lambda engine, now: engine.persisted(now, ticket))

    def _answer_fetch(self, member: Member, fetch: Fetch) -> None:
        entries = member.log[fetch.first - 1 : fetch.last]
        entries = entries[: 1 + self.draw(len(entries))]
        member.inputs.append(lambda engine, now: engine.fetched(now, fetch.token, entries))
        self.counts["fetches"] += 1

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
        if engine.leading is not None and self.draw(8) == 0:
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
            self.counts["truncations"] += sum(isinstance(record, TruncateRecord) for record in ready.write.records)
        if ready.deliver:
            self._deliver(member, ready)
        for send in ready.send:
            self._leave(member, send, self.session(member.id, send.to))
        for send in ready.send_after:
            session = self.session(member.id, send.to)
            if ready.after <= member.durable_ticket:
                self._leave(member, send, session)
            else:
                member.held.append((ready.after, session, send))
        for read in ready.reads:
            floor = member.barriers.pop(read.token)
            assert read.index is None or read.index >= floor, f"rule 8: read at {read.index} < {floor}"
            self.counts["reads" if read.index is not None else "reads refused"] += 1
        for fetch in ready.fetch:
            self._answer_fetch(member, fetch)
        if ready.leader is not None and ready.leader.serving:
            self.counts["leaders"] += 1

    def _leave(self, member: Member, send: Send, session: int) -> None:
        if session == 0 or session != self.session(member.id, send.to):
            return
        self.checks.leaves(member.id, send.to, send.message)
        message: Any = msgspec.msgpack.decode(msgspec.msgpack.encode(send.message), type=Message)
        self.under_way.setdefault((member.id, send.to), deque()).append(message)
        self.counts[type(message).__name__] += 1
        if hasattr(message, "mode"):
            self.counts[message.mode.name] += 1

    def _deliver(self, member: Member, ready: Ready) -> None:
        self.checks.delivered(member.id, ready.deliver)
        for entry in ready.deliver:
            assert self.agreed.setdefault(entry.index, entry.encoded) == entry.encoded
            member.delivered = (entry.index, entry.era)
            if entry.proposal is not None:
                assert entry.proposal not in self.lost, f"rule 7: {entry.proposal} was lost"
                assert self.ids.setdefault(entry.proposal, entry.index) == entry.index
                member.asked.pop(entry.proposal, None)
            self.counts[f"delivered {Kind(entry.kind).name}"] += 1
        self.highest = max(self.highest, member.delivered[0])
        engine = member.engine
        assert engine is not None
        for proposal, (era, index) in list(member.asked.items()):
            if engine.lost(era, index, member.delivered):
                assert proposal not in self.ids, f"rule 7: {proposal} was delivered and is called lost"
                self.lost.add(proposal)
                del member.asked[proposal]
                self.counts["lost"] += 1
        member.applied = last = member.delivered[0]
        member.inputs.append(lambda engine, now: engine.applied(now, last))

    # -------------------------------------------------------------------------------------------------- the end

    def run(self, steps: int) -> None:
        """Let trouble reign."""
        for _ in range(steps):
            self.step()

    def heal(self, steps: int = 3000) -> None:
        """No more faults: everybody starts, and what is delivered anywhere from now on is delivered everywhere."""
        self.chaos = False
        self.cut = self.held_disk = None
        self.stalled = set()
        goal = self.highest + 20
        for _ in range(steps):
            self.step()
            if min(member.delivered[0] for member in self.members.values()) >= goal:
                return
        raise AssertionError(
            f"no progress in peace: {[member.engine and member.engine.status() for member in self.members.values()]}"
        )

    def noticed(self, reason: str) -> int:
        """How often the engines that are up have counted messages ignored for this reason."""
        return sum(
            int(count)
            for member in self.members.values()
            if member.engine is not None
            for word, count in member.engine.status().words.items()
            if word.startswith("ignored") and reason in word
        )
