"""``ratified compare``: table, JSON and figure; and one clear error for what cannot be compared or drawn."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ratified.cli.compare import rows_of
from ratified.cli.main import run
from ratified.compare.comparison import PLANS, measure, summarize
from ratified.consensus.engines import ENGINES


def measured(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(["compare", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_table_has_a_column_for_each_engine_and_a_row_for_each_measure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "--engines", ",".join(ENGINES), "--scenario", "leader-crash", "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"leader-crash: {PLANS['leader-crash'].text}\n")
    assert all(engine in said for engine in ENGINES)
    for measure_name in (
        "messages per commit",
        "bytes sent per commit",
        "log bytes per commit",
        "commit latency, p50",
        "commit latency, p99",
        "without a commit after the fault",
        "until the returned member has caught up",
    ):
        assert measure_name in said


def test_what_no_engine_has_is_no_row() -> None:
    rows = dict(rows_of([summarize([measure("raft", "steady", 1, 3)])]))
    assert not any("fault" in heading for heading in rows)


def test_processes_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--scenario", "bursts", "--seeds", "2")
    told = measured(capsys, *arguments, "--processes", "1")
    assert told == measured(capsys, *arguments, "--processes", "2")
    assert [summary["engine"] for summary in told["engines"]] == list(ENGINES)
    assert [(one["engine"], one["seed"]) for one in told["runs"]] == [(e, seed) for e in ENGINES for seed in (1, 2)]


def test_the_figure_is_drawn_the_same_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn: list[bytes] = []
    for name in ("one.png", "two.png"):
        file = tmp_path / name
        arguments = ["compare", "--engines", "raft", "--scenario", "leader-crash", "--seeds", "1", "--processes", "1"]
        assert run([*arguments, "--plot", str(file)]) == 0
        drawn.append(file.read_bytes())
    assert drawn[0].startswith(b"\x89PNG")
    assert drawn[0] == drawn[1]


def test_without_matplotlib_the_error_names_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(["compare", "--plot", str(tmp_path / "figure.png")]) == 1
    assert "pip install 'ratified[plot]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--engines", "raft,etcd"], "--engines is 'etcd'; choose one of: raft"),
        (["--engines", ","], "--engines names none"),
        (["--scenario", "storm"], "--scenario is 'storm'; choose one of: steady"),
        (["--plot", "figure.bmp"], "end the name in one of: .png, .svg, .pdf"),
        (["--plot", "/nowhere/figure.png"], "there is no directory /nowhere"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *arguments]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1


def test_the_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "--scenario", "help"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(PLANS)
