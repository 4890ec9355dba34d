"""Plays a script: a few commands, and what they make happen, one line an event. It knows engines by the contract only.

    members N of ENGINE [textbook]   a fresh group of members 1 to N, all connected; textbook: without extensions
    members N of ENGINE by votes     the same, with all extensions but suspicion: nobody asks before standing
    join N ...                       further members, whose logs begin with nobody who votes; they are up
    connect 1 2 3                    from now on only these have sessions with each other; sessions in place stay
    connect 1-2 2-3                  the same, of these pairs alone
    campaign N                       N stands for election
    transfer N to M                  N is asked to hand the lead to M
    change N to 1 2 3 [learners 4]   N is asked for this configuration
    timers                           how long each that is up waits before its timer wakes it
    wait                             time passes to the earliest deadline of those that are up
    pass N                           N milliseconds pass: timers wake those that are up, and all that leaves arrives
    tick N                           time passes to N's deadline, and only N notices
    propose N word ...               proposals at N
    barrier N token                  a read barrier at N
    hold N / release N               N's disk completes nothing / what waits, and what follows
    full N / room N                  N's disk has no room for proposals / has it again
    cut N                            N's checkpoint has all that it has applied: the log up to there goes
    snapshot A>B                     what A was asked to send B arrives there whole: its head, then all of it
    switch N                         N's store is switched to the snapshot that it installs
    fail A>B                         what A was asked to send B never arrives
    lose A>B                         of what is under way from A to B, the oldest message is lost
    again A>B                        of what is under way from A to B, the oldest message arrives, and stays under way
    late A>B / bring A>B             of what is under way from A to B, the oldest message waits aside / arrives
    crash N / restart N              sessions and what was not durable are gone / N starts from its disk
    step                             what is under way arrives, and nothing that it causes
    run                              everything arrives, until nothing moves
    progress N                       how far each peer is, as leader N sees it
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
    Change,
    Entry,
    Era,
    Extensions,
    Kind,
    Lead,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Ready,
    Record,
    Refused,
    RefusedReason,
    Send,
    SnapshotTo,
    StateRecord,
    TruncateRecord,
)
from ratified.consensus.draws import mix
from ratified.consensus.driver import Driver, DurableLog, Input, Ports
from ratified.consensus.engines import ENGINES
from ratified.consensus.entry import encode_change
from tests.consensus.stories.words import WORDS
from tests.consensus.stories.words.shape import bracketed, configuration

SEED = 1
ELECTION_US = 10_000
HEARTBEAT_US = 1_000
ARRIVALS_MAX = 2_000


class StoryMember:
    """One member: its driver, and what the story has to remember of it."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.membership = driver.log.base.membership
        self.starts = 0
        self.applied = 0
        self.leader: int | None = None
        self.held = False
        self.installs: Base | None = None


def _link(link: str) -> tuple[int, int]:
    """``A>B``."""
    sender, receiver = link.split(">")
    return int(sender), int(receiver)


def _all_pairs(members: Iterable[int]) -> list[tuple[int, int]]:
    return list(combinations(sorted(members), 2))


def _pairs(words: list[str]) -> list[tuple[int, int]]:
    """Pairs as ``1-2``, or else all pairs of these members."""
    if all("-" in word for word in words):
        return [(int(first), int(second)) for first, second in (word.split("-") for word in words)]
    return _all_pairs(map(int, words))


class Story:
    """A script in progress."""

    def __init__(self) -> None:
        self._now = 0
        self._members: dict[int, StoryMember] = {}
        self._sessions: dict[tuple[int, int], int] = {}
        self._sessions_opened = 0
        self._under_way: deque[tuple[int, int | None, Send]] = deque()
        """(sender, session, message), oldest first."""
        self._aside: dict[tuple[int, int], tuple[int, int | None, Send]] = {}
        """By sender and receiver, a message that comes late."""
        self._asked: dict[tuple[int, int], int] = {}
        """By sender and receiver, the snapshots that are due: of how much at least."""
        self._snapshots = 0
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
            case ["join", *members]:
                for member in members:
                    self._join(int(member))
            case ["connect", *members]:
                self._connect(_pairs(members))
            case ["transfer", member, "to", target]:
                self._transfer(int(member), int(target))
            case ["change", member, "to", *members]:
                self._change(int(member), members)
            case ["full" | "room" as room, member]:
                self._input(int(member), lambda engine, now: engine.disk_full(now, room == "full"))
            case ["cut", member]:
                self._cut(self._members[int(member)])
            case ["snapshot", link]:
                self._send_snapshot(*_link(link))
            case ["switch", member]:
                self._switch(int(member))
            case ["fail", link]:
                self._snapshot_is_over(*_link(link), ok=False)
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
            case ["pass", milliseconds]:
                self._pass(1_000 * int(milliseconds))
            case ["timers"]:
                for one, deadline in self._deadlines().items():
                    self._say(one, f"waits {self._milliseconds_to(deadline)}")
            case ["hold", member]:
                self._members[int(member)].held = True
            case ["release", member]:
                self._members[int(member)].held = False
                self._turn(int(member))
            case ["lose", link]:
                self._lose(*_link(link))
            case ["again", link]:
                self._arrive_again(*_link(link))
            case ["late", link]:
                self._set_aside(*_link(link))
            case ["bring", link]:
                self._bring(*_link(link))
            case ["crash", member]:
                self._crash(int(member))
            case ["restart", member]:
                self._start(int(member))
            case ["step"]:
                for _ in range(len(self._under_way)):
                    self._arrive()
            case ["run"]:
                self._run()
            case ["progress", member]:
                self._show_progress(int(member))
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
        self._connect(_all_pairs(self._members))

    def _join(self, member: int) -> None:
        self._members[member] = self._member(member, Membership(()))
        self._start(member)

    def _member(self, member: int, membership: Membership) -> StoryMember:
        ports = Ports(
            send=partial(self._leave, member),
            deliver=partial(self._deliver, member),
            snapshot_to=partial(self._ask_for_snapshot, member),
            install=partial(self._begin_switch, member),
            observe=partial(self._say_what_is_ready, member),
        )
        log = DurableLog(Base(0, NO_ERA, membership))
        return StoryMember(Driver(self._engine, self._options(member), log, ports))

    def _start(self, member: int) -> None:
        one = self._members[member]
        one.starts += 1
        one.installs = None
        if one.driver.log.base.index > one.applied:
            one.applied = one.driver.log.base.index
            self._say(member, f"switches its store to {one.applied}, where its log begins")
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

    def _connect(self, wanted: list[tuple[int, int]]) -> None:
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
        lost = self._oldest(sender, receiver)
        self._under_way.remove(lost)
        self._out.append(f"{sender}>{receiver} is lost: {self._words.message(lost[2].message)}")

    def _run(self) -> None:
        for _ in range(ARRIVALS_MAX):
            if not self._under_way:
                return
            self._arrive()
        raise AssertionError(f"no end after {ARRIVALS_MAX} messages, and no time has passed: {self._out[-3:]}")

    def _oldest(self, sender: int, receiver: int) -> tuple[int, int | None, Send]:
        return next(each for each in self._under_way if (each[0], each[2].to) == (sender, receiver))

    def _arrive_again(self, sender: int, receiver: int) -> None:
        self._under_way.appendleft(self._oldest(sender, receiver))
        self._arrive()

    def _set_aside(self, sender: int, receiver: int) -> None:
        late = self._oldest(sender, receiver)
        self._under_way.remove(late)
        self._aside[sender, receiver] = late

    def _bring(self, sender: int, receiver: int) -> None:
        late = self._aside.pop((sender, receiver))
        self._out.append(f"{sender}>{receiver} comes late: {self._words.message(late[2].message)}")
        self._under_way.appendleft(late)
        self._arrive()

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

    def _pass(self, microseconds: int) -> None:
        end = self._now + microseconds
        while min(self._deadlines().values(), default=end) < end:
            self._wait()
            self._run()
        self._now = end

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
        self._ask(member, [Proposal(self._next_id(member), word.encode()) for word in words])

    def _change(self, member: int, members: list[str]) -> None:
        at = members.index("learners") if "learners" in members else len(members)
        after = Membership(tuple(map(int, members[:at])), learners=tuple(map(int, members[at + 1 :])))
        change = Change(self._members[member].driver.engine.status().membership, after)
        self._ask(member, [Proposal(self._next_id(member), encode_change(change), Kind.MEMBERSHIP)])

    def _next_id(self, member: int) -> ProposalId:
        self._proposals += 1
        return ProposalId(member, self._members[member].starts, self._proposals)

    def _ask(self, member: int, proposals: list[Proposal]) -> None:
        answer = self._members[member].driver.engine.propose(self._now, proposals)
        if isinstance(answer, Refused):
            leader = f" ({answer.leader} leads)" if answer.leader not in (None, member) else ""
            self._say(member, f"refuses: {answer.reason}{leader}")
        else:
            self._say(member, f"takes it at {answer.first}")
        self._turn(member)

    def _transfer(self, member: int, target: int) -> None:
        refused = self._members[member].driver.engine.transfer_leadership(self._now, target)
        if refused is not None:
            self._say(member, f"refuses: {refused.reason}")
        self._turn(member)

    # -------------------------------------------------------------------------------------------- snapshots

    def _cut(self, one: StoryMember) -> None:
        index, era = one.driver.delivered
        self._input(one.driver.options.member, lambda engine, now: engine.compacted(now, index, era))

    def _ask_for_snapshot(self, member: int, asked: SnapshotTo) -> None:
        self._asked[member, asked.member] = asked.index
        self._say(member, f"asks that {asked.member} be sent a snapshot of {asked.index} or later")

    def _send_snapshot(self, sender: int, receiver: int) -> None:
        one = self._members[sender].driver
        index, era = one.delivered
        assert index >= self._asked[sender, receiver], f"{sender} has applied {index} only"
        self._snapshots += 1
        base = Base(index, era, one.engine.membership_at(index), self._snapshots)
        engine = self._members[receiver].driver.engine
        refused = engine.snapshot_offered(self._now, sender, base) or engine.snapshot_received(self._now, sender, base)
        if refused is None:
            self._say(receiver, f"has the snapshot of {self._words.position(base.index, base.era)}")
        else:
            self._say(
                receiver, f"refuses the snapshot of {self._words.position(base.index, base.era)}: {refused.reason}"
            )
            self._snapshot_is_over(sender, receiver, ok=refused.reason is RefusedReason.NOT_NEEDED)
        self._turn(receiver)

    def _begin_switch(self, member: int, base: Base) -> None:
        self._say(member, f"may switch its store to {base.index}")
        self._members[member].installs = base

    def _switch(self, member: int) -> None:
        one = self._members[member]
        base, one.installs = one.installs, None
        assert base is not None, f"member {member} installs nothing"
        one.applied = base.index
        one.driver.installed(base)
        self._turn(member)
        for sender, receiver in list(self._asked):
            if receiver == member and self._members[sender].driver.up:
                self._snapshot_is_over(sender, receiver, ok=True)

    def _snapshot_is_over(self, sender: int, receiver: int, *, ok: bool) -> None:
        index = self._asked.pop((sender, receiver))
        self._input(sender, lambda engine, now: engine.snapshot_sent(now, receiver, index, ok))

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
        if ready.membership is not None and ready.membership != self._members[member].membership:
            self._members[member].membership = ready.membership
            self._say(member, f"counts in {configuration(ready.membership)}")
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

    def _show_progress(self, member: int) -> None:
        for peer, progress in sorted(self._members[member].driver.engine.status().progress.items()):
            self._say(member, f"sees {peer}: {progress.state}, match {progress.match}, next {progress.next}")

    def _show(self) -> None:
        for member, one in self._members.items():
            log = one.driver.log
            begin = f"behind {self._words.position(log.base.index, log.base.era)} " if log.base.index else ""
            held = begin + bracketed(map(self._words.entry, log.in_order()))
            disk = f"{self._words.state(self._row.decode_state(log.state))}, {held}"
            if one.driver.up:
                status = one.driver.engine.status()
                self._say(member, f"is {status.role}, {self._words.committed} {status.commit}; disk: {disk}")
            else:
                self._say(member, f"is down; disk: {disk}")
