"""``ratified import`` and ``mirror``: the keys of one cluster in another one, once or ever after."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from ratified.cli.connection import Connection, Source, asks_members
from ratified.cli.failure import CommandFailed
from ratified.cli.output import AS_JSON, data, print_json

if TYPE_CHECKING:
    from ratified.client.copying import Copy, Told

PREFIX = typer.Option("", "--prefix", help="Only keys that begin with this. [default: all]", show_default=False)
TARGET_PREFIX = typer.Option(
    None, "--dest-prefix", help="What they begin with in the target instead. [default: the same]", show_default=False
)
OVERWRITE = typer.Option(
    False, "--overwrite", help="The target has keys: have it a copy all the same, and delete what the source has not."
)
BATCH_KEYS = typer.Option(
    100, "--batch-keys", help="At most so many keys in one transaction, and so at one revision.", min=1, max=127
)


def register(app: typer.Typer) -> None:
    app.command("import")(import_)
    app.command()(mirror)


@asks_members
def import_(
    source: Source,
    prefix: str = PREFIX,
    target_prefix: str | None = TARGET_PREFIX,
    overwrite: bool = OVERWRITE,
    batch_keys: int = BATCH_KEYS,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Copy all keys of another cluster, etcd's or Ratified's, as they are at one revision; leases too.

    Keys are written in the order in which they were last changed, and have the revisions of the target; leases keep
    their ids, and what is left of them. History is not copied. It is refused where the target has keys already. An
    import that was stopped goes on where it was when it is run again: it keeps its place in the target, under
    ratified/copies/, until it is done. While one of the clusters cannot be reached it waits.

    \b
    Examples:
      ratified import --from-etcd 10.0.0.1:2379,10.0.0.2:2379 --endpoints 10.0.0.11:2379
      ratified import --from 10.0.0.1:2379 --prefix app/ --dest-prefix old-app/
    """
    began = time.monotonic()
    with _copying(source, connection, prefix, target_prefix, leases=True, batch_keys=batch_keys, quiet=as_json) as copy:
        resumed = copy.begin(overwrite=overwrite)
        keys = None if copy.complete else copy.snapshot()
        copy.forget()
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        done = {"revision": copy.through, "keys": keys, "leases": copy.leases_granted}
        print_json({**done, "resumed": resumed, "seconds": seconds})
    else:
        typer.echo(
            f"imported {keys if keys is not None else 'all'} keys and {copy.leases_granted} leases of revision "
            f"{copy.through} in {seconds:.1f} s"
        )


@asks_members
def mirror(
    source: Source,
    prefix: str = PREFIX,
    target_prefix: str | None = TARGET_PREFIX,
    overwrite: bool = OVERWRITE,
    once: bool = typer.Option(False, "--once", help="End when the target has what the source has now."),
    batch_keys: int = BATCH_KEYS,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Keep a copy of another cluster's keys up to date, until Ctrl-C; either of them may be etcd's or Ratified's.

    Each change of the source is made once, in order, whoever is stopped and restarted: the mirror keeps its place in
    the target, under ratified/copies/, and moves it in the transactions that change the keys. Where the source has
    compacted what the mirror has not read yet, it compares all keys, and goes on. The copy has no leases: what ends
    with one in the source is deleted in the target then. Never run two that copy the same keys back and forth.

    \b
    Examples:
      ratified mirror --from 10.0.0.1:2379,10.0.0.2:2379 --endpoints 10.0.0.11:2379
      ratified mirror --from 10.0.0.11:2379 --endpoints 10.0.0.1:2379 --once
    """
    with _copying(
        source, connection, prefix, target_prefix, leases=False, batch_keys=batch_keys, quiet=as_json
    ) as copy:
        copy.begin(overwrite=overwrite)
        try:
            if not copy.complete:
                copy.snapshot()
            if once:
                copy.catch_up()
            else:
                copy.follow()
        finally:
            _print_mirror(copy, as_json=as_json)


def _print_mirror(copy: Copy, *, as_json: bool) -> None:
    if as_json:
        print_json({"revision": copy.through, "complete": copy.complete})
    elif copy.complete:
        typer.echo(f"the target has revision {copy.through} of the source")
    else:
        typer.echo("the target is not a whole copy yet: run the same again to go on")


@contextmanager
def _copying(
    source: Source,
    connection: Connection,
    prefix: str,
    target_prefix: str | None,
    *,
    leases: bool,
    batch_keys: int,
    quiet: bool,
) -> Iterator[Copy]:
    """The copy, with a bar that shows how far it is."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ratified.client.copying import Copy, CopyFailed, Scope

    console = Console(stderr=True)
    first = data(prefix, hex=False)
    scope = Scope(first, first if target_prefix is None else data(target_prefix, hex=False))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        source.connection.failures(),
        source.connection.client_of(source.connection.endpoints) as read,
        connection.client() as written,
        Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as progress,
    ):
        task = progress.add_task("copying", total=None)

        waits_for = ""

        def tell(told: Told) -> None:
            nonlocal waits_for
            if told.waits_for and told.waits_for != waits_for and not console.is_terminal:
                typer.echo(f"waiting for {told.waits_for}", err=True)
            waits_for = told.waits_for
            if told.waits_for:
                progress.update(task, description=f"waiting for {told.waits_for}")
            elif told.keys:
                progress.update(task, description="copying", completed=told.done, total=told.keys)
            else:
                progress.update(task, description=f"following, revision {told.through}", total=None)

        try:
            yield Copy(
                read,
                written,
                scope=scope,
                leases=leases,
                batch_keys=batch_keys,
                told=tell,
            )
        except CopyFailed as failed:
            raise CommandFailed(str(failed)) from failed
