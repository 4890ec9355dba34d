"""How whoever drives an engine in these tests ticks it (rule 11)."""

from __future__ import annotations

from ratified.consensus.contract import Engine

TIMERS_MAX = 4
"""As many as an engine has may expire at one time; each tick is for one."""


def tick(engine: Engine, now: int) -> None:
    """Tick it until nothing is due any more, as a node would that looks at the deadline after every turn."""
    engine.tick(now)
    for _ in range(TIMERS_MAX):
        due = engine.deadline
        if due is None or due > now:
            return
        engine.tick(now)
    raise AssertionError(f"rule 11: the deadline {due} has passed at {now}, and no tick moves it")
