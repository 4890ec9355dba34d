"""``ratified endpoint`` and ``status``: each member's own view."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

from ratified.cli.connection import Connection, asks_members
from ratified.cli.output import AS_JSON, print_json

if TYPE_CHECKING:
    from ratified.client import Client

CLUSTER = typer.Option(False, "--cluster", help="All members that the endpoints know, instead of the endpoints.")
HEALTH_KEY = "health"
"""etcdctl's: it is only read."""
_BEFORE_WORDS = ("endpoint", "name", "member", "role")
_BEHIND_WORDS = ("leader", "commit", "applied", "revision", "log_bytes")


def register(app: typer.Typer) -> None:
    endpoint = typer.Typer(help="Each member's own view; works with etcd's members, too.")
    endpoint.command()(health)
    endpoint.command("status")(endpoint_status)
    endpoint.command()(hashkv)
    app.add_typer(endpoint, name="endpoint")
    app.command()(status)


@asks_members
def health(cluster: bool = CLUSTER, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Does each member answer a linearizable read, with the lead of the cluster behind it? Exits with 1 where not.

    \b
    Example:
      ratified endpoint health --cluster
    """
    from ratified.client import PermissionDenied

    def look(_: Client, endpoint: str) -> dict[str, Any]:
        began = time.monotonic()
        with connection.client_of([endpoint]) as alone, suppress(PermissionDenied):  # it has answered
            alone.get(HEALTH_KEY)
        return {"took_ms": round((time.monotonic() - began) * 1000, 3)}

    rows = _ask_each(connection, cluster, look)
    if as_json:
        print_json([{"endpoint": row["endpoint"], "health": "error" not in row, **row} for row in rows])
    else:
        for row in rows:
            good = f"{row['endpoint']} is healthy: a read took {row.get('took_ms')} ms"
            typer.echo(f"{row['endpoint']} is unhealthy: {row['error']}" if "error" in row else good)
    _end(rows)


@asks_members
def endpoint_status(cluster: bool = CLUSTER, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Show each member's id, version, size and indexes; `ratified status` shows more of Ratified's own.

    \b
    Example:
      ratified endpoint status --cluster
    """

    def look(client: Client, endpoint: str) -> dict[str, Any]:
        found = client.status(endpoint)
        return {
            "member": f"{found.member:x}",
            "version": found.version,
            "db_bytes": found.db_size_bytes,
            "is_leader": found.member == found.leader,
            "leader": f"{found.leader:x}" if found.leader else "",
            "term": found.raft_term,
            "index": found.raft_index,
            "applied": found.raft_applied_index,
            "revision": found.revision,
        }

    rows = _ask_each(connection, cluster, look)
    _show(rows, as_json=as_json)


@asks_members
def hashkv(
    cluster: bool = CLUSTER,
    revision: int = typer.Option(
        0, "--rev", help="Up to this revision. [default: each one's newest]", show_default=False
    ),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Show a hash of what each member holds up to a revision; where two differ, one of them is damaged.

    \b
    Example:
      ratified endpoint hashkv --cluster --rev 1000
    """

    def look(client: Client, endpoint: str) -> dict[str, Any]:
        found = client.hash_kv(endpoint, revision=revision)
        return {"hash": found.hash, "revision": found.revision, "compact_revision": found.compact_revision}

    _show(_ask_each(connection, cluster, look), as_json=as_json)


@asks_members
def status(*, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Show each of the endpoints: member, role, the protocol's own words (term; ballot; epoch, zxid), leader, indexes.

    Exits with 1 where one does not answer.

    \b
    Example:
      ratified status --endpoints 127.0.0.1:2379,127.0.0.1:22379,127.0.0.1:32379
    """
    rows = _ask_each(connection, False, _status)
    if as_json:
        print_json(rows)
    else:
        _print_status(rows)
    _end(rows)


def _ask_each(
    connection: Connection, cluster: bool, look: Callable[[Client, str], dict[str, Any]]
) -> list[dict[str, Any]]:
    """A row for each member: what it says, or why it says nothing."""
    from ratified.client import ClientError

    rows: list[dict[str, Any]] = []
    with connection.client() as client:
        for endpoint in connection.members_of(client) if cluster else connection.endpoints:
            try:
                rows.append({"endpoint": endpoint, **look(client, endpoint)})
            except ClientError as error:
                rows.append({"endpoint": endpoint, "error": error.text})
    return rows


def _show(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
    else:
        headings = list(dict.fromkeys(name for row in rows for name in row if name != "error"))
        _print_table(headings, [[row.get(name) for name in headings] for row in rows], rows)
    _end(rows)


def _print_table(headings: Sequence[str], cells: Sequence[Sequence[Any]], rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in headings:
        table.add_column(heading)
    for row, values in zip(rows, cells, strict=True):
        if "error" in row:
            table.add_row(row["endpoint"], f"[red]{row['error']}[/red]")
        else:
            table.add_row(*map(str, values))
    Console(width=None if Console().is_terminal else 160).print(table)


def _end(rows: Sequence[dict[str, Any]]) -> None:
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def _status(client: Client, endpoint: str) -> dict[str, Any]:
    report, status = client.report(endpoint), client.status(endpoint)
    return {
        "name": report.name,
        "member": report.member,
        "role": report.role,
        "term": report.term,
        "words": report.words,
        "leader": report.leader,
        "commit": report.commit,
        "applied": report.applied,
        "revision": status.revision,
        "log_bytes": report.log_bytes,
        "checkpoint_bytes": report.checkpoint_bytes,
        "checkpoint_ms": report.checkpoint_us // 1000,
        "checkpoint_age_s": report.checkpoint_age_us // 1_000_000,
        "db_bytes": status.db_size_bytes,
        "version": status.version,
    }


def _print_status(rows: Sequence[dict[str, Any]]) -> None:
    from ratified.wire.report import IGNORED

    words = list(dict.fromkeys(name for row in rows for name in row.get("words", {}) if not name.startswith(IGNORED)))
    cells = [
        [
            *(row.get(heading, "") for heading in _BEFORE_WORDS),
            *(row.get("words", {}).get(name, "") for name in words),
            *(row.get(heading, "") for heading in _BEHIND_WORDS),
        ]
        for row in rows
    ]
    _print_table((*_BEFORE_WORDS, *words, *_BEHIND_WORDS), cells, rows)
