"""What ZAB remembers beside its history (paper, section III: f.p, f.a), in 16 bytes.

Little-endian: u32 accepted epoch, u32 current epoch, u64 origin. The origin is the length of the current epoch's
initial history: the index behind which its own entries begin, from which their zxids are computed.
"""

from __future__ import annotations

import struct

import msgspec

_STATE = struct.Struct("<IIQ")


class StateFormatError(ValueError):
    """Bytes that are no state of ZAB's."""


class EpochState(msgspec.Struct, frozen=True, gc=False):
    """``accepted_epoch``: of the last NEWEPOCH acknowledged (f.p); ``current_epoch``: of the last NEWLEADER (f.a)."""

    accepted_epoch: int = 0
    current_epoch: int = 0
    origin: int = 0


def encode_state(state: EpochState) -> bytes:
    """The record's bytes."""
    return _STATE.pack(state.accepted_epoch, state.current_epoch, state.origin)


def decode_state(data: bytes) -> EpochState:
    """Read what ``encode_state`` wrote; b"" is the state before anything was written.

    Raises ``StateFormatError`` for anything else.
    """
    if not data:
        return EpochState()
    if len(data) != _STATE.size:
        raise StateFormatError(f"a ZAB state has {_STATE.size} bytes, this one has {len(data)}")
    return EpochState(*_STATE.unpack(data))
