"""etcd's errors, each a gRPC status code and a text, as etcd 3.5 sends them.

Clients tell errors apart by code and text, so both are etcd's to the letter; the rows at the end are our own, for what
etcd has no error for.
"""

from __future__ import annotations

from typing import NamedTuple

UNKNOWN = 2
INVALID_ARGUMENT = 3
NOT_FOUND = 5
PERMISSION_REFUSED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
DATA_LOSS = 15
UNAUTHENTICATED = 16


_NAMES = {
    INVALID_ARGUMENT: "InvalidArgument",
    PERMISSION_REFUSED: "PermissionDenied",
    UNAUTHENTICATED: "Unauthenticated",
}


def as_reason(code: int, text: str) -> str:
    """The ``cancel_reason`` of a watch that its user may not have: etcd gives it in the words of its gRPC library."""
    return f"rpc error: code = {_NAMES[code]} desc = {text}"


class Error(NamedTuple):
    """gRPC's number of a status code, and etcd's text."""

    code: int
    text: str


EMPTY_KEY = Error(INVALID_ARGUMENT, "etcdserver: key is not provided")
KEY_NOT_FOUND = Error(INVALID_ARGUMENT, "etcdserver: key not found")
VALUE_PROVIDED = Error(INVALID_ARGUMENT, "etcdserver: value is provided")
LEASE_PROVIDED = Error(INVALID_ARGUMENT, "etcdserver: lease is provided")
TOO_MANY_OPS = Error(INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
DUPLICATE_KEY = Error(INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
INVALID_SORT_OPTION = Error(INVALID_ARGUMENT, "etcdserver: invalid sort option")
COMPACTED = Error(OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
FUTURE_REVISION = Error(OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
NO_SPACE = Error(RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
CORRUPT = Error(DATA_LOSS, "etcdserver: corrupt cluster")

LEASE_NOT_FOUND = Error(NOT_FOUND, "etcdserver: requested lease not found")
LEASE_EXISTS = Error(FAILED_PRECONDITION, "etcdserver: lease already exists")
LEASE_TTL_TOO_LARGE = Error(OUT_OF_RANGE, "etcdserver: too large lease TTL")

REQUEST_TOO_LARGE = Error(INVALID_ARGUMENT, "etcdserver: request is too large")
TOO_MANY_REQUESTS = Error(RESOURCE_EXHAUSTED, "etcdserver: too many requests")

NO_LEADER = Error(UNAVAILABLE, "etcdserver: no leader")
NOT_LEADER = Error(FAILED_PRECONDITION, "etcdserver: not leader")
BAD_LEADER_TRANSFEREE = Error(FAILED_PRECONDITION, "etcdserver: bad leader transferee")
LEADER_TRANSFER_TIMEOUT = Error(UNAVAILABLE, "etcdserver: request timed out, leader transfer took too long")
LEADER_CHANGED = Error(UNAVAILABLE, "etcdserver: leader changed")
STOPPED = Error(UNAVAILABLE, "etcdserver: server stopped")
TIMEOUT = Error(UNAVAILABLE, "etcdserver: request timed out")
TIMEOUT_DUE_TO_LEADER_FAIL = Error(
    UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure"
)

MEMBER_NOT_FOUND = Error(NOT_FOUND, "etcdserver: member not found")
PEER_URL_EXISTS = Error(FAILED_PRECONDITION, "etcdserver: Peer URLs already exists")
MEMBER_EXISTS = Error(FAILED_PRECONDITION, "etcdserver: member ID already exist")
TOO_MANY_LEARNERS = Error(FAILED_PRECONDITION, "etcdserver: too many learner members in cluster")
NOT_LEARNER = Error(FAILED_PRECONDITION, "etcdserver: can only promote a learner member")
LEARNER_NOT_READY = Error(
    FAILED_PRECONDITION, "etcdserver: can only promote a learner member which is in sync with leader"
)
NOT_ENOUGH_STARTED = Error(FAILED_PRECONDITION, "etcdserver: re-configuration failed due to not enough started members")
UNHEALTHY = Error(UNAVAILABLE, "etcdserver: unhealthy cluster")
BAD_MEMBER_URLS = Error(INVALID_ARGUMENT, "etcdserver: given member URLs are invalid")

ROOT_USER_NOT_EXIST = Error(FAILED_PRECONDITION, "etcdserver: root user does not exist")
ROOT_ROLE_NOT_EXIST = Error(FAILED_PRECONDITION, "etcdserver: root user does not have root role")
USER_EXISTS = Error(FAILED_PRECONDITION, "etcdserver: user name already exists")
USER_EMPTY = Error(INVALID_ARGUMENT, "etcdserver: user name is empty")
USER_NOT_FOUND = Error(FAILED_PRECONDITION, "etcdserver: user name not found")
ROLE_EXISTS = Error(FAILED_PRECONDITION, "etcdserver: role name already exists")
ROLE_NOT_FOUND = Error(FAILED_PRECONDITION, "etcdserver: role name not found")
ROLE_EMPTY = Error(INVALID_ARGUMENT, "etcdserver: role name is empty")
AUTH_FAILED = Error(INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password")
PERMISSION_NOT_GIVEN = Error(INVALID_ARGUMENT, "etcdserver: permission not given")
PERMISSION_DENIED = Error(PERMISSION_REFUSED, "etcdserver: permission denied")
ROLE_NOT_GRANTED = Error(FAILED_PRECONDITION, "etcdserver: role is not granted to the user")
PERMISSION_NOT_GRANTED = Error(FAILED_PRECONDITION, "etcdserver: permission is not granted to the role")
AUTH_NOT_ENABLED = Error(FAILED_PRECONDITION, "etcdserver: authentication is not enabled")
INVALID_AUTH_TOKEN = Error(UNAUTHENTICATED, "etcdserver: invalid auth token")
INVALID_AUTH_MGMT = Error(INVALID_ARGUMENT, "etcdserver: invalid auth management")
AUTH_OLD_REVISION = Error(INVALID_ARGUMENT, "etcdserver: revision of auth store is old")

DOWNGRADE_TARGET_MALFORMED = Error(INVALID_ARGUMENT, "etcdserver: wrong downgrade target version format")
DOWNGRADE_TARGET_INVALID = Error(INVALID_ARGUMENT, "etcdserver: invalid downgrade target version")
NO_DOWNGRADE = Error(FAILED_PRECONDITION, "etcdserver: no inflight downgrade job")
UNKNOWN_METHOD = Error(UNKNOWN, "etcdserver: unknown method")

UNKNOWN_SERVICE = Error(NOT_FOUND, "unknown service")
"""What etcd's gRPC library says to who asks for the health of a service that it does not know."""

NOT_DECODABLE = Error(INTERNAL, "grpc: error unmarshalling request")
"""What etcd's gRPC library says of bytes that are no request."""

EMPTY_WATCHER_RANGE_TEXT = "mvcc: watcher range is empty"
"""As the ``cancel_reason`` of a watch."""
DUPLICATE_WATCH_ID_TEXT = "mvcc: duplicate watch ID provided on the WatchStream"
"""As the ``cancel_reason`` of a watch."""

ALARMS_NOT_KNOWN = Error(
    FAILED_PRECONDITION,
    "etcdserver: no alarm can be raised until this member has met every other one, and all run a version that knows "
    "alarms; start those that are down, and upgrade those of an earlier version",
)
UNKNOWN_ALARM = Error(INVALID_ARGUMENT, "etcdserver: there is no such alarm, or nothing such that is done with one")
TOO_MANY_ALARMS = Error(RESOURCE_EXHAUSTED, "etcdserver: there are 1000 alarms, and no more are raised; disarm some")
SNAPSHOT_UNREAD = Error(
    RESOURCE_EXHAUSTED,
    "etcdserver: the snapshot was not read on for too long; take another one, and read it as it comes",
)
SNAPSHOT_TOO_SLOW = Error(
    RESOURCE_EXHAUSTED,
    "etcdserver: the snapshot is read too slowly for what is written meanwhile; take another one from nearer by, "
    "or when less is written",
)
TOO_MANY_SNAPSHOTS = Error(
    RESOURCE_EXHAUSTED,
    "etcdserver: too many snapshots are being read from this member; take one of another member, or later",
)
AUTH_NOT_KNOWN = Error(
    FAILED_PRECONDITION,
    "etcdserver: users and roles cannot be changed until this member has met every other one, and all run a version "
    "that knows them; start those that are down, and upgrade those of an earlier version",
)
NAME_TOO_LONG = Error(INVALID_ARGUMENT, "etcdserver: a name of a user or a role has more than 128 bytes")
PASSWORD_TOO_LONG = Error(
    INVALID_ARGUMENT, "etcdserver: a password has more than 72 bytes, of which bcrypt takes no more"
)
TOO_MANY_USERS = Error(RESOURCE_EXHAUSTED, "etcdserver: there are 10000 users, and no more are taken")
TOO_MANY_ROLES = Error(RESOURCE_EXHAUSTED, "etcdserver: there are 10000 roles, and no more are taken")
TOO_MANY_PERMISSIONS = Error(
    RESOURCE_EXHAUSTED, "etcdserver: the role has 1000 permissions, and no more are taken; use another role beside it"
)
GIVES_NO_TOKENS = Error(
    FAILED_PRECONDITION,
    "etcdserver: this member reads tokens and gives none out; ask one whose --auth-token has priv-key",
)
TOO_MANY_PASSWORDS = Error(
    RESOURCE_EXHAUSTED, "etcdserver: too many passwords are being looked at on this member; try again"
)
STORE_FAILED = Error(INTERNAL, "etcdserver: the store could not answer; see the member's log")
