"""Auth: who is let in, users, roles, and what these permit.

Rules
1. A password never enters the log: what is proposed has its bcrypt hash, as etcd 3.5 does. A token neither: its hash.
2. Whoever says a password is held against the hash at an auth revision, and gets a token only if nothing about users
   has changed until that is in the log.
3. Members of an earlier version stop at commands that they do not know. So none of these is proposed before all members
   are known to know them, or one has been already.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from google.protobuf.message import Message

from ratified.api.access import Access
from ratified.api.sessions import token_hash
from ratified.api.submission import Submission
from ratified.kv import commands, queries
from ratified.kv.auth import FIRST_REVISION
from ratified.kv.commands import AuthKind
from ratified.kv.errors import EtcdError
from ratified.kv.identity import NAME_BYTES_MAX
from ratified.kv.tokens import Password
from ratified.runtime import Work
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import (
    AuthenticateRequest,
    AuthenticateResponse,
    AuthRoleAddRequest,
    AuthRoleGetRequest,
    AuthRoleGrantPermissionRequest,
    AuthRoleListRequest,
    AuthStatusRequest,
    AuthStatusResponse,
    AuthUserAddRequest,
    AuthUserChangePasswordRequest,
    AuthUserGetRequest,
    AuthUserListRequest,
)
from ratified.wire.peer import AUTH_SINCE

M = TypeVar("M", bound=Message)

ATTEMPTS_MAX = 10
"""To be let in while something about users changes again and again."""
TOKEN_BYTES = 24


def changes(kind: AuthKind) -> Callable[[Access, M, bytes], Awaitable[bytes]]:
    """The handler of a change whose request is proposed as it came."""

    async def change(access: Access, request: M, data: bytes) -> bytes:
        return await _propose(access, kind, data)

    return change


async def authenticate(access: Access, request: AuthenticateRequest, data: bytes) -> bytes:
    """A token for who says a user's password."""
    service = access.service
    matched = b""
    for _ in range(ATTEMPTS_MAX):
        answer = await service.own_query(queries.password(request.name))
        known = msgspec.msgpack.decode(answer, type=Password)
        if not known.enabled:
            raise EtcdError(*errors.AUTH_NOT_ENABLED)
        if not matched or known.hashed != matched:  # else something about another user has changed
            if not await service.passwords.matches(request.password, known.hashed):
                raise EtcdError(*errors.AUTH_FAILED)
            matched = known.hashed
        signed = service.sessions.signed
        if signed is not None:
            token = signed.sign(request.name, known.revision)
            return AuthenticateResponse(token=token).SerializeToString() + await service.query(queries.status())
        token = base64.urlsafe_b64encode(os.urandom(TOKEN_BYTES)).decode()
        try:
            told = await service.propose(commands.authenticate(request.name, token_hash(token), known.revision))
        except EtcdError as error:
            if error.text != errors.AUTH_OLD_REVISION.text:
                raise
            continue
        return AuthenticateResponse(token=token).SerializeToString() + told
    raise EtcdError(*errors.AUTH_OLD_REVISION)


async def user_add(access: Access, request: AuthUserAddRequest, data: bytes) -> bytes:
    _check_name(request.name, errors.USER_EMPTY)
    await access.service.check_quota()
    added = AuthUserAddRequest(name=request.name, options=request.options)
    if not request.options.no_password:
        added.hashedPassword = await _hashed(access, request.password)
    return await _propose(access, AuthKind.USER_ADD, added.SerializeToString())


async def user_change_password(access: Access, request: AuthUserChangePasswordRequest, data: bytes) -> bytes:
    hashed = await _hashed(access, request.password)
    changed = AuthUserChangePasswordRequest(name=request.name, hashedPassword=hashed)
    return await _propose(access, AuthKind.USER_CHANGE_PASSWORD, changed.SerializeToString())


async def role_add(access: Access, request: AuthRoleAddRequest, data: bytes) -> bytes:
    _check_name(request.name, errors.ROLE_EMPTY)
    await access.service.check_quota()
    return await _propose(access, AuthKind.ROLE_ADD, data)


async def role_grant_permission(access: Access, request: AuthRoleGrantPermissionRequest, data: bytes) -> bytes:
    if not request.HasField("perm"):
        raise EtcdError(*errors.PERMISSION_NOT_GIVEN)
    await access.service.check_quota()
    return await _propose(access, AuthKind.ROLE_GRANT_PERMISSION, data)


def status(request: AuthStatusRequest, data: bytes) -> Submission:
    """Answered to anybody."""
    return Submission(Work.READ, queries.auth_status())


def user_get(request: AuthUserGetRequest, data: bytes) -> Submission:
    return Submission(Work.READ, queries.user_get(data))


def user_list(request: AuthUserListRequest, data: bytes) -> Submission:
    return Submission(Work.READ, queries.user_list())


def role_get(request: AuthRoleGetRequest, data: bytes) -> Submission:
    return Submission(Work.READ, queries.role_get(data))


def role_list(request: AuthRoleListRequest, data: bytes) -> Submission:
    return Submission(Work.READ, queries.role_list())


def _check_name(name: str, empty: errors.Error) -> None:
    if not name:
        raise EtcdError(*empty)
    if len(name.encode()) > NAME_BYTES_MAX:
        raise EtcdError(*errors.NAME_TOO_LONG)


async def _hashed(access: Access, password: str) -> str:
    """In base64. Whoever may not change users makes no work for bcrypt."""
    await access.check_manages()
    return base64.b64encode(await access.service.passwords.hashed(password)).decode()


async def _propose(access: Access, kind: AuthKind, request: bytes) -> bytes:
    if not access.service.host.all_speak(AUTH_SINCE):
        status = await access.service.query(queries.auth_status(), linearizable=False)
        if AuthStatusResponse.FromString(status).authRevision == FIRST_REVISION:
            raise EtcdError(*errors.AUTH_NOT_KNOWN)
    return await access.propose(commands.auth(kind, request))
