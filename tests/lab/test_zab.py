"""The published end states of the ZAB lab come from the production engine, byte for byte."""

import hashlib

import pytest

from ratified.lab.cases import CASES, Case
from ratified.lab.textbook import CaseRun
from ratified.lab.zab import ZAB

KNOWN = {
    "A": "16af5aa6dbd5ce09b259755f3339d6cf23966ce115b0e30d9c2990487783047d",
    "B": "b60388e978a9b98792edb00c8d33217da8bff9945a89d2c0c18b5f69520b91cf",
    "C": "8aef7604639fe0f2b349b38d74e10b6da8ac252b626976563bba69c722426296",
    "D": "d4dbb92f91f9a0adf0c4c0b91fa46b2a5145907450897cd6473a02a6279604fd",
    "E": "5e4dbddb605e469c99fb682c00256445dcb2ed07e984f673d4296ef19719979a",
    "F": "c9df583bd714534c488aac710e6cc6e57e4b21d2fe96ec17068bd1c7525bc1b3",
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_known_answers(name: str) -> None:
    assert hashlib.sha256(CaseRun(ZAB, CASES[name]).dump()).hexdigest() == KNOWN[name]


FROZEN = {
    "seven nodes": Case(seed=2024, nodes=7, rounds=2000, proposals=30),
    "a proposal at almost every tick": Case(seed=5, nodes=5, rounds=1000, proposals=800),
    "the elected leader cannot reach two followers": Case(
        seed=11, nodes=5, rounds=2000, proposals=12, partition=((4, 1), (4, 2), (3, 0))
    ),
    "a minority of three among seven is cut off": Case(
        seed=5,
        nodes=7,
        rounds=1500,
        proposals=9,
        partition=tuple((a, b) for a in range(7) for b in range(7) if (a < 3) != (b < 3)),
    ),
}
DIGESTS = {
    "seven nodes": "e3fafe1cb59bdf032e9f17b9b00dc1907dbd081accb04f2f5ca35a5975cf62ac",
    "a proposal at almost every tick": "52cff55d4950ea13a03ab87acbd8c1e22661945cd169cb233b4fbaf6ea45cadd",
    "the elected leader cannot reach two followers": "f93f6212b5fe582124b559d1385d96658176e86549d2f9f21e086c3f85d2de4c",
    "a minority of three among seven is cut off": "759fb9770343551a12dea8b409617530f3d1e30deea478c07f1d2d2bf2281982",
}


@pytest.mark.parametrize("name", FROZEN)
def test_our_own_cases_stay_frozen(name: str) -> None:
    assert hashlib.sha256(CaseRun(ZAB, FROZEN[name]).dump()).hexdigest() == DIGESTS[name]


def test_the_sessions_of_the_lab_keep_order() -> None:
    """Proposals and commits close behind one another never break a link, although their delays differ."""
    run = CaseRun(ZAB, FROZEN["a proposal at almost every tick"])
    assert not any(word.startswith("ignored") for node in run.nodes for word in node.engine.status().words)
