"""Who a client is, and the token that says so, without a transport.

A client that was given a user and a password exchanges them for a token before its first call, and again whenever a
server refuses the token: it forgets tokens that nobody uses for a while, and those of before a change of users or
roles. A call that is refused so was not carried out, so it is sent again with the new token.
"""

from __future__ import annotations

from typing import TypeAlias

from ratified.client.errors import AuthNotEnabled, PermissionDenied, TokenRefused, refusal

ATTEMPTS_MAX = 3
"""How often one call is sent with tokens that are refused: users and roles may be changed meanwhile."""

Metadata: TypeAlias = tuple[tuple[str, str], ...]


class Login:
    """A user's name and password (None: the client has none), and its token."""

    def __init__(self, user: str | None, password: str | None) -> None:
        if (user is None) != (password is None):
            raise ValueError("a user needs a password, and a password a user")
        self.user = user or ""
        self.password = password or ""
        self.token: str | None = None if user is not None else ""
        """None: it is to be asked for; empty: none is needed."""

    def asked(self, token: str) -> None:
        """The server has given a token."""
        self.token = token

    def not_asked(self, code: str, text: str) -> bool:
        """The server gives no token; is that because it needs none?"""
        if isinstance(refusal(code, text), AuthNotEnabled):
            self.token = ""
        return self.token == ""

    def refused(self, token: str, code: str, text: str) -> bool:
        """A call with this token was refused. Is it to be sent again with another one?"""
        return isinstance(refusal(code, text), TokenRefused) and self._renew(token)

    def watch_refused(self, token: str, why: TokenRefused | PermissionDenied, times: int) -> bool:
        """As ``refused``, of a watch, so many times in a row. Of a token that it does not know etcd 3.5 says that it
        has no permission, so that is asked once more."""
        return times < (2 if isinstance(why, PermissionDenied) else ATTEMPTS_MAX) and self._renew(token)

    def _renew(self, token: str) -> bool:
        if not self.user:
            return False
        if self.token == token:
            self.token = None
        return True


def metadata(token: str) -> Metadata:
    """What a call carries."""
    return (("token", token),) if token else ()
