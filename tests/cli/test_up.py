"""Which ports ``ratified up`` takes."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from ratified.cli import up
from ratified.cli.failure import CommandFailed
from ratified.cli.up import _welcome, choose_ports
from ratified.testing.processes import free_ports


def test_preferred_ports_are_taken_where_they_are_free_and_else_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        taken = used.getsockname()[1]
        free = free_ports(2)
        monkeypatch.setattr(up, "CLIENT_PORTS_PREFERRED", (free[0], taken, free[1]))
        ports, said = choose_ports(tmp_path, 4)
    assert (ports.client[0], ports.client[2]) == (free[0], free[1])
    assert ports.client[1] != taken
    assert said == [f"port {taken} is in use: node2 serves clients on {ports.client[1]}"]
    assert len({*ports.client, *ports.peer}) == 8


def test_a_later_run_takes_the_same_ports(tmp_path: Path) -> None:
    first, _ = choose_ports(tmp_path, 3)
    assert choose_ports(tmp_path, 3) == (first, [])


@pytest.mark.parametrize(
    "content", ["client-ports = [", "client-ports = [1]", "client-ports = ['x']\npeer-ports = [1]"]
)
def test_a_ports_file_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "cluster.toml").write_text(content)
    with pytest.raises(CommandFailed, match=f"{tmp_path}/cluster.toml cannot be read"):
        choose_ports(tmp_path, 1)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandFailed, match=r"cannot write .*: Not a directory: give another --data-dir"):
        choose_ports(tmp_path / "file" / "x", 1)


@pytest.mark.parametrize(
    ("program", "path", "typed"),
    [
        (".venv/bin/ratified", "/nowhere", "  .venv/bin/ratified get greeting"),
        ("/opt/bin/ratified", "{bin}", "  ratified get greeting"),
        ("/opt/src/ratified/__main__.py", "{bin}", f"  {sys.executable} -m ratified get greeting"),
    ],
    ids=["not on the path", "on the path", "as a module"],
)
def test_the_line_to_try_can_be_typed_as_it_stands(
    program: str, path: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ratified").touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [program, "up"])
    monkeypatch.setenv("PATH", path.format(bin=tmp_path))
    assert _welcome(["127.0.0.1:2379"], tmp_path, "raft", kept=True)[-1] == typed
