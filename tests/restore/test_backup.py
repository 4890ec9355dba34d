"""What a backup is restored to: the same on every member, a new cluster, whole or not there."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from ratified.consensus.contract import NO_ERA, Base, Membership
from ratified.kv import commands
from ratified.kv.check import KV_CHECKS
from ratified.kv.store import KvStore
from ratified.machine import Command, SnapshotDamaged
from ratified.node.cluster_table import decode_table, is_as_first
from ratified.restore.backup import Plan, restore
from ratified.restore.directory import DirectoryTaken
from ratified.storage import checkpoint, identity
from ratified.storage.files import Directory
from ratified.storage.format import LogLimits
from ratified.storage.guard import STORE_DIRECTORY, open_store
from ratified.storage.identity import cluster_and_member_ids
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.recovery import Recovered, recover
from ratified.wire.backup import BackupDamaged, BackupEncoder, BackupHead, verify
from ratified.wire.etcd.rpc_pb2 import PutRequest

MEMBERS = {"a": ["http://a:1"], "b": ["http://b:1"], "c": ["http://c:1"]}
OLD = {11: "a", 12: "b", 13: "c"}
BOOT = b"boot"


def written(keys: int, index: int = 40) -> KvStore:
    environment = MemoryEnvironment()
    store = KvStore(environment.space(0))
    puts = [commands.put(PutRequest(key=b"%d" % n, value=b"v" * n).SerializeToString()) for n in range(keys)]
    with environment.transaction():
        store.apply([Command(at, put) for at, put in enumerate(puts, 1)], index, (7, 0))
    return store


def backup(store: KvStore, *, drop: int = 0) -> io.BytesIO:
    encoder = BackupEncoder()
    head = BackupHead(
        cluster=5,
        member=12,
        engine="raft",
        members=OLD,
        index=store.applied,
        era=store.applied_era,
        revision=store.revision,
        keys=1,
    )
    pieces: list[bytes] = []
    state = store.read_state()
    while (piece := state.read(100)) is not None:
        pieces.append(piece)
    state.close()
    return io.BytesIO(b"".join([encoder.head(head), *map(encoder.piece, pieces[: len(pieces) - drop]), encoder.end()]))


def plan(name: str, token: str = "t", members: dict[str, list[str]] | None = None) -> Plan:
    return Plan(name=name, members=members or MEMBERS, token=token, engine="raft")


def recovered(path: Path) -> Recovered:
    files = Directory(path)
    try:
        return recover(files, LogLimits())
    finally:
        files.close()


def stored(path: Path) -> tuple[KvStore, str | None]:
    """The store as a start opens it, and why it is new."""
    files = Directory(path)
    owner = identity.read(files)
    assert owner is not None
    environment, why = open_store(path, BOOT, KV_CHECKS, checkpoint.pieces(files, owner.directory))
    store = KvStore(environment.space(0))
    environment.close()
    files.close()
    return store, why


def contents(path: Path) -> dict[str, bytes]:
    return {str(each.relative_to(path)): each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file()}


def test_all_members_begin_with_the_same_state_and_ids_of_their_own(tmp_path: Path) -> None:
    old = written(20)
    file = backup(old)
    owners = {name: restore(file, verify(file), plan(name), tmp_path / name, BOOT) for name in MEMBERS}
    assert len({owner.cluster for owner in owners.values()}) == 1
    assert len({owner.member for owner in owners.values()}) == len({owner.directory for owner in owners.values()}) == 3
    voters = tuple(sorted(owner.member for owner in owners.values()))
    digests = set()
    for name, owner in owners.items():
        found = recovered(tmp_path / name)
        assert found.groups[0].base == Base(40, NO_ERA, Membership(voters=voters))
        assert (found.incarnation, found.begun, found.directory) == (0, False, owner.directory)
        assert found.cluster is not None
        table = decode_table(found.cluster.data)
        assert (table.index, table.left) == (40, tuple(OLD))
        assert {member: row.name for member, row in table.members.items()} == {
            each.member: called for called, each in owners.items()
        }
        assert not is_as_first(table), "a configuration file says nothing of this cluster's ids"
        store, why = stored(tmp_path / name)
        assert why is None
        assert (store.applied, store.applied_era, store.revision) == (40, NO_ERA, 21)
        digests.add(store.digest())
    assert len(digests) == 1
    assert not OLD.keys() & set(voters)


def test_a_store_that_is_lost_comes_back_from_the_checkpoint(tmp_path: Path) -> None:
    file = backup(written(20))
    restore(file, verify(file), plan("a"), tmp_path / "a", BOOT)
    before, _ = stored(tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / STORE_DIRECTORY)
    after, why = stored(tmp_path / "a")
    assert why is not None
    assert (after.digest(), after.applied) == (before.digest(), 40)


def test_another_file_token_name_or_url_is_another_cluster(tmp_path: Path) -> None:
    found: list[int] = [cluster_and_member_ids("t", MEMBERS)[0]]
    elsewhere = {**MEMBERS, "c": ["http://elsewhere:1"]}
    plans: Sequence[tuple[KvStore, Plan]] = (
        (written(20), plan("a")),
        (written(21), plan("a")),
        (written(20), plan("a", token="other")),
        (written(20), plan("a", members=elsewhere)),
    )
    for number, (store, wanted) in enumerate(plans):
        file = backup(store)
        found.append(restore(file, verify(file), wanted, tmp_path / f"{number}", BOOT).cluster)
    assert len(set(found)) == len(found)


def test_the_log_of_an_empty_store_does_not_begin_at_0(tmp_path: Path) -> None:
    """Or a member that joins would not see that it lacks a state."""
    file = backup(KvStore(MemoryEnvironment().space(0)))
    restore(file, verify(file), plan("a"), tmp_path / "a", BOOT)
    assert recovered(tmp_path / "a").groups[0].base.index == 1


def test_what_cannot_be_loaded_leaves_nothing(tmp_path: Path) -> None:
    file = backup(written(20), drop=1)
    with pytest.raises((SnapshotDamaged, BackupDamaged)):
        restore(file, verify(file), plan("a"), tmp_path / "a", BOOT)
    assert os.listdir(tmp_path) == []


def test_an_interrupted_one_is_begun_again_and_a_directory_that_is_there_stays(tmp_path: Path) -> None:
    file = backup(written(20))
    part = tmp_path / "a.part"
    part.mkdir()
    (part / "identity").write_bytes(b"half")
    restore(file, verify(file), plan("a"), tmp_path / "a", BOOT)
    assert os.listdir(tmp_path) == ["a"]
    before = contents(tmp_path / "a")
    with pytest.raises(DirectoryTaken, match="is there already"):
        restore(file, verify(file), plan("a"), tmp_path / "a", BOOT)
    assert contents(tmp_path / "a") == before
    assert os.listdir(tmp_path) == ["a"]
