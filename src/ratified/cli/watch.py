"""``ratified watch``: every change as it happens, printed or handed to a command."""

from __future__ import annotations

import base64
import os
import subprocess
from typing import TYPE_CHECKING

import typer

from ratified.cli.connection import Connection, asks_members
from ratified.cli.failure import CommandFailed
from ratified.cli.output import (
    AS_JSON,
    END,
    FROM_KEY,
    HEX,
    KEY,
    PREFIX,
    Keys,
    event_in_json,
    pair_lines,
    print_json,
    shown,
)

if TYPE_CHECKING:
    from ratified.client import Event

COMMAND = typer.Argument(None, metavar="[-- COMMAND...]", help="Run for every change.")


def register(app: typer.Typer) -> None:
    app.command()(watch)


@asks_members
def watch(
    key: str = KEY,
    command: list[str] | None = COMMAND,
    prefix: bool = PREFIX,
    from_key: bool = FROM_KEY,
    end: str | None = END,
    revision: int = typer.Option(
        0, "--rev", help="Begin with this revision. [default: now]", show_default=False, min=0
    ),
    previous: bool = typer.Option(False, "--prev-kv", help="Show what was there before."),
    progress: bool = typer.Option(False, "--progress", help="Also say up to which revision everything was seen."),
    count: int = typer.Option(0, "--count", help="End after so many events. 0: never.", min=0),
    hex: bool = HEX,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Print every change of a key as it happens, until Ctrl-C; goes on at another member where one fails.

    A command is run once for each change, one after the other. It gets the value on standard input, and has in its
    environment RATIFIED_WATCH_TYPE (put or delete), RATIFIED_WATCH_REVISION and RATIFIED_WATCH_KEY (with a zero byte
    in it: RATIFIED_WATCH_KEY_BASE64). A command that fails ends the watch, with status 1.

    \b
    Examples:
      ratified watch --prefix greet --rev 1
      ratified watch config -- sh -c 'cat > /etc/app.conf'
    """
    keys = Keys(key, prefix=prefix, from_key=from_key, end=end, hex=hex)
    seen = 0
    with (
        connection.client() as client,
        client.watch(keys.key, prefix=keys.prefix, end=keys.end, revision=revision, previous=previous) as events,
    ):
        for batch in events.batches(progress=progress):
            for event in batch:
                seen += 1
                if command:
                    _run(command, event)
                else:
                    _print(event, as_json=as_json, hex=hex)
                if seen == count:
                    return
            if progress and not batch:
                _print_progress(events.seen_revision, as_json=as_json)


def _print_progress(revision: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"type": "progress", "revision": revision})
    else:
        typer.echo(f"PROGRESS\n{revision}")


def _print(event: Event, *, as_json: bool, hex: bool) -> None:
    if as_json:
        print_json(event_in_json(event, hex=hex))
        return
    typer.echo(event.kind.upper())
    if event.previous is not None:
        typer.echo(pair_lines(event.previous, hex=hex))
    typer.echo(pair_lines(event.pair, hex=hex) if event.kind == "put" else shown(event.pair.key, hex=hex))


def _run(command: list[str], event: Event) -> None:
    environment = {"RATIFIED_WATCH_TYPE": event.kind, "RATIFIED_WATCH_REVISION": str(event.revision)}
    if b"\0" in event.pair.key:
        environment["RATIFIED_WATCH_KEY_BASE64"] = base64.b64encode(event.pair.key).decode()
    else:
        environment["RATIFIED_WATCH_KEY"] = os.fsdecode(event.pair.key)
    try:
        status = subprocess.run(command, input=event.pair.value, env=os.environ | environment, check=False).returncode
    except OSError as error:
        raise CommandFailed(f"{command[0]}: {error.strerror or error}") from error
    if status:
        raise CommandFailed(f"{command[0]} ended with status {status} at revision {event.revision}")
