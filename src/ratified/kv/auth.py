"""Users and roles: part of the replicated state, the same on every replica.

Rules
1. Their rows are in ``meta``: each user, each role, and whether they count. All are held in memory too. Every change of
   a user or a role raises the auth revision by one, and so does ``disable``; what changes nothing leaves it.
2. Who asks is admitted where a command is applied and where a query is answered, by the state there, and nowhere else:
   all members decide alike. Somebody whose identity is older than the state is refused, for it may be nobody's by now;
   whoever found it out finds it out again (``api.sessions``).
3. Users count from ``enable`` on. Before, everybody may do everything.
4. Who has the role root may do everything, whether there is such a role or not.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from struct import Struct
from typing import TypeVar

from google.protobuf.message import Message

from ratified.kv.commands import AuthKind
from ratified.kv.digest import Sums
from ratified.kv.errors import EtcdError
from ratified.kv.identity import SERVER, Identity
from ratified.kv.intervals import Interval
from ratified.kv.permissions import Permissions
from ratified.kv.tables import META
from ratified.storage.space import Space
from ratified.wire.etcd import errors, rpc_pb2
from ratified.wire.etcd.auth_pb2 import Role, User

ROOT = "root"
"""The user and the role of those who manage."""
USERS_MAX = 10_000
ROLES_MAX = 10_000
PERMISSIONS_MAX = 1_000
"""Of one role: each change writes all of them."""
FIRST_REVISION = 1
KEY = b"auth"
KEY_END = b"auti"
"""Where the rows lie in ``meta``."""
_STATE = Struct(">?Q")
_USER = b"auth/user/"
_ROLE = b"auth/role/"

M = TypeVar("M", bound=Message)


class Auth:
    """All users and roles of one space."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.enabled = False
        self.revision = FIRST_REVISION
        self._users: dict[str, User] = {}
        self._roles: dict[str, Role] = {}
        self._permissions: dict[str, Permissions] = {}
        """Of users that have asked since the last change."""
        for key, row in space.scan(META, KEY, KEY_END):
            self._read(key, row)
        self._changes: Mapping[int, Callable[[bytes, Sums], None]] = {
            AuthKind.ENABLE: self._enable,
            AuthKind.DISABLE: self._disable,
            AuthKind.USER_ADD: _of(rpc_pb2.AuthUserAddRequest, self._add_user),
            AuthKind.USER_DELETE: _of(rpc_pb2.AuthUserDeleteRequest, self._delete_user),
            AuthKind.USER_CHANGE_PASSWORD: _of(rpc_pb2.AuthUserChangePasswordRequest, self._change_password),
            AuthKind.USER_GRANT_ROLE: _of(rpc_pb2.AuthUserGrantRoleRequest, self._grant_role),
            AuthKind.USER_REVOKE_ROLE: _of(rpc_pb2.AuthUserRevokeRoleRequest, self._revoke_role),
            AuthKind.ROLE_ADD: _of(rpc_pb2.AuthRoleAddRequest, self._add_role),
            AuthKind.ROLE_DELETE: _of(rpc_pb2.AuthRoleDeleteRequest, self._delete_role),
            AuthKind.ROLE_GRANT_PERMISSION: _of(rpc_pb2.AuthRoleGrantPermissionRequest, self._grant_permission),
            AuthKind.ROLE_REVOKE_PERMISSION: _of(rpc_pb2.AuthRoleRevokePermissionRequest, self._revoke_permission),
        }

    # -- rows -----------------------------------------------------------------------------------------------------

    def load(self, key: bytes, row: bytes) -> None:
        """Take over a row from another replica's snapshot."""
        self._read(key, row)
        self._space.put(META, key, row)

    def replace_by(self, other: Auth) -> None:
        """Be what a snapshot has said from now on, in the space that it was loaded into."""
        self._space, self.enabled, self.revision = other._space, other.enabled, other.revision
        self._users, self._roles = other._users, other._roles
        self._permissions.clear()

    def _read(self, key: bytes, row: bytes) -> None:
        if key.startswith(_USER):
            self._users[key.removeprefix(_USER).decode()] = User.FromString(row)
        elif key.startswith(_ROLE):
            self._roles[key.removeprefix(_ROLE).decode()] = Role.FromString(row)
        elif key == KEY:
            self.enabled, self.revision = _STATE.unpack(row)
        else:
            raise ValueError(f"a row {key!r} says nothing about users or roles")

    def _write(self, key: bytes, row: bytes | None, sums: Sums) -> None:
        """None: it goes."""
        before = self._space.get(META, key)
        if before is not None:
            sums.remove_row(key + before)
        if row is None:
            self._space.delete(META, key)
        else:
            self._space.put(META, key, row)
            sums.add_row(key + row)

    def _put_user(self, user: User, sums: Sums) -> None:
        self._users[user.name.decode()] = user
        self._write(_USER + user.name, user.SerializeToString(), sums)

    def _put_role(self, role: Role, sums: Sums) -> None:
        self._roles[role.name.decode()] = role
        self._write(_ROLE + role.name, role.SerializeToString(), sums)

    def _changed(self, sums: Sums) -> None:
        self.revision += 1
        self._permissions.clear()
        self._write_state(sums)

    def _write_state(self, sums: Sums) -> None:
        self._write(KEY, _STATE.pack(self.enabled, self.revision), sums)

    @property
    def stage(self) -> tuple[bool, int]:
        """Something else after each change that may matter to anybody: the revision alone says not that users count."""
        return self.enabled, self.revision

    # -- who may do what ------------------------------------------------------------------------------------------

    def admit(self, who: Identity | None) -> User | None:
        """The user who asks; None: whoever it is may do everything. Raises etcd's error."""
        if not self.enabled or who == SERVER:
            return None
        if who is None:
            raise EtcdError(*errors.USER_EMPTY)
        if who.revision < self.revision:
            raise EtcdError(*errors.AUTH_OLD_REVISION)
        user = self._users.get(who.user)
        if user is None:
            raise EtcdError(*errors.PERMISSION_DENIED)
        return None if ROOT in user.roles else user

    def check_manages(self, who: Identity | None) -> None:
        """Raise where whoever asks has not the role root."""
        if self.admit(who) is not None:
            raise EtcdError(*errors.PERMISSION_DENIED)

    def check_reads(self, user: User | None, keys: Interval) -> None:
        """``user`` was admitted."""
        if user is not None and not self._permitted(user).reads(keys):
            raise EtcdError(*errors.PERMISSION_DENIED)

    def check_writes(self, user: User | None, keys: Interval) -> None:
        if user is not None and not self._permitted(user).writes(keys):
            raise EtcdError(*errors.PERMISSION_DENIED)

    def still_reads(self, who: Identity | None, keys: Interval) -> bool:
        """May whoever began to listen to these keys, and was admitted then, go on?"""
        if who is None or not self.enabled:
            return not self.enabled
        user = self._users.get(who.user)
        return user is not None and (ROOT in user.roles or self._permitted(user).reads(keys))

    def _permitted(self, user: User) -> Permissions:
        name = user.name.decode()
        permissions = self._permissions.get(name)
        if permissions is None:
            roles = [self._roles[role] for role in user.roles if role in self._roles]
            permissions = Permissions(each for role in roles for each in role.keyPermission)
            self._permissions[name] = permissions
        return permissions

    # -- what is asked --------------------------------------------------------------------------------------------

    def user(self, name: str) -> User:
        user = self._users.get(name)
        if user is None:
            raise EtcdError(*errors.USER_NOT_FOUND)
        return user

    def password(self, name: str) -> bytes:
        """Its hash; empty: there is no such user, or nobody is this one by a password, whichever it was given since."""
        user = self._users.get(name)
        return b"" if user is None or user.options.no_password else user.password

    def role(self, name: str) -> Role:
        role = self._roles.get(name)
        if role is None:
            raise EtcdError(*errors.ROLE_NOT_FOUND)
        return role

    def users(self) -> list[str]:
        """Their names, in the order of their bytes."""
        return sorted(self._users, key=str.encode)

    def roles(self) -> list[str]:
        return sorted(self._roles, key=str.encode)

    # -- changes --------------------------------------------------------------------------------------------------

    def change(self, body: bytes, sums: Sums) -> None:
        """Carry out the body of an AUTH command; raises etcd's error before anything is written."""
        self._changes[body[0]](body[1:], sums)

    def _enable(self, _: bytes, sums: Sums) -> None:
        root = self._users.get(ROOT)
        if self.enabled:
            return
        if root is None:
            raise EtcdError(*errors.ROOT_USER_NOT_EXIST)
        if ROOT not in root.roles:
            raise EtcdError(*errors.ROOT_ROLE_NOT_EXIST)
        self.enabled = True
        self._write_state(sums)

    def _disable(self, _: bytes, sums: Sums) -> None:
        if self.enabled:
            self.enabled = False
            self._changed(sums)

    def _add_user(self, request: rpc_pb2.AuthUserAddRequest, sums: Sums) -> None:
        if request.name in self._users:
            raise EtcdError(*errors.USER_EXISTS)
        if len(self._users) >= USERS_MAX:
            raise EtcdError(*errors.TOO_MANY_USERS)
        hashed = b64decode(request.hashedPassword)
        self._put_user(User(name=request.name.encode(), password=hashed, options=request.options), sums)
        self._changed(sums)

    def _delete_user(self, request: rpc_pb2.AuthUserDeleteRequest, sums: Sums) -> None:
        if self.enabled and request.name == ROOT:
            raise EtcdError(*errors.INVALID_AUTH_MGMT)
        user = self.user(request.name)
        del self._users[request.name]
        self._write(_USER + user.name, None, sums)
        self._changed(sums)

    def _change_password(self, request: rpc_pb2.AuthUserChangePasswordRequest, sums: Sums) -> None:
        user = self.user(request.name)
        user.password = b64decode(request.hashedPassword)
        self._put_user(user, sums)
        self._changed(sums)

    def _grant_role(self, request: rpc_pb2.AuthUserGrantRoleRequest, sums: Sums) -> None:
        user = self.user(request.user)
        if request.role != ROOT:
            self.role(request.role)
        if request.role in user.roles:
            return
        roles = sorted([*user.roles, request.role], key=str.encode)
        self._set_roles(user, roles, sums)
        self._changed(sums)

    def _revoke_role(self, request: rpc_pb2.AuthUserRevokeRoleRequest, sums: Sums) -> None:
        if self.enabled and request.name == ROOT and request.role == ROOT:
            raise EtcdError(*errors.INVALID_AUTH_MGMT)
        user = self.user(request.name)
        if request.role not in user.roles:
            raise EtcdError(*errors.ROLE_NOT_GRANTED)
        self._set_roles(user, [role for role in user.roles if role != request.role], sums)
        self._changed(sums)

    def _set_roles(self, user: User, roles: list[str], sums: Sums) -> None:
        del user.roles[:]
        user.roles.extend(roles)
        self._put_user(user, sums)

    def _add_role(self, request: rpc_pb2.AuthRoleAddRequest, sums: Sums) -> None:
        if request.name in self._roles:
            raise EtcdError(*errors.ROLE_EXISTS)
        if len(self._roles) >= ROLES_MAX:
            raise EtcdError(*errors.TOO_MANY_ROLES)
        self._put_role(Role(name=request.name.encode()), sums)
        self._changed(sums)

    def _delete_role(self, request: rpc_pb2.AuthRoleDeleteRequest, sums: Sums) -> None:
        if self.enabled and request.role == ROOT:
            raise EtcdError(*errors.INVALID_AUTH_MGMT)
        role = self.role(request.role)
        del self._roles[request.role]
        self._write(_ROLE + role.name, None, sums)
        for user in self._users.values():
            if request.role in user.roles:
                self._set_roles(user, [each for each in user.roles if each != request.role], sums)
        self._changed(sums)

    def _grant_permission(self, request: rpc_pb2.AuthRoleGrantPermissionRequest, sums: Sums) -> None:
        role, given = self.role(request.name), request.perm
        for each in role.keyPermission:
            if (each.key, each.range_end) == (given.key, given.range_end):
                each.permType = given.permType
                break
        else:
            if len(role.keyPermission) >= PERMISSIONS_MAX:
                raise EtcdError(*errors.TOO_MANY_PERMISSIONS)
            role.keyPermission.append(given)
            role.keyPermission.sort(key=lambda each: each.key)
        self._put_role(role, sums)
        self._changed(sums)

    def _revoke_permission(self, request: rpc_pb2.AuthRoleRevokePermissionRequest, sums: Sums) -> None:
        role = self.role(request.role)
        kept = [each for each in role.keyPermission if (each.key, each.range_end) != (request.key, request.range_end)]
        if len(kept) == len(role.keyPermission):
            raise EtcdError(*errors.PERMISSION_NOT_GRANTED)
        self._put_role(Role(name=role.name, keyPermission=kept), sums)
        self._changed(sums)


def _of(message: type[M], change: Callable[[M, Sums], None]) -> Callable[[bytes, Sums], None]:
    return lambda body, sums: change(message.FromString(body), sums)
