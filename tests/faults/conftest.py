"""Options of the fault tests; ``make soak`` raises the count."""

from __future__ import annotations

import random

import pytest

from ratified.consensus.engines import DEFAULT_ENGINE

KILLS_OF_DEFAULT_ENGINE = 20
KILLS_OF_OTHERS = 4
"""Where no ``--count-kills`` says otherwise: enough to see each engine survive, within a test run's time."""


def kills_of(engine: str, config: pytest.Config) -> int:
    """How often to kill this engine's leaders."""
    given: int | None = config.getoption("--count-kills", default=None)
    if given is not None:
        return given
    return KILLS_OF_DEFAULT_ENGINE if engine == DEFAULT_ENGINE else KILLS_OF_OTHERS


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The run's seed, printed so that a failing run says it."""
    given: int | None = pytestconfig.getoption("--fault-seed", default=None)
    drawn = random.SystemRandom().randrange(1 << 32) if given is None else given
    print(f"--fault-seed {drawn}")
    return drawn


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--count-kills",
        type=int,
        default=None,
        help=f"How often to kill the leader, on every engine. [default: {KILLS_OF_DEFAULT_ENGINE}, and"
        f" {KILLS_OF_OTHERS} on engines other than {DEFAULT_ENGINE}]",
    )
    parser.addoption(
        "--fault-seed", type=int, default=None, help="What clients and faults draw from. [default: by chance]"
    )
