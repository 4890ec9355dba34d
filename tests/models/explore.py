"""Breadth-first search over the states of a model, and what it reports.

A model gives its initial state, the steps out of a state (what happened, and the state after it or the ``Violation``
that it is), and a canonical form that maps states which differ only in members' names to one. Only hashes of visited
states are kept, with the hash of the state before: the way to a violation is walked once more from the start.

Nothing here draws or depends on hash order: the same arguments visit the same states in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Violation:
    """A step that must not be possible, and why."""

    rule: str


Steps = Iterable[tuple[str, "S | Violation"]]


@dataclass(frozen=True, slots=True)
class Report(Generic[S]):
    """How far a search came."""

    states: int
    steps: int
    depth: int
    """Steps from the initial state to the farthest one that was expanded."""
    closed: bool
    """Was every reachable state visited?"""
    violation: Violation | None = None
    trace: tuple[tuple[str, S | Violation], ...] = ()
    """A shortest way to the violation."""

    def __str__(self) -> str:
        """One line for people."""
        end = "closed" if self.closed else "not closed"
        found = f", VIOLATION: {self.violation.rule}" if self.violation else ""
        return f"{self.states:,} states, {self.steps:,} steps, depth {self.depth}, {end}{found}"


def explore(
    initial: S,
    steps: Callable[[S], Steps[S]],
    canonical: Callable[[S], S] = lambda state: state,
    states_max: int = 1_000_000,
) -> Report[S]:
    """Visit states by their distance from ``initial``, at most about ``states_max`` of them."""
    root = canonical(initial)
    before: dict[int, int] = {hash(root): 0}
    level = [root]
    depth = taken = 0
    while level and len(before) < states_max:
        following: list[S] = []
        for state in level:
            for _, after in steps(state):
                taken += 1
                if isinstance(after, Violation):
                    trace = _retrace(initial, steps, canonical, _way(before, hash(state)), after)
                    return Report(len(before), taken, depth, False, after, trace)
                seen = canonical(after)
                key = hash(seen)
                if key not in before:
                    before[key] = hash(state)
                    following.append(seen)
        level = following
        depth += 1
    return Report(len(before), taken, depth, not level)


def _way(before: dict[int, int], end: int) -> list[int]:
    way = [end]
    while before[way[-1]]:
        way.append(before[way[-1]])
    return way[::-1]


def _retrace(
    initial: S,
    steps: Callable[[S], Steps[S]],
    canonical: Callable[[S], S],
    way: list[int],
    violation: Violation,
) -> tuple[tuple[str, S | Violation], ...]:
    """The same way with the names that the members had at the start."""
    trace: list[tuple[str, S | Violation]] = []
    state = initial
    for key in way[1:]:
        label, state = next(
            (label, after)
            for label, after in steps(state)
            if not isinstance(after, Violation) and hash(canonical(after)) == key
        )
        trace.append((label, state))
    last = next(label for label, after in steps(state) if isinstance(after, Violation))
    trace.append((last, violation))
    return tuple(trace)


def follow(initial: S, steps: Callable[[S], Steps[S]], labels: Iterable[str]) -> S | Violation:
    """Take the one step that begins with each label in turn; where that leads.

    Raises ``LookupError`` where the model has no such step.
    """
    state: S | Violation = initial
    for label in labels:
        if isinstance(state, Violation):
            raise LookupError(f"nothing follows a violation: {label}")
        found = [after for said, after in steps(state) if said.startswith(label)]
        if not found:
            possible = "; ".join(said for said, _ in steps(state))
            raise LookupError(f"no step {label!r}; possible: {possible}")
        state = found[0]
    return state
