"""A real cluster of three processes, and etcd's own clients beside it."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratified.testing.processes import LocalCluster

COMMAND_TIMEOUT_S = 30.0
ETCD3_REQUIREMENTS = ("etcd3==0.12.0", "protobuf==3.20.3", "grpcio>=1.60", "tenacity>=8", "six>=1.16", "setuptools<81")
BUILD = Path(__file__).parents[2] / "build"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--random-requests",
        type=int,
        default=None,
        help="How many random requests to compare with etcd's answers, on every engine. [default: 3,000, and 500 on"
        " engines other than the default one]",
    )
    parser.addoption("--random-seed", type=int, default=1, help="What they are drawn from. [default: 1]")


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three nodes that serve."""
    with LocalCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


class Etcdctl:
    """Debian's etcdctl, talking to one node."""

    def __init__(self, program: str, endpoint: str) -> None:
        self.program = program
        self.endpoint = endpoint
        self._command = [program, "--endpoints", endpoint, "--dial-timeout=10s", "--command-timeout=20s"]

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever the end."""
        return subprocess.run(
            [*self._command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            env={"ETCDCTL_API": "3", "PATH": ""},
        )

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run a command that must succeed; what it printed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"etcdctl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def lines(self, count: int, *arguments: str, stdin: str | None = None) -> list[str]:
        """The first ``count`` lines of a command that does not end by itself, such as a watch."""
        with subprocess.Popen(
            [*self._command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"ETCDCTL_API": "3", "PATH": ""},
        ) as process:
            watchdog = threading.Timer(COMMAND_TIMEOUT_S, process.kill)
            watchdog.start()
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                if stdin is not None:
                    process.stdin.write(stdin)
                    process.stdin.flush()
                return [process.stdout.readline().rstrip("\n") for _ in range(count)]
            finally:
                watchdog.cancel()
                process.kill()


@pytest.fixture(scope="package")
def etcdctl_program() -> str:
    """The program; that it is missing is a failure, never a skip."""
    program = shutil.which("etcdctl")
    if program is None:
        pytest.fail("etcdctl is not installed: `make test` installs it, or install Debian's package etcd-client")
    return program


@pytest.fixture(params=[0, 1, 2], ids=["node1", "node2", "node3"])
def etcdctl(request: pytest.FixtureRequest, cluster: LocalCluster, etcdctl_program: str) -> Etcdctl:
    """etcdctl on each node in turn: any node serves any request."""
    return Etcdctl(etcdctl_program, cluster.nodes[request.param].endpoint)


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key, or prefix, of this test alone."""
    return f"/{request.node.name}"


@pytest.fixture(scope="session")
def etcd3_python() -> Path:
    """The Python of an environment with PyPI's etcd3, whose generated messages need an old protobuf."""
    BUILD.mkdir(exist_ok=True)
    place = BUILD / "etcd3-client"
    python = place / "bin" / "python"
    wanted = "\n".join(ETCD3_REQUIREMENTS)
    stamp = place / "requirements.txt"
    with (BUILD / "etcd3-client.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(place, ignore_errors=True)
            for command in (
                [sys.executable, "-m", "venv", str(place)],
                [str(python), "-m", "pip", "install", "--quiet", *ETCD3_REQUIREMENTS],
            ):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"cannot make the environment for etcd3: {done.stdout}{done.stderr}"
            stamp.write_text(wanted)
    return python
