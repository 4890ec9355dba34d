"""A real Prometheus that scrapes real nodes, with the rules of ``deploy/`` in a world that is ``FASTER``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from ratified.testing.processes import free_ports

ROOT = Path(__file__).parents[2]
FASTER = 150
"""How much shorter all times of the rules are: what is to last for ten minutes has to last for four seconds."""
SCRAPE_MS = 250
"""How often members are asked; who asks less often has all times of the rules longer by as much."""
WAIT_S = 60.0
UNITS_MS = {"m": 60_000, "h": 3_600_000}


def busy() -> set[str]:
    """Alerts that are right to fire on a machine which has more to do than it can."""
    has_more = os.getloadavg()[0] > (os.cpu_count() or 1)
    return {"RequestsSlow", "PeersSlow", "TurnsSlow"} if has_more else set()


def faster(rules: str, times: int) -> str:
    """The same rules, with all their times so much shorter."""
    shorter = re.sub(r"\b(\d+)(m|h)\b", lambda found: f"{int(found[1]) * UNITS_MS[found[2]] // times}ms", rules)
    return shorter.replace("4 * 60 * 60", f"4 * 60 * 60 / {times}")


class Prometheus:
    """Scrapes these nodes as the job ``ratified``. Use it in a ``with``."""

    def __init__(self, directory: Path, targets: Sequence[str], scrape_ms: int = SCRAPE_MS) -> None:
        program = shutil.which("prometheus")
        if program is None:
            pytest.fail("prometheus is not installed: `make test` installs it, with Debian's package")
        directory.mkdir()
        (directory / "alerts.yml").write_text(
            faster((ROOT / "deploy/prometheus/alerts.yml").read_text(), FASTER * SCRAPE_MS // scrape_ms)
        )
        config = directory / "prometheus.yml"
        config.write_text(
            f"global: {{scrape_interval: {scrape_ms}ms, evaluation_interval: {scrape_ms}ms}}\n"
            "rule_files: [alerts.yml]\n"
            f"scrape_configs: [{{job_name: ratified, static_configs: [{{targets: {json.dumps([*targets])}}}]}}]\n"
        )
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._log = (directory / "log").open("w")
        self._process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> Self:
        until = time.monotonic() + WAIT_S
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/-/ready", timeout=5).close()
                return self
            except urllib.error.URLError:
                if time.monotonic() > until or self._process.poll() is not None:
                    self.__exit__(None, None, None)
                    raise
                time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What it answers at this moment; a query that it does not understand is a failure."""
        asked = urllib.parse.urlencode({"query": expression})
        return list(self._get(f"query?{asked}")["result"])

    def sick_rules(self) -> list[str]:
        """Rules that could not be evaluated."""
        groups = self._get("rules")["groups"]
        assert sum(len(group["rules"]) for group in groups) == 21
        return [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "err"]

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire: name and severity."""
        found = self.query('ALERTS{alertstate="firing"}')
        return {(each["metric"]["alertname"], each["metric"]["severity"]) for each in found}

    def await_alerts(self, *wanted: tuple[str, str], besides: Collection[str] = ()) -> None:
        """Wait until all of these fire. Others may only where they are named: what causes the ones causes them too."""
        until = time.monotonic() + WAIT_S
        while not (firing := self.firing()) >= {*wanted}:
            assert time.monotonic() < until, f"of {wanted} only {firing} within {WAIT_S:.0f} s"
            time.sleep(SCRAPE_MS / 1000)
        others = {name for name, _ in firing} - {name for name, _ in wanted} - {*besides} - busy()
        assert not others, f"{others} fire too"

    def await_silence(self) -> None:
        """Wait until no alert fires."""
        until = time.monotonic() + WAIT_S
        while firing := {name for name, _ in self.firing()} - busy():
            assert time.monotonic() < until, f"{firing} fire for {WAIT_S:.0f} s after their cause"
            time.sleep(SCRAPE_MS / 1000)

    def _get(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{what}", timeout=20) as answer:
            found = json.load(answer)
        assert found["status"] == "success"
        return found["data"]
