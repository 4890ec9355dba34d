"""How a call can fail, and what is known then.

What etcd refuses has a class of its own where a program would go on differently after it; the text is always etcd's.
"""

from __future__ import annotations

from ratified.wire.etcd import errors


class ClientError(Exception):
    """A call did not give a result. ``code`` is gRPC's name of the status, ``text`` what the server said."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class CallRefused(ClientError):
    """The server refused: nothing of the call has happened or will happen."""


class Compacted(CallRefused):
    """The revision is gone. ``revision`` is the first that can still be watched (0: the server did not say)."""

    def __init__(self, text: str, revision: int = 0) -> None:
        super().__init__("OUT_OF_RANGE", text)
        self.revision = revision


class FutureRevision(CallRefused):
    """The revision has not been written yet."""


class KeyNotFound(CallRefused):
    """A put that was to keep the key's value or lease found no key."""


class DuplicateKey(CallRefused):
    """A transaction writes a key twice."""


class RequestTooLarge(CallRefused):
    """More bytes, or more operations in a transaction, than the server takes."""


class NoSpace(CallRefused):
    """The store has reached its quota: delete, compact, and disarm the alarm."""


class LeaseNotFound(CallRefused):
    """There is no such lease, or no more."""


class LeaseExists(CallRefused):
    """A lease with this id was granted before."""


class MemberNotFound(CallRefused):
    """No member has this id."""


class AuthenticationFailed(CallRefused):
    """There is no such user, or this is not the password."""


class TokenRefused(CallRefused):
    """The server wants to know who asks, and was told nothing, or too long ago. A client that was given a user and a
    password has told it again, in vain."""


class PermissionDenied(CallRefused):
    """No role of the user admits to this."""


class AuthNotEnabled(CallRefused):
    """Users and passwords do not count in this cluster."""


class Unavailable(ClientError):
    """No endpoint took the call in time; nothing of it has happened."""


class CallOutcomeUnknown(ClientError):
    """The call may have happened, or may happen yet."""


class ClientClosed(ClientError):
    """The client was closed before the call, or while it was carried out; then the outcome of a write is unknown."""

    def __init__(self) -> None:
        super().__init__("CANCELLED", "the client is closed")


class Conflict(ClientError):
    """A transaction of ``stm`` was overtaken as often as it may be; nothing of it has happened."""

    def __init__(self, text: str) -> None:
        super().__init__("ABORTED", text)


class LeaseLost(Exception):
    """A lease ended, or may have, before its user was done: what was held under it is no longer held."""


_REFUSALS: dict[str, type[CallRefused]] = {
    errors.FUTURE_REVISION.text: FutureRevision,
    errors.KEY_NOT_FOUND.text: KeyNotFound,
    errors.DUPLICATE_KEY.text: DuplicateKey,
    errors.REQUEST_TOO_LARGE.text: RequestTooLarge,
    errors.TOO_MANY_OPS.text: RequestTooLarge,
    errors.NO_SPACE.text: NoSpace,
    errors.LEASE_NOT_FOUND.text: LeaseNotFound,
    errors.LEASE_EXISTS.text: LeaseExists,
    errors.MEMBER_NOT_FOUND.text: MemberNotFound,
    errors.AUTH_FAILED.text: AuthenticationFailed,
    errors.INVALID_AUTH_TOKEN.text: TokenRefused,
    errors.AUTH_OLD_REVISION.text: TokenRefused,
    "auth: revision in header is old": TokenRefused,  # etcd 3.5's, of a write, without its own code for it
    errors.USER_EMPTY.text: TokenRefused,
    errors.PERMISSION_DENIED.text: PermissionDenied,
    errors.AUTH_NOT_ENABLED.text: AuthNotEnabled,
}

_MESSAGE_TOO_LARGE_TEXT = "grpc: received message larger than max"


def refusal(code: str, text: str) -> CallRefused:
    """The exception for what a server refused in these words."""
    if text == errors.COMPACTED.text:
        return Compacted(text)
    if text.startswith(_MESSAGE_TOO_LARGE_TEXT):
        return RequestTooLarge(code, text)
    return _REFUSALS.get(text, CallRefused)(code, text)
