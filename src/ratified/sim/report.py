"""What a run found: verdict, statistics, digest, and the command that replays it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ratified.sim.simulation import Arguments


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
        """The command that runs this very world again."""
        return replay_command(self.arguments)


def replay_command(arguments: Arguments) -> str:
    """The command line of these arguments."""
    nodes = f" --nodes {arguments.nodes}" if arguments.nodes is not None else ""
    return (
        f"ratified sim --seed {arguments.seed}{nodes} --duration {arguments.duration_us}us --scenario "
        f"{arguments.scenario} --network {arguments.network} --engine {arguments.engine}"
    )
