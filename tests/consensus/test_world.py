"""Lost machines, slow disks, and each network that a protocol stands on: what must hold holds, and peace helps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from ratified.check.protocols import PROTOCOLS
from ratified.consensus.contract import Limits
from ratified.consensus.engines import ENGINES
from tests.consensus.networks import Datagrams, Returns, Sessions
from tests.consensus.world import Network, World

EVERY: list[tuple[str, Callable[[World], Network]]] = [
    (engine, network)
    for engine in ENGINES
    for network in ((Sessions,) if PROTOCOLS[engine].stands_on_sessions else (Sessions, Datagrams))
]


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize(("engine", "network"), [each for each in EVERY if each[0] != "zab"])
def test_safety_holds_in_a_hostile_world_and_progress_returns_with_peace(
    engine: str, network: Callable[[World], Network], seed: int
) -> None:
    """Of ZAB, ``zab/test_world`` asks this and more."""
    world = World(engine, network, seed, 3 + 2 * (seed % 3 == 2))
    world.run(1500)
    world.heal()


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if not PROTOCOLS[engine].stands_on_sessions])
def test_leaders_return_while_answers_to_their_earlier_leadership_are_under_way(engine: str) -> None:
    counts: Counter[str] = Counter()
    for seed in range(10):
        world = World(engine, Returns, seed, 5 if seed % 3 else 3, strikes_every=5)
        world.run(2000)
        world.heal()
        counts.update(world.counts)
    assert counts["leaders returned"] > 10, counts
    assert counts["late answers"] > 100, counts


@pytest.mark.parametrize(("engine", "network"), EVERY)
def test_peace_alone_keeps_one_leader(engine: str, network: Callable[[World], Network]) -> None:
    world = World(engine, network, 1, 5, chaos=False, limits=Limits())
    world.run(2000)
    assert world.counts["leaders"] == 1
    assert world.counts["lost"] == 0
    assert world.checks.delivered_max > 100


@pytest.mark.parametrize(("engine", "network"), EVERY)
def test_the_world_is_not_quiet(engine: str, network: Callable[[World], Network]) -> None:
    counts: Counter[str] = Counter()
    for seed in range(100, 120):
        world = World(engine, network, seed)
        world.run(2000)
        counts.update(world.counts)
    for what in (*ALWAYS, *OF_PROTOCOL[engine], *(["sessions broken"] if network is Sessions else [])):
        assert counts[what] > 2, (what, counts)


ALWAYS = (
    "crashes",
    "writes lost",
    "leaders",
    "fetches",
    "reads",
    "reads refused",
    "lost",
    "delivered COMMAND",
    "delivered NOOP",
)
OF_PROTOCOL = {
    "raft": ("truncations", "CommitAdvanced"),
    "paxos": ("Nack", "Learn", "Learned", "Decided"),
    "zab": ("truncations", "History", "UpToDate", "Commit"),
}
