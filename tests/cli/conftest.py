"""A cluster for the commands, and the command with its endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from ratified.cli.main import run
from ratified.testing.processes import LocalCluster
from tests.client.etcd import Etcd

FAST = ("--heartbeat-interval=40", "--election-timeout=400")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("cluster"), arguments=FAST) as running:
        yield running


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp("etcd")) as running:
        yield running


class Ratified:
    """The command, with the endpoints of a cluster."""

    def __init__(self, endpoints: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
        self.endpoints = ",".join(endpoints)
        self._capsys = capsys
        self.error = ""

    def __call__(self, *arguments: str, status: int | None = 0) -> str:
        """What it prints on standard output; ``error``: on standard error. ``status`` None: it may end as it likes."""
        at = arguments.index("--") if "--" in arguments else len(arguments)
        ended = run([*arguments[:at], "--endpoints", self.endpoints, *arguments[at:]])
        printed = self._capsys.readouterr()
        assert status in (None, ended), printed.err
        self.error = printed.err
        return printed.out

    def json(self, *arguments: str, status: int | None = 0) -> Any:
        return json.loads(self(*arguments, "--json", status=status))


@pytest.fixture
def ratified(cluster: LocalCluster, capsys: pytest.CaptureFixture[str]) -> Ratified:
    return Ratified(cluster.endpoints, capsys)


@pytest.fixture(params=["ratified", "etcd"])
def anywhere(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Ratified:
    """The command at a cluster of ours, and at etcd."""
    if request.param == "etcd":
        etcd: Etcd = request.getfixturevalue("etcd")
        return Ratified([etcd.endpoint], capsys)
    cluster: LocalCluster = request.getfixturevalue("cluster")
    return Ratified(cluster.endpoints, capsys)


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key, or prefix, of this test alone."""
    return f"/{request.node.name}"
