"""The alerts that come with Ratified, as Prometheus's own tool reads them, and by series that are made up."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def promtool(*arguments: str) -> str:
    """What it prints; that it is missing is a failure, never a skip."""
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("promtool is not installed: `make test` installs it, with Debian's package prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_and_the_example_of_a_configuration_are_valid() -> None:
    assert "21 rules found" in promtool("check", "rules", str(ROOT / "deploy/prometheus/alerts.yml"))
    promtool("check", "config", str(ROOT / "deploy/prometheus/prometheus.yml"))


def test_each_alert_is_given_when_its_series_say_so_and_not_before() -> None:
    promtool("test", "rules", str(ROOT / "tests/deploy/alerts.yml"))


def test_each_alert_has_series() -> None:
    given = [
        line.split(":")[1].strip()
        for line in (ROOT / "deploy/prometheus/alerts.yml").read_text().splitlines()
        if line.strip().startswith("- alert:")
    ]
    series = (ROOT / "tests/deploy/alerts.yml").read_text()
    assert [alert for alert in given if f'alertname="{alert}"' not in series] == []
