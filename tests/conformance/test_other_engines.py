"""Etcd's clients cannot tell which engine they talk to: every claim about etcdctl, and all of etcd3, on each other one.

The default engine's claims are tried on every node; those of the others on one node each, in turn.
"""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.testing.processes import LocalCluster
from tests.conformance import test_etcdctl
from tests.conformance.conftest import Etcdctl
from tests.conformance.test_etcd3 import SCRIPT

CLAIMS = [claim for name, claim in vars(test_etcdctl).items() if name.startswith("test_")]
OTHERS = [engine for engine in ENGINES if engine != DEFAULT_ENGINE]


@pytest.fixture(scope="module", params=OTHERS)
def other_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three nodes of another engine that serve."""
    with LocalCluster(tmp_path_factory.mktemp("cluster"), arguments=[f"--engine={request.param}"]) as running:
        yield running


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__.removeprefix("test_"))
def test_etcdctl_sees_no_difference(
    other_cluster: LocalCluster, etcdctl_program: str, claim: Callable[..., None]
) -> None:
    node = other_cluster.nodes[CLAIMS.index(claim) % len(other_cluster.nodes)]
    given = {
        "etcdctl": Etcdctl(etcdctl_program, node.endpoint),
        "cluster": other_cluster,
        "key": f"/{claim.__name__}",
    }
    claim(**{name: given[name] for name in inspect.signature(claim).parameters})


def test_etcd3_sees_no_difference(other_cluster: LocalCluster, etcd3_python: Path) -> None:
    host, _, port = other_cluster.nodes[0].endpoint.rpartition(":")
    done = subprocess.run(
        [str(etcd3_python), str(SCRIPT), host, port], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
