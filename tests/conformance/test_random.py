"""The same requests, drawn from a seed, to etcd 3.5, to etcd 3.4 and to ours: every field of every answer is compared.

Watches are open all the while, and others begin at the end at revisions that were passed. etcd 3.5 decides what is
right; Debian's 3.4 is asked too where it is installed, and there is no difference between the two that is allowed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.testing.processes import LocalCluster
from tests.conformance.asking import Asked
from tests.conformance.comparison import Comparison
from tests.conformance.drawn import Requests
from tests.conformance.reference import ETCD_34, etcd_34, etcd_35

WATCHES = 12
LATE_WATCHES = 24
DIFFERENCES_SHOWN = 5
REQUESTS = 3_000
REQUESTS_OF_OTHERS = 500
"""Where no ``--random-requests`` says otherwise: of engines other than the default one."""
IN_MEMORY = Path("/dev/shm")
"""What is compared are answers, so nobody has to wait for a disk."""


@pytest.fixture(params=ENGINES)
def servers(request: pytest.FixtureRequest) -> Iterator[list[Asked]]:
    """etcd 3.5 first, and one node of ours last."""
    with ExitStack() as running:
        directory = Path(running.enter_context(TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)))
        endpoints = {"etcd 3.5": running.enter_context(etcd_35(directory / "3.5"))}
        if ETCD_34.exists():
            endpoints["etcd 3.4"] = running.enter_context(etcd_34(directory / "3.4"))
        arguments = [f"--engine={request.param}"]
        cluster = running.enter_context(LocalCluster(directory / "ours", 1, arguments=arguments))
        endpoints[request.param] = cluster.nodes[0].endpoint
        asked = [Asked(name, endpoint) for name, endpoint in endpoints.items()]
        for server in asked:
            running.callback(server.close)
        yield asked


def test_every_answer_is_etcds(servers: list[Asked], pytestconfig: pytest.Config) -> None:
    seed = pytestconfig.getoption("--random-seed", default=1)
    engine = servers[-1].name
    usual = REQUESTS if engine == DEFAULT_ENGINE else REQUESTS_OF_OTHERS
    count = pytestconfig.getoption("--random-requests", default=None) or usual
    requests, comparison = Requests(seed), Comparison(servers)
    for watch_id in range(1, WATCHES + 1):
        comparison.watch(requests.watch(comparison.revision), watch_id)
    comparison.run(requests, count)
    for watch_id in range(WATCHES + 1, WATCHES + LATE_WATCHES + 1):
        comparison.watch(requests.late_watch(comparison.revision), watch_id)
    comparison.end_watches()
    comparison.close()
    assert comparison.asked >= count
    assert comparison.revision > count // 10
    shown = "\n\n".join(map(str, comparison.differences[:DIFFERENCES_SHOWN]))
    assert not comparison.differences, f"--random-seed {seed}: {len(comparison.differences)} differences\n{shown}"
