"""``ratified member`` and ``move-leader``: who belongs to the cluster, where each is reached, and who leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ratified.cli.client import AS_JSON, ENDPOINTS, TIMEOUT_S, connected_client, print_json
from ratified.cli.failure import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratified.client.results import Member

PEER_URLS = typer.Option(..., "--peer-urls", help="Where the others reach it, URL,URL,...")
MEMBER = typer.Argument(metavar="MEMBER", help="Its name, or its id as `member list` shows it.")


def register(app: typer.Typer) -> None:
    member = typer.Typer(help="List the members of the cluster, add and remove some, change where they are reached.")
    member.command("list")(list_)
    member.command()(add)
    member.command()(promote)
    member.command()(remove)
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


def add(
    peer_urls: str = PEER_URLS,
    learner: bool = typer.Option(False, "--learner", help="Have it stay a learner: it gets all data and has no vote."),
    endpoints: str = ENDPOINTS,
    timeout: float = TIMEOUT_S,
    as_json: bool = AS_JSON,
) -> None:
    """Add a member; then start it, with --initial-cluster-state existing and an empty data directory.

    It votes as soon as it has caught up, unless it is to stay a learner.

    \b
    Examples:
      ratified member add --peer-urls http://10.0.0.4:2380
      ratified serve --name d --initial-cluster-state existing --listen-peer-urls http://10.0.0.4:2380 \\
          --initial-cluster a=http://10.0.0.1:2380,d=http://10.0.0.4:2380
    """
    with connected_client(endpoints, timeout) as client:
        _print([client.add_member(_urls(peer_urls), learner=learner)], as_json=as_json)


def promote(
    member: str = MEMBER, endpoints: str = ENDPOINTS, timeout: float = TIMEOUT_S, as_json: bool = AS_JSON
) -> None:
    """Have a learner vote, if it has caught up.

    \b
    Example:
      ratified member promote d
    """
    with connected_client(endpoints, timeout) as client:
        _print(client.promote_member(_id(client.members(), member)), as_json=as_json)


def remove(
    member: str = MEMBER, endpoints: str = ENDPOINTS, timeout: float = TIMEOUT_S, as_json: bool = AS_JSON
) -> None:
    """Remove a member for good, the leader or one whose disk is lost too. Its process stops, its id never comes back.

    \b
    Example:
      ratified member remove c
    """
    with connected_client(endpoints, timeout) as client:
        _print(client.remove_member(_id(client.members(), member)), as_json=as_json)


def update(
    member: str = MEMBER,
    peer_urls: str = PEER_URLS,
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
        _print(client.update_member(id, _urls(peer_urls)), as_json=as_json)


def _urls(text: str) -> list[str]:
    return [url.strip() for url in text.split(",")]


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
        name = row["name"] or "(not started)"
        urls = (*row["peer_urls"], *row["client_urls"])
        typer.echo(", ".join((row["id"], name, "learner" if row["is_learner"] else "voter", *urls)))


def _row(member: Member) -> dict[str, Any]:
    return {
        "id": f"{member.id:x}",
        "name": member.name,
        "peer_urls": list(member.peer_urls),
        "client_urls": list(member.client_urls),
        "is_learner": member.is_learner,
    }
