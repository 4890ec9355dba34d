"""A run is a function of its arguments, and of nothing else."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ratified.sim.arguments import Arguments
from ratified.sim.simulation import simulate
from ratified.sim.sweep import arguments_of, main, sweep

ARGUMENTS = ["--seed", "12", "--duration", "2s", "--scenario", "everything", "--network", "datagram"]


def dump_of(tmp_path: Path, name: str, hash_seed: str, *more: str) -> bytes:
    dump = tmp_path / name
    command = [
        sys.executable,
        "-c",
        "from ratified.cli.main import main; main()",
        "sim",
        *ARGUMENTS,
        "--dump",
        str(dump),
        *more,
    ]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    return dump.read_bytes()


def test_hash_seeds_and_a_trace_change_nothing(tmp_path: Path) -> None:
    plain = dump_of(tmp_path, "plain", "1")
    assert plain.startswith(b"RATIFSIM")
    assert dump_of(tmp_path, "hashed", "2") == plain
    trace = tmp_path / "trace.jsonl"
    assert dump_of(tmp_path, "traced", "3", "--trace", str(trace)) == plain
    assert trace.stat().st_size > 0


@pytest.mark.parametrize("scenario", ["fault-free", "everything"])
def test_the_same_arguments_give_the_same_dump_and_others_another(scenario: str) -> None:
    arguments = Arguments(seed=5, duration_us=1_000_000, scenario=scenario)
    dumps = [io.BytesIO(), io.BytesIO()]
    digests = [simulate(arguments, dump=dump).digest for dump in dumps]
    assert digests[0] == digests[1]
    assert dumps[0].getvalue() == dumps[1].getvalue()
    assert simulate(Arguments(seed=6, duration_us=1_000_000, scenario=scenario)).digest != digests[0]


def test_a_sweep_does_not_depend_on_how_many_processes_run_it() -> None:
    worlds = [arguments_of(seed, 500_000) for seed in range(1, 7)]
    alone = [report.digest for report in sweep(worlds, processes=1)]
    assert [report.digest for report in sweep(worlds, processes=2)] == alone
    assert arguments_of(3, 1) == arguments_of(3, 1)


def test_a_sweep_writes_the_digest_of_each_seed(tmp_path: Path) -> None:
    file = tmp_path / "digests"
    assert main(["--seeds", "2", "--first", "5", "--duration", "0.1", "--processes", "1", "--digests", str(file)]) == 0
    worlds = [arguments_of(seed, 100_000) for seed in (5, 6)]
    assert file.read_text().splitlines() == [
        f"{report.arguments.seed} {report.digest}" for report in sweep(worlds, processes=1)
    ]
