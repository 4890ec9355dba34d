from collections.abc import Callable
from typing import Any

import pytest

from ratified.consensus.engines import ENGINES, EngineRow
from tests.consensus.contract.harness import Cluster


@pytest.fixture(params=list(ENGINES))
def row(request: pytest.FixtureRequest) -> EngineRow:
    return ENGINES[request.param]


@pytest.fixture
def cluster(row: EngineRow) -> Callable[..., Cluster]:
    def build(members: int = 3, **options: Any) -> Cluster:
        return Cluster(row, members, **options)

    return build
