"""The table of errors, against what etcd 3.5's ``rpctypes`` and ``mvcc`` say, written out here once more."""

from __future__ import annotations

import grpc
import pytest

from ratified.wire.etcd import errors
from ratified.wire.etcd.errors import Error

ETCDS = {
    "EMPTY_KEY": ("INVALID_ARGUMENT", "etcdserver: key is not provided"),
    "KEY_NOT_FOUND": ("INVALID_ARGUMENT", "etcdserver: key not found"),
    "VALUE_PROVIDED": ("INVALID_ARGUMENT", "etcdserver: value is provided"),
    "LEASE_PROVIDED": ("INVALID_ARGUMENT", "etcdserver: lease is provided"),
    "TOO_MANY_OPS": ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request"),
    "DUPLICATE_KEY": ("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request"),
    "INVALID_SORT_OPTION": ("INVALID_ARGUMENT", "etcdserver: invalid sort option"),
    "COMPACTED": ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted"),
    "FUTURE_REVISION": ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"),
    "NO_SPACE": ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded"),
    "CORRUPT": ("DATA_LOSS", "etcdserver: corrupt cluster"),
    "LEASE_NOT_FOUND": ("NOT_FOUND", "etcdserver: requested lease not found"),
    "LEASE_EXISTS": ("FAILED_PRECONDITION", "etcdserver: lease already exists"),
    "LEASE_TTL_TOO_LARGE": ("OUT_OF_RANGE", "etcdserver: too large lease TTL"),
    "REQUEST_TOO_LARGE": ("INVALID_ARGUMENT", "etcdserver: request is too large"),
    "TOO_MANY_REQUESTS": ("RESOURCE_EXHAUSTED", "etcdserver: too many requests"),
    "NO_LEADER": ("UNAVAILABLE", "etcdserver: no leader"),
    "NOT_LEADER": ("FAILED_PRECONDITION", "etcdserver: not leader"),
    "LEADER_CHANGED": ("UNAVAILABLE", "etcdserver: leader changed"),
    "STOPPED": ("UNAVAILABLE", "etcdserver: server stopped"),
    "TIMEOUT": ("UNAVAILABLE", "etcdserver: request timed out"),
    "TIMEOUT_DUE_TO_LEADER_FAIL": (
        "UNAVAILABLE",
        "etcdserver: request timed out, possibly due to previous leader failure",
    ),
    "MEMBER_NOT_FOUND": ("NOT_FOUND", "etcdserver: member not found"),
    "PEER_URL_EXISTS": ("FAILED_PRECONDITION", "etcdserver: Peer URLs already exists"),
    "MEMBER_EXISTS": ("FAILED_PRECONDITION", "etcdserver: member ID already exist"),
    "TOO_MANY_LEARNERS": ("FAILED_PRECONDITION", "etcdserver: too many learner members in cluster"),
    "NOT_LEARNER": ("FAILED_PRECONDITION", "etcdserver: can only promote a learner member"),
    "LEARNER_NOT_READY": (
        "FAILED_PRECONDITION",
        "etcdserver: can only promote a learner member which is in sync with leader",
    ),
    "NOT_ENOUGH_STARTED": (
        "FAILED_PRECONDITION",
        "etcdserver: re-configuration failed due to not enough started members",
    ),
    "BAD_LEADER_TRANSFEREE": ("FAILED_PRECONDITION", "etcdserver: bad leader transferee"),
    "LEADER_TRANSFER_TIMEOUT": ("UNAVAILABLE", "etcdserver: request timed out, leader transfer took too long"),
    "UNHEALTHY": ("UNAVAILABLE", "etcdserver: unhealthy cluster"),
    "BAD_MEMBER_URLS": ("INVALID_ARGUMENT", "etcdserver: given member URLs are invalid"),
    "DOWNGRADE_TARGET_MALFORMED": ("INVALID_ARGUMENT", "etcdserver: wrong downgrade target version format"),
    "DOWNGRADE_TARGET_INVALID": ("INVALID_ARGUMENT", "etcdserver: invalid downgrade target version"),
    "NO_DOWNGRADE": ("FAILED_PRECONDITION", "etcdserver: no inflight downgrade job"),
    "UNKNOWN_METHOD": ("UNKNOWN", "etcdserver: unknown method"),
    "NOT_DECODABLE": ("INTERNAL", "grpc: error unmarshalling request"),
    "ROOT_USER_NOT_EXIST": ("FAILED_PRECONDITION", "etcdserver: root user does not exist"),
    "ROOT_ROLE_NOT_EXIST": ("FAILED_PRECONDITION", "etcdserver: root user does not have root role"),
    "USER_EXISTS": ("FAILED_PRECONDITION", "etcdserver: user name already exists"),
    "USER_EMPTY": ("INVALID_ARGUMENT", "etcdserver: user name is empty"),
    "UNKNOWN_SERVICE": ("NOT_FOUND", "unknown service"),
    "USER_NOT_FOUND": ("FAILED_PRECONDITION", "etcdserver: user name not found"),
    "ROLE_EXISTS": ("FAILED_PRECONDITION", "etcdserver: role name already exists"),
    "ROLE_NOT_FOUND": ("FAILED_PRECONDITION", "etcdserver: role name not found"),
    "ROLE_EMPTY": ("INVALID_ARGUMENT", "etcdserver: role name is empty"),
    "AUTH_FAILED": ("INVALID_ARGUMENT", "etcdserver: authentication failed, invalid user ID or password"),
    "PERMISSION_NOT_GIVEN": ("INVALID_ARGUMENT", "etcdserver: permission not given"),
    "PERMISSION_DENIED": ("PERMISSION_DENIED", "etcdserver: permission denied"),
    "ROLE_NOT_GRANTED": ("FAILED_PRECONDITION", "etcdserver: role is not granted to the user"),
    "PERMISSION_NOT_GRANTED": ("FAILED_PRECONDITION", "etcdserver: permission is not granted to the role"),
    "AUTH_NOT_ENABLED": ("FAILED_PRECONDITION", "etcdserver: authentication is not enabled"),
    "INVALID_AUTH_TOKEN": ("UNAUTHENTICATED", "etcdserver: invalid auth token"),
    "INVALID_AUTH_MGMT": ("INVALID_ARGUMENT", "etcdserver: invalid auth management"),
    "AUTH_OLD_REVISION": ("INVALID_ARGUMENT", "etcdserver: revision of auth store is old"),
}
OURS = {
    "ALARMS_NOT_KNOWN",
    "AUTH_NOT_KNOWN",
    "GIVES_NO_TOKENS",
    "NAME_TOO_LONG",
    "PASSWORD_TOO_LONG",
    "SNAPSHOT_TOO_SLOW",
    "SNAPSHOT_UNREAD",
    "STORE_FAILED",
    "TOO_MANY_ALARMS",
    "TOO_MANY_PASSWORDS",
    "TOO_MANY_PERMISSIONS",
    "TOO_MANY_ROLES",
    "TOO_MANY_SNAPSHOTS",
    "TOO_MANY_USERS",
    "UNKNOWN_ALARM",
}
"""What etcd does not refuse."""


def rows() -> dict[str, Error]:
    return {name: row for name, row in vars(errors).items() if isinstance(row, Error)}


def test_every_row_is_etcds_or_known_to_be_ours() -> None:
    assert rows().keys() == ETCDS.keys() | OURS


@pytest.mark.parametrize("name", ETCDS)
def test_a_row_has_etcds_code_and_text(name: str) -> None:
    code, text = ETCDS[name]
    assert rows()[name] == (grpc.StatusCode[code].value[0], text)


def test_no_text_stands_twice() -> None:
    texts = [row.text for row in rows().values()]
    assert len(set(texts)) == len(texts)
