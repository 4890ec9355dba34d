"""``ratified member`` and ``move-leader``: who belongs to the cluster, where each is reached, and who leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ratified.cli.connection import Connection, asks_members
from ratified.cli.failure import CommandFailed
from ratified.cli.output import AS_JSON, print_json
from ratified.consensus.engines import DEFAULT_ENGINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratified.client import Client
    from ratified.client.results import Member

PEER_URLS = typer.Option(..., "--peer-urls", help="Where the others reach it, URL,URL,...")
MEMBER = typer.Argument(metavar="MEMBER", help="Its name, or its id as `member list` shows it.")


def register(app: typer.Typer) -> None:
    member = typer.Typer(help="List the members of the cluster, add and remove some, change where they are reached.")
    member.command("list")(list_)
    member.command()(add)
    member.command()(promote)
    member.command()(remove)
    member.command()(replace)
    member.command()(update)
    app.add_typer(member, name="member")
    app.command("move-leader")(move_leader)


@asks_members
def list_(*, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Show every member, whether it is up or down.

    \b
    Example:
      ratified member list --endpoints 127.0.0.1:2379
    """
    with connection.client() as client:
        _print(client.members(), as_json=as_json)


@asks_members
def add(
    peer_urls: str = PEER_URLS,
    learner: bool = typer.Option(False, "--learner", help="Have it stay a learner: it gets all data and has no vote."),
    auto_promote: bool = typer.Option(
        False, "--auto-promote", help="Have a learner vote as soon as it has caught up, as one added without --learner."
    ),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Add a member; then start it, with --initial-cluster-state existing and an empty data directory.

    It learns first, and votes as soon as it has caught up, whoever leads then; unless it is to stay a learner.

    \b
    Examples:
      ratified member add --peer-urls http://10.0.0.4:2380
      ratified serve --name d --initial-cluster-state existing --listen-peer-urls http://10.0.0.4:2380 \\
          --initial-cluster a=http://10.0.0.1:2380,d=http://10.0.0.4:2380
    """
    with connection.client() as client:
        _print([client.add_member(_urls(peer_urls), learner=learner and not auto_promote)], as_json=as_json)


@asks_members
def promote(member: str = MEMBER, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Have a learner vote, if it has caught up.

    \b
    Example:
      ratified member promote d
    """
    with connection.client() as client:
        _print(client.promote_member(_id(client.members(), member)), as_json=as_json)


@asks_members
def remove(member: str = MEMBER, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Remove a member for good, the leader or one whose disk is lost too. Its process stops, its id never comes back.

    \b
    Example:
      ratified member remove c
    """
    with connection.client() as client:
        _print(client.remove_member(_id(client.members(), member)), as_json=as_json)


@asks_members
def replace(
    member: str = MEMBER,
    peer_urls: str | None = typer.Option(
        None, "--peer-urls", help="Where the others reach the new one. [default: as the old one]", show_default=False
    ),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Remove a member for good, and add another one in its place: for one whose disk or machine is lost.

    It is refused, and nothing is changed, where the voters that are left could not go on. Then start the new member
    with an empty data directory, as it says; it votes as soon as it has caught up.

    \b
    Example:
      ratified member replace c --peer-urls http://10.0.0.9:2380
    """
    with connection.client() as client:
        members = client.members()
        old = _named(members, member)
        urls = list(old.peer_urls) if peer_urls is None else _urls(peer_urls)
        _check_free(urls, [each for each in members if each is not old])
        _remove_for_another(client, old)
        added = _add_instead(client, old, urls)
        members = client.members()
        engine = _engine(client, connection.endpoints)
    if as_json:
        print_json({"removed": _row(old), "added": _row(added)})
        return
    name = old.name or "NAME"
    others = [f"{each.name}={url}" for each in members if each.name for url in each.peer_urls]
    cluster = ",".join([*others, *(f"{name}={url}" for url in urls)])
    typer.echo(
        f"{member} ({old.id:x}) is removed, and {added.id:x} added in its place. Start it with an empty data directory:"
    )
    clients = _moved(old.client_urls, urls[0])
    typer.echo(
        f"ratified serve --name {name}"
        + (f" --listen-client-urls {','.join(clients)}" if clients else "")
        + f" --listen-peer-urls {','.join(urls)} --initial-cluster-state existing --initial-cluster {cluster}"
        + ("" if engine in ("", DEFAULT_ENGINE) else f" --engine {engine}")
    )


def _engine(client: Client, endpoints: Sequence[str]) -> str:
    """The cluster's protocol, as the first member says that can; empty: none does."""
    from ratified.client import ClientError

    for endpoint in endpoints:
        try:
            return client.report(endpoint).engine
        except ClientError:
            continue
    return ""


def _moved(client_urls: Sequence[str], peer_url: str) -> list[str]:
    """Where clients reach the new member: at the old one's ports, on the machine where the others reach it."""
    from urllib.parse import urlsplit

    machine = urlsplit(peer_url).netloc.rpartition(":")[0]
    parts = [urlsplit(url) for url in client_urls if not url.startswith("unix")]
    return [f"{part.scheme}://{machine}:{part.port}" for part in parts]


def _check_free(urls: Sequence[str], others: Sequence[Member]) -> None:
    """Before anything is removed: could the new member be added?"""
    from ratified.server.urls import UrlError, parse_urls

    try:
        parse_urls(",".join(urls))
    except UrlError as wrong:
        raise CommandFailed(f"--peer-urls: {wrong}; nothing was changed") from wrong
    for each in others:
        if taken := sorted({*urls} & {*each.peer_urls}):
            raise CommandFailed(f"--peer-urls: {taken[0]} is that of member {each.name}; nothing was changed")


def _remove_for_another(client: Client, old: Member) -> None:
    from ratified.client import ClientError
    from ratified.wire.etcd import errors

    try:
        client.remove_member(old.id)
    except ClientError as refused:
        why = {
            errors.UNHEALTHY.text: "too few of the voters that would be left are up: bring those back first",
            errors.NOT_ENOUGH_STARTED.text: "it is the only one that votes: add the new member first, then remove it",
        }.get(refused.text)
        if why is None:
            raise
        raise CommandFailed(
            f"member {old.name or f'{old.id:x}'} was not replaced: {why}; nothing was changed"
        ) from None


def _add_instead(client: Client, old: Member, urls: Sequence[str]) -> Member:
    from ratified.client import ClientError

    try:
        return client.add_member(urls)
    except ClientError as failed:
        raise CommandFailed(
            f"member {old.name or f'{old.id:x}'} is removed, and the new one may not have been added: {failed.text}: "
            f"look at `ratified member list`, and run `ratified member add --peer-urls {','.join(urls)}`"
        ) from failed


@asks_members
def update(
    member: str = MEMBER,
    peer_urls: str = PEER_URLS,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Change a member's peer URLs; it has to be started again listening there.

    \b
    Example:
      ratified member update c --peer-urls http://10.0.0.9:2380
    """
    with connection.client() as client:
        id = _id(client.members(), member)
        _print(client.update_member(id, _urls(peer_urls)), as_json=as_json)


def _urls(text: str) -> list[str]:
    return [url.strip() for url in text.split(",")]


@asks_members
def move_leader(member: str = MEMBER, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Hand the lead to a member, before its leader is stopped for a while. One of the endpoints must be the leader's.

    \b
    Example:
      ratified move-leader node2 --endpoints 127.0.0.1:2379,127.0.0.1:22379,127.0.0.1:32379
    """
    with connection.client() as client:
        id = _id(client.members(), member)
        client.move_leader(id)
    if as_json:
        print_json({"leader": f"{id:x}"})
    else:
        typer.echo(f"{member} leads")


def _id(members: Sequence[Member], called: str) -> int:
    return _named(members, called).id


def _named(members: Sequence[Member], called: str) -> Member:
    named = [member for member in members if called in (member.name, f"{member.id:x}")]
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
