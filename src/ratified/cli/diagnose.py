"""``ratified diagnose``: what is wrong with a cluster, in plain words."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import typer

from ratified.cli.connection import Connection, asks_members
from ratified.cli.failure import CommandFailed
from ratified.cli.output import AS_JSON, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ratified.cli.findings import ClusterView, Finding
    from ratified.cli.member_view import MemberView

WINDOW_S = 2.0
WRITES_MAX = 100_000
"""Of so many writes the keys are counted at most."""


def register(app: typer.Typer) -> None:
    app.command()(diagnose)


@asks_members
def diagnose(
    window_s: float = typer.Option(WINDOW_S, "--window", help="Seconds for which the members are looked at.", min=0.5),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Look at all members for a while, and say what is wrong with the cluster, and what to do.

    It asks the endpoints and the other members that these know. Exits with 1 where something is wrong.

    \b
    Examples:
      ratified diagnose --endpoints 127.0.0.1:2379
      ratified diagnose --endpoints https://10.0.0.1:2379 --cacert pki/ca.crt --window 10 --json
    """
    from ratified.cli.findings import findings

    view = _look(connection, window_s)
    found = findings(view)
    if as_json:
        print_json(
            {
                "members": [_row(member) for member in view.members],
                "findings": [msgspec.to_builtins(each) for each in found],
            }
        )
    else:
        _print(view.members, found)
    if found:
        raise typer.Exit(1)


def _look(connection: Connection, window_s: float) -> ClusterView:
    from ratified.cli.findings import ClusterView, now
    from ratified.cli.member_view import Looking

    looking = Looking(ca_file=connection.ca_file, cert_file=connection.cert_file, key_file=connection.key_file)
    urls = _all_urls(connection)
    writes: Counter[str] = Counter()
    with ThreadPoolExecutor(len(urls) + 1) as threads:
        counting = threads.submit(_count_writes, connection, writes, window_s)
        members = _once(threads.map(lambda url: looking.at(url, window_s), urls))
        counting.result()
    return ClusterView(members=members, writes=writes, window_s=window_s, now=now())


def _all_urls(connection: Connection) -> list[str]:
    """Of the endpoints, and of the other members that these know, where they tell."""
    from ratified.cli.member_view import urls

    known: list[str] = []
    with suppress(CommandFailed), connection.client() as client:
        known = [url for member in client.members() for url in member.client_urls[:1]]
    secure = connection.ca_file is not None or connection.cert_file is not None
    return list(dict.fromkeys([*urls(connection.endpoints, secure=secure), *known]))


def _once(views: Iterable[MemberView]) -> list[MemberView]:
    """Each member once, that was looked at by several names."""
    found: dict[str, MemberView] = {}
    for view in views:
        found.setdefault(view.url if view.pages is None else view.info["member"] or view.url, view)
    return list(found.values())


def _count_writes(connection: Connection, writes: Counter[str], window_s: float) -> None:
    """How often each key is written meanwhile; nothing, where nobody can be asked."""
    with suppress(CommandFailed), connection.client() as client, client.watch("", prefix=True) as watch:
        ending = threading.Timer(window_s, watch.close)
        ending.start()
        for event in watch:
            writes[event.pair.key.decode(errors="backslashreplace")] += 1
            if writes.total() >= WRITES_MAX:
                break
        ending.cancel()


def _row(member: MemberView) -> dict[str, object]:
    row: dict[str, object] = {"url": member.url, "answers": member.pages is not None}
    return row if member.pages is None else {**row, **member.info}


def _print(members: Sequence[MemberView], found: Sequence[Finding]) -> None:
    for finding in found:
        typer.echo(f"{finding.severity.upper()}: {finding.text} [{finding.kind}]")
        typer.echo(f"    {finding.remedy}")
    if not found:
        names = ", ".join(member.name for member in members)
        typer.echo(f"Nothing is wrong with {names}, as far as can be seen from here.")
