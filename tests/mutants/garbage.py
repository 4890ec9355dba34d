"""One rule broken each of what becomes of bytes that are no frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from ratified.node.peers import PeerSessions
from ratified.wire import codec
from ratified.wire.codec import HEADER_BYTES, PeerCodec
from tests.mutants.mutant import Mutant


def malformed_frames_end_the_process() -> AbstractContextManager[Any]:
    """What the decoder says of a payload is no ``FrameError``."""

    def decode(self: PeerCodec, encoded: bytes) -> Any:
        return self._decoder.decode(encoded[HEADER_BYTES:])

    return patch.object(PeerCodec, "_decode", decode)


def takes_first_frames_of_any_length() -> AbstractContextManager[Any]:
    return patch.object(codec, "FIRST_FRAME_BYTES_MAX", 1 << 40)


def waits_for_whoever_sends_anything() -> AbstractContextManager[Any]:
    """Bytes prolong a connection on which nobody was admitted."""

    def heard(peers: PeerSessions, now: int, number: int) -> None:
        if number in peers._connections:
            peers._heard(now, number)

    return patch.object(PeerSessions, "heard", heard)


@contextmanager
def trusts_whoever_has_spoken() -> Iterator[None]:
    """Any frame will do for long ones to follow."""
    decode, length_at, limit = PeerCodec._decode, PeerCodec._length_at, codec.FIRST_FRAME_BYTES_MAX
    spoken: list[PeerCodec] = []

    def decodes(self: PeerCodec, encoded: bytes) -> Any:
        frame = decode(self, encoded)
        spoken.append(self)
        return frame

    def lengths(self: PeerCodec, start: int) -> int | None:
        most = 1 << 40 if any(each is self for each in spoken) else limit
        with patch.object(codec, "FIRST_FRAME_BYTES_MAX", most):
            return length_at(self, start)

    with patch.object(PeerCodec, "_decode", decodes), patch.object(PeerCodec, "_length_at", lengths):
        yield


MUTANTS = [
    Mutant("malformed frames end the process", malformed_frames_end_the_process, "strangers", "session", 1),
    Mutant("takes first frames of any length", takes_first_frames_of_any_length, "strangers", "session", 4),
    Mutant("trusts whoever has spoken", trusts_whoever_has_spoken, "strangers", "session", 4),
    Mutant("waits for whoever sends anything", waits_for_whoever_sends_anything, "strangers", "session", 1),
]
