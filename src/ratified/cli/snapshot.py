"""``ratified snapshot``: a backup is saved, looked at, and made a new cluster of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from ratified.cli import engine as engines
from ratified.cli.connection import Connection, asks_members
from ratified.cli.failure import CommandFailed
from ratified.cli.output import AS_JSON, print_json
from ratified.consensus.engines import DEFAULT_ENGINE

if TYPE_CHECKING:
    from ratified.client import Client
    from ratified.wire.backup import Verified

FILE = typer.Argument(metavar="FILE", help="The backup.")
NAME = typer.Option("default", "--name", help="Name of the member that is made.")
INITIAL_CLUSTER = typer.Option(
    "default=http://localhost:2380", "--initial-cluster", help="All members of the new cluster: name=url,name=url,..."
)
TOKEN = typer.Option("etcd-cluster", "--initial-cluster-token", help="The new cluster's token.")
PEER_URLS = typer.Option(
    None,
    "--initial-advertise-peer-urls",
    help="The member's peer URLs. [default: as in --initial-cluster]",
    show_default=False,
)
DATA_DIR = typer.Option(None, "--data-dir", help="What is made. [default: NAME.ratified]", show_default=False)
PART_SUFFIX = ".part"


def register(app: typer.Typer) -> None:
    snapshot = typer.Typer(help="Save a backup of a cluster, look at one, and make a new cluster of one.")
    snapshot.command()(save)
    snapshot.command()(status)
    snapshot.command()(restore)
    app.add_typer(snapshot, name="snapshot")


@asks_members
def save(file: Path = FILE, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Save what one member has applied: one state, of one moment, while the cluster goes on.

    FILE appears when it is whole and durable; until then it is FILE.part. `etcdctl snapshot save` does the same.
    It fails where the member says nothing for --timeout seconds.

    \b
    Example:
      ratified snapshot save backup.db --endpoints 127.0.0.1:2379
    """
    from ratified.storage.files import sync_directory

    if len(connection.endpoints) > 1:
        named = ",".join(connection.endpoints)
        raise CommandFailed(f"--endpoints: a snapshot is taken of one member, and {named} names more: give one")
    part = file.with_name(file.name + PART_SUFFIX)
    with _writing(part), connection.client() as client, part.open("w+b") as out:
        os.fchmod(out.fileno(), 0o600)
        _receive(client, connection.endpoints[0], out, quiet=as_json)
        found = _verified(out, part)
        out.flush()
        os.fsync(out.fileno())
        part.replace(file)
        sync_directory(file.parent)
    _print(file, found, as_json=as_json)


def status(file: Path = FILE, as_json: bool = AS_JSON) -> None:
    """Verify a backup, and show its hash, revision, number of keys and size.

    \b
    Example:
      ratified snapshot status backup.db
    """
    with _opened(file) as opened:
        _print(file, _verified(opened, file), as_json=as_json)


def restore(
    file: Path = FILE,
    name: str = NAME,
    initial_cluster: str = INITIAL_CLUSTER,
    initial_cluster_token: str = TOKEN,
    initial_advertise_peer_urls: str | None = PEER_URLS,
    data_dir: Path | None = DATA_DIR,
    engine: str | None = typer.Option(
        None, "--engine", help="The new cluster's protocol. [default: the backup's]", show_default=False
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Make the data directory of one member of a new cluster, which begins with the backup's state.

    Run it once for each member, with the same FILE and --initial-cluster; then start them, each with its --name.
    Members of the old cluster refuse the new one's, whatever their names are.

    \b
    Example:
      ratified snapshot restore backup.db --name a --data-dir /var/lib/ratified \\
          --initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380
    """
    from ratified.machine import SnapshotDamaged
    from ratified.restore.backup import Plan
    from ratified.restore.backup import restore as restore_member
    from ratified.restore.directory import DirectoryTaken
    from ratified.runtime.directory import boot_id
    from ratified.wire.backup import BackupDamaged

    path = data_dir or Path(f"{name}.ratified")
    members = _members(name, initial_cluster, initial_advertise_peer_urls)
    with _opened(file) as opened:
        found = _verified(opened, file)
        engines.row(engine or found.head.engine)
        plan = Plan(name=name, members=members, token=initial_cluster_token, engine=engine or found.head.engine)
        try:
            made = restore_member(opened, found, plan, path, boot_id())
        except DirectoryTaken as taken:
            raise CommandFailed(f"--data-dir: {taken}") from taken
        except (BackupDamaged, SnapshotDamaged) as damaged:
            raise CommandFailed(_damaged(file, str(damaged))) from damaged
        except OSError as error:
            raise CommandFailed(f"--data-dir {path}: {error.strerror or error}; nothing is left there") from error
    if as_json:
        print_json({"data_dir": str(path), "cluster": f"{made.cluster:x}", "member": f"{made.member:x}"})
    else:
        chosen = "" if made.engine == DEFAULT_ENGINE else f" --engine {made.engine}"
        typer.echo(
            f"{path} is member {name} ({made.member:x}) of the new cluster {made.cluster:x}, at revision "
            f"{found.head.revision}. Start it with: ratified serve --name {name} --data-dir {path}{chosen}"
        )


def _members(name: str, initial_cluster: str, peer_urls: str | None) -> dict[str, list[str]]:
    from ratified.server.urls import UrlError, parse_cluster, parse_urls

    try:
        members = {each: [str(url) for url in urls] for each, urls in parse_cluster(initial_cluster).items()}
    except UrlError as wrong:
        raise CommandFailed(f"--initial-cluster: {wrong}") from wrong
    if name not in members:
        raise CommandFailed(f"--name: {name!r} is not in --initial-cluster, which has {', '.join(members)}")
    if peer_urls is not None:
        try:
            own = [str(url) for url in parse_urls(peer_urls)]
        except UrlError as wrong:
            raise CommandFailed(f"--initial-advertise-peer-urls: {wrong}") from wrong
        if sorted(own) != sorted(members[name]):
            raise CommandFailed(
                f"--initial-advertise-peer-urls: {peer_urls} is not what --initial-cluster says of {name}: "
                f"{','.join(members[name])}"
            )
    return members


def _receive(client: Client, endpoint: str, out: BinaryIO, *, quiet: bool) -> None:
    """Take the stream as fast as the disk does, and show how far it is."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=None)
        received = 0
        for part in client.snapshot(endpoint):
            out.write(part.data)
            received += len(part.data)
            progress.update(task, completed=received, total=received + part.left_bytes_about)


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    """What goes wrong leaves nothing behind."""
    try:
        yield
    except OSError as error:
        raise CommandFailed(f"{part}: {error.strerror or error}; no backup was saved") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    try:
        opened = file.open("rb")
    except OSError as error:
        raise CommandFailed(f"{file}: {error.strerror or error}") from error
    with opened:
        yield opened


def _verified(opened: BinaryIO, file: Path) -> Verified:
    from ratified.wire.backup import BackupDamaged, verify

    try:
        return verify(opened)
    except BackupDamaged as damaged:
        raise CommandFailed(_damaged(file, str(damaged))) from damaged
    except OSError as error:
        raise CommandFailed(f"{file}: {error.strerror or error}") from error


def _damaged(file: Path, why: str) -> str:
    return f"{file} cannot be used: {why}. Take another backup"


def _print(file: Path, found: Verified, *, as_json: bool) -> None:
    head = found.head
    if as_json:
        print_json(
            {
                "file": str(file),
                "sha256": found.sha256,
                "revision": head.revision,
                "keys": head.keys,
                "size_bytes": found.size_bytes,
                "cluster": f"{head.cluster:x}",
                "member": f"{head.member:x}",
                "engine": head.engine,
                "index": head.index,
            }
        )
        return
    from ratified.cli.table import size_text

    typer.echo(
        f"{file}: revision {head.revision}, {head.keys} keys, {size_text(found.size_bytes)}, of cluster "
        f"{head.cluster:x} ({head.engine}) at index {head.index}, sha256 {found.sha256}"
    )
