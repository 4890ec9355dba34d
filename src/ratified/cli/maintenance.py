"""``ratified alarm`` and ``defrag``: when space runs out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from ratified.cli.connection import Connection, asks_members
from ratified.cli.endpoint import CLUSTER
from ratified.cli.output import AS_JSON, print_json

if TYPE_CHECKING:
    from ratified.client import Alarm


def register(app: typer.Typer) -> None:
    alarm = typer.Typer(help="Alarms: a member has no space left, or its data differs from the others'.")
    alarm.command("list")(list_)
    alarm.command()(disarm)
    app.add_typer(alarm, name="alarm")
    app.command()(defrag)


@asks_members
def list_(*, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Show which members have raised an alarm.

    \b
    Example:
      ratified alarm list
    """
    with connection.client() as client:
        _print(client.alarms(), as_json=as_json)


@asks_members
def disarm(*, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Take back every alarm, and show them. First make room: delete, compact, defrag.

    \b
    Example:
      ratified alarm disarm
    """
    with connection.client() as client:
        _print([gone for alarm in client.alarms() for gone in client.disarm(alarm)], as_json=as_json)


def _print(alarms: Sequence[Alarm], *, as_json: bool) -> None:
    rows = [{"member": f"{alarm.member:x}", "alarm": alarm.kind} for alarm in alarms]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"memberID:{row['member']} alarm:{row['alarm']}")


@asks_members
def defrag(cluster: bool = CLUSTER, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Give unused space back to the file system, one member after another. Exits with 1 where one fails.

    \b
    Example:
      ratified defrag --cluster
    """
    from ratified.client import ClientError

    rows: list[dict[str, Any]] = []
    with connection.client() as client:
        for endpoint in connection.members_of(client) if cluster else connection.endpoints:
            try:
                client.defragment(endpoint)
                rows.append({"endpoint": endpoint})
            except ClientError as error:
                rows.append({"endpoint": endpoint, "error": error.text})
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            failed = f"{row['endpoint']} was not defragmented: {row.get('error')}"
            typer.echo(failed if "error" in row else f"{row['endpoint']} is defragmented")
    if any("error" in row for row in rows):
        raise typer.Exit(1)
