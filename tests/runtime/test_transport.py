"""The peer transport over real sockets, on both loops: sessions, one write a turn, bounds, garbage, redialling."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial

import pytest

from ratified.consensus.contract import Kind
from ratified.consensus.engines import ENGINES
from ratified.node.ports import Admitted, Challenged, Connected, Disconnected, Input, Outgoing, PeerAddress, Received
from ratified.runtime import transport
from ratified.runtime.address import Address
from ratified.runtime.transport import BACK_OFF_MAX_S, Listener, PeerTransport, TransportLimits, back_off_s
from ratified.wire.codec import PeerCodec
from ratified.wire.peer import PROTOCOL_VERSION, Batch, Forward, Goodbye, Hello, Ping
from tests.runtime import loops
from tests.runtime.loops import LOOPS, until

LOCAL = "127.0.0.1"
HELLO = Hello(7, 1, bytes(16), 1, 1, (), "raft", PROTOCOL_VERSION, PROTOCOL_VERSION, "n", (), True)
made: list[PeerTransport] = []
"""The transports of the test that runs."""


def run(main: Coroutine[None, None, None], loop: str = "uvloop") -> None:
    """Run a test; where it fails, drop what it left open: uvloop does not close over a listening server."""

    async def tidied() -> None:
        made.clear()
        try:
            await main
        except BaseException:
            for transport in made:
                transport.abort()
            raise

    loops.run(tidied(), loop)


class Peer:
    """A transport and the inputs that it has given."""

    def __init__(self, limits: TransportLimits = TransportLimits()) -> None:  # noqa: B008 - frozen
        self.inputs: list[Input] = []
        self.listener = socket.create_server((LOCAL, 0))
        self.address = Address(*self.listener.getsockname())
        self.transport = PeerTransport(
            asyncio.get_running_loop(),
            self.inputs.append,
            lambda: PeerCodec(ENGINES["raft"].message),
            name="peer",
            seed=1,
            limits=limits,
        )
        made.append(self.transport)

    def of(self, kind: type) -> list[Input]:
        return [each for each in self.inputs if isinstance(each, kind)]

    def dial(self, *addresses: Address) -> None:
        """From now on member 7 is there."""
        self.transport.know([PeerAddress(7, tuple(map(str, addresses)), dials=True)])

    @property
    def connection(self) -> int:
        found = self.of(Connected)[-1]
        assert isinstance(found, Connected)
        return found.connection


def frame_of(size: int) -> Batch:
    """A frame of a little more than so many bytes."""
    return Batch([(0, Forward((1, 0), 1, 1, 1, [(1, bytes(size), Kind.COMMAND)]))])


@asynccontextmanager
async def two_connected(limits: TransportLimits = TransportLimits()) -> AsyncIterator[tuple[Peer, Peer]]:  # noqa: B008
    """``b`` has dialled ``a``."""
    a = Peer(limits=limits)
    await a.transport.accept_on([Listener(a.listener)])
    b = Peer(limits)
    b.listener.close()
    b.dial(a.address)
    await until(lambda: bool(a.inputs and b.inputs))
    for one in (a, b):
        one.transport.admit([Admitted(one.connection, 7)])
    try:
        yield a, b
    finally:
        await b.transport.close()
        await a.transport.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_session_begins_with_connected_and_ends_with_one_disconnected(loop: str) -> None:
    async def main() -> None:
        async with two_connected() as (a, b):
            assert a.inputs == [Connected(1, None)]
            assert b.inputs == [Connected(1, 7)]
            b.transport.send([Outgoing(1, Ping()), Outgoing(1, Goodbye("done"))])
            b.transport.hang_up(1, "done")
            b.transport.hang_up(1, "done twice")
            await until(lambda: bool(a.of(Disconnected)))
            assert a.inputs[1:4] == [Received(1, Ping()), Received(1, Goodbye("done")), Disconnected(1)]
            assert b.inputs[1] == Disconnected(1)
        assert len([each for each in a.of(Disconnected) if each == Disconnected(1)]) == 1

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_nagle_is_off_on_both_sides(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    opened = PeerTransport.opened

    def look(self: PeerTransport, session: object) -> None:
        transport = session._transport  # type: ignore[attr-defined]  # the one place where the socket can be seen
        seen.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        opened(self, session)  # type: ignore[arg-type]

    monkeypatch.setattr(PeerTransport, "opened", look)

    async def main() -> None:
        async with two_connected():
            pass

    run(main(), loop)
    assert len(seen) == 2
    assert all(seen)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        struct.pack("<I", 2 << 30),
        struct.pack(">I", 2 << 30) * 8,
        b"\xff" * 64,
        b"\0" * 64,
    ],
    ids=["http", "2 GiB", "2 GiB big-endian", "ones", "zeros"],
)
def test_garbage_closes_its_connection_with_one_line_and_no_other(
    loop: str, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with two_connected() as (a, b):
            good = a.connection
            reader, writer = await asyncio.open_connection(a.address.host, a.address.port)
            writer.write(garbage + bytes(64))
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
            assert a.of(Disconnected) == [Disconnected(good + 1)]
            assert a.transport.counters.bad_frames == 1
            b.transport.send([Outgoing(b.connection, Ping())])
            await until(lambda: bool(a.of(Received)))
            assert a.of(Received) == [Received(good, Ping())]

    with caplog.at_level(logging.WARNING):
        run(main(), loop)
    assert len(caplog.records) == 1
    assert "closing the connection with 127.0.0.1" in caplog.text


@pytest.mark.parametrize("loop", LOOPS)
def test_a_frame_altered_on_the_way_is_never_received(loop: str) -> None:
    async def main() -> None:
        a = Peer()
        await a.transport.accept_on([Listener(a.listener)])
        frame = bytearray(PeerCodec(ENGINES["raft"].message).encode(Goodbye("a reason")))
        frame[-1] ^= 1
        reader, writer = await asyncio.open_connection(a.address.host, a.address.port)
        writer.write(bytes(frame))
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        assert a.inputs == [Connected(1, None), Disconnected(1)]
        await a.transport.close()

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_takes_nothing_ends_its_session_when_the_queue_is_full(loop: str) -> None:
    async def main() -> None:
        a = Peer(limits=TransportLimits(outgoing_bytes_max=1 << 20))
        await a.transport.accept_on([Listener(a.listener)])
        deaf = socket.create_connection((a.address.host, a.address.port))
        await until(lambda: bool(a.inputs))
        big = frame_of(100_000)
        sent = 0
        while not a.of(Disconnected):
            a.transport.send([Outgoing(1, big)])
            sent += 1
            await asyncio.sleep(0)
            assert sent < 1000
        assert a.transport.counters.overflows == 1
        assert sent > 10
        a.transport.send([Outgoing(1, big)])  # dropped: the connection is gone
        assert len(a.of(Disconnected)) == 1
        deaf.close()
        await a.transport.close()

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_however_small_the_limit_one_write_fits_into_an_empty_queue(loop: str) -> None:
    async def main() -> None:
        async with two_connected(TransportLimits(outgoing_bytes_max=1, received_bytes_max=1)) as (a, b):
            for _ in range(3):
                b.transport.send([Outgoing(b.connection, frame_of(10_000))])
                count = len(a.of(Received)) + 1
                while len(a.of(Received)) < count:
                    a.transport.resume_reading()
                    await asyncio.sleep(0.001)
            assert b.transport.counters.overflows == 0

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_reading_stops_until_the_node_has_taken_what_was_received(loop: str) -> None:
    async def main() -> None:
        async with two_connected(TransportLimits(received_bytes_max=200_000)) as (a, b):
            for _ in range(100):
                b.transport.send([Outgoing(b.connection, frame_of(100_000))])
            await until(lambda: a.transport.counters.bytes_received > 200_000)
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert len(a.of(Received)) < 50
            while len(a.of(Received)) < 100:
                a.transport.resume_reading()
                await asyncio.sleep(0.001)

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_the_node_has_taken_counts_no_longer(loop: str) -> None:
    async def main() -> None:
        async with two_connected(TransportLimits(received_bytes_max=200_000)) as (a, b):
            for size in (100_000, 90_000, 40_000, 40_000, 40_000):
                count = len(a.of(Received)) + 1
                b.transport.send([Outgoing(b.connection, frame_of(size))])
                await until(partial(lambda wanted: len(a.of(Received)) == wanted, count))
                if size == 90_000:
                    a.transport.resume_reading()  # nothing calls it again: from here on 120 kB must come by themselves

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_strangers_put_each_other_out_and_no_member(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        a = Peer(limits=TransportLimits(lobby_max=2))
        await a.transport.accept_on([Listener(a.listener)])
        opened = [await asyncio.open_connection(a.address.host, a.address.port) for _ in range(2)]
        await until(lambda: len(a.inputs) == 2)
        a.transport.admit([Admitted(1, 7)])
        for count in range(3, 13):
            opened.append(await asyncio.open_connection(a.address.host, a.address.port))
            await until(partial(lambda wanted: len(a.of(Connected)) == wanted, count))
        assert a.of(Disconnected) == [Disconnected(number) for number in range(2, 11)]
        assert a.transport.counters.evicted == 9
        assert caplog.text.count("closing a connection from 127.0.0.1") == 1, "said once, counted nine times"
        a.transport.send([Outgoing(1, Goodbye("to the member"))])
        assert PeerCodec(ENGINES["raft"].message).feed(await opened[0][0].read(1000)) == [Goodbye("to the member")]
        for _, writer in opened:
            writer.close()
        await a.transport.close()

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_challenge_reads_the_first_frame_at_a_members_address_and_says_nothing(loop: str) -> None:
    async def main() -> None:
        a = Peer()
        await a.transport.accept_on([Listener(a.listener)])
        nowhere = Peer()
        nowhere.listener.close()
        b = Peer()
        b.listener.close()
        both = (str(nowhere.address), str(a.address))
        b.transport.know([PeerAddress(7, both, dials=False), PeerAddress(8, both[:1], dials=False)])
        b.transport.challenge([7])
        await until(lambda: bool(a.inputs))
        assert a.inputs == [Connected(1, None)]
        a.transport.send([Outgoing(1, HELLO)])
        await until(lambda: bool(b.inputs))
        assert b.inputs == [Challenged(7, HELLO)]
        await until(lambda: bool(a.of(Disconnected)))
        assert not a.of(Received)
        b.transport.challenge([8])
        await until(lambda: len(b.inputs) == 2)
        assert b.inputs[1] == Challenged(8, None)
        for peer in (a, b, nowhere):
            await peer.transport.close()

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_challenge_ends_where_whoever_answers_says_nothing(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 0.1)

    async def main() -> None:
        silent = Peer()
        await silent.transport.accept_on([Listener(silent.listener)])
        b = Peer()
        b.listener.close()
        b.transport.know([PeerAddress(7, (str(silent.address),), dials=False)])
        b.transport.challenge([7])
        await until(lambda: bool(b.inputs))
        assert b.inputs == [Challenged(7, None)]
        await until(lambda: bool(silent.of(Disconnected)))
        for peer in (silent, b):
            await peer.transport.close()

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_lost_peer_is_dialled_again_until_it_is_back(loop: str) -> None:
    async def main() -> None:
        a = Peer()
        address = a.address
        await a.transport.accept_on([Listener(a.listener)])
        b = Peer()
        b.listener.close()
        b.dial(address)
        await until(lambda: bool(b.inputs))
        a.transport.abort()
        await until(lambda: bool(b.of(Disconnected)))
        back = Peer()
        back.listener.close()
        await back.transport.accept_on([Listener(socket.create_server((address.host, address.port)))])
        await until(lambda: bool(back.inputs))
        numbers = range(1, len(b.of(Connected)))
        expected = [step for number in numbers for step in (Connected(number, 7), Disconnected(number))]
        assert b.inputs == [*expected, Connected(len(numbers) + 1, 7)], "one after another, each over before the next"
        assert numbers
        await b.transport.close()
        await back.transport.close()

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_has_moved_is_dialled_where_it_is_now_and_one_that_has_left_nowhere(loop: str) -> None:
    async def main() -> None:
        before, after = Peer(), Peer()
        await before.transport.accept_on([Listener(before.listener)])
        await after.transport.accept_on([Listener(after.listener)])
        b = Peer()
        b.listener.close()
        b.dial(before.address)
        await until(lambda: bool(before.inputs))
        b.dial(after.address)
        assert not b.of(Disconnected), "what is connected stays"
        before.transport.abort()
        await until(lambda: bool(after.inputs))
        b.transport.know([])
        count = len(b.of(Connected))
        after.transport.hang_up(after.connection, "tested")
        await until(lambda: len(b.of(Disconnected)) == count)
        await asyncio.sleep(BACK_OFF_MAX_S)
        assert len(b.of(Connected)) == count
        await b.transport.close()
        await after.transport.close()

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_hangs_up_at_once_is_dialled_less_and_less_often(loop: str) -> None:
    async def main() -> None:
        a = Peer()
        await a.transport.accept_on([Listener(a.listener)])
        b = Peer()
        b.listener.close()
        b.dial(a.address)
        ends = asyncio.get_running_loop().time() + 1.5
        hung_up = 0
        while asyncio.get_running_loop().time() < ends:
            for each in a.of(Connected)[hung_up:]:
                assert isinstance(each, Connected)
                a.transport.hang_up(each.connection, "tested")
                hung_up += 1
            await asyncio.sleep(0.002)
        assert 2 <= hung_up <= 10, "with the shortest pause alone it would be 70"
        await b.transport.close()
        await a.transport.close()

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_closing_in_the_very_moment_of_connecting_ends_too(loop: str) -> None:
    async def main() -> None:
        for _ in range(20):
            a = Peer()
            await a.transport.accept_on([Listener(a.listener)])
            b = Peer()
            b.listener.close()
            b.dial(a.address)
            while not b.inputs:
                await asyncio.sleep(0)
            await b.transport.close()
            await a.transport.close()
            assert b.inputs == [Connected(1, 7), Disconnected(1)]

    run(main(), loop)


def test_back_off_doubles_up_to_its_cap_and_differs_between_members() -> None:
    delays = [back_off_s(1, 7, failures) for failures in range(40)]
    assert all(delay <= BACK_OFF_MAX_S for delay in delays)
    assert delays[0] < 0.021
    assert all(delay >= BACK_OFF_MAX_S / 2 for delay in delays[6:])
    assert delays == [back_off_s(1, 7, failures) for failures in range(40)]
    assert delays != [back_off_s(1, 8, failures) for failures in range(40)]
