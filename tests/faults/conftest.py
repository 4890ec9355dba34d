"""Options of the fault tests; ``make soak`` raises the count."""

from __future__ import annotations

import pytest

KILLS_DEFAULT = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--count-kills", type=int, default=KILLS_DEFAULT, help="How often to kill the leader.")
    parser.addoption("--kill-seed", type=int, default=None, help="What the killer draws from. [default: by chance]")
