"""A checkpoint's file: what it claims, and that nothing but what was written is believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from ratified.sim.disk import Disk
from ratified.storage.checkpoint import (
    CHECKPOINT_FILE,
    NEW_FILE,
    PIECE_BYTES,
    UNSYNCED_BYTES_MAX,
    CheckpointUnsound,
    Claim,
    Contents,
    discard,
    find,
    operations,
    pieces,
)
from ratified.storage.files import Create, Directory, SyncData, WriteAt, perform
from ratified.storage.guard import open_store
from ratified.storage.lmdb import DATA_FILE, LmdbEnvironment
from ratified.storage.memory import MemoryCopy
from tests.storage.crashes import Observed, losses

OURS = b"0123456789abcdef"
CLAIMS = {0: Claim(17, (3, 0)), 5: Claim(4, (2, 7))}
CONTENTS = Contents(directory=OURS, claims=CLAIMS, segment=3, offset=1024, length=0)


def taken(data: bytes, contents: Contents = CONTENTS) -> Disk:
    disk = Disk()
    for op in operations(MemoryCopy(data), of(data, contents)):
        perform(disk, op)
    return disk


def of(data: bytes, contents: Contents = CONTENTS) -> Contents:
    return replace(contents, length=len(data))


def copy_in(disk: Disk) -> bytes:
    return b"".join(pieces(disk, OURS))


@pytest.mark.parametrize("length", [0, 1, 511, PIECE_BYTES, PIECE_BYTES + 1])
def test_what_was_taken_is_what_is_found(length: int) -> None:
    disk = taken(b"x" * length)
    assert disk.names() == [CHECKPOINT_FILE]
    assert find(disk, OURS) == of(b"x" * length)
    assert copy_in(disk) == b"x" * length


def test_a_node_without_groups_has_checkpoints_too() -> None:
    nothing = Contents(directory=OURS, claims={}, segment=1, offset=0, length=1)
    assert find(taken(b"x", nothing), OURS) == nothing


def test_where_there_is_none_none_is_found() -> None:
    assert find(Disk(), OURS) is None


def test_one_of_another_directory_is_none() -> None:
    disk = taken(b"x")
    with pytest.raises(CheckpointUnsound, match="another data directory"):
        find(disk, bytes(16))
    with pytest.raises(CheckpointUnsound, match="another data directory"):
        list(pieces(disk, bytes(16)))


def test_every_flipped_byte_is_found() -> None:
    disk = taken(bytes(range(256)) * 3)
    copy = len(copy_in(disk))
    for offset in range(disk.size(CHECKPOINT_FILE)):
        damaged = disk.fork()
        (byte,) = disk.read(CHECKPOINT_FILE, offset, 1)
        damaged.write(CHECKPOINT_FILE, offset, bytes([byte ^ 0x55]))
        with pytest.raises(CheckpointUnsound):
            copy_in(damaged)
        if offset < copy:
            assert find(damaged, OURS) == find(disk, OURS), "claims are believed by their own checksum"


def test_one_that_was_cut_short_or_has_grown_is_none() -> None:
    disk = taken(b"x" * 2000)
    whole = disk.read(CHECKPOINT_FILE, 0, disk.size(CHECKPOINT_FILE))
    for data in (b"", whole[:20], whole[:1000], whole[:-1], whole + b"\0", whole[1:]):
        other = Disk()
        other.create(CHECKPOINT_FILE, 0)
        other.write(CHECKPOINT_FILE, 0, data)
        with pytest.raises(CheckpointUnsound):
            copy_in(other)


def test_whatever_crash_interrupts_it_the_old_one_or_the_new_one_is_there() -> None:
    """At every operation, after a kill or after the loss of the machine."""
    later = Contents(directory=OURS, claims={0: Claim(90, (4, 0))}, segment=5, offset=512, length=2700)
    earlier = of(b"old" * 700)
    olds = news = 0

    def judge(disk: Disk) -> None:
        nonlocal olds, news
        found = find(disk, OURS)
        assert found in (earlier, later)
        assert copy_in(disk) == (b"old" * 700 if found == earlier else b"new" * 900)
        olds += found == earlier
        news += found == later
        discard(disk)
        assert disk.names() == [CHECKPOINT_FILE]

    def crashed(disk: Disk) -> None:
        for lost in losses(disk, 40):
            judge(lost)
        judge(disk)

    observed = Observed(taken(b"old" * 700), crashed)
    for op in operations(MemoryCopy(b"new" * 900), later, 1000):
        perform(observed, op)
    assert olds > 100
    assert news >= 2


def test_the_room_is_taken_first_and_little_is_unsynced() -> None:
    class Long:
        length = 3 * UNSYNCED_BYTES_MAX

        def read(self, offset: int, length: int) -> bytes:
            return bytes(length)

        def close(self) -> None: ...

    unsynced = 0
    for number, op in enumerate(operations(Long(), replace(CONTENTS, length=Long.length))):
        assert isinstance(op, Create) == (number == 0)
        match op:
            case Create(file, length):
                assert (file, length > Long.length) == (NEW_FILE, True)
            case WriteAt():
                unsynced += len(op.data)
                assert unsynced <= UNSYNCED_BYTES_MAX
            case SyncData():
                unsynced = 0
            case _:
                assert not unsynced


def test_a_copy_of_a_store_in_use_opens_as_a_store(tmp_path: Path) -> None:
    for name in ("store", "copied"):
        (tmp_path / name).mkdir()
    environment = LmdbEnvironment(tmp_path / "store")
    space = environment.space(3)

    def write(value: bytes) -> None:
        with environment.transaction():
            for number in range(200):
                space.put("live", b"%d" % number, value * 1000)

    for value in (b"a", b"b", b"c"):
        write(value)
    copy = environment.copy()
    files = Directory(tmp_path)
    for number, op in enumerate(operations(copy, replace(CONTENTS, length=copy.length), 8192)):
        perform(files, op)
        if number % 4 == 0:
            write(b"%d" % (number % 10))
    copy.close()
    (tmp_path / "copied" / DATA_FILE).write_bytes(b"".join(pieces(files, OURS)))
    restored = LmdbEnvironment(tmp_path / "copied")
    assert {value for _, value in restored.space(3).scan("live", b"", None)} == {b"c" * 1000}
    restored.close()
    environment.close()
    files.close()


def with_checkpoint(path: Path) -> None:
    """A data directory whose store holds more than its checkpoint, and was in use when the machine stopped."""
    environment, _ = open_store(path, b"boot one")
    space = environment.space(0)
    with environment.transaction():
        space.put("live", b"key", b"copied")
    files, copy = Directory(path), environment.copy()
    for op in operations(copy, replace(CONTENTS, length=copy.length)):
        perform(files, op)
    copy.close()
    files.close()
    with environment.transaction():
        space.put("live", b"key", b"later")
    environment.abandon()


def test_a_store_that_is_discarded_begins_as_the_checkpoint(tmp_path: Path) -> None:
    with_checkpoint(tmp_path)
    environment, why = open_store(tmp_path, b"boot one", copy=pieces(Directory(tmp_path), OURS))
    assert (environment.space(0).get("live", b"key"), why) == (b"later", None)
    environment.abandon()
    environment, why = open_store(tmp_path, b"boot two", copy=pieces(Directory(tmp_path), OURS))
    assert environment.space(0).get("live", b"key") == b"copied"
    assert why == "the machine stopped while it was in use, so it may be torn; it begins as the checkpoint's copy"
    environment.abandon()
    environment, why = open_store(tmp_path, b"boot two")
    assert (environment.space(0).get("live", b"key"), why) == (b"copied", None)
    environment.close()


def test_a_checkpoint_that_has_rotted_fills_nothing(tmp_path: Path) -> None:
    with_checkpoint(tmp_path)
    with open(tmp_path / CHECKPOINT_FILE, "r+b") as file:
        file.seek(5000)
        file.write(b"rotten")
    environment, why = open_store(tmp_path, b"boot two", copy=pieces(Directory(tmp_path), OURS))
    assert environment.space(0).get("live", b"key") is None
    assert why is not None
    assert "the checkpoint cannot be used: the copy of the store has another checksum" in why
    environment.close()
