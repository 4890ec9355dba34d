"""Is a history of concurrent operations linearizable? Wing and Gong's search with Lowe's memoisation.

Wing, Gong: *Testing and verifying concurrent objects* (1993). Lowe: *Testing for linearizability* (2017), section 4:
two partial orders that have linearized the same operations and reached the same state need not both be searched.

Rules:

1. ``invoked`` and ``returned`` are positions in one total order of what really happened; an operation that returned
   before another was invoked comes before it.
2. An operation with ``returned`` None has an unknown outcome: it stays open for ever, takes effect at any point after
   its invocation, or never.
3. What was refused has not happened, and does not belong into a history.
4. Histories of independent objects (keys) are checked one by one: linearizability is local (Herlihy, Wing 1990,
   theorem 1), which is what makes the search affordable.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

STEPS_MAX = 2_000_000
"""Steps of the search after which a history counts as undecided."""

Call = TypeVar("Call")
Result = TypeVar("Result")
CallIn = TypeVar("CallIn", contravariant=True)
ResultIn = TypeVar("ResultIn", contravariant=True)
State = TypeVar("State", bound=Hashable)


class Operation(msgspec.Struct, Generic[Call, Result], frozen=True):
    """One operation of a history; ``result`` counts only where ``returned`` is not None."""

    client: int
    call: Call
    invoked: int
    returned: int | None
    result: Result | None


class Model(Protocol[State, CallIn, ResultIn]):
    """The sequential object that a history is compared with."""

    @property
    def initial(self) -> State:
        """The state before the first operation."""

    def step(self, state: State, call: CallIn, result: ResultIn | None, known: bool) -> tuple[bool, State]:
        """May ``call`` happen in ``state`` and answer ``result``, if that is known? And the state afterwards."""


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

    Operations of unknown outcome make the search wide, and few of them explain anything: those that returned are
    tried first, and a search that puts more than one unknown operation between two known ones is made only where a
    narrower one was cut off without an answer.
    """
    steps_left = steps_max
    for chain_max in range(1, len(history) + 2):
        search = _Search(history, model, chain_max)
        found = search.run(steps_left)
        steps_left -= search.steps
        if isinstance(found, Linearizable) or (isinstance(found, NotLinearizable) and not search.cut_off):
            return found
        if steps_left <= 0:
            return Undecided(steps_max)
    raise AssertionError("a search whose chain is as long as the history is never cut off")


class _Search(Generic[State, Call, Result]):
    """One depth-first search with at most ``chain_max`` unknown operations between two known ones."""

    def __init__(
        self, history: Sequence[Operation[Call, Result]], model: Model[State, Call, Result], chain_max: int
    ) -> None:
        self.steps = 0
        self.cut_off = False
        self._history = history
        self._model = model
        self._chain_max = chain_max

    def run(self, steps_max: int) -> Linearizable | NotLinearizable | Undecided:
        """Search for at most this many steps."""
        history = self._history
        head = _linked(history)
        remaining = sum(operation.returned is not None for operation in history)
        state = self._model.initial
        linearized = chain = 0
        seen: set[tuple[int, State, int]] = {(0, state, 0)}
        stack: list[tuple[_Node, State, int]] = []
        longest: tuple[int, ...] = ()
        stuck = -1
        node, unknown_pass = head.after, False
        while self.steps < steps_max:
            self.steps += 1
            if remaining == 0:
                return Linearizable(tuple(done.operation for done, _, _ in stack))
            assert node is not None, "an operation that returned and is not linearized has its return ahead"
            if not node.is_call and not unknown_pass:
                if len(stack) > len(longest) or stuck < 0:
                    longest = tuple(done.operation for done, _, _ in stack)
                    stuck = node.operation
                node, unknown_pass = head.after, True
                continue
            if not node.is_call:
                if not stack:
                    return NotLinearizable(longest, stuck)
                undone, state, chain = stack.pop()
                linearized &= ~(1 << undone.operation)
                unknown_pass = history[undone.operation].returned is None
                remaining += not unknown_pass
                _unlift(undone)
                node = undone.after
                continue
            operation = history[node.operation]
            known = operation.returned is not None
            if known is not unknown_pass:
                if not known and chain >= self._chain_max:
                    self.cut_off = True
                    node = node.after
                    continue
                allowed, then = self._model.step(state, operation.call, operation.result, known)
                key = (linearized | 1 << node.operation, then, 0 if known else chain + 1)
                if allowed and key not in seen:
                    seen.add(key)
                    stack.append((node, state, chain))
                    linearized, state, chain = key
                    remaining -= known
                    _lift(node)
                    node, unknown_pass = head.after, False
                    continue
            node = node.after
        return Undecided(steps_max)


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
