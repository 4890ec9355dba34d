"""Members of ``raft_member`` among links, disks and crashes, in virtual time, with the oracles of SIMULATOR.md.

Every draw is keyed by the seed and what it is for. A ``World`` is calm unless its ``Hostility`` says otherwise; scripts
cut links, end sessions, kill and start members at stated times.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from ratified.consensus.draws import mix
from tests.models.raft_member import Durable, Member, Message, Output, Role, Rule, Timing, term_at


@dataclass(frozen=True, slots=True)
class Hostility:
    """Links and disks; chances in millionths, durations in microseconds."""

    latency: int = 1_000
    jitter: int = 1_000
    loss: int = 0
    twice: int = 0
    slow: int = 0
    slow_most: int = 0
    sync: int = 3_000
    sync_slow: int = 0
    sync_slow_most: int = 0


class Broken(AssertionError):
    """An oracle was violated."""


class World:
    """Some members, and what happens to them."""

    def __init__(
        self, members: int, seed: int, rule: Rule, timing: Timing | None = None, hostility: Hostility | None = None
    ) -> None:
        self.size, self.seed, self.rule = members, seed, rule
        self.timing = timing or Timing()
        self.hostility = hostility or Hostility()
        self.now = 0
        self.cut: set[tuple[int, int]] = set()
        """Directed links that carry nothing."""
        self.disks = [Durable() for _ in range(members)]
        self.starts = [0] * members
        self.members: list[Member | None] = [None] * members
        self.waiting: list[list[tuple[int, int, Message]]] = [[] for _ in range(members)]
        """(ticket, to, message) by member, until the disk has the ticket."""
        self.sessions: dict[tuple[int, int], int] = {}
        """How many sessions with the other one each member has seen end."""
        self.disk_free = [0] * members
        self.written: list[list[tuple[int, Durable]]] = [[] for _ in range(members)]
        self.elections: list[tuple[int, int, int]] = []
        """(time, term, member)."""
        self.commits: list[tuple[int, int, int]] = []
        """(time, index, term of the leader that counted it)."""
        self.messages = 0
        self.counts: dict[str, int] = {}
        self.applied = [0] * members
        """Up to where each member's store has the log (rule 5: committed, and durable there)."""
        self.known = [0] * members
        """Up to where each member knows its log to be committed."""
        self.reached: dict[str, int] = {}
        self._elected: dict[int, int] = {}
        self._before: dict[tuple[int, int], int] = {}
        self._committed: list[int] = []
        self._committed_in: list[int] = []
        self._seen: list[tuple[int, ...]] = [()] * members
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._draws: dict[tuple[int, ...], int] = {}
        for number in range(members):
            self.start(number)

    # ----------------------------------------------------------------------------------------------------- running

    def draw(self, below: int, *key: int) -> int:
        """The next draw on this key."""
        count = self._draws[key] = self._draws.get(key, 0) + 1
        return mix(self.seed, *key, count) % below if below else 0

    def at(self, time: int, event: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (time, self._sequence, event))

    def run(self, until: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Let time pass; ``stop`` is asked after every event."""
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()
            if stop():
                return
        self.now = max(self.now, until)

    def input(self, number: int, start: int, act: Callable[[Member], None]) -> None:
        """An input of the start ``start`` of a member, and what leaves it."""
        member = self.members[number]
        if member is None or self.starts[number] != start:
            return
        led, term = member.role is Role.LEADER, member.term
        act(member)
        self._observe(number, member, led and member.term == term)
        output = member.ready()
        if output is not None:
            self._carry_out(number, member, output)
        self._arm(number, member)

    def _arm(self, number: int, member: Member) -> None:
        start, deadline = self.starts[number], member.deadline

        def tick() -> None:
            if member.deadline == deadline:
                self.input(number, start, lambda member: member.tick(self.now))

        self.at(max(deadline, self.now), tick)

    def _carry_out(self, number: int, member: Member, output: Output) -> None:
        start = self.starts[number]
        if output.write is not None:
            hostility = self.hostility
            took = 1 + self.draw(2 * hostility.sync, 1, number)
            if self.draw(1_000_000, 2, number) < hostility.sync_slow:
                took += self.draw(hostility.sync_slow_most, 3, number)
            done = self.disk_free[number] = max(self.disk_free[number], self.now) + took
            self.written[number].append((output.ticket, output.write))
            self.at(done, lambda: self._persisted(number, start, output.ticket))
        for to, message in output.send:
            self._send(number, to, message)
        waits = bool(self.written[number])
        for to, message in output.after:
            if waits:
                self.waiting[number].append((output.ticket, to, message))
            else:
                self._send(number, to, message)

    def _persisted(self, number: int, start: int, ticket: int) -> None:
        if self.starts[number] != start or self.members[number] is None:
            return
        while self.written[number] and self.written[number][0][0] <= ticket:
            self.disks[number] = self.written[number].pop(0)[1]
        ready = [each for each in self.waiting[number] if each[0] <= ticket]
        self.waiting[number] = [each for each in self.waiting[number] if each[0] > ticket]
        for _, to, message in ready:
            self._send(number, to, message)
        self.input(number, start, lambda member: member.persisted(self.now, ticket))

    def _send(self, sender: int, to: int, message: Message) -> None:
        self.messages += 1
        self.counts[type(message).__name__] = self.counts.get(type(message).__name__, 0) + 1
        hostility = self.hostility
        key = (4, sender, to)
        if self.draw(1_000_000, *key, 1) < hostility.loss:
            return
        session = self.sessions.get((to, sender), 0)

        def arrive() -> None:
            self._arrive(sender, to, message, session)

        copies = 2 if self.draw(1_000_000, *key, 2) < hostility.twice else 1
        for _ in range(copies):
            took = hostility.latency + self.draw(hostility.jitter + 1, *key, 3)
            if self.draw(1_000_000, *key, 4) < hostility.slow:
                took += self.draw(hostility.slow_most, *key, 5)
            self.at(self.now + took, arrive)

    def _arrive(self, sender: int, to: int, message: Message, session: int) -> None:
        if (sender, to) not in self.cut and self.sessions.get((to, sender), 0) == session:
            self.input(to, self.starts[to], lambda member: member.step(self.now, sender, message))

    # ------------------------------------------------------------------------------------------------------ faults

    def start(self, number: int) -> None:
        self.starts[number] += 1
        self._seen[number] = self.disks[number].log
        member = self.members[number] = Member(
            number, self.size, self.seed, self.rule, self.timing, self.now, self.disks[number], self.starts[number]
        )
        member.commit = self.known[number] = self.applied[number]
        self._arm(number, member)

    def kill(self, number: int, *, sessions_end: bool = True) -> None:
        """The process ends; what was not synced is lost; a write under way may have reached the disk."""
        writes = self.written[number]
        kept = self.draw(len(writes) + 1, 5, number)
        if kept:
            self.disks[number] = writes[kept - 1][1]
        self.note(number)
        stored = self.applied[number]
        self.applied[number] = stored - self.draw(stored + 1, 7, number) * self.draw(2, 8, number)
        self.members[number] = None
        self.written[number] = []
        self.waiting[number] = []
        self.disk_free[number] = 0
        if sessions_end:
            for peer in range(self.size):
                self.end_session(peer, number)

    def note(self, number: int) -> None:
        """Add up what this start of a member has reached."""
        member = self.members[number]
        if member is not None:
            for what, count in member.reached.items():
                self.reached[what] = self.reached.get(what, 0) + count

    def end_session(self, number: int, peer: int) -> None:
        """``number`` notices that its session with ``peer`` is gone."""
        if number == peer:
            return
        start = self.starts[number]

        def notice() -> None:
            self.sessions[number, peer] = self.sessions.get((number, peer), 0) + 1
            self.input(number, start, lambda member: member.session_ended(self.now, peer))

        delay = self.draw(self.hostility.latency + self.hostility.jitter + 1, 6, number, peer)
        self.at(self.now + delay, notice)

    def install(self, number: int) -> None:
        """Make this member the leader, the way a transfer does: it stands at once."""
        start = self.starts[number]

        def stand(member: Member) -> None:
            if member.role is not Role.LEADER:
                member.campaign(self.now)

        self.input(number, start, stand)

    def keep(self, edges: frozenset[tuple[int, int]], *, notice: bool) -> None:
        """Only these pairs see each other from now on; ``notice``: the others' sessions end."""
        for one in range(self.size):
            for other in range(self.size):
                if one == other:
                    continue
                if (min(one, other), max(one, other)) in edges:
                    self.cut.discard((one, other))
                elif (one, other) not in self.cut:
                    self.cut.add((one, other))
                    if notice:
                        self.end_session(one, other)

    def propose_every(self, period: int) -> None:
        """Whoever leads proposes."""

        def propose_one(member: Member) -> None:
            member.propose(self.now)

        def propose() -> None:
            for number, member in enumerate(self.members):
                if member is not None and member.role is Role.LEADER and len(member.log) < member.commit + 200:
                    self.input(number, self.starts[number], propose_one)
            self.at(self.now + period, propose)

        self.at(self.now + period, propose)

    @property
    def leader(self) -> Member | None:
        """The leader of the latest term, if one is up."""
        leaders = [member for member in self.members if member is not None and member.role is Role.LEADER]
        return max(leaders, key=lambda member: member.term, default=None)

    # ----------------------------------------------------------------------------------------------------- oracles

    def _observe(self, number: int, member: Member, led: bool) -> None:
        before, log = self._seen[number], member.log
        if log is not before:
            self._seen[number] = log
            self._check_log(before, log, self.known[number])
        if member.role is Role.LEADER and not led:
            self._check_election(number, member)
        if member.commit and member.commit > len(log):
            raise Broken("a commit index beyond the log")
        self._check_commit(member)
        self.known[number] = member.commit
        self.applied[number] = max(self.applied[number], min(member.commit, member.durable_length))

    def _check_log(self, before: tuple[int, ...], log: tuple[int, ...], known: int) -> None:
        kept = 0
        shared = min(len(before), len(log))
        if before[:shared] == log[:shared]:
            kept = shared
        else:
            kept = next(at for at in range(shared) if before[at] != log[at])
        if kept < known:
            raise Broken("an entry is removed that the member knows to be committed")
        for index in range(kept + 1, len(log) + 1):
            term, previous = log[index - 1], term_at(log, index - 1)
            if previous > term:
                raise Broken("terms decrease along a log")
            if self._before.setdefault((index, term), previous) != previous:
                raise Broken("Log Matching")

    def _check_election(self, number: int, member: Member) -> None:
        if self._elected.setdefault(member.term, number) != number:
            raise Broken("Election Safety")
        self.elections.append((self.now, member.term, number))
        for index, (term, when) in enumerate(zip(self._committed, self._committed_in, strict=True), 1):
            if when < member.term and member.log[index - 1 : index] != (term,):
                raise Broken("Leader Completeness")

    def _check_commit(self, member: Member) -> None:
        known = len(self._committed)
        checked = min(member.commit, known)
        if member.log[:checked] != tuple(self._committed[:checked]):
            raise Broken("State Machine Safety")
        if member.commit > known:
            if member.role is not Role.LEADER:
                raise Broken("a follower knows of a commit before its leader")
            self._committed.extend(member.log[known : member.commit])
            self._committed_in.extend([member.term] * (member.commit - known))
            self.commits.append((self.now, member.commit, member.term))
            held = [disk for disk in self.disks if disk.log[: member.commit] == member.log[: member.commit]]
            if len(held) < self.size // 2 + 1:
                raise Broken("committed, and on the disks of no quorum")
