"""Addresses of names, looked up beside the loop.

Rules

1. A name is looked up once at a time, on a thread of its own: who asks meanwhile waits for the same answer. A resolver
   that does not answer holds up nobody who asks for another name, and no end of the process.
2. Nothing is remembered: a name that stands for nothing yet, or for another address than before, is asked for anew.
3. What is an address already is not looked up.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address

from ratified.runtime.address import Address
from ratified.runtime.tls import Certificates, dial

Found = Sequence[str] | OSError
"""Addresses in the order of the system's preference, or why there are none."""


class Names:
    """Who looks names up, on the present loop."""

    def __init__(self) -> None:
        self._lookups: dict[str, asyncio.Future[Found]] = {}

    async def addresses(self, host: str, timeout_s: float) -> Sequence[str]:
        """What this name stands for, at least one. Raises ``OSError``, and ``TimeoutError`` which is one."""
        if _is_address(host):
            return (host,)
        lookup = self._lookups.get(host) or self._look_up(host)
        try:
            async with asyncio.timeout(timeout_s):
                found = await asyncio.shield(lookup)
        except TimeoutError:
            raise TimeoutError(f"the name {host} is not resolved within {timeout_s} s") from None
        if isinstance(found, OSError):
            raise found
        return found

    async def dial(
        self, tls: Certificates | None, address: Address, timeout_s: float
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first address of the name that takes it, each within this time. Raises ``OSError``."""
        failure = OSError(f"{address.host} stands for no address")
        for where in await self.addresses(address.host, timeout_s):
            try:
                async with asyncio.timeout(timeout_s):
                    return await dial(tls, where, address.port, name=address.host)
            except OSError as error:  # TimeoutError is one
                failure = error
        raise failure

    def _look_up(self, host: str) -> asyncio.Future[Found]:
        loop = asyncio.get_running_loop()
        lookup: asyncio.Future[Found] = loop.create_future()
        self._lookups[host] = lookup

        def ended(found: Found) -> None:
            del self._lookups[host]
            lookup.set_result(found)

        def run() -> None:
            found = _found(host)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(ended, found)

        threading.Thread(target=run, name=f"ratified-look-up-{host}", daemon=True).start()
        return lookup


def _found(host: str) -> Found:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except UnicodeError as error:  # it is no name, by its length or its letters
        return OSError(f"{host!r} cannot be a name: {error}")
    return tuple(dict.fromkeys(str(where[0]) for *_, where in found))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
