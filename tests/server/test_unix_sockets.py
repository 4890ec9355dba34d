"""Clients on a socket in the file system: of whom it is, and what a dead process leaves there."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from ratified.client import Client
from ratified.server.unix_sockets import UnixSocket
from tests.conformance.conftest import etcdctl_program
from tests.server.test_process import Place

__all__ = ["etcdctl_program"]
TIMEOUT_S = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a socket; short, as the kernel wants it."""
    return tmp_path / "s"


def test_clients_of_all_kinds_come_by_it_beside_tcp(tmp_path: Path, path: Path, etcdctl_program: str) -> None:
    place = Place(tmp_path)
    url = f"unix://{path}"
    with place.serving(f"--listen-client-urls=http://127.0.0.1:{place.client_port},{url}") as node:
        with Client([url]) as local, Client([node.endpoint]) as remote:
            local.put("k", "v")
            found = remote.get("k")
            assert found is not None
            assert found.value == b"v"
            assert [member.client_urls for member in local.members()] == [(f"http://{node.endpoint}",)]
        run = [etcdctl_program, f"--endpoints={url}", "get", "k"]
        said = subprocess.run(run, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        assert said.stdout == "k\nv\n"
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(TIMEOUT_S)
            plain.connect(str(path))
            plain.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert plain.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert not path.exists()


def test_what_a_killed_server_left_gives_way(tmp_path: Path, path: Path) -> None:
    place = Place(tmp_path)
    url = f"unix://{path}"
    with place.serving(f"--listen-client-urls=http://127.0.0.1:{place.client_port},{url}") as node:
        node.kill()
        assert path.is_socket()
        node.start()
        node.wait_ready()
        with Client([url]) as client:
            client.put("k", "v")


def test_a_socket_that_is_served_and_a_file_that_is_none_are_left_alone(path: Path) -> None:
    first = UnixSocket(str(path), 5)
    with first.socket, pytest.raises(OSError, match="in use"):
        UnixSocket(str(path), 5)
    first.remove()
    path.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        UnixSocket(str(path), 5)
    assert path.read_text() == "precious"


def test_only_the_own_file_is_removed(path: Path) -> None:
    first = UnixSocket(str(path), 5)
    path.rename(path.with_name("elsewhere"))  # kept, so that its inode is not used again
    second = UnixSocket(str(path), 5)
    with first.socket, second.socket:
        first.remove()
        assert path.is_socket()
        second.remove()
        assert not path.exists()
