"""Tokens of the kind JWT: they say themselves whose they are, and any member reads them.

Whether one has ended is told by the clock of day, as everybody does who takes such tokens.
"""

from __future__ import annotations

import time
from pathlib import Path

import jwt

from ratified.api.jwt_options import JwtOptions
from ratified.api.sessions import SignedTokens
from ratified.kv.errors import EtcdError
from ratified.kv.identity import Identity
from ratified.wire.etcd import errors


class BadKey(Exception):
    """A key of tokens that cannot be used; one line."""


class JwtTokens(SignedTokens):
    def __init__(self, options: JwtOptions) -> None:
        """Raises ``BadKey``."""
        self._options = options
        self._private = None if options.private_key is None else _read(options.private_key)
        self._public = self._private if options.public_key is None else _read(options.public_key)
        if self._private is not None:
            self._public = _public_of(options, self._private, self._public)

    def sign(self, user: str, revision: int) -> str:
        if self._private is None:
            raise EtcdError(*errors.GIVES_NO_TOKENS)
        claims = {"username": user, "revision": revision, "exp": int(time.time() + self._options.ttl_s)}
        return jwt.encode(claims, self._private, self._options.method)

    def read(self, token: str) -> Identity:
        try:
            claims = jwt.decode(
                token,
                self._public or b"",
                [self._options.method],
                options={"require": ["exp", "username", "revision"]},
            )
            user, revision = claims["username"], claims["revision"]
        except jwt.PyJWTError as error:
            raise EtcdError(*errors.INVALID_AUTH_TOKEN) from error
        if not _is_name(user) or not isinstance(revision, int) or not 0 <= revision < 2**63:
            raise EtcdError(*errors.INVALID_AUTH_TOKEN)
        return Identity(user, revision)


def _is_name(user: object) -> bool:
    """Could a user be called so? In JSON half of a character may stand alone."""
    return isinstance(user, str) and bool(user) and not any("\ud800" <= letter <= "\udfff" for letter in user)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadKey(f"--auth-token: {path} cannot be read: {error.strerror}") from error


def _public_of(options: JwtOptions, private: bytes, public: bytes | None) -> bytes | None:
    """What tokens are held against; raises where a token that is signed cannot be read."""
    assert options.private_key is not None, "somebody has read it"
    try:
        if options.public_key is None and not options.method.startswith("HS"):
            public = _derived(private)
        token = jwt.encode({}, private, options.method)
        jwt.decode(token, public or b"", [options.method])
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:  # the last where a public key is to sign
        raise BadKey(
            f"--auth-token: {options.private_key} and {options.public_key or 'itself'} are no keys for "
            f"{options.method} that belong together: {error}"
        ) from error
    return public


def _derived(private: bytes) -> bytes:
    """The public half of a private key, in PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    return (
        load_pem_private_key(private, None).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
