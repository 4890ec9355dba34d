"""One rule broken each of what becomes of bytes that are no frames."""

from __future__ import annotations

from contextlib import AbstractContextManager
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


def trusts_whoever_has_spoken() -> AbstractContextManager[Any]:
    """Any frame will do, and the world takes it for no trust."""
    limit = PeerCodec._length_at

    def length_at(self: PeerCodec, start: int) -> int | None:
        if start == 0 and not self.is_trusted:
            return limit(self, start)
        with patch.object(codec, "FIRST_FRAME_BYTES_MAX", 1 << 40):
            return limit(self, start)

    return patch.object(PeerCodec, "_length_at", length_at)


MUTANTS = [
    Mutant("malformed frames end the process", malformed_frames_end_the_process, "strangers", "session", 1),
    Mutant("takes first frames of any length", takes_first_frames_of_any_length, "strangers", "session", 4),
    Mutant("trusts whoever has spoken", trusts_whoever_has_spoken, "strangers", "session", 1),
    Mutant("waits for whoever sends anything", waits_for_whoever_sends_anything, "strangers", "session", 1),
]
