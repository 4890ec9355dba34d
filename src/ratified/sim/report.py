"""What a run found: verdict, statistics, digest, and the command that replays it."""

from __future__ import annotations

import msgspec

from ratified.sim.arguments import Arguments, replay_command


class Report(msgspec.Struct, frozen=True):
    """The outcome of one run."""

    arguments: Arguments
    nodes: int
    groups: int
    broken: tuple[str, str] | None
    """The rule that was broken, and what was seen; None: all held."""
    virtual_us: int
    events: int
    counters: dict[str, int]
    """What happened, by name, sorted."""
    digest: str
    """SHA-256 of the canonical dump, in hexadecimal."""

    @property
    def replay(self) -> str:
        return replay_command(self.arguments)
