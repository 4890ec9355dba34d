"""``ratified member`` and ``move-leader``: who belongs to the cluster, where each is reached, and who leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ratified.cli.client import AS_JSON, ENDPOINTS, TIMEOUT_S, connected_client, print_json
from ratified.cli.failure import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratified.client.results import Member

MEMBER = typer.Argument(metavar="MEMBER", help="Its name, or its id as `member list` shows it.")


def register(app: typer.Typer) -> None:
    member = typer.Typer(help="List the members of the cluster, and change where they are reached.")
    member.command("list")(list_)
    member.command()(update)
    app.add_typer(member, name="member")
    app.command("move-leader")(move_leader)


def list_(endpoints: str = ENDPOINTS, timeout: float = TIMEOUT_S, as_json: bool = AS_JSON) -> None:
    """Show every member, whether it is up or down.

    \b
    Example:
      ratified member list --endpoints 127.0.0.1:2379
    """
    with connected_client(endpoints, timeout) as client:
        _print(client.members(), as_json=as_json)


def update(
    member: str = MEMBER,
    peer_urls: str = typer.Option(..., "--peer-urls", help="Where the others reach it from now on, URL,URL,..."),
    endpoints: str = ENDPOINTS,
    timeout: float = TIMEOUT_S,
    as_json: bool = AS_JSON,
) -> None:
    """Change a member's peer URLs; it has to be started again listening there.

    \b
    Example:
      ratified member update c --peer-urls http://10.0.0.9:2380
    """
    with connected_client(endpoints, timeout) as client:
        id = _id(client.members(), member)
        _print(client.update_member(id, [url.strip() for url in peer_urls.split(",")]), as_json=as_json)


def move_leader(
    member: str = MEMBER, endpoints: str = ENDPOINTS, timeout: float = TIMEOUT_S, as_json: bool = AS_JSON
) -> None:
    """Hand the lead to a member, before its leader is stopped for a while. One of the endpoints must be the leader's.

    \b
    Example:
      ratified move-leader node2 --endpoints 127.0.0.1:2379,127.0.0.1:22379,127.0.0.1:32379
    """
    with connected_client(endpoints, timeout) as client:
        id = _id(client.members(), member)
        client.move_leader(id)
    if as_json:
        print_json({"leader": f"{id:x}"})
    else:
        typer.echo(f"{member} leads")


def _id(members: Sequence[Member], called: str) -> int:
    named = [member.id for member in members if called in (member.name, f"{member.id:x}")]
    if len(named) != 1:
        known = ", ".join(f"{member.name} ({member.id:x})" for member in members)
        raise CommandFailed(f"{called!r} is not exactly one member: the members are {known}")
    return named[0]


def _print(members: Sequence[Member], *, as_json: bool) -> None:
    if as_json:
        print_json([_row(member) for member in members])
        return
    for member in members:
        row = _row(member)
        typer.echo(", ".join((row["id"], row["name"], *row["peer_urls"], *row["client_urls"])))


def _row(member: Member) -> dict[str, Any]:
    return {
        "id": f"{member.id:x}",
        "name": member.name,
        "peer_urls": list(member.peer_urls),
        "client_urls": list(member.client_urls),
    }
