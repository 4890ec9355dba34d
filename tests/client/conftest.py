"""A real cluster of three processes for the client's own tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ratified.testing.processes import LocalCluster


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three nodes that serve; tests that kill one bring it back."""
    with LocalCluster(
        tmp_path_factory.mktemp("cluster"), arguments=("--heartbeat-interval=40", "--election-timeout=400")
    ) as running:
        yield running


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key, or prefix, of this test alone."""
    return f"/{request.node.name}"
