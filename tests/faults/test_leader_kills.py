"""Real processes, on each engine: the leader is killed, or paused, under concurrent clients, again and again.

What clients and faults draw comes from a printed seed (``--fault-seed``); reports go to ``build/leader-*.json``. Only
correctness is asserted: how long no write went through is the machine's matter too.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.testing.faults import KILL, PAUSE, ProcessFault
from ratified.testing.leaders import FaultRun, fail_leaders
from ratified.testing.processes import LocalCluster
from tests.faults.conftest import kills_of

BUILD = Path(__file__).parents[2] / "build"
CLIENTS = 8
PAUSES_OF_DEFAULT_ENGINE = 5
PAUSES_OF_OTHERS = 2


def trouble(directory: Path, engine: str, fault: ProcessFault, seed: int, times: int) -> FaultRun:
    """Run, write the report, and assert that nothing was lost and nobody read what could not be."""
    with LocalCluster(directory, arguments=[f"--engine={engine}"]) as cluster:
        outcome = asyncio.run(fail_leaders(cluster, fault, seed=seed, times=times, clients=CLIENTS, say=print))
    BUILD.mkdir(exist_ok=True)
    report = BUILD / f"leader-{fault.name.lower()}-{engine}.json"
    report.write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
    assert outcome.lost == ()
    assert outcome.verdict == "linearizable"
    assert len(outcome.faults) == times
    assert outcome.acknowledged_writes > 10 * times, "the clients hardly wrote: this run shows nothing"
    assert outcome.reads > 0
    return outcome


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_leader_loses_no_acknowledged_write_and_the_history_is_linearizable(
    tmp_path: Path, engine: str, seed: int, pytestconfig: pytest.Config
) -> None:
    trouble(tmp_path, engine, KILL, seed, kills_of(engine, pytestconfig))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_leader_that_was_paused_serves_no_old_state(tmp_path: Path, engine: str, seed: int) -> None:
    pauses = PAUSES_OF_DEFAULT_ENGINE if engine == DEFAULT_ENGINE else PAUSES_OF_OTHERS
    outcome = trouble(tmp_path, engine, PAUSE, seed, pauses)
    assert len({injected.node for injected in outcome.faults}) > 1, "no pause was long enough for another leader"
