"""Plays a script: a few commands, and what they make happen, one line an event. It knows engines by the contract only.

    members N of ENGINE [textbook]   a fresh group of members 1 to N, all connected; textbook: without extensions
    members N of ENGINE by votes     the same, with all extensions but suspicion: nobody asks before standing
    connect 1 2 3                    from now on only these have sessions with each other; sessions in place stay
    campaign N                       N stands for election
    timers                           how long each that is up waits before its timer wakes it
    wait                             time passes to the earliest deadline of those that are up
    tick N                           time passes to N's deadline, and only N notices
    propose N word ...               proposals at N
    barrier N token                  a read barrier at N
    hold N / release N               N's disk completes nothing / what waits, and what follows
    lose A>B                         of what is under way from A to B, the oldest message is lost
    crash N / restart N              sessions and what was not durable are gone / N starts from its disk
    step                             what is under way arrives, and nothing that it causes
    run                              everything arrives, until nothing moves
    show                             every member: its role and commit index; what its disk holds
    quietly COMMAND ...              the command without its output, where another story tells that part

In the output ``1>2`` is a message that leaves, ``1 disk:`` a write that completes; ``delivers``, ``reads``, ``leads``
and ``follows`` are what the contract's ``Ready`` says. Whether sent at once or held back until a write is durable, a
message is shown when it leaves. Every word of a protocol is in ``words/``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import combinations

import msgspec

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    BaseRecord,
    Entry,
    Era,
    Extensions,
    Lead,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Ready,
    Record,
    Refused,
    Send,
    StateRecord,
    TruncateRecord,
)
from ratified.consensus.draws import mix
from ratified.consensus.driver import Driver, DurableLog, Input, Ports
from ratified.consensus.engines import ENGINES
from tests.consensus.stories.words import WORDS
from tests.consensus.stories.words.shape import bracketed

SEED = 1
ELECTION_US = 10_000
HEARTBEAT_US = 1_000


class StoryMember:
    """One member: its driver, and what the story has to remember of it."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.starts = 0
        self.applied = 0
        self.leader: int | None = None
        self.held = False


class Story:
    """A script in progress."""

    def __init__(self) -> None:
        self._now = 0
        self._members: dict[int, StoryMember] = {}
        self._sessions: dict[tuple[int, int], int] = {}
        self._sessions_opened = 0
        self._under_way: deque[tuple[int, int | None, Send]] = deque()
        """(sender, session, message), oldest first."""
        self._proposals = 0
        self._out: list[str] = []

    def play(self, command: str) -> list[str]:
        """Carry out one command; its output."""
        self._out = []
        match command.split():
            case ["quietly", *words]:
                self.play(" ".join(words))
                return []
            case ["members", count, "of", engine, *profile]:
                self._begin(int(count), engine, " ".join(profile))
            case ["connect", *members]:
                self._connect({int(member) for member in members})
            case ["propose", member, *words]:
                self._propose(int(member), words)
            case ["barrier", member, token]:
                self._input(int(member), lambda engine, now: engine.read_barrier(now, int(token)))
            case ["campaign", member]:
                self._input(int(member), lambda engine, now: engine.campaign(now))
            case ["tick", member]:
                self._tick(int(member))
            case ["wait"]:
                self._wait()
            case ["timers"]:
                for one, deadline in self._deadlines().items():
                    self._say(one, f"waits {self._milliseconds_to(deadline)}")
            case ["hold", member]:
                self._members[int(member)].held = True
            case ["release", member]:
                self._members[int(member)].held = False
                self._turn(int(member))
            case ["lose", link]:
                self._lose(*map(int, link.split(">")))
            case ["crash", member]:
                self._crash(int(member))
            case ["restart", member]:
                self._start(int(member))
            case ["step"]:
                for _ in range(len(self._under_way)):
                    self._arrive()
            case ["run"]:
                while self._under_way:
                    self._arrive()
            case ["show"]:
                self._show()
            case _:
                raise ValueError(f"no such command: {command!r}; story.py lists those that there are")
        return self._out

    # --------------------------------------------------------------------------------------------- members

    def _begin(self, count: int, engine: str, profile: str) -> None:
        membership = Membership(tuple(range(1, count + 1)))
        self._row = ENGINES[engine]
        self._engine = self._row.textbook if profile == "textbook" else self._row.engine
        self._words = WORDS[engine]
        self._profile = profile
        self._sessions.clear()
        self._under_way.clear()
        self._members = {member: self._member(member, membership) for member in membership.voters}
        for member in self._members:
            self._start(member)
        self._connect(set(self._members))

    def _member(self, member: int, membership: Membership) -> StoryMember:
        ports = Ports(
            send=partial(self._leave, member),
            deliver=partial(self._deliver, member),
            observe=partial(self._say_what_is_ready, member),
        )
        log = DurableLog(Base(0, NO_ERA, membership))
        return StoryMember(Driver(self._engine, self._options(member), log, ports))

    def _start(self, member: int) -> None:
        one = self._members[member]
        one.starts += 1
        one.driver.start(self._now, applied=one.applied)
        self._turn(member)

    def _crash(self, member: int) -> None:
        one = self._members[member]
        one.driver.crash()
        one.leader = None
        self._end_sessions([pair for pair in self._sessions if member in pair])

    def _options(self, member: int) -> Options:
        def election_deadline(now: int, era: Era) -> int:
            return now + ELECTION_US + mix(SEED, member, era[0], era[1]) % ELECTION_US

        options = Options(
            member=member,
            seed=SEED,
            election_deadline=election_deadline,
            election_timeout_max_us=2 * ELECTION_US,
            election_timeout_min_us=ELECTION_US,
            heartbeat_us=HEARTBEAT_US,
        )
        match self._profile:
            case "textbook":
                return options.textbook()
            case "by votes":
                return msgspec.structs.replace(options, extensions=Extensions(suspicion=False))
            case _:
                return options

    # -------------------------------------------------------------------------------------------- sessions

    def _connect(self, members: set[int]) -> None:
        wanted = list(combinations(sorted(members), 2))
        self._end_sessions([pair for pair in self._sessions if pair not in wanted])
        for pair in wanted:
            if pair not in self._sessions:
                self._sessions_opened += 1
                self._sessions[pair] = self._sessions_opened
                self._tell_of_session(pair, self._sessions_opened)

    def _end_sessions(self, pairs: Iterable[tuple[int, int]]) -> None:
        for pair in pairs:
            del self._sessions[pair]
            self._tell_of_session(pair, None)
        self._under_way = deque(each for each in self._under_way if each[1] in self._sessions.values())

    def _tell_of_session(self, pair: tuple[int, int], session: int | None) -> None:
        for member, peer in (pair, pair[::-1]):
            driver = self._members[member].driver
            if driver.up:
                driver.connect(peer, session)
                self._turn(member)

    def _leave(self, member: int, send: Send, session: int | None) -> None:
        if session is not None:
            self._out.append(f"{member}>{send.to} {self._words.message(send.message)}")
            self._under_way.append((member, session, send))

    def _arrive(self) -> None:
        sender, _, send = self._under_way.popleft()
        self._input(send.to, lambda engine, now: engine.step(now, sender, send.message))

    def _lose(self, sender: int, receiver: int) -> None:
        lost = next(each for each in self._under_way if (each[0], each[2].to) == (sender, receiver))
        self._under_way.remove(lost)
        self._out.append(f"{sender}>{receiver} is lost: {self._words.message(lost[2].message)}")

    # ------------------------------------------------------------------------------------------------ time

    def _tick(self, member: int) -> None:
        deadline = self._members[member].driver.engine.deadline
        assert deadline is not None, f"member {member} has no deadline"
        self._now = max(self._now, deadline)
        self._input(member, lambda engine, now: engine.tick(now))

    def _wait(self) -> None:
        deadlines = self._deadlines()
        first = min(deadlines, key=lambda member: deadlines[member])
        self._say(first, f"is woken by its timer, {self._milliseconds_to(deadlines[first])} later")
        self._tick(first)

    def _deadlines(self) -> dict[int, int]:
        return {
            member: deadline
            for member, one in self._members.items()
            if one.driver.up and (deadline := one.driver.engine.deadline) is not None
        }

    def _milliseconds_to(self, deadline: int) -> str:
        return f"{max(deadline - self._now, 0) / 1000:.3f} ms"

    # --------------------------------------------------------------------------------------------- clients

    def _propose(self, member: int, words: list[str]) -> None:
        proposals = []
        for word in words:
            self._proposals += 1
            proposals.append(Proposal(ProposalId(member, self._members[member].starts, self._proposals), word.encode()))
        answer = self._members[member].driver.engine.propose(self._now, proposals)
        self._say(member, f"refuses: {answer.reason}" if isinstance(answer, Refused) else f"takes it at {answer.first}")
        self._turn(member)

    # ------------------------------------------------------------------------------------------------ turns

    def _input(self, member: int, action: Input) -> None:
        assert self._members[member].driver.up, f"member {member} is down"
        self._members[member].driver.feed(action)
        self._turn(member)

    def _turn(self, member: int) -> None:
        """What an input left to do: hand out what is ready, complete writes, until neither is left."""
        one = self._members[member]
        one.driver.drain(self._now)
        while one.driver.writes and not one.held:
            self._say(member, f"disk: {self._written(one.driver.writes[0].records)}")
            one.driver.complete()
            one.driver.drain(self._now)

    def _deliver(self, member: int, entries: Sequence[Entry]) -> int:
        self._members[member].applied = entries[-1].index
        return entries[-1].index

    # ----------------------------------------------------------------------------------------------- output

    def _say(self, member: int, text: str) -> None:
        self._out.append(f"{member} {text}")

    def _say_what_is_ready(self, member: int, ready: Ready) -> None:
        if ready.leader is not None:
            self._say_who_leads(member, self._members[member], ready.leader)
        if ready.deliver:
            self._say(member, f"delivers {bracketed(map(self._words.entry, ready.deliver))}")
        for read in ready.reads:
            where = "is not confirmed" if read.index is None else f"reads at {read.index}"
            self._say(member, f"barrier {read.token} {where}")

    def _say_who_leads(self, member: int, one: StoryMember, lead: Lead) -> None:
        if lead.member is not None:
            serving = ", and serves" if lead.serving else ""
            verb = "leads" if lead.member == member else f"follows {lead.member}"
            self._say(member, f"{verb} in {self._words.era(lead.era)}{serving}")
        elif one.leader is not None:
            self._say(member, f"{'leads' if one.leader == member else 'follows'} no longer")
        one.leader = lead.member

    def _written(self, records: Iterable[Record]) -> str:
        parts: list[str] = []
        entries: list[Entry] = []
        for record in records:
            match record:
                case Entry():
                    entries.append(record)
                case StateRecord(data):
                    parts.append(self._words.state(self._row.decode_state(data)))
                case TruncateRecord(first):
                    parts.append(f"nothing from {first} on")
                case BaseRecord(base):
                    parts.append(f"begins behind {base.index}")
        if entries:
            parts.append(bracketed(map(self._words.entry, entries)))
        return ", ".join(parts)

    def _show(self) -> None:
        for member, one in self._members.items():
            log = one.driver.log
            held = bracketed(map(self._words.entry, log.in_order()))
            disk = f"{self._words.state(self._row.decode_state(log.state))}, {held}"
            if one.driver.up:
                status = one.driver.engine.status()
                self._say(member, f"is {status.role}, {self._words.committed} {status.commit}; disk: {disk}")
            else:
                self._say(member, f"is down; disk: {disk}")
