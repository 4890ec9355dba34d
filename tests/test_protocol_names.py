"""What serves, stores and simulates never asks which protocol runs, and names none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ratified
from ratified.consensus.engines import ENGINES

ROOMS = ("node", "storage", "kv", "sim", "runtime", "api", "server", "wire", "client", "restore")
OF_ETCD = {"raft_term", "raftTerm", "raft_index", "raftIndex", "raft_applied_index", "raftAppliedIndex"}
"""Fields of etcd's messages, and what carries them."""
TEXTS_OF_ETCD = ('"RAFT NO LEADER"', '"raft-read-timeout"', '"raft-write-timeout"')
"""Why a member is not healthy, in etcd's words, whatever the protocol; and names of its flags."""
PROTOCOLS = sorted({"raft", "paxos", "zab", *ENGINES})
# A name is a part of an identifier of its own: linearizable names no protocol.
NAMES = re.compile(
    rf"\w*?(?:(?<![a-z])(?:{'|'.join(PROTOCOLS)})(?![a-z])|(?:{'|'.join(map(str.capitalize, PROTOCOLS))})(?![a-z])"
    rf"|(?:{'|'.join(map(str.upper, PROTOCOLS))}))\w*"
)
SOURCE = Path(ratified.__file__).parent


def test_names_are_found_in_all_their_forms() -> None:
    found = NAMES.findall("raft, RaftLog, is_paxos, zabLeader, ZAB; linearizable, craft, wizable, raftTerm")
    assert found == ["raft", "RaftLog", "is_paxos", "zabLeader", "ZAB", "raftTerm"]


def _without_texts(line: str) -> str:
    for text in TEXTS_OF_ETCD:
        line = line.replace(text, "")
    return line


@pytest.mark.parametrize("room", ROOMS)
def test_no_protocol_is_named(room: str) -> None:
    files = [file for file in sorted((SOURCE / room).rglob("*.py")) if "_pb2" not in file.name]
    assert files
    named = [
        f"{file.relative_to(SOURCE)}:{number}: {name}"
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        for name in NAMES.findall(_without_texts(line))
        if name not in OF_ETCD
    ]
    assert named == []
