"""Names looked up beside the loop: one at a time, none held up by another, none remembered."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ratified.runtime.address import Address
from ratified.runtime.names import Names

WAIT_S = 20


class Resolver:
    """Stands in for the system's, which may hang: names that begin with "slow" are answered when told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.found = ["192.0.2.1", "::1", "192.0.2.1"]

    def __call__(self, host: str, *_: object, **__: object) -> list[Any]:
        self.asked.append(host)
        if host.startswith("slow"):
            self.answers.wait(WAIT_S)
        if host.startswith("no"):
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in self.found]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    found = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", found)
    yield found
    found.answers.set()


def test_an_address_is_not_looked_up(resolver: Resolver) -> None:
    async def run() -> None:
        assert [*await Names().addresses("::1", WAIT_S)] == ["::1"]
        assert [*await Names().addresses("127.0.0.1", WAIT_S)] == ["127.0.0.1"]

    asyncio.run(run())
    assert resolver.asked == []


def test_a_name_is_asked_for_once_at_a_time_and_anew_later(resolver: Resolver) -> None:
    async def run() -> None:
        names = Names()
        several = [asyncio.ensure_future(names.addresses("slow.test", WAIT_S)) for _ in range(3)]
        with pytest.raises(TimeoutError, match=r"the name slow\.test is not resolved within 0\.01 s"):
            await names.addresses("slow.test", 0.01)
        assert resolver.asked == ["slow.test"]
        resolver.answers.set()
        assert await asyncio.gather(*several) == [("192.0.2.1", "::1")] * 3
        resolver.found = ["192.0.2.2"]
        assert await names.addresses("slow.test", WAIT_S) == ("192.0.2.2",)

    asyncio.run(run())
    assert resolver.asked == ["slow.test"] * 2


def test_a_name_that_hangs_holds_up_no_other_and_no_end(resolver: Resolver) -> None:
    async def run() -> None:
        names = Names()
        hanging = [asyncio.ensure_future(names.addresses(f"slow{each}.test", WAIT_S)) for each in range(20)]
        assert await names.addresses("quick.test", WAIT_S)
        for each in hanging:
            each.cancel()

    asyncio.run(run())


def test_a_name_that_is_none_is_said(resolver: Resolver) -> None:
    async def run() -> None:
        with pytest.raises(OSError, match="Name or service not known"):
            await Names().addresses("nowhere.test", WAIT_S)

    asyncio.run(run())


def test_what_cannot_be_a_name_is_an_error_like_others() -> None:
    async def run() -> None:
        with pytest.raises(OSError, match="cannot be a name"):
            await Names().addresses("a" * 64 + ".test", WAIT_S)

    asyncio.run(run())


def test_all_addresses_of_a_name_are_tried(resolver: Resolver) -> None:
    async def run() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            resolver.found = ["127.0.0.2", "127.0.0.1"]
            _, writer = await Names().dial(None, Address("a.test", port), WAIT_S)
            assert writer.get_extra_info("peername")[0] == "127.0.0.1"
            writer.close()
            resolver.found = ["127.0.0.2", "127.0.0.3"]
            with pytest.raises(ConnectionRefusedError):
                await Names().dial(None, Address("a.test", port), WAIT_S)

    asyncio.run(run())
