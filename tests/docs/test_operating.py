"""``docs/operating.md`` from its first command to its last, word for word, on real processes.

``$`` begins a command; lines below it are what it prints, where the page shows that. ``ratified serve`` runs on, and
the next command waits until it serves. Comments of the page say what happens beside: ``stop``, ``kill``, and ``ended``
for a member that must end by itself.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ratified.testing.processes import READY

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
COMMAND_TIMEOUT_S = 60.0
LINE = re.compile(r"^(?:    \$ (?P<command>.*)|    (?P<printed>\S.*)|<!-- (?P<beside>.*) -->)$", flags=re.MULTILINE)


class Step(NamedTuple):
    """A command and what it prints (nothing: whatever it is), or what happens beside."""

    command: str
    printed: list[str]
    beside: list[str]


def steps(page: str) -> list[Step]:
    found: list[Step] = []
    for line in LINE.finditer(page):
        if line["command"]:
            found.append(Step(line["command"], [], []))
        elif line["beside"]:
            found.append(Step("", [], line["beside"].split()))
        else:
            found[-1].printed.append(line["printed"])
    return found


class Reader:
    """Whoever follows the page: a directory, variables, and the members that run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self.members: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        self.started: list[str] = []
        """Those of which nobody has waited yet until they serve."""
        self.logs = 0

    def follow(self, step: Step) -> None:
        words = shlex.split(step.command)
        if step.beside:
            self.beside(*step.beside)
        elif words[:2] == ["ratified", "serve"]:
            self.serve(step.command, words[words.index("--name") + 1])
        elif words[0] == "export":
            self.environment |= dict(word.split("=", 1) for word in words[1:])
        else:
            self.run(step)

    def serve(self, command: str, name: str) -> None:
        self.logs += 1
        log = self.directory / f"{self.logs}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.members[name] = (process, log)
        self.started.append(name)

    def run(self, step: Step) -> None:
        self.wait_served()
        deadline = time.monotonic() + COMMAND_TIMEOUT_S
        while True:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", step.command],
                cwd=self.directory,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
            # As the page says of a learner that has not caught up.
            if done.returncode == 0 or "promote" not in step.command or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        assert done.returncode == 0, f"{step.command}: {done.stdout}{done.stderr}"
        if step.printed:
            assert done.stdout.splitlines() == step.printed, step.command

    def beside(self, what: str, *names: str) -> None:
        self.wait_served()
        for name in names:
            process, log = self.members.pop(name)
            if what == "ended":
                process.wait(COMMAND_TIMEOUT_S)
                assert "was removed from the cluster" in log.read_text()
            else:
                process.send_signal({"stop": signal.SIGTERM, "kill": signal.SIGKILL}[what])
                status = process.wait(COMMAND_TIMEOUT_S)
                assert what == "kill" or status == 0, log.read_text()

    def wait_served(self) -> None:
        deadline = time.monotonic() + COMMAND_TIMEOUT_S
        for name in self.started:
            process, log = self.members[name]
            while READY not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, f"{name} does not serve: {log.read_text()}"
                time.sleep(0.05)
        self.started.clear()

    def end(self) -> None:
        for process, _ in self.members.values():
            process.kill()
            process.wait()


@contextmanager
def addresses_of_its_own() -> Iterator[None]:
    """The page's addresses are fixed: one reader at a time on a machine."""
    with (Path(tempfile.gettempdir()) / "ratified-operating.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_the_page_is_read_as_it_stands() -> None:
    page = "Text\n\n    $ one two\n    said\n    more\n    $ three\n\n<!-- stop a b -->\n    $ four\n"
    assert steps(page) == [
        Step("one two", ["said", "more"], []),
        Step("three", [], []),
        Step("", [], ["stop", "a", "b"]),
        Step("four", [], []),
    ]


def test_every_command_of_the_page_works_in_its_order(tmp_path: Path) -> None:
    found = steps(PAGE)
    assert len(found) > 40
    with addresses_of_its_own():
        reader = Reader(tmp_path)
        try:
            for step in found:
                reader.follow(step)
            reader.wait_served()
        finally:
            reader.end()
