"""What an acceptor remembers beside the accepted values."""

import pytest

from ratified.consensus.paxos.state import AcceptorState, decode_state, encode_state
from ratified.consensus.replication.state import StateFormatError


def test_the_state_is_forty_bytes_and_reads_back() -> None:
    state = AcceptorState((7, 3), (6, 2**64 - 1), 41)
    assert len(encode_state(state)) == 40
    assert decode_state(encode_state(state)) == state


def test_nothing_written_is_the_zero_state() -> None:
    assert decode_state(b"") == AcceptorState((0, 0), (0, 0), 0)


def test_anything_else_is_refused() -> None:
    with pytest.raises(StateFormatError, match="40 bytes, this one has 39"):
        decode_state(bytes(39))
