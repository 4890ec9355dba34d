"""What Raft remembers beside its log (figure 2, "persistent state"): current term and vote, in 16 bytes.

Little-endian: u64 term, i64 vote, where -1 says that no vote was given in this term. A member id is therefore below
2^64 - 1; it is stored modulo 2^64.
"""

from __future__ import annotations

import struct

import msgspec

from ratified.consensus.contract import U64_MAX
from ratified.consensus.replication.state import unpack_state

_STATE = struct.Struct("<QQ")
_NO_VOTE = U64_MAX  # -1 in two's complement


class HardState(msgspec.Struct, frozen=True, gc=False):
    """``term`` and whom this member voted for in it."""

    term: int = 0
    voted_for: int | None = None


def encode_state(state: HardState) -> bytes:
    return _STATE.pack(state.term, _NO_VOTE if state.voted_for is None else state.voted_for)


def decode_state(data: bytes) -> HardState:
    """Raises ``StateFormatError``."""
    term, vote = unpack_state("Raft", _STATE, data) or (0, _NO_VOTE)
    return HardState(term, None if vote == _NO_VOTE else vote)
