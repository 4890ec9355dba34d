"""Plays the scripts beside it: a few commands, and after each what left the members.

    members N [textbook]     a fresh group of members 1 to N; textbook: without extensions
    connect 1 2 3            from now on only these exchange messages, in sessions of their own
    campaign N               N stands for election
    tick N                   time passes until N's deadline
    propose N word ...       proposals at N
    barrier N token          a read barrier at N
    hold N / release N       N's disk completes nothing / everything that waits and what follows
    crash N / restart N      what was not durable is gone / N starts from its disk
    run                      deliver messages, round after round, until nothing moves
    show                     every member: role, term, vote, log as index:term, commit index

The output says ``1>2 Message`` for what is sent, ``1 disk`` for a completed write, ``1 deliver``, ``1 read``,
``1 lead``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from ratified.consensus.contract import (
    Entry,
    Era,
    Kind,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Ready,
    Refused,
    Send,
    Write,
)
from ratified.consensus.entry import decode_entry
from ratified.consensus.raft import Engine, decode_state
from ratified.consensus.raft.messages import AppendEntries
from tests.consensus.contract.image import Image


class StoryMember:
    """One member and its disk."""

    def __init__(self, membership: Membership) -> None:
        self.image = Image(membership)
        self.engine: Engine | None = None
        self.applied = 0
        self.held = False
        self.writes: deque[Write] = deque()
        self.waiting: list[tuple[int, Send]] = []
        self.durable = 0


class Story:
    """A script in progress."""

    def __init__(self) -> None:
        self._now = 0
        self._textbook = False
        self._members: dict[int, StoryMember] = {}
        self._commands: dict[str, Callable[..., None]] = {
            "campaign": self._campaign,
            "tick": self._tick,
            "barrier": self._barrier,
            "hold": self._hold,
            "release": self._release,
            "crash": self._crash,
            "restart": self._restart,
            "run": self._run,
            "show": self._show,
        }
        self._connected: set[int] = set()
        self._queue: deque[tuple[int, Send]] = deque()
        self._out: list[str] = []
        self._proposals = 0

    def play(self, command: str) -> list[str]:
        """Carry out one command; its output."""
        word, *arguments = command.split()
        self._out = []
        match word:
            case "members":
                self._begin(int(arguments[0]), textbook=arguments[1:] == ["textbook"])
            case "propose":
                self._propose(int(arguments[0]), arguments[1:])
            case "connect":
                self._connect({int(member) for member in arguments})
            case _:
                self._commands[word](*map(int, arguments))
        return self._out

    # --------------------------------------------------------------------------------------------- commands

    def _begin(self, count: int, *, textbook: bool) -> None:
        membership = Membership(tuple(range(1, count + 1)))
        self._textbook = textbook
        self._members = {member: StoryMember(membership) for member in membership.voters}
        for member in self._members:
            self._restart(member)
        self._connect(set(self._members))

    def _connect(self, members: set[int]) -> None:
        self._connected = members
        self._queue.clear()
        for one in sorted(self._connected):
            for other in sorted(self._connected - {one}):
                engine = self._members[one].engine
                if engine is not None:
                    engine.peer(self._now, other, 1)
        for member in sorted(self._connected):
            self._turn(member)

    def _campaign(self, member: int) -> None:
        self._engine(member).campaign(self._now)
        self._turn(member)

    def _tick(self, member: int) -> None:
        deadline = self._engine(member).deadline
        assert deadline is not None
        self._now = max(self._now, deadline)
        self._engine(member).tick(self._now)
        self._turn(member)

    def _propose(self, member: int, words: list[str]) -> None:
        proposals = []
        for word in words:
            self._proposals += 1
            proposals.append(Proposal(ProposalId(member, 1, self._proposals), word.encode()))
        answer = self._engine(member).propose(self._now, proposals)
        self._say(member, f"refuses: {answer.reason}" if isinstance(answer, Refused) else f"takes at {answer.first}")
        self._turn(member)

    def _barrier(self, member: int, token: int) -> None:
        self._engine(member).read_barrier(self._now, token)
        self._turn(member)

    def _hold(self, member: int) -> None:
        self._members[member].held = True

    def _release(self, member: int) -> None:
        self._members[member].held = False
        self._complete_writes(member)

    def _crash(self, member: int) -> None:
        one = self._members[member]
        one.engine = None
        one.writes.clear()
        one.waiting.clear()
        self._connected.discard(member)

    def _restart(self, member: int) -> None:
        one = self._members[member]
        one.durable = 0
        one.engine = Engine(self._now, self._options(member), one.image.durable(one.applied, 100))
        one.engine.ready()

    def _run(self) -> None:
        while self._queue:
            sender, send = self._queue.popleft()
            engine = self._members[send.to].engine
            if {sender, send.to} <= self._connected and engine is not None:
                engine.step(self._now, sender, send.message)
                self._turn(send.to)

    def _show(self) -> None:
        for member, one in self._members.items():
            if one.engine is None:
                self._say(member, "is down")
                continue
            state = decode_state(one.image.state)
            log = " ".join(f"{index}:{entry.era[0]}" for index, entry in sorted(one.image.entries.items()))
            status = one.engine.status()
            vote = "-" if state.voted_for is None else state.voted_for
            self._say(member, f"{status.role} term {status.raft_term} vote {vote} log [{log}] commit {status.commit}")

    # ------------------------------------------------------------------------------------------------ turns

    def _turn(self, member: int) -> None:
        one = self._members[member]
        while (ready := self._engine(member).ready()) is not None:
            self._act(member, one, ready)
        self._complete_writes(member)

    def _act(self, member: int, one: StoryMember, ready: Ready) -> None:
        if ready.leader is not None:
            serving = ", serving" if ready.leader.serving else ""
            self._say(member, f"lead: {ready.leader.member or 'nobody'} in term {ready.leader.era[0]}{serving}")
        for read in ready.reads:
            self._say(member, f"read {read.token} at {read.index}")
        if ready.deliver:
            self._say(member, "deliver " + " ".join(map(_name, ready.deliver)))
            one.applied = ready.deliver[-1].index
            self._engine(member).applied(self._now, one.applied)
        for send in ready.send:
            self._send(member, send)
        if ready.write is not None:
            one.writes.append(ready.write)
        one.waiting += [(ready.after, send) for send in ready.send_after]

    def _complete_writes(self, member: int) -> None:
        one = self._members[member]
        while one.writes and not one.held:
            write = one.writes.popleft()
            one.image.apply(write)
            one.durable = write.ticket
            self._say(member, f"disk {write.ticket}")
            self._engine(member).persisted(self._now, write.ticket)
            self._turn(member)
        ready = [send for after, send in one.waiting if after <= one.durable]
        one.waiting = [(after, send) for after, send in one.waiting if after > one.durable]
        for send in ready:
            self._send(member, send)

    def _send(self, member: int, send: Send) -> None:
        if {member, send.to} <= self._connected:
            self._out.append(f"{member}>{send.to} {_message(send.message)}")
            self._queue.append((member, send))

    def _engine(self, member: int) -> Engine:
        engine = self._members[member].engine
        assert engine is not None, f"member {member} is down"
        return engine

    def _options(self, member: int) -> Options:
        def election_deadline(now: int, _era: Era) -> int:
            return now + 10_000 + member

        if self._textbook:
            return Options.textbook(
                member=member,
                seed=1,
                election_deadline=election_deadline,
                election_timeout_us=10_000,
                heartbeat_us=1_000,
            )
        return Options(
            member=member,
            seed=1,
            election_deadline=election_deadline,
            election_timeout_us=10_000,
            heartbeat_us=1_000,
        )

    def _say(self, member: int, text: str) -> None:
        self._out.append(f"{member} {text}")


def _name(entry: Entry) -> str:
    return f"{entry.index}:{entry.data.decode() if entry.kind is Kind.COMMAND else entry.kind.name.lower()}"


def _message(message: Any) -> str:
    fields = []
    for field in msgspec.structs.fields(message):
        name, value = field.name, getattr(message, field.name)
        if value == field.default:
            continue
        if isinstance(message, AppendEntries) and name == "entries":
            value = "[" + " ".join(_name(decode_entry(encoded)) for encoded in value) + "]"
        fields.append(f"{name}={value}")
    return f"{type(message).__name__} {' '.join(fields)}"
