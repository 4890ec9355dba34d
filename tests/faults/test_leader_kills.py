"""Real processes: the leader is killed, or paused, under concurrent clients, again and again.

What clients and faults draw comes from a printed seed (``--fault-seed``); reports go to ``build/leader-*.json``. Only
correctness is asserted: how long no write went through is the machine's matter too.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from ratified.cli.faults import KILL, PAUSE, Fault, Outcome, trouble_leaders
from ratified.cli.local import LocalCluster
from tests.faults.conftest import KILLS_DEFAULT

BUILD = Path(__file__).parents[2] / "build"
CLIENTS = 8
PAUSES = 5


def trouble(directory: Path, fault: Fault, seed: int, times: int) -> Outcome:
    """Run, write the report, and assert that nothing was lost and nobody read what could not be."""
    with LocalCluster(directory) as cluster:
        outcome = asyncio.run(trouble_leaders(cluster, fault, seed=seed, times=times, clients=CLIENTS, say=print))
    BUILD.mkdir(exist_ok=True)
    report = BUILD / f"leader-{fault.name.lower()}.json"
    report.write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
    assert outcome.lost == ()
    assert outcome.verdict == "linearizable"
    assert len(outcome.blows) == times
    assert outcome.acknowledged_writes > 10 * times, "the clients hardly wrote: this run shows nothing"
    assert outcome.reads > 0
    return outcome


def test_a_killed_leader_loses_no_acknowledged_write_and_the_history_is_linearizable(
    tmp_path: Path, seed: int, pytestconfig: pytest.Config
) -> None:
    trouble(tmp_path, KILL, seed, pytestconfig.getoption("--count-kills", default=KILLS_DEFAULT))


def test_a_leader_that_was_paused_serves_no_old_state(tmp_path: Path, seed: int) -> None:
    outcome = trouble(tmp_path, PAUSE, seed, PAUSES)
    assert len({blow.node for blow in outcome.blows}) > 1, "no pause was long enough for another leader"
