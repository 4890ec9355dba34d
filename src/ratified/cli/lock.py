"""``ratified lock`` and ``elect``: one process at a time, among all that name the same thing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from ratified.cli.connection import Connection, asks_members
from ratified.cli.failure import CommandFailed
from ratified.cli.output import AS_JSON, data, in_json, pair_in_json, pair_lines, print_json, shown

if TYPE_CHECKING:
    from ratified.client import Lock, Place

NAME = typer.Argument(metavar="NAME")
TTL = typer.Option(30, "--ttl", help="Seconds until others go on when this process is gone.", min=1)
COMMAND = typer.Argument(None, metavar="[-- COMMAND...]", help="Run while the lock is held.")
POLL_S = 0.2
"""How often a lock that is held is looked at: is it still held?"""


def register(app: typer.Typer) -> None:
    app.command()(lock)
    app.command()(elect)


@asks_members
def lock(
    name: str = NAME,
    command: list[str] | None = COMMAND,
    ttl: int = TTL,
    wait: float | None = typer.Option(
        None, "--wait", help="Give up after so many seconds. [default: never]", show_default=False, min=0
    ),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Take a lock and print its key; hold it until Ctrl-C, or while a command runs, and exit with that one's status.

    Where the lock is lost meanwhile (the cluster could not be reached for its time to live), the command is sent
    SIGTERM, and the status is 1. `etcdctl lock` and this one exclude each other. The command has in its environment
    RATIFIED_LOCK_KEY and RATIFIED_LOCK_REVISION, which grows with every holder.

    \b
    Examples:
      ratified lock nightly
      ratified lock nightly -- ./backup.sh
    """
    with connection.client() as client, _ends_well():
        held = client.lock(data(name, hex=False), ttl)
        try:
            place = held.acquire(wait)
        except TimeoutError as late:
            raise CommandFailed(f"the lock {name!r} was not free within {wait:g} s") from late
        status = 0
        try:
            if command:
                status = _run(command, held, place)
            else:
                _print_place(place, as_json=as_json)
                held.wait_lost()
            lost = held.lost
        finally:
            held.release()
    if lost:
        raise CommandFailed(f"the lock {name!r} was lost")
    if status:
        raise typer.Exit(status if status > 0 else 128 - status)


@asks_members
def elect(
    name: str = NAME,
    proposal: str | None = typer.Argument(None, metavar="[PROPOSAL]", help="The value to lead with."),
    listen: bool = typer.Option(False, "--listen", "-l", help="Print who leads, and whoever leads next, until Ctrl-C."),
    ttl: int = TTL,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Wait until we lead, print our key and value, and lead until Ctrl-C; or print who leads.

    \b
    Examples:
      ratified elect primary 10.0.0.1:5432
      ratified elect primary --listen
    """
    if listen == (proposal is not None):
        raise typer.BadParameter("give either a PROPOSAL or --listen")
    with connection.client() as client, _ends_well():
        election = client.election(data(name, hex=False), ttl)
        if proposal is None:
            for pair in election.observe():
                print_json(pair_in_json(pair)) if as_json else typer.echo(pair_lines(pair))
            return
        place = election.campaign(data(proposal, hex=False))
        try:
            _print_place(place, as_json=as_json)
            if not as_json:
                typer.echo(proposal)
            election.wait_lost()
        finally:
            election.resign()
    raise CommandFailed(f"the lead of {name!r} was lost")


def _print_place(place: Place, *, as_json: bool) -> None:
    if as_json:
        print_json({**in_json("key", place.key), "revision": place.revision})
    else:
        typer.echo(shown(place.key))


@contextmanager
def _ends_well() -> Iterator[None]:
    """SIGTERM is as Ctrl-C: what is held is released."""
    from ratified.client import LeaseLost

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except LeaseLost as lost:
        raise CommandFailed(str(lost)) from lost
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(command: list[str], lock: Lock, place: Place) -> int:
    environment = {"RATIFIED_LOCK_KEY": os.fsdecode(place.key), "RATIFIED_LOCK_REVISION": str(place.revision)}
    try:
        process = subprocess.Popen(command, env=os.environ | environment)
    except OSError as error:
        raise CommandFailed(f"{command[0]}: {error.strerror or error}") from error
    with process:
        while True:
            try:
                return process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                if lock.lost:
                    process.terminate()
