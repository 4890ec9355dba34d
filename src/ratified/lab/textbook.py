"""A textbook case, on one protocol.

In each tick what is due is proposed at the leader, if there is one (else it waits); then the tick is played. What the
protocols differ in stands in one ``Protocol`` each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ratified.consensus.contract import Era, Options, Taken
from ratified.consensus.driver import Driver
from ratified.consensus.engines import EngineRow
from ratified.lab.cases import Case
from ratified.lab.cluster import Arrival, LabCluster, textbook
from ratified.lab.numbers import sm

ELECTION_TICKS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What the lab has to know of a protocol."""

    row: EngineRow
    payload: bytes
    """The data of proposal i, with a place for i."""
    arrival: Callable[[int], Arrival]
    """By the case's seed, when messages arrive."""
    leader: Callable[[Sequence[Driver]], Driver]
    """Of those that lead, who is given the proposals."""
    dump: Callable[[Sequence[Driver]], bytes]
    """The end state, byte for byte as the lab publishes it."""
    describe: Callable[[Driver], msgspec.Struct]
    """A node's end state for people."""


class CaseRun:
    """One run of a case, to its end."""

    def __init__(self, protocol: Protocol, case: Case) -> None:
        self._protocol = protocol
        options = [_options(case.seed, member) for member in range(case.nodes)]
        self._cluster = LabCluster(protocol.row, options, protocol.arrival(case.seed))
        self.nodes = self._cluster.nodes
        proposed = 0
        for now in range(case.rounds):
            while proposed < case.proposals and _due(case, proposed) <= now and (leader := self._leader()) is not None:
                self._propose(leader, proposed)
                proposed += 1
            self._cluster.tick(case.partition)

    def dump(self) -> bytes:
        """The end state, byte for byte as the lab publishes it."""
        return self._protocol.dump(self.nodes)

    def end_state(self) -> dict[str, Any]:
        """The end state for people."""
        leader = self._leader()
        return {
            "leader": None if leader is None else leader.options.member,
            "nodes": [msgspec.to_builtins(self._protocol.describe(node)) for node in self.nodes],
        }

    def _leader(self) -> Driver | None:
        leaders = [node for node in self.nodes if node.engine.leading is not None]
        return self._protocol.leader(leaders) if leaders else None

    def _propose(self, leader: Driver, i: int) -> None:
        taken = self._cluster.propose(leader.options.member, i + 1, self._protocol.payload % i)
        assert isinstance(taken, Taken), f"the leader does not take proposal {i}: {taken.reason}"


def _due(case: Case, i: int) -> int:
    """The tick in which proposal i is due."""
    return (i + 1) * case.rounds // (case.proposals + 1)


def _options(seed: int, member: int) -> Options:
    def election_deadline(now: int, _era: Era) -> int:
        return now + ELECTION_TICKS + sm(seed ^ member ^ now) % ELECTION_TICKS

    return textbook(member, seed, election_deadline, 2 * ELECTION_TICKS)


def delayed_by_sequence(seed: int) -> Arrival:
    """1 to 3 ticks, drawn by the message's number in the cluster."""
    return lambda now, sender, target, sequence: now + 1 + sm(seed ^ sender ^ target ^ sequence) % 3


def latest_era(leaders: Sequence[Driver]) -> Driver:
    """The leader of the latest era; of several the lowest id."""
    return max(leaders, key=lambda node: (node.engine.leading, -node.options.member))
