"""A reader of several streams: what waits for it is bounded, and all of that room comes back."""

from __future__ import annotations

import asyncio

from ratified.node.ports import GoOn, Hold
from ratified.runtime.reader import Reader


def reader(bytes_max: int) -> tuple[Reader, list[Hold | GoOn]]:
    offered: list[Hold | GoOn] = []
    return Reader(offered.append, bytes_max), offered


async def has_room(reader: Reader) -> bool:
    waiting = asyncio.ensure_future(reader.has_room())
    await asyncio.sleep(0)
    waiting.cancel()
    return waiting.done()


def test_all_streams_are_held_where_too_much_waits_and_go_on_when_half_is_taken() -> None:
    async def act() -> None:
        made, offered = reader(10)
        for token in (1, 2):
            made.begins(token)
        made.arrived(1, 6)
        assert not offered
        made.arrived(2, 6)
        assert offered == [Hold((1, 2))]
        assert not await has_room(made)
        made.arrived(1, 2)
        assert offered[1:] == [Hold((1,))], "it was on its way"
        made.taken(8)
        assert len(offered) == 2
        made.taken(1)
        assert offered[2:] == [GoOn((1, 2))]
        assert await has_room(made)

    asyncio.run(act())


def test_a_stream_that_ends_gives_back_the_room_of_what_was_not_taken() -> None:
    async def act() -> None:
        made, offered = reader(10)
        for _ in range(3):
            for token in (1, 2):
                made.begins(token)
            made.arrived(2, 1)
            made.arrived(1, 20)
            assert offered.pop() == Hold((1, 2))
            made.taken(5)
            made.ends(1, 15)
            assert offered.pop() == GoOn((2,)), "the other one is not held for what nobody will take any more"
            assert await has_room(made)
            made.ends(2, 1)
            assert not offered

    asyncio.run(act())


def test_a_reader_may_be_given_less_and_never_more() -> None:
    made, offered = reader(100)
    made.limit(1000)
    made.begins(1)
    made.arrived(1, 100)
    assert offered == []
    made.limit(50)
    made.arrived(1, 1)
    assert offered == [Hold((1,))]
    made.taken(76)
    assert offered == [Hold((1,)), GoOn((1,))]
    assert made.waiting_bytes == 25
