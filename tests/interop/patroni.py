"""Machines of their own with PostgreSQL under Patroni, from Debian's and PyPI's packages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
import pytest
import yaml

from ratified.testing.processes import free_ports

T = TypeVar("T")

USER = "postgres"
SCOPE = "pair"
TTL_S = 20
"""How long the primary's lease lasts without it: no less is taken by Patroni."""
WAIT_S = 90.0


def _may() -> bool:
    try:
        return subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_machines = pytest.mark.skipif(not _may(), reason="it takes root, and unshare of util-linux")


def programs() -> Path:
    """The directory with PostgreSQL's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found or shutil.which("setpriv") is None:
        pytest.fail("PostgreSQL is not installed: `make test` installs it, with Debian's package postgresql")
    return found[-1].parent


def wait_for(what: str, find: Callable[[], T | None]) -> T:
    """Ask until there is something; a refused connection is nothing, nor is a table that has not come yet."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            found = find()
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            found = None
        if found is not None:
            return found
        assert time.monotonic() < until, f"{what}: not within {WAIT_S:.0f} s"
        time.sleep(0.2)


class Machine:
    """One PostgreSQL under Patroni, with process ids of its own: ``kill`` ends them all at once, as a crash does, and
    so does the end of the test. The user ``postgres`` may read every directory there: Python may be in root's home."""

    def __init__(self, directory: Path, name: str, etcd: dict[str, Any]) -> None:
        self.name = name
        self.directory = directory / name
        self.port, self._rest_port = free_ports(2)
        self._config = self.directory / "patroni.yml"
        self._process: subprocess.Popen[bytes] | None = None
        self.directory.mkdir(parents=True)
        self._config.write_text(yaml.safe_dump(self._configured(etcd)))
        shutil.chown(self.directory, USER, USER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        own = ["setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--mount-proc", "--fork", "--kill-child=KILL"]
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--pdeathsig=KILL"]
        reads_all = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        with self.log_file.open("a") as log:
            self._process = subprocess.Popen(
                [*own, *user, *reads_all, sys.executable, "-m", "patroni", str(self._config)],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=os.environ | {"HOME": str(self.directory)},
            )

    def kill(self) -> None:
        """SIGKILL for all its processes; nothing, where it is down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def log_file(self) -> Path:
        return self.directory / "patroni.log"

    def ctl(self, *arguments: str) -> str:
        """What ``patronictl`` says; it must succeed."""
        command = [str(Path(sys.executable).with_name("patronictl")), "-c", str(self._config), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert done.returncode == 0, f"patronictl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def members(self) -> dict[str, tuple[str, str]]:
        """Role and state of each, by name, as ``patronictl list`` has them."""
        told = json.loads(self.ctl("list", "--format=json"))
        return {each["Member"]: (each["Role"], each["State"]) for each in told}

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows; [] of what gives none. Raises ``psycopg.OperationalError`` while it does not serve."""
        login = f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres connect_timeout=5"
        with psycopg.connect(login, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values)
            return [] if cursor.description is None else cursor.fetchall()

    def _configured(self, etcd: dict[str, Any]) -> dict[str, Any]:
        address = f"127.0.0.1:{self.port}"
        users = {"superuser": {"username": USER}, "replication": {"username": "replicator"}}
        return {
            "scope": SCOPE,
            "name": self.name,
            "restapi": dict.fromkeys(("listen", "connect_address"), f"127.0.0.1:{self._rest_port}"),
            "etcd3": etcd,
            "bootstrap": {
                "dcs": {"ttl": TTL_S, "loop_wait": 1, "retry_timeout": 5, "postgresql": {"use_pg_rewind": True}},
                "initdb": [{"encoding": "UTF8"}, {"auth": "trust"}],
            },
            "postgresql": {
                "listen": address,
                "connect_address": address,
                "data_dir": str(self.directory / "data"),
                "bin_dir": str(programs()),
                "authentication": users | {"rewind": {"username": USER}},
                "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 trust", "host replication all all trust"],
                "parameters": {
                    "unix_socket_directories": "",
                    "shared_buffers": "16MB",
                    "fsync": "off",
                    "wal_log_hints": "on",
                },
            },
        }


def await_roles(machines: Sequence[Machine], leader: str, replica: str) -> None:
    """Until one leads, the other follows it, and both say so."""
    wanted = {leader: ("Leader", "running"), replica: ("Replica", "streaming")}
    asked = next(machine for machine in machines if machine.name == leader)
    wait_for(f"{leader} leads and {replica} follows", lambda: wanted if asked.members() == wanted else None)
