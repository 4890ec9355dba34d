"""The steps that a plan is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from ratified.client.calls import Call
from ratified.client.results import Event

T = TypeVar("T")


class ChangeOf(NamedTuple):
    """Wait for a change of a key, or under a prefix, at ``revision`` or later; ``kind`` None: any."""

    key: bytes
    revision: int
    kind: Literal["put", "delete"] | None = None
    prefix: bool = False


Step: TypeAlias = "Call[Any] | ChangeOf"
Plan: TypeAlias = Generator[Step, Any, T]


class Carrier(Protocol):
    """Who carries plans out and blocks meanwhile."""

    def carry_out(self, plan: Plan[T], timeout_s: float | None = None) -> T:
        """The plan's result. A failure of a step is raised inside the plan, ``TimeoutError`` where waiting for changes
        takes longer than ``timeout_s``; None: that may take for ever."""


class AsyncCarrier(Protocol):
    """Who carries plans out and is awaited."""

    def carry_out(self, plan: Plan[T], timeout_s: float | None = None) -> Awaitable[T]:
        """As ``Carrier``'s."""


def ask(call: Call[T]) -> Plan[T]:
    """One call."""
    answer: T = yield call
    return answer


def change_of(
    key: bytes, revision: int, kind: Literal["put", "delete"] | None = None, *, prefix: bool = False
) -> Plan[Event]:
    """One wait."""
    event: Event = yield ChangeOf(key, revision, kind, prefix)
    return event
