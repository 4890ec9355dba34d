"""``ratified auth``: do users and roles count?"""

from __future__ import annotations

import typer

from ratified.cli.connection import Connection, asks_members
from ratified.cli.output import AS_JSON, print_json


def register(app: typer.Typer) -> None:
    auth = typer.Typer(help="Have users and roles count, or not.")
    auth.command()(enable)
    auth.command()(disable)
    auth.command()(status)
    app.add_typer(auth, name="auth")


@asks_members
def enable(*, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Have users and roles count from now on. There must be a user root, with the role root.

    \b
    Examples:
      ratified user add root --new-password secret
      ratified role add root
      ratified user grant-role root root
      ratified auth enable
    """
    with connection.client() as client:
        client.auth.enable()
    print_json({"enabled": True}) if as_json else typer.echo("Authentication Enabled")


@asks_members
def disable(*, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Admit everybody to everything again. Users and roles are kept.

    \b
    Example:
      ratified auth disable --user root
    """
    with connection.client() as client:
        client.auth.disable()
    print_json({"enabled": False}) if as_json else typer.echo("Authentication Disabled")


@asks_members
def status(*, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Do users and roles count?

    \b
    Example:
      ratified auth status --user root
    """
    with connection.client() as client:
        found = client.auth.status()
    if as_json:
        print_json({"enabled": found.enabled, "auth_revision": found.revision})
    else:
        typer.echo(f"Authentication Status: {str(found.enabled).lower()}\nAuthRevision: {found.revision}")
