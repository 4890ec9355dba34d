"""A checkpoint's file: what it claims, and that nothing but what was written is believed."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

import pytest

from ratified.sim.disk import Disk
from ratified.storage.checkpoint import (
    CHECKPOINT_FILE,
    PIECE_BYTES,
    CheckpointUnsound,
    Claim,
    claims_of,
    seal,
    verify,
)
from ratified.storage.files import Directory
from ratified.storage.lmdb import DATA_FILE, LmdbEnvironment
from tests.storage.crashes import losses

CLAIMS = {0: Claim(17, (3, 0)), 5: Claim(4, (2, 7))}


def checkpoint(data: bytes, claims: dict[int, Claim] | None = None) -> Disk:
    disk = Disk()
    disk.create("checkpoint.new", 0)
    disk.write("checkpoint.new", 0, data)
    seal(disk, "checkpoint.new", CLAIMS if claims is None else claims)
    return disk


def in_place(data: bytes) -> Disk:
    disk = checkpoint(data)
    disk.sync_data("checkpoint.new")
    disk.rename("checkpoint.new", CHECKPOINT_FILE)
    disk.sync_directory()
    return disk


@pytest.mark.parametrize("length", [0, 1, 511, PIECE_BYTES, PIECE_BYTES + 1])
def test_what_was_sealed_is_what_is_read(length: int) -> None:
    disk = in_place(b"x" * length)
    assert claims_of(disk) == CLAIMS
    assert verify(disk) == length


def test_a_node_without_groups_has_checkpoints_too() -> None:
    assert claims_of(checkpoint(b"x", {}), "checkpoint.new") == {}


def test_every_flipped_byte_is_found() -> None:
    disk = in_place(bytes(range(256)) * 3)
    copy = verify(disk)
    for offset in range(disk.size(CHECKPOINT_FILE)):
        damaged = disk.fork()
        (byte,) = disk.read(CHECKPOINT_FILE, offset, 1)
        damaged.write(CHECKPOINT_FILE, offset, bytes([byte ^ 0x55]))
        with pytest.raises(CheckpointUnsound):
            verify(damaged)
        if offset < copy:
            assert claims_of(damaged) == CLAIMS, "claims are believed by their own checksum"


def test_one_that_was_cut_short_or_has_grown_is_none() -> None:
    disk = in_place(b"x" * 2000)
    whole = disk.read(CHECKPOINT_FILE, 0, disk.size(CHECKPOINT_FILE))
    for data in (b"", whole[:20], whole[:1000], whole[:-1], whole + b"\0", whole[1:]):
        other = Disk()
        other.create(CHECKPOINT_FILE, 0)
        other.write(CHECKPOINT_FILE, 0, data)
        with pytest.raises(CheckpointUnsound):
            verify(other)


def test_one_that_was_not_synced_is_sound_or_is_none() -> None:
    sound = unsound = 0
    named = checkpoint(b"x" * 2000)
    named.sync_directory()
    for lost in losses(named, 200):
        try:
            assert verify(lost, "checkpoint.new") == 2000
            sound += 1
        except CheckpointUnsound:
            unsound += 1
    assert sound
    assert unsound


def test_a_copy_of_a_store_in_use_opens_as_a_store(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "copied").mkdir()
    environment = LmdbEnvironment(tmp_path / "store")
    space = environment.space(3)
    with environment.transaction():
        space.put("live", b"committed", b"1" * 5000)
    descriptor = os.open(tmp_path / "checkpoint.new", os.O_RDWR | os.O_CREAT)
    copying = Thread(target=environment.copy_to, args=(descriptor,))
    with environment.transaction():
        space.put("live", b"under way", b"2")
        copying.start()
    copying.join()
    os.close(descriptor)
    files = Directory(tmp_path)
    seal(files, "checkpoint.new", CLAIMS)
    copy = files.read("checkpoint.new", 0, verify(files, "checkpoint.new"))
    (tmp_path / "copied" / DATA_FILE).write_bytes(copy)
    restored = LmdbEnvironment(tmp_path / "copied")
    assert restored.space(3).get("live", b"committed") == b"1" * 5000
    assert restored.space(3).get("live", b"under way") in (b"2", None)
    restored.close()
    environment.close()
    files.close()
