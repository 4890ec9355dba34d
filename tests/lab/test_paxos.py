"""The published end states of the Multi-Paxos lab come from the production engine, byte for byte."""

import hashlib
import struct

import pytest

from ratified.lab.cases import CASES, Case
from ratified.lab.paxos import PAXOS
from ratified.lab.textbook import CaseRun

KNOWN = {
    "A": "0a35fdad1dd97c76a40a61b020c6181a56c4a40d4f723cb68fe70c2112aa9b63",
    "B": "3cc6cae6cb7f9d2b7cb88088a0f22581ac4c41bd86bab1b3676dd0ba33fd7ead",
    "C": "f28d025af748a790beded6167115c7094a7f939b45d439728e4d6b7e144c3be0",
    "D": "e5e0248c7c4fa20991b90afdac828eab91a7414497461dadc2e1553040693139",
    "E": "674e62d809248ac99401054c195d29b0e2eed6ccc78ec45e96da8aaf69c36096",
    "F": "7d80176abad54e533b2f4174e84f58432a000255fbb2ecbbb1dd915cb6bb6ab5",
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_known_answers(name: str) -> None:
    assert hashlib.sha256(CaseRun(PAXOS, CASES[name]).dump()).hexdigest() == KNOWN[name]


def test_the_end_state_for_people_says_who_leads_and_what_was_learned() -> None:
    end = CaseRun(PAXOS, CASES["E"]).end_state()
    nodes = end["nodes"]
    assert isinstance(nodes, list)
    assert end["leader"] == 1
    assert [(node["role"], node["learned"]) for node in nodes] == [("candidate", 0), ("leader", 3), ("follower", 3)]
    assert nodes[0]["own"] == (4, 0)


def test_a_new_leader_proposes_every_reported_slot_again() -> None:
    """Node 2 led in ballot (1, 2), and slots 0 to 5 were chosen in it, before node 0, which it could not reach, led."""
    dump = CaseRun(PAXOS, Case(seed=31337, nodes=5, rounds=2000, proposals=25, partition=((1, 0), (2, 0)))).dump()
    for slot in range(6):
        value = b"val-%d" % slot
        assert dump.count(struct.pack("<QIII", slot, 2, 0, len(value)) + value) == 5, "at each node"
        assert dump.count(struct.pack("<QIII", slot, 1, 2, len(value)) + value) == 0


FROZEN = {
    "seven nodes": (
        Case(seed=2024, nodes=7, rounds=2000, proposals=30),
        "653438302e5e3b6bd077bb407e17e77d0b3a6b7722eeffadcd1ef6fdcadcdd43",
    ),
    "a leader is deposed that two followers could not answer": (
        Case(seed=31337, nodes=5, rounds=2000, proposals=25, partition=((1, 0), (2, 0))),
        "1d5e0164ade737538c0044912d1d4291cbada8ae19fe32c945f505fb63c2124c",
    ),
    "ballots are refused and overtaken": (
        Case(seed=10, nodes=5, rounds=1500, proposals=12, partition=((2, 1), (2, 4), (4, 1), (4, 3))),
        "f5bc253c3ade115a1529d828e35db0827e3a0883e3c54dd278db68ab3a7112b7",
    ),
}


@pytest.mark.parametrize("name", FROZEN)
def test_our_own_cases_stay_frozen(name: str) -> None:
    case, digest = FROZEN[name]
    assert hashlib.sha256(CaseRun(PAXOS, case).dump()).hexdigest() == digest
