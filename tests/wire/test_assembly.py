"""The fragments of a message, put together again: bounded before anything is kept, and only in their order."""

from __future__ import annotations

import pytest

from ratified.consensus.raft.messages import Message
from ratified.wire.codec import Assembly, FrameError, MessageCodec
from ratified.wire.peer import Fragment, Question

CODEC = MessageCodec(Message)
MESSAGE = Question(1, b"x" * 100)
ENCODED = CODEC.encode(MESSAGE)


def fragments(size: int, group: int = 3) -> list[Fragment]:
    pieces = [ENCODED[at : at + size] for at in range(0, len(ENCODED), size)]
    return [Fragment(group, len(b"".join(pieces[at:])), piece) for at, piece in enumerate(pieces, 1)]


@pytest.mark.parametrize("size", [1, 7, len(ENCODED) - 1, len(ENCODED)])
def test_the_last_fragment_completes_the_message(size: int) -> None:
    assembly = Assembly(CODEC, len(ENCODED))
    for _ in range(2):
        *before, last = fragments(size)
        assert all(assembly.add(each) is None for each in before)
        assert assembly.add(last) == (3, MESSAGE)


def test_a_message_that_says_more_than_the_limit_is_refused_with_its_first_fragment() -> None:
    with pytest.raises(FrameError, match=f"says {len(ENCODED)} bytes, the limit is {len(ENCODED) - 1}"):
        Assembly(CODEC, len(ENCODED) - 1).add(fragments(10)[0])


@pytest.mark.parametrize(
    "next_one",
    [
        fragments(10)[0],
        fragments(10)[2],
        fragments(10, group=4)[1],
        Fragment(3, fragments(10)[0].left, b""),
        Fragment(3, fragments(10)[1].left + 1, fragments(10)[1].data),
    ],
)
def test_what_does_not_follow_is_refused(next_one: Fragment) -> None:
    assembly = Assembly(CODEC)
    assert assembly.add(fragments(10)[0]) is None
    with pytest.raises(FrameError, match="does not follow"):
        assembly.add(next_one)
