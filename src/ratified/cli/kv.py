"""``ratified put``, ``get``, ``del`` and ``compact``: keys, values and their history."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from ratified.cli.connection import Connection, asks_members
from ratified.cli.output import (
    AS_JSON,
    END,
    FROM_KEY,
    HEX,
    KEY,
    PREFIX,
    Keys,
    data,
    id_of,
    pair_lines,
    print_json,
    result_in_json,
    shown,
    standard_input,
)

if TYPE_CHECKING:
    from ratified.client import Range


class SortBy(StrEnum):
    KEY = "key"
    VERSION = "version"
    CREATE = "create"
    MOD = "mod"
    VALUE = "value"


class Order(StrEnum):
    ASCEND = "ascend"
    DESCEND = "descend"


SORT_BY = typer.Option(None, "--sort-by", help="What to sort by. [default: key]", show_default=False)
ORDER = typer.Option(Order.ASCEND, "--order", help="Which way to sort.")


def register(app: typer.Typer) -> None:
    app.command()(put)
    app.command()(get)
    app.command("del")(delete)
    app.command()(compact)


@asks_members
def put(
    key: str = KEY,
    value: str | None = typer.Argument(None, metavar="[VALUE]", help="[default: what is on standard input]"),
    lease: str = typer.Option(
        "0", "--lease", metavar="ID", help="The lease that the key ends with.", show_default=False
    ),
    previous: bool = typer.Option(False, "--prev-kv", help="Show what was there before."),
    ignore_value: bool = typer.Option(False, "--ignore-value", help="Keep the value that the key has."),
    ignore_lease: bool = typer.Option(False, "--ignore-lease", help="Keep the lease that the key has."),
    hex: bool = HEX,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Write a key.

    \b
    Examples:
      ratified put greeting hello
      ratified put picture < picture.png
      ratified put greeting --ignore-value --lease 32695f1d3ab2c5d1
    """
    name = data(key, hex=hex)
    if ignore_value and value is not None:
        raise typer.BadParameter("--ignore-value keeps the value that the key has: give none")
    if ignore_lease and lease != "0":
        raise typer.BadParameter("--ignore-lease keeps the lease that the key has: give none")
    new = None if ignore_value else standard_input("VALUE") if value is None else data(value, hex=hex)
    with connection.client() as client:
        result = client.put(name, new, lease=None if ignore_lease else id_of(lease, "--lease"), previous=previous)
    if as_json:
        print_json(result_in_json(result, hex=hex))
        return
    typer.echo("OK")
    if result.previous is not None:
        typer.echo(pair_lines(result.previous, hex=hex))


@asks_members
def get(
    key: str = KEY,
    prefix: bool = PREFIX,
    from_key: bool = FROM_KEY,
    end: str | None = END,
    revision: int = typer.Option(0, "--rev", help="Read at this revision. [default: the newest]", show_default=False),
    limit: int = typer.Option(0, "--limit", help="At most so many keys. 0: all.", min=0),
    sort_by: SortBy | None = SORT_BY,
    order: Order = ORDER,
    keys_only: bool = typer.Option(False, "--keys-only", help="No values."),
    values_only: bool = typer.Option(False, "--print-value-only", help="No keys."),
    raw: bool = typer.Option(False, "--raw", help="Values only, byte for byte, with nothing between or behind them."),
    count_only: bool = typer.Option(False, "--count-only", help="Only how many keys there are."),
    serializable: bool = typer.Option(False, "--serializable", help="From one member's own state, perhaps old."),
    hex: bool = HEX,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Read a key, or with --prefix, --from-key or --end many. Exits with 1 where there is none.

    \b
    Examples:
      ratified get greeting
      ratified get --prefix greet --json
      ratified get --prefix jobs/ --sort-by mod --order descend --limit 1
      ratified get picture --raw > picture.png
    """
    keys = Keys(key, prefix=prefix, from_key=from_key, end=end, hex=hex)
    if sum((keys_only, values_only, raw, count_only, as_json and raw)) > 1:
        raise typer.BadParameter("--keys-only, --print-value-only, --raw and --count-only exclude each other")
    with connection.client() as client:
        found = client.range(
            keys.key,
            prefix=keys.prefix,
            end=keys.end,
            revision=revision,
            limit=limit,
            serializable=serializable,
            keys_only=keys_only,
            count_only=count_only,
            sort_by=sort_by.value if sort_by else None,
            descending=order is Order.DESCEND,
        )
    if as_json:
        print_json(result_in_json(found, hex=hex))
    elif raw:
        for pair in found.pairs:
            sys.stdout.buffer.write(pair.value)
        sys.stdout.buffer.flush()
    elif count_only:
        typer.echo(found.count)
    else:
        _print(found, keys=not values_only, values=not keys_only, hex=hex)
    if not found.count:
        raise typer.Exit(1)


def _print(found: Range, *, keys: bool, values: bool, hex: bool) -> None:
    for pair in found.pairs:
        if keys:
            typer.echo(shown(pair.key, hex=hex))
        if values:
            typer.echo(shown(pair.value, hex=hex))


@asks_members
def delete(
    key: str = KEY,
    prefix: bool = PREFIX,
    from_key: bool = FROM_KEY,
    end: str | None = END,
    previous: bool = typer.Option(False, "--prev-kv", help="Show what was deleted."),
    hex: bool = HEX,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Delete a key, or with --prefix, --from-key or --end many; says how many there were.

    \b
    Examples:
      ratified del greeting
      ratified del --prefix jobs/ --prev-kv
    """
    keys = Keys(key, prefix=prefix, from_key=from_key, end=end, hex=hex)
    with connection.client() as client:
        result = client.delete(keys.key, prefix=keys.prefix, end=keys.end, previous=previous)
    if as_json:
        print_json(result_in_json(result, hex=hex))
        return
    typer.echo(result.deleted)
    for pair in result.previous:
        typer.echo(pair_lines(pair, hex=hex))


@asks_members
def compact(
    revision: int = typer.Argument(metavar="REVISION", min=1),
    physical: bool = typer.Option(False, "--physical", help="Return only when the space is free for new data."),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Forget all that was overwritten or deleted before a revision. Reads and watches cannot begin before it any more.

    \b
    Example:
      ratified compact 1000
    """
    with connection.client() as client:
        newest = client.compact(revision, physical=physical)
    if as_json:
        print_json({"compacted": revision, "revision": newest})
    else:
        typer.echo(f"compacted revision {revision}")
