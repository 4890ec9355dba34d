"""The published end states of the Raft lab come from the production engine, byte for byte."""

import hashlib

import pytest

from ratified.lab.cases import CASES, Case, CaseInvalid, parse_partition
from ratified.lab.numbers import sm
from ratified.lab.raft import RAFT
from ratified.lab.textbook import CaseRun

KNOWN = {
    "A": "a2299ff06a2ed5ced5842d100bb7867b3ae50f6e7d7da93f835385565f1ed9e9",
    "B": "b6dc06aee72e595f51bd5045ea7c92ffcbe7f6fda3198985f9ded1eca2671c4b",
    "C": "f9db9ea7e6c1ca2b3a911b42b2431e964a4ee7c5e40e27efd29b41e747958838",
    "D": "ce8b8e05d6ad0b4a243753a934b2f052c2363e97beca0c175586677d1a489408",
    "E": "b1689eb48b209187b7cd82a24b1a6a2d19b0be4b481ac1a5b4f1ac9e23a6ae05",
    "F": "fcc70ecabe37509133bb27155f5bd7d74981c3f98e79719e2b47077acca6a31f",
}


def test_sm_is_the_labs_function_and_not_splitmix64() -> None:
    assert sm(0) == 0x8B57DAFCA0CEE644


@pytest.mark.parametrize("name", KNOWN)
def test_the_known_answers(name: str) -> None:
    assert hashlib.sha256(CaseRun(RAFT, CASES[name]).dump()).hexdigest() == KNOWN[name]


FROZEN = {
    "seven nodes": (
        Case(seed=2024, nodes=7, rounds=2000, proposals=30),
        "60d31393d57a6b1d99a3cfc1f0b99bc6f49fdf4f2bbefce417db0aadb4d09a4e",
    ),
    "the elected leader cannot reach two followers": (
        Case(seed=11, nodes=5, rounds=2000, proposals=12, partition=((0, 1), (0, 2), (3, 4))),
        "fe03701d599acde6aebdf94d0137d8104ce4fa10d453ffd58d6c90863dafdcc9",
    ),
    "a minority of three among seven is cut off": (
        Case(
            seed=5,
            nodes=7,
            rounds=1500,
            proposals=9,
            partition=tuple((a, b) for a in range(7) for b in range(7) if (a < 3) != (b < 3)),
        ),
        "df4bdbe633dd10d587b74db1800b890e1e8e64c7aef5b0adcdb5de8205f09d35",
    ),
}


@pytest.mark.parametrize("name", FROZEN)
def test_our_own_cases_stay_frozen(name: str) -> None:
    case, digest = FROZEN[name]
    assert hashlib.sha256(CaseRun(RAFT, case).dump()).hexdigest() == digest


def test_a_partition_is_a_list_of_pairs() -> None:
    assert parse_partition("0,1,2,0", 3) == ((0, 1), (2, 0))
    assert parse_partition("", 3) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [("0", "pairs"), ("0,3", "there is no node 3"), ("a,b", "node ids separated"), ("0,-1", "node -1")],
)
def test_a_bad_partition_is_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(CaseInvalid, match=says):
        parse_partition(text, 3)
