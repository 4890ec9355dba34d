"""A machine of its own for processes: a network namespace, with its own names of hosts and its own resolver."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

TIMEOUT_S = 60
READY = "ready to serve client requests"


def _may() -> bool:
    try:
        return subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_namespaces = pytest.mark.skipif(not _may(), reason="it takes root, and unshare of util-linux")


class Machine:
    """Loopback only. ``hosts`` is its /etc/hosts; its resolver is at 127.0.0.1, where there is none unless started."""

    def __init__(self, directory: Path, *, ipv6: bool = True) -> None:
        self.directory = directory
        self.hosts = directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n::1 localhost\n")
        resolver = directory / "resolv.conf"
        resolver.write_text("nameserver 127.0.0.1\n")
        script = (
            f"mount --bind {self.hosts} /etc/hosts && mount --bind {resolver} /etc/resolv.conf && ip link set lo up"
            f" && sysctl -qw net.ipv6.conf.all.disable_ipv6={int(not ipv6)} && echo is up && exec cat"
        )
        self._holder = subprocess.Popen(
            ["unshare", "-n", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._enter = ("nsenter", "-t", str(self._holder.pid), "-n", "-m", "--")
        self._processes: list[tuple[subprocess.Popen[str], IO[str]]] = []
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "is up\n"

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        for process, _log in self._processes:
            process.terminate()
        for process, log in self._processes:
            process.wait(TIMEOUT_S)
            log.close()
        self._holder.communicate(timeout=TIMEOUT_S)

    def run(self, *command: str) -> str:
        """What it says; it must succeed."""
        done = subprocess.run(
            [*self._enter, *command], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=self.directory
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, name: str, *arguments: str) -> None:
        """Python with these arguments; what it logs goes to a file of this name."""
        log = self.log_file(name).open("a")
        process = subprocess.Popen([*self._enter, sys.executable, *arguments], stdout=log, stderr=log, text=True)
        self._processes.append((process, log))

    def serve(self, name: str, *arguments: str) -> None:
        """A member of this name."""
        data = self.directory / name
        self.start(name, "-m", "ratified", "serve", f"--name={name}", f"--data-dir={data}", *arguments)

    def log_file(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def wait_for(self, name: str, said: str = READY) -> None:
        """Until its log has this."""
        deadline = time.monotonic() + TIMEOUT_S
        while said not in (log := self.log_file(name).read_text()):
            assert time.monotonic() < deadline, log
            time.sleep(0.02)

    def end(self, name: str) -> None:
        """Stop what was started last under this name."""
        for process, log in self._processes:
            if log.name == str(self.log_file(name)) and process.poll() is None:
                process.terminate()
                process.wait(TIMEOUT_S)
