"""Real processes: the leader is killed under concurrent clients, again and again.

The clients' and the killer's choices come from a printed seed (``--kill-seed``); a report goes to
``build/leader-kills.json``. Only correctness is asserted: how long no write went through is the machine's matter too.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec
import pytest

from ratified.cli.kills import kill_leaders
from ratified.cli.local import LocalCluster
from tests.faults.conftest import KILLS_DEFAULT

REPORT = Path(__file__).parents[2] / "build" / "leader-kills.json"
CLIENTS = 8


def test_no_acknowledged_write_is_lost_and_the_history_is_linearizable(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    kills = pytestconfig.getoption("--count-kills", default=KILLS_DEFAULT)
    seed = pytestconfig.getoption("--kill-seed", default=None)
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"--kill-seed {seed}")
    with LocalCluster(tmp_path) as cluster:
        outcome = asyncio.run(kill_leaders(cluster, seed=seed, kills=kills, clients=CLIENTS, say=print))
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
    assert outcome.lost == ()
    assert outcome.verdict == "linearizable"
    assert len(outcome.kills) == kills
    assert outcome.acknowledged_writes > 10 * kills, "the clients hardly wrote: this run shows nothing"
    assert outcome.reads > 0
