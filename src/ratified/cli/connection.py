"""Which members a command asks, and how: the options of every command that is a client of a cluster."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ratified.cli.failure import CommandFailed

if TYPE_CHECKING:
    from ratified.client import AsyncClient, Client, Tls

ENDPOINTS = typer.Option(
    "127.0.0.1:2379",
    "--endpoints",
    envvar="RATIFIED_ENDPOINTS",
    help="Members to ask, host:port,host:port,...; with https:// before it over TLS.",
)
CA_FILE = typer.Option(
    None,
    "--cacert",
    envvar="RATIFIED_CACERT",
    metavar="FILE",
    help="The CAs that members' certificates are checked against; asks over TLS. [default: the system's]",
    show_default=False,
)
CERT_FILE = typer.Option(
    None, "--cert", envvar="RATIFIED_CERT", metavar="FILE", help="Own certificate, for members that ask for one."
)
KEY_FILE = typer.Option(None, "--key", envvar="RATIFIED_KEY", metavar="FILE", help="The key of --cert.")
FROM_ENDPOINTS = typer.Option(
    ..., "--from", "--from-etcd", metavar="ENDPOINTS", help="Members of the cluster to read, host:port,host:port,..."
)
FROM_CA_FILE = typer.Option(None, "--from-cacert", metavar="FILE", help="As --cacert, for --from.")
FROM_CERT_FILE = typer.Option(None, "--from-cert", metavar="FILE", help="As --cert, for --from.")
FROM_KEY_FILE = typer.Option(None, "--from-key", metavar="FILE", help="As --key, for --from.")
USER = typer.Option(
    None, "--user", envvar="RATIFIED_USER", metavar="NAME[:PASSWORD]", help="Ask as this user; asks for the password."
)
PASSWORD = typer.Option(None, "--password", envvar="RATIFIED_PASSWORD", metavar="TEXT", help="The password of --user.")
FROM_USER = typer.Option(None, "--from-user", metavar="NAME[:PASSWORD]", help="As --user, for --from.")
FROM_PASSWORD = typer.Option(
    None, "--from-password", envvar="RATIFIED_FROM_PASSWORD", metavar="TEXT", help="As --password, for --from."
)
FROM_TIMEOUT_S = typer.Option(10.0, "--from-timeout", help="As --timeout, for --from.", min=0.001)
TIMEOUT_S = typer.Option(10.0, "--timeout", help="Seconds to wait for an answer.", min=0.001)
FLAGS = {
    "endpoints": "--endpoints",
    "ca_file": "--cacert",
    "cert_file": "--cert",
    "key_file": "--key",
    "user": "--user",
    "password": "--password",
}
"""By field of ``Tls``, or what else it is."""


def asked_password(words: str, flag: str, *, confirm: bool = False) -> str:
    """A password, typed blindly on a terminal."""
    if not sys.stdin.isatty():
        raise CommandFailed(f"{flag}: not given, and there is no terminal to ask at")
    typed: str = typer.prompt(words, hide_input=True, err=True, confirmation_prompt=confirm)
    return typed


class Connection:
    """What the command line says of the members to ask. Each parameter is an option."""

    def __init__(
        self,
        *,
        endpoints: str = ENDPOINTS,
        ca_file: Path | None = CA_FILE,
        cert_file: Path | None = CERT_FILE,
        key_file: Path | None = KEY_FILE,
        user: str | None = USER,
        password: str | None = PASSWORD,
        timeout: float = TIMEOUT_S,
    ) -> None:
        self.endpoints = [part.strip() for part in endpoints.split(",") if part.strip()]
        self.ca_file, self.cert_file, self.key_file = ca_file, cert_file, key_file
        self._user, self._password = user, password
        self._timeout_s = timeout
        self.flags = FLAGS

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client whose failures are one line."""
        with self.failures(), self.client_of(self.endpoints) as client:
            yield client

    def client_of(self, endpoints: Sequence[str]) -> Client:
        """A client of these endpoints, with the options of the others. Raises ``EndpointError`` and ``TlsError``."""
        from ratified.client import Client

        tls = self._tls()
        user, password = self._login()
        client = Client(endpoints, timeout_s=self._timeout_s, tls=tls, user=user, password=password)
        if tls is not None:
            tls.credentials()
        return client

    def async_client(self) -> AsyncClient:
        from ratified.client import AsyncClient

        user, password = self._login()
        return AsyncClient(self.endpoints, timeout_s=self._timeout_s, tls=self._tls(), user=user, password=password)

    def members_of(self, client: Client) -> list[str]:
        """An endpoint of each member of the cluster that has been started."""
        return [member.client_urls[0] for member in client.members() if member.client_urls]

    @contextmanager
    def failures(self) -> Iterator[None]:
        """What goes wrong with the members is one line."""
        from ratified.client import ClientError
        from ratified.client.endpoints import EndpointError
        from ratified.client.tls import TlsError

        try:
            yield
        except EndpointError as wrong:
            raise CommandFailed(f"{self.flags['endpoints']}: {wrong}") from wrong
        except TlsError as wrong:
            raise CommandFailed(f"{self.flags[wrong.option]}: {wrong.problem}") from wrong
        except ClientError as failed:
            endpoints = ",".join(self.endpoints)
            raise CommandFailed(f"{failed.text} ({failed.code}, endpoints {endpoints})") from failed

    def _login(self) -> tuple[str | None, str | None]:
        """The user and the password, asked for on a terminal where only the user is given."""
        name, colon, password = (self._user or "").partition(":")
        if self._user is None and self._password is not None:
            raise CommandFailed(f"{self.flags['user']}: not given, and a password needs its user")
        if self._user is None:
            return None, None
        if not name:
            raise CommandFailed(f"{self.flags['user']}: {self._user!r} has no name")
        if colon and self._password is not None:
            raise CommandFailed(f"{self.flags['password']}: {self.flags['user']} has a password, too; give one of them")
        if not colon and self._password is None:
            self._password = asked_password(f"password of {name}", self.flags["password"])
        return name, password if colon else self._password

    def _tls(self) -> Tls | None:
        from ratified.client import Tls

        if self.ca_file is self.cert_file is self.key_file is None:
            return None
        return Tls(ca_file=self.ca_file, cert_file=self.cert_file, key_file=self.key_file)


class Source:
    """What the command line says of a second cluster, that is only read. Each parameter is an option."""

    def __init__(
        self,
        *,
        from_endpoints: str = FROM_ENDPOINTS,
        from_ca_file: Path | None = FROM_CA_FILE,
        from_cert_file: Path | None = FROM_CERT_FILE,
        from_key_file: Path | None = FROM_KEY_FILE,
        from_user: str | None = FROM_USER,
        from_password: str | None = FROM_PASSWORD,
        from_timeout: float = FROM_TIMEOUT_S,
    ) -> None:
        self.connection = Connection(
            endpoints=from_endpoints,
            ca_file=from_ca_file,
            cert_file=from_cert_file,
            key_file=from_key_file,
            user=from_user,
            password=from_password,
            timeout=from_timeout,
        )
        self.connection.flags = {field: f"--from-{flag.removeprefix('--')}" for field, flag in FLAGS.items()}
        self.connection.flags["endpoints"] = "--from"


PLACES: dict[str, Callable[..., object]] = {"connection": Connection, "source": Source}
"""By the name of a command's parameter: whose options stand in its place."""


def asks_members(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of ``Connection`` (and ``Source``) in the place of its parameter of that name."""
    own = inspect.signature(command, eval_str=True).parameters
    places = {name: inspect.signature(PLACES[name], eval_str=True).parameters for name in own if name in PLACES}
    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in own.items()
        for each in (places[name].values() if name in places else (parameter,))
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        made = {
            place: PLACES[place](**{name: given.pop(name) for name in options}) for place, options in places.items()
        }
        command(**given, **made)

    # What Typer reads the options from.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
