"""What ZAB remembers beside its history (paper, section III: f.p, f.a), in 16 bytes.

Little-endian: u32 accepted epoch, u32 current epoch, u64 origin. The origin is the length of the current epoch's
initial history: the index behind which its own entries begin, from which their zxids are computed.
"""

from __future__ import annotations

import struct

import msgspec

from ratified.consensus.replication.state import unpack_state

_STATE = struct.Struct("<IIQ")


class EpochState(msgspec.Struct, frozen=True, gc=False):
    """``accepted_epoch``: of the last NEWEPOCH acknowledged (f.p); ``current_epoch``: of the last NEWLEADER (f.a)."""

    accepted_epoch: int = 0
    current_epoch: int = 0
    origin: int = 0


def encode_state(state: EpochState) -> bytes:
    return _STATE.pack(state.accepted_epoch, state.current_epoch, state.origin)


def decode_state(data: bytes) -> EpochState:
    """Raises ``StateFormatError``."""
    return EpochState(*unpack_state("ZAB", _STATE, data))
