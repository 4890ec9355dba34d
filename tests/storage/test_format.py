"""The log's bytes are those of docs/formats/log.md."""

from __future__ import annotations

import struct

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratified.consensus.contract import Base, BaseRecord, Entry, Membership, Record, StateRecord, TruncateRecord
from ratified.storage import format as log_format
from ratified.storage.format import (
    MAGIC,
    SECTOR,
    STAMP,
    VERSION,
    BegunRecord,
    ClusterRecord,
    CutRecord,
    DropRecord,
    NodeRecord,
    NodesOwn,
    PeerRecord,
    RecordFormatError,
    body_matches,
    encode_batch,
    encode_record,
    end_of,
    extent,
    payload_of,
    place,
    read_header,
    records_of,
    segment_file,
    segment_number,
    unstamped,
)
from tests.storage.scribe import command

payloads = st.integers(0, 3000).map(lambda length: bytes(at % 251 + 1 for at in range(length)))


@given(payloads)
def test_a_batch_reads_back_as_it_was_written(payload: bytes) -> None:
    batch, crc = encode_batch(3, 17, 16, 0xABCD, payload)
    header = read_header(batch, 0)
    assert header == (VERSION, 3, 17, 16, len(payload), 0xABCD, crc)
    assert len(batch) == extent(len(payload))
    assert body_matches(header, batch)
    assert payload_of(header, batch) == payload


@given(payloads)
def test_every_sector_has_its_stamp(payload: bytes) -> None:
    batch, _ = encode_batch(1, 2, 1, 0, payload)
    stamps = [batch[at : at + 2] for at in range(0, len(batch), SECTOR)]
    assert stamps == [MAGIC[:2]] + [STAMP] * (len(stamps) - 1)
    assert len({*MAGIC[:2], *STAMP, 0}) == 5, "all differ, and none is zero"


@given(payloads.filter(bool), st.data())
def test_a_part_of_a_payload_is_found_where_it_lies(payload: bytes, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(payload) - 1))
    length = data.draw(st.integers(1, len(payload) - first))
    skipped = data.draw(st.integers(0, first))
    before = 5 * SECTOR
    batch, _ = encode_batch(1, 2, 1, 0, payload)
    file = bytes(before) + batch
    begin, end = before + place(first), end_of(before + place(first), length)
    assert end == before + place(first + length - 1) + 1
    start = before + place(skipped)
    assert unstamped(file[start:end], start, begin, length) == payload[first : first + length]


def test_a_batch_is_laid_out_as_the_document_says() -> None:
    payload = b"p" * 600
    batch, crc = encode_batch(2, 5, 4, 0x01020304, payload)
    head = struct.pack("<4sHHQQQI", b"RfLg", 5, 0, 2, 5, 4, 600)
    body = payload[:464] + b"\x9d\xb3" + payload[464:] + bytes(510 - 136)
    assert crc == google_crc32c.extend(0x01020304, head + body)
    checked = head + struct.pack("<II", 0x01020304, crc)
    assert batch == checked + struct.pack("<I", google_crc32c.value(checked)) + body


@pytest.mark.parametrize(
    ("record", "written"),
    [
        (
            NodeRecord(7, bytes(range(16)), 9),
            b"\1" + bytes(8) + b"\x20\0\0\0" + struct.pack("<Q16sQ", 7, bytes(range(16)), 9),
        ),
        (StateRecord(b"abc"), b"\2\x09" + bytes(7) + b"\3\0\0\0abc"),
        (command(1, 1), b"\3\x09" + bytes(7) + b"\x3e\0\0\0" + command(1, 1).encoded),
        (TruncateRecord(258), b"\4\x09" + bytes(7) + b"\x08\0\0\0\2\1" + bytes(6)),
        (
            BaseRecord(Base(5, (6, 7), Membership((1,), (), (2,), 3), 8)),
            b"\5\x09" + bytes(7) + b"\x40\0\0\0" + struct.pack("<QQQQ IIQIIQ", 5, 6, 7, 8, 3, 1, 1, 0, 1, 2),
        ),
        (DropRecord(), b"\6\x09" + bytes(7) + bytes(4)),
        (CutRecord(258), b"\x09" + bytes(8) + b"\x08\0\0\0\2\1" + bytes(6)),
        (
            PeerRecord(7, bytes(range(16)), 2, 3),
            b"\7" + bytes(8) + b"\x28\0\0\0" + struct.pack("<Q16sQQ", 7, bytes(range(16)), 2, 3),
        ),
        (BegunRecord(), b"\x08" + bytes(8) + bytes(4)),
        (ClusterRecord(258, b"abc"), b"\x0a" + bytes(8) + b"\x0b\0\0\0\2\1" + bytes(6) + b"abc"),
    ],
)
def test_a_record_is_laid_out_as_the_document_says(
    record: Record | DropRecord | CutRecord | NodesOwn, written: bytes
) -> None:
    group = 0 if isinstance(record, NodesOwn | CutRecord) else 9
    assert encode_record(group, record) == written
    (raw,) = records_of(written)
    assert (raw.group, raw.offset, raw.body) == (group, 13, written[13:])


def test_a_node_record_of_the_first_version_is_read() -> None:
    assert log_format.decode_node(struct.pack("<Q16s", 7, bytes(16))) == NodeRecord(7, bytes(16))


def test_a_header_is_believed_only_with_its_checksum() -> None:
    batch, _ = encode_batch(1, 2, 1, 0, b"")
    for at in range(log_format.HEADER_BYTES):
        assert read_header(batch[:at] + bytes([batch[at] ^ 1]) + batch[at + 1 :], 0) is None
    assert read_header(batch[:40], 0) is None
    assert read_header(batch, SECTOR) is None


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b"\1\2", "cut short"),
        (b"\2" + bytes(8) + b"\5\0\0\0abc", "says 5 bytes and 3 are left"),
        (b"\x0b" + bytes(12), "is of kind 11"),
        (bytes(13), "is of kind 0"),
    ],
)
def test_a_payload_that_is_no_records_is_refused(payload: bytes, what: str) -> None:
    with pytest.raises(RecordFormatError, match=what):
        list(records_of(payload))


@pytest.mark.parametrize(
    "decode", [log_format.decode_node, log_format.decode_peer, log_format.decode_truncate, log_format.decode_base]
)
@pytest.mark.parametrize("body", [b"", b"\1" * 7, b"\xff" * 45])
def test_a_body_of_a_wrong_length_is_refused(decode: object, body: bytes) -> None:
    assert callable(decode)
    with pytest.raises(RecordFormatError):
        decode(body)


def test_segments_have_names_that_sort_as_their_numbers_do() -> None:
    names = [segment_file(number) for number in (1, 9, 10, 12345)]
    assert names == sorted(names)
    assert [segment_number(name) for name in names] == [1, 9, 10, 12345]
    for other in ("identity", "1.log", "0000000001.log.new", "000000000x.log", "00000000\u0661\u0661.log", "lock"):
        assert segment_number(other) is None


def test_an_entry_is_written_as_it_was_encoded() -> None:
    entry: Entry = command(3, 4, b"data")
    assert encode_record(1, entry).endswith(entry.encoded)
