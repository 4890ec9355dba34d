"""Passwords and their bcrypt hashes. Either takes tens of milliseconds, so it is done beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from ratified.kv.errors import EtcdError
from ratified.wire.etcd import errors

T = TypeVar("T")

PASSWORDS_WAITING_MAX = 100
"""That wait for their turn, one after another; more are refused."""
PASSWORD_BYTES_MAX = 72
"""Of which bcrypt makes a hash."""
COST_DEFAULT = 10


class Passwords:
    def __init__(self, cost: int = COST_DEFAULT) -> None:
        """``cost``: of new hashes, as a power of two."""
        self._cost = cost
        self._worker = ThreadPoolExecutor(1, "passwords")
        self._waiting = 0
        self._nobodys = b""

    async def hashed(self, password: str) -> bytes:
        data = password.encode()
        if len(data) > PASSWORD_BYTES_MAX:
            raise EtcdError(*errors.PASSWORD_TOO_LONG)
        return await self._beside(lambda: bcrypt.hashpw(data, bcrypt.gensalt(self._cost, b"2a")))

    async def matches(self, password: str, hashed: bytes) -> bool:
        """``hashed`` empty: False, and no sooner than otherwise. Nor is a password longer than any that has a hash."""
        data = password.encode()
        kept = hashed if len(data) <= PASSWORD_BYTES_MAX else b""
        return await self._beside(lambda: self._compare(data[:PASSWORD_BYTES_MAX], kept))

    def _compare(self, password: bytes, hashed: bytes) -> bool:
        if not hashed:
            self._nobodys = self._nobodys or bcrypt.hashpw(b"", bcrypt.gensalt(self._cost))
        return bcrypt.checkpw(password, hashed or self._nobodys) and bool(hashed)

    async def _beside(self, work: Callable[[], T]) -> T:
        if self._waiting >= PASSWORDS_WAITING_MAX:
            raise EtcdError(*errors.TOO_MANY_PASSWORDS)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        finally:
            self._waiting -= 1
