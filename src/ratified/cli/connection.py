"""Which members a command asks, and how: the options of every command that is a client of a cluster."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ratified.cli.failure import CommandFailed

if TYPE_CHECKING:
    from ratified.client import Client, Tls

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
TIMEOUT_S = typer.Option(10.0, "--timeout", help="Seconds to wait for an answer.", min=0.001)
FLAGS = {"ca_file": "--cacert", "cert_file": "--cert", "key_file": "--key"}
"""By field of ``Tls``."""


class Connection:
    """What the command line says of the members to ask. Each parameter is an option."""

    def __init__(
        self,
        *,
        endpoints: str = ENDPOINTS,
        ca_file: Path | None = CA_FILE,
        cert_file: Path | None = CERT_FILE,
        key_file: Path | None = KEY_FILE,
        timeout: float = TIMEOUT_S,
    ) -> None:
        self.endpoints = [part.strip() for part in endpoints.split(",") if part.strip()]
        self.ca_file, self.cert_file, self.key_file = ca_file, cert_file, key_file
        self._timeout_s = timeout

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client whose failures are one line."""
        from ratified.client import Client, ClientError
        from ratified.client.endpoints import EndpointError
        from ratified.client.tls import TlsError

        try:
            with Client(self.endpoints, timeout_s=self._timeout_s, tls=self._tls()) as client:
                yield client
        except EndpointError as wrong:
            raise CommandFailed(f"--endpoints: {wrong}") from wrong
        except TlsError as wrong:
            raise CommandFailed(f"{FLAGS[wrong.option]}: {wrong.problem}") from wrong
        except ClientError as failed:
            endpoints = ",".join(self.endpoints)
            raise CommandFailed(f"{failed.text} ({failed.code}, endpoints {endpoints})") from failed

    def _tls(self) -> Tls | None:
        from ratified.client import Tls

        if self.ca_file is self.cert_file is self.key_file is None:
            return None
        return Tls(ca_file=self.ca_file, cert_file=self.cert_file, key_file=self.key_file)


def asks_members(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of ``Connection`` in the place of its parameter ``connection``."""
    options = inspect.signature(Connection, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True).parameters
    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in own.items()
        for each in (options.values() if name == "connection" else (parameter,))
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        connection = Connection(**{name: given.pop(name) for name in options})
        command(**given, connection=connection)

    # What Typer reads the options from.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
