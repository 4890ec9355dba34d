"""``ratified lab``: the digest, the dump, the end state, and one clear error for what makes no case."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ratified.cli.main import run
from ratified.consensus.engines import ENGINES

A = "a2299ff06a2ed5ced5842d100bb7867b3ae50f6e7d7da93f835385565f1ed9e9"
F = "fcc70ecabe37509133bb27155f5bd7d74981c3f98e79719e2b47077acca6a31f"


def test_a_case_prints_its_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "raft", "--case", "a"]) == 0
    assert capsys.readouterr().out == f"{A}\n"


def test_parameters_make_a_case(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--seed 3 --nodes 5 --rounds 1500 --proposals 10 --partition 0,1"
    assert run(["lab", "raft", *words.split(" ")]) == 0
    assert capsys.readouterr().out == f"{F}\n"


def test_the_dump_has_the_printed_digest_and_json_the_end_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dump"
    assert run(["lab", "raft", "--case", "A", "--json", "--dump", str(file)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == said["sha256"] == A
    assert said["leader"] == 1
    assert [node["commit"] for node in said["nodes"]] == [5, 5, 5]


def test_the_cases_are_the_same_for_paxos(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "paxos", "--case", "A", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["sha256"] == "0a35fdad1dd97c76a40a61b020c6181a56c4a40d4f723cb68fe70c2112aa9b63"
    assert [node["learned"] for node in said["nodes"]] == [5, 5, 5]


def test_zab_prints_its_own_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "zab", "--case", "E"]) == 0
    assert capsys.readouterr().out == "5e4dbddb605e469c99fb682c00256445dcb2ed07e984f673d4296ef19719979a\n"


def test_without_a_protocol_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab"]) == 0
    assert "raft" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--case Z", "there is no case 'Z'; the cases are A, B, C, D, E, F"),
        ("--nodes 3 --partition 0,7", "there is no node 7"),
        ("--case E --nodes 2", "give --partition too"),
        ("--nodes 0", "--nodes"),
        ("--seed -1", "--seed"),
        ("--dump /nowhere/at/all", "cannot write the dump to /nowhere/at/all"),
    ],
)
def test_what_makes_no_case_is_one_clear_error(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "raft", *words.split()]) != 0
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_kv_and_capstone_print_one_digest_on_every_engine(
    engine: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    dump = tmp_path / "dump"
    for command, digest in (
        ("kv", "1febc1252f87f873c315526e9d9c78a622131d700dccca84a6e089244930252b"),
        ("capstone", None),
    ):
        arguments = ["lab", command, "--seed", "42", "--ops", "500", "--keys", "32", "--engine", engine]
        assert run([*arguments, "--dump", str(dump)]) == 0
        printed = capsys.readouterr().out.strip()
        assert printed == hashlib.sha256(dump.read_bytes()).hexdigest()
        assert digest in (None, printed)
        assert run([*arguments, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["sha256"] == printed


def test_an_engine_or_a_scenario_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "kv", "--engine", "etcd"]) == 1
    assert "--engine is 'etcd'; choose one of: raft" in capsys.readouterr().err
    assert run(["lab", "capstone", "--scenario", "partition"]) == 1
    assert "choose one of: normal, fault" in capsys.readouterr().err
