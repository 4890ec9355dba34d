"""Who a client is: by the token in its calls' metadata, or by the common name in its certificate.

Rules
1. Whether somebody may do something is decided in the store (``kv.guard``), by an identity. Here that is found out, and
   remembered for a little while: as long as nothing about users changes an identity stays good, and when something does
   the store refuses it as old. It is then found out anew, once, and the request, of which nothing was done, asked
   again.
2. A token counts before a certificate. While users do not count (``auth.enabled``) nobody is asked who it is, and of
   what clients show nothing is remembered: it may be anything.
3. This member's own state is asked first, and where that knows no such token, the latest one: it may have been given
   out by another member just now.
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple, Protocol

import msgspec

from ratified.kv import queries
from ratified.kv.errors import EtcdError
from ratified.kv.identity import NAME_BYTES_MAX, Identity
from ratified.kv.tokens import Holder
from ratified.wire.etcd import errors

SESSIONS_MAX = 10_000
"""Remembered of a member's clients; one more forgets the one that was found out longest ago."""
REMEMBERED_S = 10.0
RENEWS = (errors.AUTH_OLD_REVISION.text, errors.USER_EMPTY.text)
"""Errors after which it is found out anew who a client is."""


class Credentials(NamedTuple):
    """What a client shows of itself: a token, which may be empty, or where there is none a certificate's name."""

    token: str
    common_name: str


class Session(NamedTuple):
    """Who a client is (None: users do not count), and until when that is taken for true, by the loop's clock."""

    who: Identity | None
    until_s: float


class SignedTokens(Protocol):
    """Tokens that say themselves whose they are."""

    def read(self, token: str) -> Identity:
        """Raises etcd's error where it is none of ours, or has ended."""

    def sign(self, user: str, revision: int) -> str: ...


class Store(Protocol):
    """What is asked of this member's store."""

    async def own_query(self, request: bytes, *, linearizable: bool = True) -> bytes: ...


class Sessions:
    """The clients that this member knows."""

    def __init__(self, store: Store, signed: SignedTokens | None = None) -> None:
        """``signed``: None: tokens are random, and known to the store."""
        self.signed = signed
        self._store = store
        self._sessions: dict[Credentials, Session] = {}
        self._nobodys = Session(None, -math.inf)
        """That of everybody else: users did not count when it was last asked."""

    def known(self, credentials: Credentials, now_s: float) -> Session | None:
        session = self._sessions.get(credentials, self._nobodys)
        return session if now_s < session.until_s else None

    async def identify(self, credentials: Credentials, now_s: float, *, anew: bool = False) -> Identity | None:
        """Who it is; None: users do not count. ``anew``: what this member knows may be old. Raises etcd's error."""
        who = await self._find_out(credentials, anew)
        if who is not None and len(who.user.encode()) > NAME_BYTES_MAX:
            raise EtcdError(*errors.PERMISSION_DENIED)  # there is no such user
        self._sessions.pop(credentials, None)
        if who is None:
            self._nobodys = Session(None, now_s + REMEMBERED_S)
            return None
        self._nobodys = Session(None, -math.inf)
        if len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[credentials] = Session(who, now_s + REMEMBERED_S)
        return who

    async def _find_out(self, credentials: Credentials, anew: bool) -> Identity | None:
        asked = token_hash(credentials.token)
        is_certified = bool(credentials.common_name)
        holder = await self._holder(asked, linearizable=anew)
        if not holder.user and not is_certified and self.signed is None and not anew:
            holder = await self._holder(asked, linearizable=True)
        if not holder.enabled:
            return None
        if is_certified:
            return Identity(credentials.common_name, holder.revision)
        if self.signed is not None:
            return self.signed.read(credentials.token)
        if not holder.user:
            raise EtcdError(*errors.INVALID_AUTH_TOKEN)
        return Identity(holder.user, holder.revision)

    async def _holder(self, asked: bytes, *, linearizable: bool) -> Holder:
        answer = await self._store.own_query(queries.token(asked), linearizable=linearizable)
        return msgspec.msgpack.decode(answer, type=Holder)


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
