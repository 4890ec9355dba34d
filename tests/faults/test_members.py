"""Real processes, on each engine: members come and go under concurrent clients.

The report goes to ``build/members-*.json``. Only correctness is asserted: how long no write went through is the
machine's matter too.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from ratified.consensus.engines import ENGINES
from ratified.testing.members import GROWN, change_members

BUILD = Path(__file__).parents[2] / "build"
CLIENTS = 8


@pytest.mark.parametrize("engine", ENGINES)
def test_one_member_becomes_five_others_and_three_of_them_are_left(tmp_path: Path, engine: str, seed: int) -> None:
    outcome = asyncio.run(change_members(tmp_path, [f"--engine={engine}"], seed=seed, clients=CLIENTS, say=print))
    BUILD.mkdir(exist_ok=True)
    (BUILD / f"members-{engine}.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
    assert outcome.lost == ()
    assert outcome.verdict == "linearizable"
    assert len(outcome.steps) == GROWN - 1 + 2 * GROWN + 2
    assert outcome.acknowledged_writes > 10 * len(outcome.steps), "the clients hardly wrote: this run shows nothing"
    assert outcome.reads > 0
