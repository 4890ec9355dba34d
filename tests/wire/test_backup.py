"""A backup is read back as it was written, or not at all."""

from __future__ import annotations

import hashlib
import io
import struct

import google_crc32c
import pytest

from ratified.wire.backup import VERSION, BackupDamaged, BackupEncoder, BackupHead, pieces, verify

HEAD = BackupHead(
    cluster=2**64 - 2, member=7, engine="raft", members={7: "a", 9: "b"}, index=12, era=(3, 0), revision=5, keys=2
)
PIECES = [b"one", b"two" * 300, b"\0"]


def written(parts: list[bytes]) -> bytes:
    encoder = BackupEncoder()
    return b"".join([encoder.head(HEAD), *map(encoder.piece, parts), encoder.end()])


def test_it_reads_back() -> None:
    data = written(PIECES)
    file = io.BytesIO(data)
    found = verify(file)
    assert found.head == HEAD
    assert found.size_bytes == len(data)
    assert found.sha256 == data[-32:].hex() == hashlib.sha256(data[:-32]).hexdigest()
    assert list(pieces(file)) == PIECES
    assert list(pieces(io.BytesIO(written([])))) == []


@pytest.mark.parametrize("count", range(40))
def test_its_length_is_what_clients_of_etcd_look_at(count: int) -> None:
    assert len(written([bytes(29)] * count)) % 512 == 32


def test_whatever_byte_is_wrong_it_is_refused() -> None:
    data = written(PIECES)
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 + at % 255
        with pytest.raises(BackupDamaged):
            verify(io.BytesIO(flipped))


def test_wherever_it_is_cut_it_is_refused() -> None:
    data = written(PIECES)
    for length in range(len(data)):
        with pytest.raises(BackupDamaged):
            verify(io.BytesIO(data[:length]))
    with pytest.raises(BackupDamaged, match="something was added"):
        verify(io.BytesIO(data + b"\0"))


def test_what_changes_while_it_is_read_is_noticed() -> None:
    data = written(PIECES)
    at = data.index(PIECES[1]) + 100
    changed = data[:at] + b"!" + data[at + 1 :]
    with pytest.raises(BackupDamaged, match="wrong checksum"):
        list(pieces(io.BytesIO(changed)))


def test_another_file_and_a_newer_version_are_told() -> None:
    with pytest.raises(BackupDamaged, match="does not begin as a backup"):
        verify(io.BytesIO(bytes(512) + bytes(32)))
    head = written([])[: -512 - 32] if len(written([])) > 1024 else written([])
    length = struct.unpack_from("<I", head, 12)[0]
    newer = head[:8] + struct.pack("<II", VERSION + 1, length) + head[16 : 16 + length]
    newer += struct.pack("<I", google_crc32c.value(newer))
    with pytest.raises(BackupDamaged, match=f"has version {VERSION + 1}, and this program knows versions up to"):
        verify(io.BytesIO(newer))
