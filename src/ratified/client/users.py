"""Users, roles, and whether they count: the two faces of ``auth_calls``."""

from __future__ import annotations

from ratified.client import auth_calls
from ratified.client.calls import Text
from ratified.client.recipes.steps import AsyncCarrier, Carrier, ask
from ratified.client.results import AuthStatus, Permission, PermissionKind


class Auth:
    """What ``client.auth`` offers."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    def enable(self) -> None:
        """Have users and roles count; there must be a user root with the role root."""
        self._carrier.carry_out(ask(auth_calls.enable()))

    def disable(self) -> None:
        """Have everybody admitted to everything."""
        self._carrier.carry_out(ask(auth_calls.disable()))

    def status(self) -> AuthStatus:
        return self._carrier.carry_out(ask(auth_calls.status()))

    def users(self) -> tuple[str, ...]:
        return self._carrier.carry_out(ask(auth_calls.users()))

    def user_roles(self, name: str) -> tuple[str, ...]:
        """The roles of a user."""
        return self._carrier.carry_out(ask(auth_calls.user_roles(name)))

    def add_user(self, name: str, password: str | None) -> None:
        """``password`` None: nobody is this user by a password."""
        self._carrier.carry_out(ask(auth_calls.user_add(name, password)))

    def delete_user(self, name: str) -> None:
        self._carrier.carry_out(ask(auth_calls.user_delete(name)))

    def change_password(self, name: str, password: str) -> None:
        self._carrier.carry_out(ask(auth_calls.user_change_password(name, password)))

    def grant_role(self, user: str, role: str) -> None:
        self._carrier.carry_out(ask(auth_calls.user_grant_role(user, role)))

    def revoke_role(self, user: str, role: str) -> None:
        self._carrier.carry_out(ask(auth_calls.user_revoke_role(user, role)))

    def roles(self) -> tuple[str, ...]:
        return self._carrier.carry_out(ask(auth_calls.roles()))

    def permissions(self, role: str) -> tuple[Permission, ...]:
        """To what a role admits."""
        return self._carrier.carry_out(ask(auth_calls.role_permissions(role)))

    def add_role(self, name: str) -> None:
        self._carrier.carry_out(ask(auth_calls.role_add(name)))

    def delete_role(self, name: str) -> None:
        self._carrier.carry_out(ask(auth_calls.role_delete(name)))

    def grant_permission(
        self, role: str, kind: PermissionKind, key: Text, *, prefix: bool = False, end: Text | None = None
    ) -> None:
        """Have a role admit to a key, a prefix, or [key, end)."""
        self._carrier.carry_out(ask(auth_calls.role_grant(role, kind, key, prefix=prefix, end=end)))

    def revoke_permission(self, role: str, key: Text, *, prefix: bool = False, end: Text | None = None) -> None:
        """Take a permission back, as it was granted."""
        self._carrier.carry_out(ask(auth_calls.role_revoke(role, key, prefix=prefix, end=end)))


class AsyncAuth:
    """What ``client.auth`` offers, awaited."""

    def __init__(self, carrier: AsyncCarrier) -> None:
        self._carrier = carrier

    async def enable(self) -> None:
        """Have users and roles count; there must be a user root with the role root."""
        await self._carrier.carry_out(ask(auth_calls.enable()))

    async def disable(self) -> None:
        """Have everybody admitted to everything."""
        await self._carrier.carry_out(ask(auth_calls.disable()))

    async def status(self) -> AuthStatus:
        return await self._carrier.carry_out(ask(auth_calls.status()))

    async def users(self) -> tuple[str, ...]:
        return await self._carrier.carry_out(ask(auth_calls.users()))

    async def user_roles(self, name: str) -> tuple[str, ...]:
        """The roles of a user."""
        return await self._carrier.carry_out(ask(auth_calls.user_roles(name)))

    async def add_user(self, name: str, password: str | None) -> None:
        """``password`` None: nobody is this user by a password."""
        await self._carrier.carry_out(ask(auth_calls.user_add(name, password)))

    async def delete_user(self, name: str) -> None:
        await self._carrier.carry_out(ask(auth_calls.user_delete(name)))

    async def change_password(self, name: str, password: str) -> None:
        await self._carrier.carry_out(ask(auth_calls.user_change_password(name, password)))

    async def grant_role(self, user: str, role: str) -> None:
        await self._carrier.carry_out(ask(auth_calls.user_grant_role(user, role)))

    async def revoke_role(self, user: str, role: str) -> None:
        await self._carrier.carry_out(ask(auth_calls.user_revoke_role(user, role)))

    async def roles(self) -> tuple[str, ...]:
        return await self._carrier.carry_out(ask(auth_calls.roles()))

    async def permissions(self, role: str) -> tuple[Permission, ...]:
        """To what a role admits."""
        return await self._carrier.carry_out(ask(auth_calls.role_permissions(role)))

    async def add_role(self, name: str) -> None:
        await self._carrier.carry_out(ask(auth_calls.role_add(name)))

    async def delete_role(self, name: str) -> None:
        await self._carrier.carry_out(ask(auth_calls.role_delete(name)))

    async def grant_permission(
        self, role: str, kind: PermissionKind, key: Text, *, prefix: bool = False, end: Text | None = None
    ) -> None:
        """Have a role admit to a key, a prefix, or [key, end)."""
        await self._carrier.carry_out(ask(auth_calls.role_grant(role, kind, key, prefix=prefix, end=end)))

    async def revoke_permission(self, role: str, key: Text, *, prefix: bool = False, end: Text | None = None) -> None:
        """Take a permission back, as it was granted."""
        await self._carrier.carry_out(ask(auth_calls.role_revoke(role, key, prefix=prefix, end=end)))
