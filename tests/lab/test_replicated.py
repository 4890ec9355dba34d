"""The published end states of the replicated labs come from every production engine, byte for byte."""

from __future__ import annotations

import hashlib

import pytest

from ratified.consensus.engines import ENGINES
from ratified.lab.capstone import CapstoneLab
from ratified.lab.kv import KvLab, KvMap
from ratified.lab.replicated import LabBroken, ReplicatedCluster

KV = {
    (42, 500, 32, "default"): "1febc1252f87f873c315526e9d9c78a622131d700dccca84a6e089244930252b",
    (7, 2000, 128, "partition"): "272af5b41b729896a7195a6ea72d19111a96a50b29d5d4cdfaac03a058e1a2dc",
}
CAPSTONE = {
    (42, 200, 16, "normal"): "5976b45b9f40f440e8249da27fe4fe752e005f606efc3596bdb25ca4e4f99296",
    (7, 2000, 128, "fault"): "d67c36725af65242e985a308db5152af2a3e2525fab33d11ed6e826a252ff792",
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", KV, ids=lambda case: case[3])
def test_the_known_answers_of_kv(engine: str, case: tuple[int, int, int, str]) -> None:
    lab = KvLab(ENGINES[engine], *case)
    assert {hashlib.sha256(dump).hexdigest() for dump in lab.dumps()} == {KV[case]}
    assert hashlib.sha256(lab.dump()).hexdigest() == KV[case]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CAPSTONE, ids=lambda case: case[3])
def test_the_known_answers_of_the_capstone(engine: str, case: tuple[int, int, int, str]) -> None:
    assert hashlib.sha256(CapstoneLab(ENGINES[engine], *case).dump()).hexdigest() == CAPSTONE[case]


@pytest.mark.parametrize("engine", ENGINES)
def test_who_is_cut_off_or_down_has_nothing_new_until_it_is_back(engine: str) -> None:
    cluster = ReplicatedCluster(ENGINES[engine], 3, 1, KvMap)
    cluster.cut_off([2])
    cluster.propose(b"\x93\xa3Put\xc4\x01a\xc4\x01x")
    cluster.stop(1)
    cluster.heal()
    cluster.propose(b"\x93\xa3Put\xc4\x01b\xc4\x01y")
    assert len(cluster.nodes[1].log.entries) == 1
    assert not cluster.nodes[1].up
    cluster.start(1)
    assert cluster.machines[1].pairs == {}
    cluster.finish()
    assert [machine.pairs for machine in cluster.machines] == [{b"a": b"x", b"b": b"y"}] * 3


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_majority_nothing_is_committed_and_the_lab_says_so(engine: str) -> None:
    cluster = ReplicatedCluster(ENGINES[engine], 3, 1, KvMap)
    cluster.stop(1)
    cluster.stop(2)
    with pytest.raises(LabBroken, match=r"proposal 1 is not committed|does not take proposal 1"):
        cluster.propose(b"\x93\xa3Put\xc4\x01a\xc4\x01x")
