"""What is proposed: a kind byte, a header that says who asks (``identity``), and the body.

The body of a client's command is the bytes of its etcd request as they came in, with what had to be chosen filled in.
They were decoded and checked there (``requests``); they are decoded again where they are applied, and nowhere between.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct

from ratified.kv import identity
from ratified.kv.identity import HEADER_BYTES_MAX, NOBODY, Identity
from ratified.machine import Era
from ratified.wire.etcd.rpc_pb2 import LeaseGrantRequest

OVERHEAD_BYTES_MAX = 64 + HEADER_BYTES_MAX
"""By how many bytes a command is longer than the request in it, at most; a lease's id and a password's hash are among
them."""


class CommandKind(IntEnum):
    """The first byte of a command."""

    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    COMPACT = 4
    LEASE_GRANT = 5
    LEASE_REVOKE = 6
    LEAD = 7
    LEASE_EXPIRE = 8
    AUTH = 9
    """A change of users, roles, or whether they count: an ``AuthKind``, and the bytes of its request."""
    AUTHENTICATE = 10
    """Somebody has said a user's password (``tokens``)."""
    PUTS = 11
    """Plain puts, nobody's, each of which makes a revision (``plain``)."""
    ALARM = 12
    """An AlarmRequest that raises an alarm, or takes one back."""
    CHECK = 13
    """All members are to say what they hold (``checks``)."""
    CHECKED = 14
    """What a member holds: a ``checks.Report``."""


class AuthKind(IntEnum):
    """The first byte of the body of a command about users and roles."""

    ENABLE = 1
    DISABLE = 2
    USER_ADD = 3
    USER_DELETE = 4
    USER_CHANGE_PASSWORD = 5
    USER_GRANT_ROLE = 6
    USER_REVOKE_ROLE = 7
    ROLE_ADD = 8
    ROLE_DELETE = 9
    ROLE_GRANT_PERMISSION = 10
    ROLE_REVOKE_PERMISSION = 11


LEAD = Struct(">QQ")
"""An era."""
EXPIRE = Struct(">QQqQ")
"""The era in which it was proposed, the lease, and the index that granted it."""

TOKEN = Struct(">Q32s")
"""The auth revision at which the password was looked at, and a token's SHA-256; a user's name follows."""

_PREFIX = {kind: bytes([kind]) + NOBODY for kind in CommandKind}
_PUT = _PREFIX[CommandKind.PUT]
_HEAD_BYTES = len(_PUT)


def split(command: bytes) -> tuple[int, Identity | None, bytes]:
    """(kind, who asks, body) of a command. Raises ``ValueError`` where its header cannot be read."""
    if not command[1]:
        return command[0], None, command[2:]
    return command[0], *identity.split(command, 1)


def asked_by(who: Identity, command: bytes) -> bytes:
    """The same command of nobody's, as this user's."""
    return command[:1] + who.encode() + command[2:]


def put(request: bytes) -> bytes:
    return _PUT + request


def puts(commands: Iterable[bytes]) -> bytes:
    """From plain puts; the answer is that of the first, and each further one made the next revision."""
    return _PREFIX[CommandKind.PUTS] + b"".join([command[_HEAD_BYTES:] for command in commands])


def delete_range(request: bytes) -> bytes:
    return _PREFIX[CommandKind.DELETE_RANGE] + request


def txn(request: bytes) -> bytes:
    """From a TxnRequest; one that ``requests.is_read_only`` can be asked instead."""
    return _PREFIX[CommandKind.TXN] + request


def compact(request: bytes) -> bytes:
    return _PREFIX[CommandKind.COMPACT] + request


def lease_grant(request: LeaseGrantRequest, fresh_id: int, ttl_min_s: int) -> bytes:
    """With ``fresh_id`` where the client names none, and at least ``ttl_min_s`` to live."""
    grant = LeaseGrantRequest(ID=request.ID or fresh_id, TTL=max(request.TTL, ttl_min_s))
    return _PREFIX[CommandKind.LEASE_GRANT] + grant.SerializeToString()


def lease_revoke(request: bytes) -> bytes:
    return _PREFIX[CommandKind.LEASE_REVOKE] + request


def auth(kind: AuthKind, request: bytes) -> bytes:
    return _PREFIX[CommandKind.AUTH] + bytes([kind]) + request


def alarm(request: bytes) -> bytes:
    return _PREFIX[CommandKind.ALARM] + request


def check() -> bytes:
    return _PREFIX[CommandKind.CHECK]


def checked(report: bytes) -> bytes:
    return _PREFIX[CommandKind.CHECKED] + report


def authenticate(user: str, token_hash: bytes, revision: int) -> bytes:
    """Who has this token is this user, unless something about users has changed since ``revision``."""
    return _PREFIX[CommandKind.AUTHENTICATE] + TOKEN.pack(revision, token_hash) + user.encode()


def lead(era: Era) -> bytes:
    """A leader's first command: tells the store its era."""
    return _PREFIX[CommandKind.LEAD] + LEAD.pack(*era)


def lease_expire(era: Era, lease: int, granted: int) -> bytes:
    """A leader's command: this lease, as it was granted at that index, has run out."""
    return _PREFIX[CommandKind.LEASE_EXPIRE] + EXPIRE.pack(*era, lease, granted)


def lease_ttl_min_s(election_timeout_us: int) -> int:
    """The least time to live, in seconds: etcd's one and a half election time-outs, rounded up."""
    return -(-3 * election_timeout_us // 2_000_000)
