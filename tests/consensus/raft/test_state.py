"""The state record: term and vote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratified.consensus.raft.state import HardState, decode_state, encode_state
from ratified.consensus.replication.state import StateFormatError


@given(st.integers(0, 2**64 - 1), st.none() | st.integers(0, 2**64 - 2))
def test_the_state_record_is_sixteen_bytes_and_reads_back(term: int, voted_for: int | None) -> None:
    encoded = encode_state(HardState(term, voted_for))
    assert len(encoded) == 16
    assert decode_state(encoded) == HardState(term, voted_for)


def test_the_state_record_says_none_as_minus_one() -> None:
    assert encode_state(HardState(7, None)) == b"\x07" + bytes(7) + b"\xff" * 8
    assert decode_state(b"") == HardState(0, None)


def test_other_bytes_are_no_state() -> None:
    with pytest.raises(StateFormatError, match="16 bytes, this one has 3"):
        decode_state(b"abc")
