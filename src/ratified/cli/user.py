"""``ratified user``: who there is, and with which roles."""

from __future__ import annotations

import typer

from ratified.cli.connection import Connection, asked_password, asks_members
from ratified.cli.output import AS_JSON, print_json

NAME = typer.Argument(metavar="NAME")
ROLE = typer.Argument(metavar="ROLE")
NEW_PASSWORD = typer.Option(
    None, "--new-password", metavar="TEXT", help="The password. [default: asked for]", show_default=False
)


def register(app: typer.Typer) -> None:
    user = typer.Typer(help="Users: who there is, and with which roles.")
    user.command()(add)
    user.command()(delete)
    user.command()(get)
    user.command("list")(list_)
    user.command()(passwd)
    user.command("grant-role")(grant_role)
    user.command("revoke-role")(revoke_role)
    app.add_typer(user, name="user")


@asks_members
def add(
    name: str = NAME,
    new_password: str | None = NEW_PASSWORD,
    no_password: bool = typer.Option(False, "--no-password", help="Nobody is this user by a password."),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Add a user, who has no role yet.

    \b
    Examples:
      ratified user add alice
      ratified user add robot --no-password
    """
    if no_password and new_password is not None:
        raise typer.BadParameter("--no-password and --new-password exclude each other")
    password = None if no_password else _given(name, new_password)
    with connection.client() as client:
        client.auth.add_user(name, password)
    print_json({"user": name}) if as_json else typer.echo(f"User {name} created")


@asks_members
def delete(name: str = NAME, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Delete a user.

    \b
    Example:
      ratified user delete alice
    """
    with connection.client() as client:
        client.auth.delete_user(name)
    print_json({"user": name}) if as_json else typer.echo(f"User {name} deleted")


@asks_members
def get(name: str = NAME, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Show the roles of a user.

    \b
    Example:
      ratified user get alice
    """
    with connection.client() as client:
        roles = client.auth.user_roles(name)
    if as_json:
        print_json({"user": name, "roles": list(roles)})
    else:
        typer.echo(f"User: {name}\nRoles: {' '.join(roles)}".rstrip())


@asks_members
def list_(*, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Show all users.

    \b
    Example:
      ratified user list
    """
    with connection.client() as client:
        users = client.auth.users()
    if as_json:
        print_json(list(users))
    else:
        for user in users:
            typer.echo(user)


@asks_members
def passwd(
    name: str = NAME, new_password: str | None = NEW_PASSWORD, *, connection: Connection, as_json: bool = AS_JSON
) -> None:
    """Change the password of a user.

    \b
    Example:
      ratified user passwd alice
    """
    password = _given(name, new_password)
    with connection.client() as client:
        client.auth.change_password(name, password)
    print_json({"user": name}) if as_json else typer.echo("Password updated")


@asks_members
def grant_role(name: str = NAME, role: str = ROLE, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Give a user a role.

    \b
    Example:
      ratified user grant-role alice readers
    """
    with connection.client() as client:
        client.auth.grant_role(name, role)
    print_json({"user": name, "role": role}) if as_json else typer.echo(f"Role {role} is granted to user {name}")


@asks_members
def revoke_role(name: str = NAME, role: str = ROLE, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Take a role from a user.

    \b
    Example:
      ratified user revoke-role alice readers
    """
    with connection.client() as client:
        client.auth.revoke_role(name, role)
    print_json({"user": name, "role": role}) if as_json else typer.echo(f"Role {role} is revoked from user {name}")


def _given(name: str, password: str | None) -> str:
    return asked_password(f"new password of {name}", "--new-password", confirm=True) if password is None else password
