"""PyPI's etcd3 client works unchanged, on every node, from an environment of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ratified.testing.processes import LocalCluster

SCRIPT = Path(__file__).with_name("etcd3_script.py")


@pytest.mark.parametrize("node", [0, 1, 2])
def test_everything_that_etcd3_offers_works(cluster: LocalCluster, etcd3_python: Path, node: int) -> None:
    host, _, port = cluster.nodes[node].endpoint.rpartition(":")
    done = subprocess.run(
        [str(etcd3_python), str(SCRIPT), host, port], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
