"""How tests of this room run a coroutine: on either loop, with a deadline, and with nothing reported to the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

DEADLINE_S = 20.0


def run(main: Coroutine[Any, Any, T], loop: str = "uvloop") -> T:
    """Run to the end; a callback that raised on the loop fails the test, unless the test took note of it itself."""
    reported: list[str] = []

    async def bounded() -> T:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(f"{context['message']}: {context.get('exception')!r}")
        )
        async with asyncio.timeout(DEADLINE_S):
            return await main

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        result = runner.run(bounded())
    assert reported == []
    return result


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; the caller's deadline is what bounds it."""
    while not condition():
        await asyncio.sleep(0.001)
