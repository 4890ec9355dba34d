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
OWN = {
    (42, 200, 16, "members"): "11dfc5c872618d12ad6b1a742211476c2a9c19d6e49e8e6c08c1bc54764d28d0",
    (7, 2000, 128, "members"): "a7ecae5166acc84e0d6c9dc0c58867282b5dee682d6ab68a2b04d9fb1d960213",
    (42, 200, 16, "snapshots"): "c4ad09bf2c6b48ceae6c8c07c889e12b1c3bc3366c213fd9541b3b5797b5f0dd",
    (7, 2000, 128, "snapshots"): "677382ac962d044aa7ee44e092455859b29fbc9a441e6a252a9ab8a1f45b655b",
}
"""Ours: frozen when all engines first agreed on them."""


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
@pytest.mark.parametrize("case", OWN, ids=lambda case: f"{case[3]}-{case[1]}")
def test_the_answers_of_our_own_scenarios(engine: str, case: tuple[int, int, int, str]) -> None:
    assert hashlib.sha256(CapstoneLab(ENGINES[engine], *case).dump()).hexdigest() == OWN[case]


@pytest.mark.parametrize("engine", ENGINES)
def test_members_come_and_go(engine: str) -> None:
    nodes = CapstoneLab(ENGINES[engine], 42, 8, 4, "members").end_state()["nodes"]
    assert isinstance(nodes, list)
    assert [node["member"] for node in nodes] == [0, 3, 4]
    assert {node["voters"] for node in nodes} == {(0, 3, 4)}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_follower_that_was_down_is_sent_a_snapshot(engine: str) -> None:
    nodes = CapstoneLab(ENGINES[engine], 42, 8, 4, "snapshots").end_state()["nodes"]
    assert isinstance(nodes, list)
    assert [(node["base"], node["commit"]) for node in nodes] == [(6, 8)] * 3


@pytest.mark.parametrize("engine", ENGINES)
def test_who_starts_behind_a_snapshot_starts_with_it(engine: str) -> None:
    cluster = ReplicatedCluster(ENGINES[engine], 3, 1, KvMap, heartbeats_answered=True)
    cluster.stop(1)
    cluster.propose(b"\x93\xa3Put\xc4\x01a\xc4\x01x")
    cluster.cut()
    cluster.start(1)
    cluster.catch_up()
    cluster.stop(1)
    cluster.start(1)
    assert cluster.machines[1].pairs == {b"a": b"x"}


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
