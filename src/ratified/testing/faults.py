"""What can be done to a node of a real cluster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ratified.testing.processes import LocalNode

DOWN_S = (0.0, 0.5)
"""How long a killed node stays down: at least, at most."""
PAUSED_S = (2.2, 4.0)
"""How long a paused node stands still: with the default time-outs longer than an election takes."""


class ProcessFault(NamedTuple):
    """A name for people, and the whole of it, until the node serves again."""

    name: str
    inflict: Callable[[LocalNode, random.Random], Awaitable[None]]


async def _kill(node: LocalNode, draw: random.Random) -> None:
    node.kill()
    await asyncio.sleep(draw.uniform(*DOWN_S))
    node.start()
    await asyncio.to_thread(node.wait_ready)


async def _pause(node: LocalNode, draw: random.Random) -> None:
    node.pause()
    try:
        await asyncio.sleep(draw.uniform(*PAUSED_S))
    finally:
        node.go_on()


KILL = ProcessFault("SIGKILL", _kill)
PAUSE = ProcessFault("SIGSTOP", _pause)
