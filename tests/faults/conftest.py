"""Options of the fault tests; ``make soak`` raises the count."""

from __future__ import annotations

import random

import pytest

KILLS_DEFAULT = 20


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The run's seed, printed so that a failing run says it."""
    given: int | None = pytestconfig.getoption("--fault-seed", default=None)
    drawn = random.SystemRandom().randrange(1 << 32) if given is None else given
    print(f"--fault-seed {drawn}")
    return drawn


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--count-kills", type=int, default=KILLS_DEFAULT, help="How often to kill the leader.")
    parser.addoption(
        "--fault-seed", type=int, default=None, help="What clients and faults draw from. [default: by chance]"
    )
