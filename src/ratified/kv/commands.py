"""What is proposed: a kind byte, a length-prefixed header, and the body.

The header will hold the user and the auth revision; in this version it is empty, one zero byte. A command with more in
it was proposed by a newer version, and applying it without its header would be applying something else.

The body of a client's command is the bytes of its etcd request as they came in, with what had to be chosen filled in.
They were decoded and checked there (``requests``); they are decoded again where they are applied, and nowhere between.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

from ratified.machine import Era
from ratified.wire.etcd.rpc_pb2 import LeaseGrantRequest

OVERHEAD_BYTES_MAX = 64
"""By how many bytes a command is longer than the request in it, at most; a lease's id is among them."""


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


LEAD = Struct(">QQ")
"""An era."""
EXPIRE = Struct(">QQqQ")
"""The era in which it was proposed, the lease, and the index that granted it."""

_NO_HEADER = b"\x00"
_PREFIX = {kind: bytes([kind]) + _NO_HEADER for kind in CommandKind}


def split(command: bytes) -> tuple[int, bytes]:
    """(kind, body) of a command. Raises ``ValueError`` where its header is not empty."""
    if command[1]:
        raise ValueError(f"a command of kind {command[0]} has a header, which this version does not know")
    return command[0], command[2:]


def put(request: bytes) -> bytes:
    return _PREFIX[CommandKind.PUT] + request


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


def lead(era: Era) -> bytes:
    """A leader's first command: tells the store its era."""
    return _PREFIX[CommandKind.LEAD] + LEAD.pack(*era)


def lease_expire(era: Era, lease: int, granted: int) -> bytes:
    """A leader's command: this lease, as it was granted at that index, has run out."""
    return _PREFIX[CommandKind.LEASE_EXPIRE] + EXPIRE.pack(*era, lease, granted)


def lease_ttl_min_s(election_timeout_us: int) -> int:
    """The least time to live, in seconds: etcd's one and a half election time-outs, rounded up."""
    return -(-3 * election_timeout_us // 2_000_000)
