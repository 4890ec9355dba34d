"""``ratified put``, ``get``, ``del``, ``watch`` and ``status``: the client on the command line."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from ratified.cli.connection import Connection, asks_members

if TYPE_CHECKING:
    from ratified.client import Client, Event, KeyValue

KEY = typer.Argument(metavar="KEY")
AS_JSON = typer.Option(False, "--json", help="Answer in JSON.")
PREFIX = typer.Option(False, "--prefix", help="All keys that begin with KEY.")
_BEFORE_WORDS = ("endpoint", "name", "member", "role")
_BEHIND_WORDS = ("leader", "commit", "applied", "revision", "log_bytes")


def register(app: typer.Typer) -> None:
    app.command()(put)
    app.command()(get)
    app.command("del")(delete)
    app.command()(watch)
    app.command()(status)


@asks_members
def put(
    key: str = KEY,
    value: str = typer.Argument(metavar="VALUE"),
    lease: int = typer.Option(0, "--lease", help="Id of the lease that the key ends with."),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Write a key.

    \b
    Example:
      ratified put greeting hello
    """
    with connection.client() as client:
        result = client.put(key, value, lease=lease)
    if as_json:
        print_json({"revision": result.revision})
    else:
        typer.echo("OK")


@asks_members
def get(
    key: str = KEY,
    prefix: bool = PREFIX,
    revision: int = typer.Option(0, "--rev", help="Read at this revision. [default: the newest]", show_default=False),
    limit: int = typer.Option(0, "--limit", help="At most so many keys. 0: all."),
    serializable: bool = typer.Option(False, "--serializable", help="From one member's own state, perhaps old."),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Read a key, or with --prefix many. Exits with 1 where there is none.

    \b
    Examples:
      ratified get greeting
      ratified get --prefix greet --json
    """
    with connection.client() as client:
        found = client.range(key, prefix=prefix, revision=revision, limit=limit, serializable=serializable)
    if as_json:
        print_json({"revision": found.revision, "count": found.count, "pairs": [_pair(pair) for pair in found.pairs]})
    else:
        for pair in found.pairs:
            typer.echo(f"{_text(pair.key)}\n{_text(pair.value)}")
    if not found.pairs:
        raise typer.Exit(1)


@asks_members
def delete(
    key: str = KEY,
    prefix: bool = PREFIX,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Delete a key, or with --prefix many; says how many there were.

    \b
    Example:
      ratified del greeting
    """
    with connection.client() as client:
        result = client.delete(key, prefix=prefix)
    if as_json:
        print_json({"revision": result.revision, "deleted": result.deleted})
    else:
        typer.echo(result.deleted)


@asks_members
def watch(
    key: str = KEY,
    prefix: bool = PREFIX,
    revision: int = typer.Option(0, "--rev", help="Begin with this revision. [default: now]", show_default=False),
    count: int = typer.Option(0, "--count", help="End after so many events. 0: never."),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Print every change of a key as it happens, until Ctrl-C; goes on at another member where one fails.

    \b
    Example:
      ratified watch --prefix greet --rev 1
    """
    with connection.client() as client, client.watch(key, prefix=prefix, revision=revision) as events:
        for number, event in enumerate(events, start=1):
            _print_event(event, as_json=as_json)
            if number == count:
                return


@asks_members
def status(*, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Show each of the endpoints: member, role, the protocol's own words (term; ballot; epoch, zxid), leader, indexes.

    Exits with 1 where one does not answer.

    \b
    Example:
      ratified status --endpoints 127.0.0.1:2379,127.0.0.1:22379,127.0.0.1:32379
    """
    from ratified.client import ClientError

    rows: list[dict[str, Any]] = []
    failed = False
    with connection.client() as client:
        for endpoint in connection.endpoints:
            try:
                rows.append({"endpoint": endpoint, **_status(client, endpoint)})
            except ClientError as error:
                failed = True
                rows.append({"endpoint": endpoint, "error": error.text})
    if as_json:
        print_json(rows)
    else:
        _print_status(rows)
    if failed:
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
    from rich.console import Console
    from rich.table import Table

    from ratified.wire.report import IGNORED

    words = dict.fromkeys(name for row in rows for name in row.get("words", {}) if not name.startswith(IGNORED))
    table = Table()
    for heading in (*_BEFORE_WORDS, *words, *_BEHIND_WORDS):
        table.add_column(heading)
    for row in rows:
        if "error" in row:
            table.add_row(row["endpoint"], f"[red]{row['error']}[/red]")
        else:
            own = (row["words"].get(name, "") for name in words)
            table.add_row(
                *(str(row[heading]) for heading in _BEFORE_WORDS),
                *own,
                *(str(row[heading]) for heading in _BEHIND_WORDS),
            )
    Console(width=None if Console().is_terminal else 160).print(table)


def _print_event(event: Event, *, as_json: bool) -> None:
    if as_json:
        print_json({"type": event.kind, "revision": event.revision, **_pair(event.pair)})
    else:
        value = f"\n{_text(event.pair.value)}" if event.kind == "put" else ""
        typer.echo(f"{event.kind.upper()}\n{_text(event.pair.key)}{value}")


def _pair(pair: KeyValue) -> dict[str, Any]:
    return {
        **_json_text("key", pair.key),
        **_json_text("value", pair.value),
        "create_revision": pair.create_revision,
        "mod_revision": pair.mod_revision,
        "version": pair.version,
        "lease": pair.lease,
    }


def _json_text(name: str, data: bytes) -> dict[str, str]:
    """Text as text; other bytes in base64, under another name."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")


def print_json(content: object) -> None:
    typer.echo(json.dumps(content))
