"""``ratified sim``: the verdict, the replay line, files, and one clear line for what is wrong."""

import hashlib
import json
from pathlib import Path

import pytest

from ratified.cli.main import run


def test_it_says_verdict_digest_and_how_to_replay(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    arguments = ["sim", "--seed", "4", "--duration", "300ms", "--scenario", "fault-free", "--dump", str(dump)]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("passed: every check held")
    assert f"digest {hashlib.sha256(dump.read_bytes()).hexdigest()}" in out
    replay = out.splitlines()[-1].removeprefix("replay: ratified ").split()
    assert run(replay) == 0
    assert capsys.readouterr().out.splitlines()[1:] == out.splitlines()[1:]


def test_json_holds_the_whole_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--seed", "4", "--nodes", "3", "--duration", "200ms", "--network", "datagram", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["broken"] is None
    assert report["nodes"] == 3
    assert report["counters"]["elections"] >= 1
    assert report["replay"].startswith("ratified sim --seed 4 --nodes 3")


def test_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--scenario", "help"]) == 0
    assert "machine-losses" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scenario", "none"], "choose one of: fault-free"),
        (["--network", "pigeon"], "choose one of: session, datagram"),
        (["--engine", "none"], "choose one of: raft"),
        (["--engine", "zab", "--network", "datagram"], "zab promises progress over sessions only"),
        (["--duration", "3 weeks"], "write a number and us, ms, s or m"),
        (["--duration", "9999999m"], "a run ends at 24 h"),
        (["--dump", "/nonexistent/dump"], "cannot write /nonexistent/dump"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", *options]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
