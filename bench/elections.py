"""How long a cluster is without a leader when its members have seen terms that differ (rule 11 of the contract).

Seven members, four alive, on bare engines without sessions that end: one of the four has an entry more than the others,
who have been cut off for a while, so that their later terms, or higher ballots, reach it again and again. On Raft only
that one can win. Printed is the time, in shortest election timeouts, until a leader serves.

``python bench/elections.py --engine raft --seeds 1500``; ``--deadline-restarts`` lets a later era restart the election
timer, ``--no-suspicion`` lets members stand without a probe.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ratified.consensus.contract import NO_ERA, Base, Era, Extensions, Kind, Membership, Options, Send
from ratified.consensus.draws import mix
from ratified.consensus.driver import Driver, DurableLog, Ports
from ratified.consensus.engines import ENGINES, EngineRow
from ratified.consensus.entry import make_entry
from ratified.consensus.paxos import state as paxos
from ratified.consensus.raft import state as raft
from ratified.consensus.zab import state as zab

TIMEOUT_US = 1_000_000
HEARTBEAT_US = 100_000
MEMBERS = 7
ALIVE = (1, 2, 3, 4)
LATENCY_US = 5_000
DISK_US = 2_000
LIMIT_US = 100 * TIMEOUT_US


def raft_state(member: int, rounds: int) -> bytes:
    """One that stood in vain so often after term 1."""
    return raft.encode_state(raft.HardState(1 + rounds))


def paxos_state(member: int, rounds: int) -> bytes:
    """One that began so many ballots in vain after ballot 1.1."""
    promised = (1 + rounds, member) if rounds else (1, 1)
    return paxos.encode_state(paxos.AcceptorState(promised, promised if rounds else NO_ERA, 0))


def zab_state(member: int, rounds: int) -> bytes:
    """One that accepted so many epochs after epoch 1, none of which began."""
    return zab.encode_state(zab.EpochState(1 + rounds, 1, 0))


STATES: dict[str, tuple[Era, Callable[[int, int], bytes]]] = {
    "raft": ((1, 0), raft_state),
    "paxos": ((1, 1), paxos_state),
    "zab": ((1, 0), zab_state),
}
"""By engine: the era of the entries, and the state of a member that tried to lead so many times."""


@dataclass(slots=True)
class Cluster:
    """Four of seven members, whose log differs by one entry, in virtual time."""

    row: EngineRow
    seed: int
    extensions: Extensions
    now: int = 0
    events: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    members: dict[int, Driver] = field(default_factory=dict)
    arrives: dict[tuple[int, int], int] = field(default_factory=dict)
    """By sender and receiver, when the latest message arrives."""
    count: int = 0

    def run(self) -> int:
        """Microseconds until a leader serves; at most ``LIMIT_US``."""
        best = ALIVE[mix(self.seed, 1) % len(ALIVE)]
        for member in ALIVE:
            self.members[member] = self._driver(member, behind=member != best)
            self.members[member].start(0)
            for peer in ALIVE:
                if peer != member:
                    self.members[member].connect(peer, 1)
            self._turn(member)
        while self.now < LIMIT_US and not any(one.engine.status().serving for one in self.members.values()):
            self.now, _, event = heapq.heappop(self.events)
            event()
        return self.now

    def _driver(self, member: int, *, behind: bool) -> Driver:
        length = 1 if behind else 2
        era, state = STATES[self.row.name]
        entries = [make_entry(index, era, Kind.NOOP, None, b"") for index in range(1, length + 1)]
        rounds = mix(self.seed, 2, member) % 5 if behind else 0
        base = Base(0, NO_ERA, Membership(tuple(range(1, MEMBERS + 1))))
        log = DurableLog(base, state(member, rounds), entries)
        return Driver(self.row.engine, self._options(member), log, Ports(send=partial(self._send, member)))

    def _options(self, member: int) -> Options:
        def election_deadline(now: int, era: Era) -> int:
            return now + TIMEOUT_US + mix(self.seed, 3, member, *era) % TIMEOUT_US

        return Options(
            member=member,
            seed=self.seed,
            election_deadline=election_deadline,
            election_timeout_max_us=2 * TIMEOUT_US,
            election_timeout_min_us=TIMEOUT_US,
            heartbeat_us=HEARTBEAT_US,
            extensions=self.extensions,
        )

    def _at(self, delay_us: int, event: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (self.now + delay_us, self.count, event))

    def _send(self, sender: int, send: Send, _session: int | None) -> None:
        if send.to in self.members:
            arrives = self.now + LATENCY_US + mix(self.seed, 4, self.count) % LATENCY_US
            pair = sender, send.to
            self.arrives[pair] = max(arrives, self.arrives.get(pair, 0))  # a session keeps order
            self._at(self.arrives[pair] - self.now, lambda: self._step(sender, send))

    def _step(self, sender: int, send: Send) -> None:
        message: Any = send.message
        self.members[send.to].feed(lambda engine, now: engine.step(now, sender, message))
        self._turn(send.to)

    def _turn(self, member: int) -> None:
        one = self.members[member]
        one.drain(self.now)
        if one.writes:
            self._at(DISK_US, partial(self._complete, member))
        deadline = one.engine.deadline
        if deadline is not None:
            self._at(max(deadline - self.now, 0), partial(self._tick, member, deadline))

    def _tick(self, member: int, deadline: int) -> None:
        one = self.members[member]
        if one.engine.deadline == deadline:
            one.feed(lambda engine, now: engine.tick(now))
            self._turn(member)

    def _complete(self, member: int) -> None:
        one = self.members[member]
        if one.writes:
            one.complete(len(one.writes))
            self._turn(member)


def main() -> None:
    """Print the distribution."""
    parser = argparse.ArgumentParser(description="Time to a leader after terms have drifted apart")
    parser.add_argument("--engine", choices=list(STATES), default="raft")
    parser.add_argument("--seeds", type=int, default=1500)
    parser.add_argument("--deadline-restarts", action="store_true")
    parser.add_argument("--no-suspicion", action="store_true")
    arguments = parser.parse_args()
    extensions = Extensions(
        keep_election_deadline=not arguments.deadline_restarts, suspicion=not arguments.no_suspicion
    )
    took = sorted(
        Cluster(ENGINES[arguments.engine], seed, extensions).run() / TIMEOUT_US
        for seed in range(1, arguments.seeds + 1)
    )
    print(
        f"{len(took)} seeds, shortest timeouts to a serving leader: median {took[len(took) // 2]:.2f}, "
        f"p99 {took[len(took) * 99 // 100]:.2f}, most {took[-1]:.2f}"
    )


if __name__ == "__main__":
    main()
