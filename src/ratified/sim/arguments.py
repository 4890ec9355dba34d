"""Everything that a simulated run depends on, and the command that replays it."""

from __future__ import annotations

import msgspec

from ratified.consensus.engines import DEFAULT_ENGINE


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    seed: int
    nodes: int | None = None
    """None: drawn from the seed, 3 to 7."""
    duration_us: int = 30_000_000
    scenario: str = "everything"
    network: str = "session"
    engine: str = DEFAULT_ENGINE


def replay_command(arguments: Arguments) -> str:
    nodes = f" --nodes {arguments.nodes}" if arguments.nodes is not None else ""
    return (
        f"ratified sim --seed {arguments.seed}{nodes} --duration {arguments.duration_us}us --scenario "
        f"{arguments.scenario} --network {arguments.network} --engine {arguments.engine}"
    )
