"""A real cluster of three processes for the client's own tests, and etcd beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ratified.testing.processes import LocalCluster
from tests.client.etcd import Etcd


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--copied-keys",
        type=int,
        default=None,
        help="How many keys to import while both sides restart. [default: 2000]",
    )


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three nodes that serve; tests that kill one bring it back."""
    with LocalCluster(
        tmp_path_factory.mktemp("cluster"), arguments=("--heartbeat-interval=40", "--election-timeout=400")
    ) as running:
        yield running


@pytest.fixture(scope="package")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture(params=["ratified", "etcd"])
def endpoints(request: pytest.FixtureRequest) -> list[str]:
    """Those of the cluster, and of etcd."""
    if request.param == "etcd":
        etcd: Etcd = request.getfixturevalue("etcd")
        return [etcd.endpoint]
    cluster: LocalCluster = request.getfixturevalue("cluster")
    return cluster.endpoints


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key, or prefix, of this test alone."""
    return f"/{request.node.name}"
