"""Tokens: by what a client that has once said its password shows who it is.

Rules
1. A token is known on every member that has applied the command which says so, and nowhere written: a member that
   starts, or takes over a snapshot, knows none, and clients say their passwords again. It is no part of the state.
2. What is known is its SHA-256: a log or a file that somebody reads gives no token away.
3. It ends when it was not used on this member for ``ttl_us``, when its user's password is changed, and with its user.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

TOKENS_MAX = 50_000
"""One more ends the one that was used longest ago."""


class Password(msgspec.Struct, frozen=True):
    """What is known of a user's password at this auth revision."""

    enabled: bool
    """Do users count?"""
    revision: int
    hashed: bytes
    """bcrypt's; empty: there is no such user, or nobody is this user by a password."""


class Holder(msgspec.Struct, frozen=True):
    """Whose a token is, at this auth revision."""

    enabled: bool
    """Do users count?"""
    user: str
    """"": nobody's."""
    revision: int


class _Token:
    __slots__ = ("used_at", "user")

    def __init__(self, user: str) -> None:
        self.user = user
        self.used_at: int | None = None
        """None: nothing was asked since it was made, so what time it was is not known."""


class Tokens:
    def __init__(self, ttl_us: int) -> None:
        self._ttl_us = ttl_us
        self._tokens: OrderedDict[bytes, _Token] = OrderedDict()
        """By hash, in the order of their use."""
        self._fresh: list[_Token] = []

    def __len__(self) -> int:
        return len(self._tokens)

    def add(self, token_hash: bytes, user: str) -> None:
        token = self._tokens[token_hash] = _Token(user)
        self._fresh.append(token)
        if len(self._tokens) > TOKENS_MAX:
            self._tokens.popitem(last=False)

    def note_time(self, now: int) -> None:
        """To be called after each apply: what was made there counts as used now."""
        for token in self._fresh:
            token.used_at = now
        self._fresh.clear()
        while self._tokens:
            used_at = next(iter(self._tokens.values())).used_at
            if used_at is None or now - used_at <= self._ttl_us:
                break
            self._tokens.popitem(last=False)

    def user(self, now: int, token_hash: bytes) -> str:
        """Whose it is; "": nobody's. It is used with this."""
        self.note_time(now)
        token = self._tokens.get(token_hash)
        if token is None:
            return ""
        token.used_at = now
        self._tokens.move_to_end(token_hash)
        return token.user

    def end_of(self, user: str) -> None:
        """Whoever is this user says the password again."""
        for token_hash in [each for each, token in self._tokens.items() if token.user == user]:
            del self._tokens[token_hash]

    def clear(self) -> None:
        self._tokens.clear()
        self._fresh.clear()
