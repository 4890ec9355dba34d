"""Frames between peers: any bytes give frames, or one clear error."""

from __future__ import annotations

import contextlib
import struct

import google_crc32c
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratified.consensus.contract import Kind, Limbo
from ratified.consensus.engines import ENGINES
from ratified.wire.codec import FIRST_FRAME_BYTES_MAX, HEADER_BYTES, FrameError, PeerCodec
from ratified.wire.peer import (
    Acknowledged,
    Barrier,
    BarrierAnswer,
    Batch,
    Checkpointed,
    Forward,
    ForwardAnswer,
    Fragment,
    Frame,
    Goodbye,
    Hello,
    Join,
    Joined,
    LimboAnswer,
    Mark,
    Marked,
    Ping,
    Question,
    QuestionAnswer,
    Standing,
)

U64 = st.integers(0, 2**64 - 1)
ERA = st.tuples(U64, U64)
TEXT = st.text(max_size=20)
HELLO = Hello(1, 2, b"d" * 16, 3, 4, (5,), "raft", 2, 2, "n", ("http://a",), True)
MESSAGES = st.one_of(
    st.builds(
        Forward,
        ERA,
        U64,
        U64,
        U64,
        st.lists(st.tuples(U64, st.none() | st.binary(max_size=40), st.sampled_from(Kind)), max_size=3),
    ),
    st.builds(ForwardAnswer, ERA, U64, U64, st.none() | U64, TEXT),
    st.builds(Barrier, U64),
    st.builds(BarrierAnswer, U64, st.none() | U64),
    st.builds(LimboAnswer, U64, U64, st.builds(Limbo, U64, st.tuples(U64, U64))),
    st.builds(Question, U64, st.binary(max_size=40)),
    st.builds(Acknowledged, ERA, U64),
    st.builds(Checkpointed, U64, ERA),
    st.builds(QuestionAnswer, U64, st.none() | st.binary(max_size=40), st.booleans()),
)
FRAMES = st.one_of(
    st.builds(
        Hello,
        U64,
        U64,
        st.binary(min_size=16, max_size=16),
        U64,
        U64,
        st.just((7, 8)),
        TEXT,
        U64,
        U64,
        TEXT,
        st.just(("u",)),
        st.booleans(),
    ),
    st.builds(Standing, st.binary(min_size=16, max_size=16), st.booleans()),
    st.builds(Goodbye, TEXT, st.booleans()),
    st.builds(Join, TEXT, st.just(("http://a", "http://b"))),
    st.builds(Joined, U64, U64, TEXT, U64, U64, st.binary(max_size=40), st.just({1: bytes(16)})),
    st.just(Ping()),
    st.builds(Batch, st.lists(st.tuples(U64, MESSAGES), max_size=5)),
)


def strangers_codec() -> PeerCodec:
    return PeerCodec(ENGINES["raft"].message, 1 << 20)


def codec(frame_bytes_max: int = 1 << 20) -> PeerCodec:
    made = PeerCodec(ENGINES["raft"].message, frame_bytes_max)
    made.trust()
    return made


def framed(payload: bytes, version: int = 1, length: int | None = None) -> bytes:
    """A frame with a good checksum around any payload."""
    header = struct.pack("<4sHHI", b"RfPr", version, 0, len(payload) if length is None else length)
    checksum = int(google_crc32c.extend(google_crc32c.value(header), payload))
    return header + checksum.to_bytes(4, "little") + payload


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_any_division_into_pieces(frames: list[Frame], sizes: list[int]) -> None:
    sender, receiver = codec(), codec()
    stream = b"".join(sender.encode(frame) for frame in frames)
    found: list[Frame] = []
    turn = 0
    while stream:
        size = sizes[turn % len(sizes)]
        turn += 1
        found += receiver.feed(stream[:size])
        stream = stream[size:]
    assert found == frames


@given(st.binary(max_size=300))
def test_arbitrary_bytes_give_frames_or_a_frame_error(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        codec().feed(data)


@given(st.binary(max_size=200))
def test_arbitrary_payloads_under_a_good_checksum_give_frames_or_a_frame_error(payload: bytes) -> None:
    with contextlib.suppress(FrameError):
        codec().feed(framed(payload))


@given(FRAMES, st.data())
def test_any_flipped_bit_is_noticed(frame: Frame, data: st.DataObject) -> None:
    encoded = bytearray(codec().encode(frame))
    position = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[position // 8] ^= 1 << position % 8
    try:
        found = codec().feed(bytes(encoded))
    except FrameError:
        return
    assert found == []
    """A longer length only waits for more bytes, whose checksum will not fit."""


@pytest.mark.parametrize("length", [2**31, 2**32 - 1, FIRST_FRAME_BYTES_MAX + 1])
def test_a_length_over_the_limit_is_refused_before_its_bytes_come(length: int) -> None:
    with pytest.raises(FrameError, match=rf"says {length} bytes, the limit is {FIRST_FRAME_BYTES_MAX}"):
        strangers_codec().feed(framed(b"", length=length)[:HEADER_BYTES])


def test_whoever_is_trusted_may_send_more_and_longer_frames() -> None:
    large = Batch([(0, Question(1, bytes(FIRST_FRAME_BYTES_MAX + 1)))])
    for first in (HELLO, Ping()):
        receiver = strangers_codec()
        assert receiver.feed(codec().encode(first)) == [first]
        with pytest.raises(FrameError, match="limit"):
            receiver.feed(codec().encode(large))
    receiver = strangers_codec()
    receiver.feed(codec().encode(HELLO))
    receiver.trust()
    assert receiver.feed(codec().encode(large)) == [large]


@pytest.mark.parametrize("frame", [Batch([(0, Question(1, b"x"))]), Fragment(0, 0, b"x"), Mark(1), Marked(1)])
def test_a_stranger_sends_no_messages(frame: Frame) -> None:
    receiver = strangers_codec()
    receiver.feed(codec().encode(HELLO))
    with pytest.raises(FrameError, match="malformed"):
        receiver.feed(codec().encode(frame))


def test_garbage_is_refused_at_its_first_byte() -> None:
    with pytest.raises(FrameError, match="this begins with b'G'"):
        codec().feed(b"G")


def test_a_newer_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(FrameError, match=r"frame version 2 is newer than version 1 .* upgrade this node"):
        codec().feed(framed(b"", version=2))


def test_a_wrong_checksum_is_refused() -> None:
    encoded = bytearray(codec().encode(Ping()))
    encoded[-1] ^= 1
    with pytest.raises(FrameError, match="fails its checksum"):
        codec().feed(bytes(encoded))


@pytest.mark.parametrize(
    "frame",
    [
        [4, [[0, [66, -1]]]],
        [4, [[-1, [66, 1]]]],
        [4, [[0, [64, [0, -5], 1, 1, 1, [[1, None]]]]]],
        [4, [[0, [64, [0, 0], 1, 1, 1, [[-1, None]]]]]],
        [4, [[0, [99, 1]]]],
        [4, [[0, [3, 1, 1, 1, 1, -1, []]]]],
        [1, 1, 2, b"short", 3, 4, "raft", 1, 1, "n", []],
        [1, 1, 2, b"d" * 16, 3, 4, "x" * 2000, 1, 1, "n", []],
        [9],
    ],
)
def test_fields_out_of_bounds_never_reach_a_decision(frame: object) -> None:
    with pytest.raises(FrameError, match="malformed"):
        codec().feed(framed(msgspec.msgpack.encode(frame)))


def test_a_batch_that_is_too_large_goes_out_as_several_in_order() -> None:
    sender, receiver = codec(200), codec(200)
    messages = [(0, Question(number, bytes(60))) for number in range(7)]
    frames = receiver.feed(sender.encode(Batch(messages)))
    assert len(frames) > 1
    assert [message for frame in frames if isinstance(frame, Batch) for message in frame.messages] == messages


def test_a_message_that_is_too_large_for_any_frame_is_an_error_of_its_own() -> None:
    with pytest.raises(FrameError, match="over the limit of 200"):
        codec(200).encode(Batch([(0, Question(1, bytes(300)))]))
