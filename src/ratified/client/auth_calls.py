"""The calls of etcd's service Auth: users, their roles, and which keys these admit to."""

from __future__ import annotations

from google.protobuf.message import Message

from ratified.client import results
from ratified.client.calls import Call, Text, call, encoded, range_end
from ratified.wire.etcd import auth_pb2, rpc_pb2

_SERVICE = "/etcdserverpb.Auth/"
_KINDS: dict[results.PermissionKind, auth_pb2.Permission.Type.ValueType] = {
    "read": auth_pb2.Permission.READ,
    "write": auth_pb2.Permission.WRITE,
    "readwrite": auth_pb2.Permission.READWRITE,
}


def authenticate(user: str, password: str) -> Call[str]:
    """The token of a user."""
    request = rpc_pb2.AuthenticateRequest(name=user, password=password)
    return call(
        f"{_SERVICE}Authenticate", request, rpc_pb2.AuthenticateResponse, lambda answer: answer.token, repeatable=True
    )


def enable() -> Call[None]:
    return _change("AuthEnable", rpc_pb2.AuthEnableRequest(), rpc_pb2.AuthEnableResponse)


def disable() -> Call[None]:
    return _change("AuthDisable", rpc_pb2.AuthDisableRequest(), rpc_pb2.AuthDisableResponse)


def status() -> Call[results.AuthStatus]:
    return call(
        f"{_SERVICE}AuthStatus",
        rpc_pb2.AuthStatusRequest(),
        rpc_pb2.AuthStatusResponse,
        lambda answer: results.AuthStatus(answer.enabled, answer.authRevision),
        repeatable=True,
    )


def user_add(name: str, password: str | None) -> Call[None]:
    """``password`` None: nobody is this user by a password."""
    options = auth_pb2.UserAddOptions(no_password=password is None)
    request = rpc_pb2.AuthUserAddRequest(name=name, password=password or "", options=options)
    return _change("UserAdd", request, rpc_pb2.AuthUserAddResponse)


def user_delete(name: str) -> Call[None]:
    return _change("UserDelete", rpc_pb2.AuthUserDeleteRequest(name=name), rpc_pb2.AuthUserDeleteResponse)


def user_roles(name: str) -> Call[tuple[str, ...]]:
    return call(
        f"{_SERVICE}UserGet",
        rpc_pb2.AuthUserGetRequest(name=name),
        rpc_pb2.AuthUserGetResponse,
        lambda answer: tuple(answer.roles),
        repeatable=True,
    )


def users() -> Call[tuple[str, ...]]:
    return call(
        f"{_SERVICE}UserList",
        rpc_pb2.AuthUserListRequest(),
        rpc_pb2.AuthUserListResponse,
        lambda answer: tuple(answer.users),
        repeatable=True,
    )


def user_change_password(name: str, password: str) -> Call[None]:
    request = rpc_pb2.AuthUserChangePasswordRequest(name=name, password=password)
    return _change("UserChangePassword", request, rpc_pb2.AuthUserChangePasswordResponse)


def user_grant_role(user: str, role: str) -> Call[None]:
    request = rpc_pb2.AuthUserGrantRoleRequest(user=user, role=role)
    return _change("UserGrantRole", request, rpc_pb2.AuthUserGrantRoleResponse)


def user_revoke_role(user: str, role: str) -> Call[None]:
    request = rpc_pb2.AuthUserRevokeRoleRequest(name=user, role=role)
    return _change("UserRevokeRole", request, rpc_pb2.AuthUserRevokeRoleResponse)


def role_add(name: str) -> Call[None]:
    return _change("RoleAdd", rpc_pb2.AuthRoleAddRequest(name=name), rpc_pb2.AuthRoleAddResponse)


def role_delete(name: str) -> Call[None]:
    return _change("RoleDelete", rpc_pb2.AuthRoleDeleteRequest(role=name), rpc_pb2.AuthRoleDeleteResponse)


def role_permissions(name: str) -> Call[tuple[results.Permission, ...]]:
    return call(
        f"{_SERVICE}RoleGet",
        rpc_pb2.AuthRoleGetRequest(role=name),
        rpc_pb2.AuthRoleGetResponse,
        lambda answer: tuple(map(_permission, answer.perm)),
        repeatable=True,
    )


def roles() -> Call[tuple[str, ...]]:
    return call(
        f"{_SERVICE}RoleList",
        rpc_pb2.AuthRoleListRequest(),
        rpc_pb2.AuthRoleListResponse,
        lambda answer: tuple(answer.roles),
        repeatable=True,
    )


def role_grant(role: str, kind: results.PermissionKind, key: Text, *, prefix: bool, end: Text | None) -> Call[None]:
    """A role admits to a key, a prefix, or [key, end)."""
    if kind not in _KINDS:
        raise ValueError(f"{kind!r} is no permission; use one of {', '.join(_KINDS)}")
    first, last = _keys(key, prefix=prefix, end=end)
    permission = auth_pb2.Permission(permType=_KINDS[kind], key=first, range_end=last)
    request = rpc_pb2.AuthRoleGrantPermissionRequest(name=role, perm=permission)
    return _change("RoleGrantPermission", request, rpc_pb2.AuthRoleGrantPermissionResponse)


def role_revoke(role: str, key: Text, *, prefix: bool, end: Text | None) -> Call[None]:
    """A role no longer admits to a key, a prefix, or [key, end), as these were granted."""
    first, last = _keys(key, prefix=prefix, end=end)
    request = rpc_pb2.AuthRoleRevokePermissionRequest(role=role, key=first, range_end=last)
    return _change("RoleRevokePermission", request, rpc_pb2.AuthRoleRevokePermissionResponse)


def _keys(key: Text, *, prefix: bool, end: Text | None) -> tuple[bytes, bytes]:
    first = encoded(key)
    last = range_end(first, prefix=prefix, end=end)
    return first or (b"\0" if last else b""), last


def _permission(permission: auth_pb2.Permission) -> results.Permission:
    kind = next(kind for kind, type in _KINDS.items() if type == permission.permType)
    return results.Permission(kind, permission.key, permission.range_end)


def _change(method: str, request: Message, response: type[Message]) -> Call[None]:
    return call(f"{_SERVICE}{method}", request, response, lambda _: None, repeatable=False)
