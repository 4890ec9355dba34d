"""Is a history of concurrent operations linearizable? Wing and Gong's search with Lowe's memoisation.

Wing, Gong: *Testing and verifying concurrent objects* (1993). Lowe: *Testing for linearizability* (2017), section 4:
two partial orders that have linearized the same operations and reached the same state need not both be searched.

Rules:

1. ``invoked`` and ``returned`` are positions in one total order of what really happened; an operation that returned
   before another was invoked comes before it.
2. An operation with ``returned`` None has an unknown outcome: it stays open for ever, takes effect at any point after
   its invocation, or never.
3. What was refused has not happened, and does not belong in a history.
4. Histories of independent objects (keys) are checked one by one: linearizability is local (Herlihy, Wing 1990,
   theorem 1), which is what makes the search affordable.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

STEPS_MAX = 1_000_000
"""Steps of each search after which a history counts as undecided."""
_FIRST_STEPS = 20_000
_NO_HINT = 2**63

Call = TypeVar("Call", bound=Hashable)
Result = TypeVar("Result")
CallIn = TypeVar("CallIn", contravariant=True)
ResultIn = TypeVar("ResultIn", contravariant=True)
State = TypeVar("State", bound=Hashable)


class Operation(msgspec.Struct, Generic[Call, Result], frozen=True):
    """One operation of a history; ``result`` counts only where ``returned`` is not None.

    ``hint`` is where the operation probably comes in the order that explains the history, if anything is known of that,
    such as its place in the system's log. It decides what is tried first, never what is accepted.
    """

    client: int
    call: Call
    invoked: int
    returned: int | None
    result: Result | None
    hint: int | None = None


class Model(Protocol[State, CallIn, ResultIn]):
    """The sequential object that a history is compared with."""

    @property
    def initial(self) -> State:
        """The state before the first operation."""

    def step(self, state: State, call: CallIn, result: ResultIn | None, known: bool) -> tuple[bool, State]:
        """May ``call`` happen in ``state`` and answer ``result``, if that is known? And the state afterwards."""

    def only_reads(self, call: CallIn) -> bool:
        """Does ``call`` leave every state as it is?"""


class Linearizable(msgspec.Struct, frozen=True):
    """The history is linearizable; ``order`` holds the positions of its operations in one order that explains it."""

    order: tuple[int, ...]


class NotLinearizable(msgspec.Struct, frozen=True):
    """No order explains the history: ``explained`` is the longest beginning found, ``stuck`` what fits nowhere."""

    explained: tuple[int, ...]
    stuck: int


class Undecided(msgspec.Struct, frozen=True):
    """The search gave up after this many steps."""

    steps: int


class _Node:
    """A call, or a return, in the doubly linked list of what is not linearized yet."""

    __slots__ = ("after", "before", "is_call", "operation", "returns")

    def __init__(self, operation: int, is_call: bool, returns: _Node | None = None) -> None:
        self.operation = operation
        self.is_call = is_call
        self.returns = returns
        self.before: _Node | None = None
        self.after: _Node | None = None


def linearize(
    history: Sequence[Operation[Call, Result]], model: Model[State, Call, Result], steps_max: int = STEPS_MAX
) -> Linearizable | NotLinearizable | Undecided:
    """Search for an order of ``history`` that respects real time and that ``model`` allows.

    Operations of unknown outcome make the search wide, and few of them explain anything. So narrow searches are made
    first, that put few unknown operations without a hint between two others, and every width gets its turn with a small
    budget of steps before any gets a large one.
    """
    budget = _FIRST_STEPS
    while True:
        budget = min(budget, steps_max)
        for chain_max in (1, 2, 4, len(history)):
            search = _Search(history, model, chain_max)
            found = search.run(budget)
            if isinstance(found, Linearizable) or (isinstance(found, NotLinearizable) and not search.cut_off):
                return found
        if budget == steps_max:
            return Undecided(steps_max)
        budget *= 8


class _Frame(Generic[State]):
    """A place in the search: the state reached, and what may come next, not tried yet, the most likely last."""

    __slots__ = ("candidates", "chain", "linearized", "node", "state")

    def __init__(self, node: _Node | None, state: State, linearized: int, chain: int) -> None:
        self.node = node
        self.state = state
        self.linearized = linearized
        self.chain = chain
        self.candidates: list[_Node] = []


class _Search(Generic[State, Call, Result]):
    """One depth-first search with at most ``chain_max`` unknown operations without a hint between two others."""

    def __init__(
        self, history: Sequence[Operation[Call, Result]], model: Model[State, Call, Result], chain_max: int
    ) -> None:
        self.steps = 0
        self.cut_off = False
        self._history = history
        self._model = model
        self._chain_max = chain_max
        self._head = _linked(history)
        self._stuck = -1

    def run(self, steps_max: int) -> Linearizable | NotLinearizable | Undecided:
        """Search for at most this many steps."""
        remaining = sum(operation.returned is not None for operation in self._history)
        frame = _Frame(None, self._model.initial, 0, 0)
        seen: set[tuple[int, State, int]] = {(0, frame.state, 0)}
        stack = [frame]
        longest: tuple[int, ...] = ()
        frame.candidates = self._candidates(frame)
        while remaining:
            if not frame.candidates:
                if self._stuck < 0 or len(stack) > len(longest) + 1:
                    longest, self._stuck = _order(stack), self._first_to_return()
                stack.pop()
                if frame.node is None:
                    return NotLinearizable(longest, self._stuck)
                remaining += self._history[frame.node.operation].returned is not None
                _unlift(frame.node)
                frame = stack[-1]
                continue
            self.steps += 1
            if self.steps > steps_max:
                return Undecided(steps_max)
            node = frame.candidates.pop()
            operation = self._history[node.operation]
            known = operation.returned is not None
            allowed, state = self._model.step(frame.state, operation.call, operation.result, known)
            guessed = not known and operation.hint is None
            key = (frame.linearized | 1 << node.operation, state, frame.chain + 1 if guessed else 0)
            # A guess that changes nothing is better left open: it may be of use later.
            if allowed and key not in seen and not (guessed and state == frame.state):
                seen.add(key)
                remaining -= known
                _lift(node)
                frame = _Frame(node, state, key[0], key[2])
                stack.append(frame)
                if remaining:
                    frame.candidates = self._candidates(frame)
        return Linearizable(_order(stack))

    def _candidates(self, frame: _Frame[State]) -> list[_Node]:
        """Every call before the first return: what may be linearized next, the most likely last.

        Of unknown operations with equal calls one stands for all: the one invoked first. And a read that the present
        state explains stands for everything: in any order that explains the rest it can be moved here.
        """
        likely: list[tuple[int, int, _Node]] = []
        guesses: dict[tuple[type, Call], _Node] = {}
        place = 0
        node = self._head.after
        while node is not None and node.is_call:
            operation = self._history[node.operation]
            if self._is_explained(operation, frame.state):
                return [node]
            if operation.hint is not None:
                likely.append((operation.hint, place, node))
            elif operation.returned is not None:
                likely.append((_NO_HINT, place, node))
            else:
                guesses.setdefault((type(operation.call), operation.call), node)
            place += 1
            node = node.after
        likely.sort(reverse=True)
        ordered = [call for _, _, call in likely]
        if frame.chain >= self._chain_max:
            self.cut_off = self.cut_off or bool(guesses)
            return ordered
        return [*guesses.values(), *ordered]

    def _is_explained(self, operation: Operation[Call, Result], state: State) -> bool:
        """Is it a read, and what it answered the present state?"""
        if operation.returned is None or not self._model.only_reads(operation.call):
            return False
        return self._model.step(state, operation.call, operation.result, True)[0]

    def _first_to_return(self) -> int:
        node = self._head.after
        while node is not None and node.is_call:
            node = node.after
        assert node is not None, "what returned and is not linearized has its return ahead"
        return node.operation


def _order(stack: Sequence[_Frame[State]]) -> tuple[int, ...]:
    return tuple(frame.node.operation for frame in stack if frame.node is not None)


def _linked(history: Sequence[Operation[Call, Result]]) -> _Node:
    """All calls and returns in their real order, behind a head."""
    events: list[tuple[int, int, _Node]] = []
    for position, operation in enumerate(history):
        returns = None
        if operation.returned is not None:
            returns = _Node(position, is_call=False)
            events.append((operation.returned, 1, returns))
        events.append((operation.invoked, 0, _Node(position, is_call=True, returns=returns)))
    # At one position a call comes before a return: the two operations overlap, which is the weaker claim.
    events.sort(key=lambda event: (event[0], event[1], event[2].operation))
    head = last = _Node(-1, is_call=False)
    for _, _, node in events:
        last.after = node
        node.before = last
        last = node
    return head


def _lift(call: _Node) -> None:
    """Take a call and its return out of the list."""
    for node in (call,) if call.returns is None else (call, call.returns):
        assert node.before is not None
        node.before.after = node.after
        if node.after is not None:
            node.after.before = node.before


def _unlift(call: _Node) -> None:
    """Put a lifted call and its return back where they were; calls come back in the reverse order of lifting."""
    for node in (call,) if call.returns is None else (call.returns, call):
        assert node.before is not None
        node.before.after = node
        if node.after is not None:
            node.after.before = node
