"""What Paxos remembers beside the accepted values, in 40 bytes.

Little-endian u64s: promised round and proposer, own round and proposer, chosen index.

- ``promised``: the highest ballot promised, for all slots at once.
- ``own``: the highest ballot that this member has begun as a proposer.
- ``chosen``: a slot up to which everything is chosen, and the values accepted here are the chosen ones. It is written
  along with other things and lags behind; without it a restart of all members would have to propose the whole log
  again. It only ever says what is true for ever.
"""

from __future__ import annotations

import struct

import msgspec

from ratified.consensus.contract import NO_ERA, Era
from ratified.consensus.replication.state import unpack_state

_STATE = struct.Struct("<QQQQQ")


class AcceptorState(msgspec.Struct, frozen=True, gc=False):
    """One member's promise, its own latest ballot, and a prefix that is chosen."""

    promised: Era = NO_ERA
    own: Era = NO_ERA
    chosen: int = 0


def encode_state(state: AcceptorState) -> bytes:
    return _STATE.pack(*state.promised, *state.own, state.chosen)


def decode_state(data: bytes) -> AcceptorState:
    """Raises ``StateFormatError``."""
    promised_round, promised_proposer, own_round, own_proposer, chosen = unpack_state("Paxos", _STATE, data) or (0,) * 5
    return AcceptorState((promised_round, promised_proposer), (own_round, own_proposer), chosen)
