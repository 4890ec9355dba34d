"""``ratified pki``: a CA, and certificates of it for members and clients, as files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from ratified.cli.failure import CommandFailed
from ratified.cli.output import AS_JSON, print_json

if TYPE_CHECKING:
    from ratified.server.certificates import Pair

DIRECTORY = typer.Option(Path("pki"), "--directory", help="Where the files are; it is made.")
MEMBERS = typer.Option(
    [],
    "--members",
    metavar="NAME=HOST,...",
    help="A member, and the DNS names and IP addresses that others reach it by. Once for each member.",
    show_default=False,
)
CLIENTS = typer.Option(
    [], "--clients", metavar="NAME", help="A client. Once for each client, or NAME,NAME,...", show_default=False
)
DAYS = typer.Option(365, "--days", help="Days that the certificates are valid.", min=1)
CA = "ca"
CA_NAME = "Ratified CA"
CA_DAYS = 3650
"""A CA is valid so long, and no shorter than its certificates: it signs their successors."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KEY_MODE = 0o600
CERTIFICATE_MODE = 0o644


class Files(NamedTuple):
    """Where a certificate and its key are."""

    certificate: Path
    key: Path


def register(app: typer.Typer) -> None:
    pki = typer.Typer(help="Make a CA and the certificates that members and clients need for TLS.")
    pki.callback()(_pki)  # without it Typer takes the one command for the whole group
    pki.command()(init)
    app.add_typer(pki, name="pki")


def _pki() -> None:
    pass


def init(
    directory: Path = DIRECTORY,
    members: list[str] = MEMBERS,
    clients: list[str] = CLIENTS,
    days: int = DAYS,
    as_json: bool = AS_JSON,
) -> None:
    """Make a CA, a certificate for each member, and one for each client.

    The CA is ca.crt and ca.key in the directory. Where they are there, they are used again: so members and clients
    are added later. Each NAME gets NAME.crt and NAME.key. No file is ever overwritten. The CA is valid for 10 years.

    \b
    Examples:
      ratified pki init --members node1=10.0.0.1,node1.example --members node2=10.0.0.2 --clients app
      ratified pki init --directory pki --members node3=10.0.0.3 --days 90
    """
    from ratified.server.certificates import CertificateError, expires, make_ca, make_certificate

    hosts = _hosts(members, clients)
    ca_files = _files(directory, CA)
    files = {name: _files(directory, name) for name in hosts}
    try:
        known = _known_ca(ca_files)
        _refuse_existing(files)
        ca = known or make_ca(CA_NAME, max(days, CA_DAYS))
        pairs = {name: make_certificate(ca, name, hosts[name], days) for name in hosts}
    except CertificateError as wrong:
        raise CommandFailed(f"{wrong}; nothing was made") from wrong
    made = [] if known else [(ca_files, ca)]
    _write(directory, [*made, *((files[name], pairs[name]) for name in hosts)])
    if as_json:
        rows = [
            {
                "name": name,
                "hosts": list(hosts[name]),
                "certificate": str(files[name].certificate),
                "key": str(files[name].key),
                "expires": expires(pairs[name].certificate).isoformat(),
            }
            for name in hosts
        ]
        print_json({"ca": str(ca_files.certificate), "ca_made": known is None, "certificates": rows})
        return
    again = "made" if known is None else "used again"
    typer.echo(f"{ca_files.certificate} and {ca_files.key} ({again}): the CA. Give ca.crt to all, ca.key to nobody.")
    for name in hosts:
        what = f"for {', '.join(hosts[name])}" if hosts[name] else "for a client"
        until = expires(pairs[name].certificate).date().isoformat()
        typer.echo(f"{files[name].certificate} and {files[name].key}: {what}, until {until}")


def _hosts(members: Sequence[str], clients: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By name, the hosts of a member's certificate; none of a client's. Raises ``CommandFailed``."""
    from ratified.server.certificates import CertificateError, check_host

    found: dict[str, tuple[str, ...]] = {}
    for member in members:
        name, equals, listed = member.partition("=")
        hosts = tuple(host.strip() for host in listed.split(",") if host.strip())
        if not equals or not hosts:
            raise CommandFailed(f"--members: {member!r} is not of the form NAME=HOST,HOST,...")
        for host in hosts:
            try:
                check_host(host)
            except CertificateError as wrong:
                raise CommandFailed(f"--members: {wrong}") from wrong
        _add_name("--members", name.strip(), hosts, found)
    for client in clients:
        for name in client.split(","):
            _add_name("--clients", name.strip(), (), found)
    if not found:
        raise CommandFailed("give at least one --members NAME=HOST,HOST,... or --clients NAME")
    return found


def _add_name(option: str, name: str, hosts: tuple[str, ...], found: dict[str, tuple[str, ...]]) -> None:
    if not NAME.fullmatch(name):
        raise CommandFailed(
            f"{option}: {name!r} cannot be the name of a file: use 1 to 64 letters, digits, '.', '_' and '-', "
            "the first a letter or a digit"
        )
    if name == CA:
        raise CommandFailed(f"{option}: {name!r} is the name of the CA's own files: choose another")
    if name in found:
        raise CommandFailed(f"{option}: {name!r} is named twice; give a member all its hosts at once, NAME=HOST,HOST")
    found[name] = hosts


def _files(directory: Path, name: str) -> Files:
    return Files(directory / f"{name}.crt", directory / f"{name}.key")


def _known_ca(files: Files) -> Pair | None:
    """The CA that is there already, fit to sign. Raises ``CommandFailed``."""
    from ratified.server.certificates import CertificateError, Pair, check_ca

    there = [file for file in files if os.path.lexists(file)]
    if not there:
        return None
    if len(there) == 1:
        missing = files.key if there[0] == files.certificate else files.certificate
        raise CommandFailed(
            f"{there[0]} is there and {missing} is not: bring that back to use this CA again, or give another "
            "--directory to make a new one; nothing was made"
        )
    try:
        ca = Pair(files.certificate.read_bytes(), files.key.read_bytes())
    except OSError as error:
        raise CommandFailed(f"{error.filename}: {error.strerror or error}; nothing was made") from error
    try:
        check_ca(ca)
    except CertificateError as wrong:
        raise CommandFailed(f"{files.certificate} and {files.key}: {wrong}; nothing was made") from wrong
    return ca


def _refuse_existing(files: dict[str, Files]) -> None:
    there = {name: [file for file in pair if os.path.lexists(file)] for name, pair in files.items()}
    taken = [name for name in there if there[name]]
    if taken:
        raise CommandFailed(
            f"{', '.join(str(file) for name in taken for file in there[name])}: there already, and nothing is "
            f"overwritten; leave out {', '.join(taken)}, or move the old files away; nothing was made"
        )


def _write(directory: Path, pairs: Sequence[tuple[Files, Pair]]) -> None:
    """All files or none. Raises ``CommandFailed``."""
    written: list[Path] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for files, pair in pairs:
            for file, content, mode in (
                (files.key, pair.key, KEY_MODE),
                (files.certificate, pair.certificate, CERTIFICATE_MODE),
            ):
                descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                written.append(file)
                with os.fdopen(descriptor, "wb") as opened:
                    opened.write(content)
    except OSError as error:
        for file in written:
            file.unlink(missing_ok=True)
        raise CommandFailed(f"{error.filename or directory}: {error.strerror or error}; nothing was made") from error
