"""What lies in the directories that are left: checkpoints, snapshots, torn ends; and all of it stays as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from ratified.consensus.contract import NO_ERA, Base, Era, Kind, Membership
from ratified.consensus.entry import make_entry
from ratified.kv import commands
from ratified.kv.store import KvStore
from ratified.machine import Command
from ratified.restore.recover import Draws, Wanted, choose, findings, recover
from ratified.restore.survivors import SurvivorUnfit, survivors
from ratified.storage import identity, snapshot_file
from ratified.storage.files import Directory, Op, perform
from ratified.storage.format import (
    SECTOR,
    LogLimits,
    NodeRecord,
    encode_batch,
    encode_record,
    extent,
    read_header,
    segment_file,
)
from ratified.storage.identity import FIRST_SEGMENT, Identity
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.snapshot_file import SnapshotHead
from ratified.wire.etcd.rpc_pb2 import PutRequest
from tests.restore.test_backup import BOOT, contents, recovered, stored

MEMBERS = (1, 2, 3)
WANTED = Wanted("one", ("http://one:1",))
DRAWS = Draws(b"\0" * 8, b"\xff" * 8, b"d" * 16)
ERA: Era = (3, 0)


def put(number: int) -> bytes:
    return commands.put(PutRequest(key=b"%d" % number, value=b"v").SerializeToString())


def state(puts: int, index: int) -> KvStore:
    """After so many puts."""
    environment = MemoryEnvironment()
    store = KvStore(environment.space(0))
    with environment.transaction():
        store.apply([Command(at, put(at)) for at in range(1, puts + 1)], index, ERA)
    return store


def carry_out(files: Directory, operations: Sequence[Op]) -> None:
    for operation in operations:
        perform(files, operation)


def with_snapshot(files: Directory, base: Base, store: KvStore, *, whole: bool = True) -> None:
    head = SnapshotHead(0, 2, base, None)
    operations, at = snapshot_file.creation(head)
    carry_out(files, operations)
    reader, number = store.read_state(), 1
    while (piece := reader.read(64)) is not None:
        operations, at = snapshot_file.addition(head, number, piece, at)
        carry_out(files, operations)
        number += 1
    reader.close()
    if whole:
        carry_out(files, snapshot_file.addition(head, number, b"", at)[0])


def survivor(path: Path, member: int, base: Base, entries: int, *, torn: bool = False) -> Directory:
    """A directory whose log has so many puts behind the base, and perhaps a batch that was being written."""
    path.mkdir()
    files = Directory(path)
    owner = Identity(7, member, bytes([member]) * 16, "raft")
    identity.create(files, owner, {0: base}, LogLimits(segment_bytes=1 << 16))
    name = segment_file(FIRST_SEGMENT)
    header = read_header(files.read(name, 0, 1 << 16), 0)
    assert header is not None
    records = [encode_record(0, NodeRecord(1, owner.directory, 5))]
    for at in range(1, entries + 1):
        index = base.index + at
        records.append(encode_record(0, make_entry(index, ERA, Kind.COMMAND, None, put(index))))
    batch, _ = encode_batch(FIRST_SEGMENT, header.number + 1, header.number, header.crc, b"".join(records))
    files.write(name, extent(header.length), batch)
    if torn:
        found = read_header(batch, 0)
        assert found is not None
        data = encode_record(0, make_entry(base.index + entries + 1, ERA, Kind.COMMAND, None, bytes(2 * SECTOR)))
        another, _ = encode_batch(FIRST_SEGMENT, found.number + 1, found.number, found.crc, data)
        files.write(name, extent(header.length) + len(batch), another[:SECTOR])
    return files


def base(index: int = 0, *, snapshot: int = 0) -> Base:
    return Base(index, ERA if index else NO_ERA, Membership(MEMBERS), snapshot)


def hashes(path: Path) -> dict[str, tuple[int, bytes]]:
    return {
        name: ((path / name).stat().st_mtime_ns, hashlib.sha256(data).digest()) for name, data in contents(path).items()
    }


def made(paths: Sequence[Path], to: Path) -> KvStore:
    """The store of the new cluster's member."""
    before = [hashes(path) for path in paths]
    with survivors(paths) as left:
        recover(left, choose(left), WANTED, DRAWS, to, BOOT)
    assert [hashes(path) for path in paths] == before
    store, why = stored(to)
    assert why is None
    return store


def test_a_log_that_is_whole_is_applied_and_its_torn_end_is_not_touched(tmp_path: Path) -> None:
    survivor(tmp_path / "a", 1, base(), 20, torn=True).close()
    store = made([tmp_path / "a"], tmp_path / "new")
    assert (store.applied, store.applied_era, store.revision) == (20, NO_ERA, 21)
    found = recovered(tmp_path / "new")
    assert found.groups[0].base.membership.voters == (2**64 - 2,)
    assert found.groups[0].base.index == 20
    assert recovered(tmp_path / "a").cut is not None, "a start would have cut it"


def test_a_log_that_begins_behind_a_snapshot_goes_on_from_that(tmp_path: Path) -> None:
    files = survivor(tmp_path / "a", 1, base(9, snapshot=77), 4)
    with_snapshot(files, base(9, snapshot=77), state(9, 9))
    files.close()
    store = made([tmp_path / "a"], tmp_path / "new")
    assert (store.applied, store.revision) == (13, 14)


def test_a_snapshot_that_was_not_installed_counts_if_it_is_whole(tmp_path: Path) -> None:
    for name, whole in (("whole", True), ("half", False)):
        files = survivor(tmp_path / name, 1, base(), 5)
        with_snapshot(files, base(9, snapshot=77), state(9, 9), whole=whole)
        files.close()
        store = made([tmp_path / name], tmp_path / f"new-{name}")
        assert (store.applied, store.revision) == ((9, 10) if whole else (5, 6))


def test_a_log_whose_beginning_is_lost_is_refused_and_another_one_will_do(tmp_path: Path) -> None:
    survivor(tmp_path / "a", 1, base(9, snapshot=77), 4).close()
    survivor(tmp_path / "b", 2, base(), 12).close()
    with pytest.raises(SurvivorUnfit, match="its log begins behind entry 9, and what was before is not there"):
        made([tmp_path / "a", tmp_path / "b"], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert made([tmp_path / "b"], tmp_path / "new").applied == 12


def test_who_is_lost_and_what_may_be_gone_is_said(tmp_path: Path) -> None:
    for member, entries in ((1, 5), (2, 8)):
        survivor(tmp_path / str(member), member, base(), entries).close()
    with survivors([tmp_path / "1"]) as left:
        found = findings(left, choose(left))
    assert (found.kept, found.committed, found.lost_members) == (5, 0, ["2", "3"])
    assert found.acknowledged_may_be_lost
    assert not found.majority_left
    with survivors([tmp_path / "1", tmp_path / "2"]) as left:
        found = findings(left, choose(left))
    assert [row.last for row in found.survivors] == [5, 8]
    assert (found.best, found.kept, found.lost_members) == (1, 8, ["3"])
    assert not found.acknowledged_may_be_lost
    assert found.majority_left


def test_a_directory_that_is_named_twice_is_no_majority(tmp_path: Path) -> None:
    survivor(tmp_path / "a", 1, base(), 5).close()
    with (
        pytest.raises(SurvivorUnfit, match="this directory is named twice"),
        survivors([tmp_path / "a", tmp_path / "." / "a"]),
    ):
        pass
