"""Peer frames as bytes: a header of 16 bytes, then the frame in MessagePack.

Header, little-endian: magic ``RfPr``, u16 version, u16 zero, u32 length of what follows it, u32 CRC32C of the first
12 bytes of the header and of what follows it.

Rules:

1. A length is checked before anything is allocated for it, the first frame's (a Hello) against a small limit.
2. Magic, version and length are judged as soon as they are there; the checksum before the bytes are decoded; every
   field is bounded where it is decoded. Whatever is wrong is a ``FrameError``, and the connection cannot go on.
3. A batch that is too large for one frame goes out as several, in order.
"""

from __future__ import annotations

import struct
from typing import Any, Union

import google_crc32c
import msgspec

from ratified.consensus.contract import U64
from ratified.wire.peer import (
    Batch,
    Fragment,
    Frame,
    Goodbye,
    Hello,
    Join,
    Joined,
    Mark,
    Marked,
    OwnTable,
    Ping,
    ReplicaMessage,
    Standing,
)

MAGIC = b"RfPr"
VERSION = 1
_HEADER = struct.Struct("<4sHHII")
_COVERED_BYTES = 12
HEADER_BYTES = _HEADER.size
FRAME_BYTES_MAX = 64 << 20
"""Default limit of one frame, header left out; both ends of a connection need the same."""
FIRST_FRAME_BYTES_MAX = 128 << 10
"""Limit of each frame until ``trust``: who is nobody yet gets no more memory than this."""


class FrameError(Exception):
    """Bytes that are no frame of ours; the text says what is wrong with them."""


class PeerCodec:
    """Frames of one connection: encodes those that leave, and finds those that arrive in any pieces of bytes.

    Until ``trust`` it reads only what two sides say before one believes the other, and only short frames: a long batch
    takes seconds to decode.
    """

    def __init__(self, engine_message: Any, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        """``engine_message`` is the union of the engine's messages, from its row of the table."""
        message = Union[engine_message, ReplicaMessage]  # noqa: UP007 - built from values, not annotations
        batch: Any = msgspec.defstruct(
            "Batch", [("messages", list[tuple[U64, message]])], tag=4, array_like=True, frozen=True
        )
        self._batch = batch
        strangers = (Hello, Standing, Goodbye, Ping, Join, Joined)
        self._decoder = msgspec.msgpack.Decoder(Union[strangers])  # noqa: UP007 - as above
        self._members_decoder = msgspec.msgpack.Decoder(Union[(batch, *strangers, Fragment, Mark, Marked, OwnTable)])
        self._encoder = msgspec.msgpack.Encoder()
        self._frame_bytes_max = frame_bytes_max
        self.is_trusted = False
        self._buffer = bytearray()

    def encode(self, frame: Frame) -> bytes:
        """The frame's bytes; of a large batch, several frames.

        Raises ``FrameError`` where a single message is larger than a frame may be.
        """
        payload = self._encoder.encode(frame)
        if len(payload) > self._frame_bytes_max:
            if not isinstance(frame, Batch) or len(frame.messages) < 2:
                raise FrameError(f"a message of {len(payload)} bytes is over the limit of {self._frame_bytes_max}")
            middle = len(frame.messages) // 2
            return self.encode(Batch(frame.messages[:middle])) + self.encode(Batch(frame.messages[middle:]))
        return framed(payload)

    def trust(self) -> None:
        """The other side is believed to be a member."""
        self.is_trusted = True
        self._decoder = self._members_decoder

    @property
    def waiting_bytes(self) -> int:
        """What was fed and is no whole frame yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes as they arrive; returns the frames that are complete.

        Raises ``FrameError``; nothing more may be fed then.
        """
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        start = 0
        while True:
            length = self._length_at(start)
            if length is None or len(buffer) - start < HEADER_BYTES + length:
                break
            end = start + HEADER_BYTES + length
            frames.append(self._decode(bytes(buffer[start:end])))
            start = end
        del buffer[:start]
        return frames

    def _length_at(self, start: int) -> int | None:
        """How long the frame at ``start`` is, its header judged; None: its header is not complete."""
        head = self._buffer[start : start + HEADER_BYTES]
        if not MAGIC.startswith(head[: len(MAGIC)]):
            raise FrameError(f"a frame begins with {MAGIC!r}, this begins with {bytes(head[: len(MAGIC)])!r}")
        if len(head) < HEADER_BYTES:
            return None
        _, version, zero, length, _ = _HEADER.unpack(head)
        if version > VERSION:
            raise FrameError(
                f"frame version {version} is newer than version {VERSION} that this node knows; upgrade this node"
            )
        if version == 0 or zero != 0:
            raise FrameError(f"a frame says version {version} and {zero} where a zero must be")
        length_max = self._frame_bytes_max if self.is_trusted else min(FIRST_FRAME_BYTES_MAX, self._frame_bytes_max)
        if length > length_max:
            raise FrameError(f"a frame says {length} bytes, the limit is {length_max}")
        return int(length)

    def _decode(self, encoded: bytes) -> Frame:
        header, payload = encoded[:_COVERED_BYTES], encoded[HEADER_BYTES:]
        if _checksum(header, payload) != int.from_bytes(encoded[_COVERED_BYTES:HEADER_BYTES], "little"):
            raise FrameError(f"a frame of {len(payload)} bytes fails its checksum")
        try:
            frame: Any = self._decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameError(f"a frame of {len(payload)} bytes is malformed: {error}") from error
        decoded: Frame = Batch(frame.messages) if type(frame) is self._batch else frame
        return decoded


class MessageCodec:
    """Single messages of groups as MessagePack, without a frame around them: those that are sent in fragments."""

    def __init__(self, engine_message: Any) -> None:
        """``engine_message`` as for ``PeerCodec``."""
        self._decoder = msgspec.msgpack.Decoder(Union[engine_message, ReplicaMessage])  # noqa: UP007 - as above
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, message: object) -> bytes:
        return self._encoder.encode(message)

    def decode(self, encoded: bytes | bytearray) -> object:
        """Raises ``FrameError``."""
        try:
            message: object = self._decoder.decode(encoded)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameError(f"a message of {len(encoded)} bytes is malformed: {error}") from error
        return message


class Assembly:
    """The fragments of one connection, put together again."""

    def __init__(self, codec: MessageCodec, message_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._codec = codec
        self._bytes_max = message_bytes_max
        self._group = 0
        self._left = 0
        self._parts = bytearray()

    def __len__(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._parts)

    def add(self, fragment: Fragment) -> tuple[int, object] | None:
        """Take the next one; the group and the message that it completes, or None.

        Raises ``FrameError``; nothing more may be added then.
        """
        if not self._parts:
            self._group, self._left = fragment.group, fragment.left + len(fragment.data)
            if self._left > self._bytes_max:
                raise FrameError(f"a message says {self._left} bytes, the limit is {self._bytes_max}")
        if fragment.group != self._group or fragment.left + len(fragment.data) != self._left or not fragment.data:
            raise FrameError("a fragment does not follow the one before it")
        self._parts += fragment.data
        self._left = fragment.left
        if self._left:
            return None
        encoded, self._parts = self._parts, bytearray()
        return self._group, self._codec.decode(encoded)


def framed(payload: bytes) -> bytes:
    """A frame with this payload, whatever it is."""
    header = _HEADER.pack(MAGIC, VERSION, 0, len(payload), 0)[:_COVERED_BYTES]
    return header + _checksum(header, payload).to_bytes(4, "little") + payload


def _checksum(header: bytes, payload: bytes) -> int:
    return int(google_crc32c.extend(google_crc32c.value(header), payload))
