"""``ratified role``: which keys a role admits to."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from ratified.cli.connection import Connection, asks_members
from ratified.cli.output import AS_JSON, END, FROM_KEY, HEX, KEY, PREFIX, Keys, in_json, print_json, shown

if TYPE_CHECKING:
    from ratified.client import Permission

ROLE = typer.Argument(metavar="ROLE")
EVERYTHING_BEHIND = b"\0"
"""As a permission's end: there is none."""


class Kind(StrEnum):
    READ = "read"
    WRITE = "write"
    READWRITE = "readwrite"


KIND = typer.Argument(metavar="read|write|readwrite")


def register(app: typer.Typer) -> None:
    role = typer.Typer(help="Roles: which keys they admit to.")
    role.command()(add)
    role.command()(delete)
    role.command()(get)
    role.command("list")(list_)
    role.command("grant-permission")(grant_permission)
    role.command("revoke-permission")(revoke_permission)
    app.add_typer(role, name="role")


@asks_members
def add(role: str = ROLE, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Add a role, which admits to nothing yet.

    \b
    Example:
      ratified role add readers
    """
    with connection.client() as client:
        client.auth.add_role(role)
    print_json({"role": role}) if as_json else typer.echo(f"Role {role} created")


@asks_members
def delete(role: str = ROLE, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Delete a role, which its users lose.

    \b
    Example:
      ratified role delete readers
    """
    with connection.client() as client:
        client.auth.delete_role(role)
    print_json({"role": role}) if as_json else typer.echo(f"Role {role} deleted")


@asks_members
def get(role: str = ROLE, hex: bool = HEX, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Show to which keys a role admits.

    \b
    Example:
      ratified role get readers
    """
    with connection.client() as client:
        permissions = client.auth.permissions(role)
    if as_json:
        print_json({"role": role, "permissions": [_in_json(each, hex=hex) for each in permissions]})
        return
    for each in permissions:
        typer.echo(f"{each.kind}: {_shown(each, hex=hex)}")


@asks_members
def list_(*, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Show all roles.

    \b
    Example:
      ratified role list
    """
    with connection.client() as client:
        roles = client.auth.roles()
    if as_json:
        print_json(list(roles))
    else:
        for role in roles:
            typer.echo(role)


@asks_members
def grant_permission(
    role: str = ROLE,
    kind: Kind = KIND,
    key: str = KEY,
    prefix: bool = PREFIX,
    from_key: bool = FROM_KEY,
    end: str | None = END,
    hex: bool = HEX,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Have a role admit to a key, or with --prefix, --from-key or --end to many.

    \b
    Example:
      ratified role grant-permission readers read app/ --prefix
    """
    keys = Keys(key, prefix=prefix, from_key=from_key, end=end, hex=hex)
    with connection.client() as client:
        client.auth.grant_permission(role, kind.value, keys.key, prefix=keys.prefix, end=keys.end)
    print_json({"role": role}) if as_json else typer.echo(f"Role {role} updated")


@asks_members
def revoke_permission(
    role: str = ROLE,
    key: str = KEY,
    prefix: bool = PREFIX,
    from_key: bool = FROM_KEY,
    end: str | None = END,
    hex: bool = HEX,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Take a permission from a role, with the keys that it was granted for.

    \b
    Example:
      ratified role revoke-permission readers app/ --prefix
    """
    keys = Keys(key, prefix=prefix, from_key=from_key, end=end, hex=hex)
    with connection.client() as client:
        client.auth.revoke_permission(role, keys.key, prefix=keys.prefix, end=keys.end)
    print_json({"role": role}) if as_json else typer.echo(f"Role {role} updated")


def _shown(permission: Permission, *, hex: bool) -> str:
    first = shown(permission.key, hex=hex)
    if not permission.range_end:
        return first
    if permission.range_end == EVERYTHING_BEHIND:
        return f"[{first}, ...)"
    return f"[{first}, {shown(permission.range_end, hex=hex)})"


def _in_json(permission: Permission, *, hex: bool) -> dict[str, Any]:
    end = in_json("range_end", permission.range_end, hex=hex)
    return {"permission": permission.kind, **in_json("key", permission.key, hex=hex), **end}
