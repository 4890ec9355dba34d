"""``ratified recover``: a new cluster of what is left where a majority is lost for good."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from ratified.cli.failure import CommandFailed
from ratified.cli.output import AS_JSON, print_json
from ratified.consensus.engines import DEFAULT_ENGINE

if TYPE_CHECKING:
    from ratified.restore.recover import Findings
    from ratified.restore.survivors import Survivor

SURVIVORS = typer.Option(..., "--from-survivors", metavar="DIR", help="A data directory that is left; several: DIR DIR")
MORE = typer.Argument(None, metavar="[DIR]...", help="Further data directories that are left.", show_default=False)
TO = typer.Option(..., "--to", metavar="NEWDIR", help="The data directory that is made.")
NAME = typer.Option(
    None, "--name", help="Name of the one member. [default: that of the member whose log counts]", show_default=False
)
PEER_URLS = typer.Option(
    None,
    "--initial-advertise-peer-urls",
    help="Its peer URLs. [default: those of the member whose log counts]",
    show_default=False,
)
DEFAULT_PEER_URL = "http://localhost:2380"


def register(app: typer.Typer) -> None:
    app.command()(recover)


def recover(
    from_survivors: list[Path] = SURVIVORS,
    more: list[Path] | None = MORE,
    to: Path = TO,
    name: str | None = NAME,
    initial_advertise_peer_urls: str | None = PEER_URLS,
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what is left, and make nothing."),
    as_json: bool = AS_JSON,
) -> None:
    """Make a new cluster of one member of what is left of a cluster whose majority is lost for good.

    While a majority can still come back, with its own data directories, do not use it: start those. Stop all members
    that are left first, and give all directories that are left. It says what each of them has and what may be lost,
    and asks. The directories that are left are not changed. Members of the old cluster never belong to the new one;
    grow it with `member add`.

    \b
    Examples:
      ratified recover --from-survivors /var/lib/ratified --to /var/lib/ratified.new --dry-run
      ratified recover --from-survivors rescued/a rescued/b --to /var/lib/ratified.new
    """
    from ratified.restore.directory import DirectoryTaken, check_free
    from ratified.restore.recover import Draws, Wanted, choose, findings
    from ratified.restore.recover import recover as make_cluster
    from ratified.restore.survivors import SurvivorUnfit, survivors
    from ratified.runtime.directory import boot_id

    if as_json and not (yes or dry_run):
        raise CommandFailed("--json asks nothing: give --dry-run to see what would be kept, or --yes to do it")
    try:
        check_free(to)
        with survivors([*from_survivors, *(more or ())]) as left:
            chosen = choose(left)
            found = findings(left, chosen)
            wanted = Wanted(*_wanted(left[chosen.begin], name, initial_advertise_peer_urls))
            if not as_json:
                _show(found)
            if dry_run:
                if as_json:
                    print_json(msgspec.to_builtins(found))
                return
            if not yes and not typer.confirm(f"Make a new cluster of one member, {wanted.name}, in {to}?"):
                raise typer.Abort
            draws = Draws(os.urandom(8), os.urandom(8), os.urandom(16))
            made = make_cluster(left, chosen, wanted, draws, to, boot_id())
    except SurvivorUnfit as unfit:
        raise CommandFailed(f"--from-survivors: {unfit}") from unfit
    except DirectoryTaken as taken:
        raise CommandFailed(f"--to: {taken}") from taken
    except OSError as error:
        raise CommandFailed(f"--to {to}: {error.strerror or error}; nothing is left there") from error
    if as_json:
        ids = {"data_dir": str(to), "cluster": f"{made.cluster:x}", "member": f"{made.member:x}", "name": wanted.name}
        print_json({**msgspec.to_builtins(found), "made": ids})
        return
    engine = "" if made.engine == DEFAULT_ENGINE else f" --engine {made.engine}"
    typer.echo(
        f"{to} is member {wanted.name} ({made.member:x}) of the new cluster {made.cluster:x}. Start it with: "
        f"ratified serve --name {wanted.name} --data-dir {to}{engine}, with its --listen-peer-urls for "
        f"{','.join(wanted.peer_urls)}; then add members. Never start the old directories again."
    )


def _wanted(best: Survivor, name: str | None, peer_urls: str | None) -> tuple[str, tuple[str, ...]]:
    from ratified.server.urls import UrlError, parse_urls

    row = best.row
    own = row.peer_urls if row is not None else ()
    if peer_urls is not None:
        try:
            own = tuple(str(url) for url in parse_urls(peer_urls))
        except UrlError as wrong:
            raise CommandFailed(f"--initial-advertise-peer-urls: {wrong}") from wrong
    return name or (row.name if row is not None and row.name else "default"), own or (DEFAULT_PEER_URL,)


def _show(found: Findings) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"What is left of cluster {found.cluster} ({found.engine})", title_justify="left")
    for heading in ("member", "data directory"):
        table.add_column(heading, overflow="fold")
    for heading in ("last entry", "era", "known committed", "applied"):
        table.add_column(heading, justify="right")
    for row in found.survivors:
        what = f"{row.data_dir} (a snapshot that it received)" if row.snapshot else row.data_dir
        era = ".".join(str(number) for number in row.era if number) or "0"
        table.add_row(row.name, what, str(row.last), era, str(row.committed), str(row.applied))
    Console(width=None if Console().is_terminal else 160).print(table)
    typer.echo(_kept(found))
    typer.echo(_lost(found))


def _kept(found: Findings) -> str:
    text = f"Kept: everything up to entry {found.kept}; up to {found.committed} it is known to be committed."
    if found.kept > found.committed:
        text += (
            " What is behind that may have been acknowledged to a client, or not; it is kept, and counts from now on."
        )
    return text


def _lost(found: Findings) -> str:
    names = ", ".join(found.lost_members)
    if found.acknowledged_may_be_lost:
        return (
            f"Lost: what only {names} had. They are enough to have acknowledged writes among themselves, so entries "
            f"from {found.kept + 1} on may have been acknowledged and are gone."
        )
    text = "Lost: nobody." if not names else f"Lost: {names}, too few to have acknowledged a write: none is gone."
    if found.majority_left:
        text += " A majority is left: start these members as they are and replace the others; no new cluster is needed."
    return text
