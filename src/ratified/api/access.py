"""The API as one client uses it: what a handler asks of the store is asked as that client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ratified.api.service import Service
from ratified.api.sessions import RENEWS, Credentials
from ratified.kv import commands, queries
from ratified.kv.errors import EtcdError
from ratified.kv.identity import Identity
from ratified.runtime import Reply


class Access:
    def __init__(self, service: Service, credentials: Credentials | None = None, who: Identity | None = None) -> None:
        """``credentials``: None: the client shows none, or it is no client but this member itself."""
        self.service = service
        self._credentials = credentials
        self._who = who

    async def propose(self, command: bytes) -> bytes:
        """As ``Service.propose``."""
        return await self._renewed(lambda who: self.service.propose(_command(who, command)))

    async def query(self, request: bytes, *, linearizable: bool = True, timeout_s: float | None = None) -> bytes:
        """As ``Service.query``."""
        return await self._renewed(
            lambda who: self.service.query(_query(who, request), linearizable=linearizable, timeout_s=timeout_s)
        )

    async def ask(self, request: bytes) -> bytes:
        """As ``Service.ask``."""
        return await self._renewed(lambda who: self.service.ask(_query(who, request)))

    async def check_asks(self, *, linearizable: bool = False) -> None:
        """Raise where users count and this is none."""
        await self.query(queries.may_ask(), linearizable=linearizable)

    async def check_manages(self, *, linearizable: bool = True) -> None:
        """Raise where users count and this one has not the role root. What concerns this member alone asks it alone:
        it is done without a majority too."""
        await self.query(queries.may_manage(), linearizable=linearizable)

    def begin_stream(self, request: bytes, on_reply: Callable[[Reply], None]) -> int:
        """As ``Service.begin_stream``, after ``renew``."""
        return self.service.begin_stream(self.asked(request), on_reply)

    def asked(self, request: bytes) -> bytes:
        """A query, as this client's."""
        return _query(self._who, request)

    async def renew(self, *, anew: bool = False) -> None:
        """Find out again who the client is; raises etcd's error where it is nobody any more."""
        if self._credentials is not None:
            self._who = await self.service.identify(self._credentials, anew=anew)

    async def _renewed(self, asked: Callable[[Identity | None], Awaitable[bytes]]) -> bytes:
        try:
            return await asked(self._who)
        except EtcdError as error:
            if self._credentials is None or error.text not in RENEWS:
                raise
        await self.renew(anew=True)
        return await asked(self._who)


def _command(who: Identity | None, command: bytes) -> bytes:
    return command if who is None else commands.asked_by(who, command)


def _query(who: Identity | None, request: bytes) -> bytes:
    return request if who is None else queries.asked_by(who, request)
