"""TLS at a real process: etcdctl with certificates and without, certificates that the server makes, and strangers."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratified.edge.frames import PREFACE, settings
from ratified.server.certificates import make_ca, make_certificate
from ratified.testing.processes import LocalNode, NodeFailed, free_ports

HOST = "127.0.0.1"
TIMEOUT_S = 20


class Server:
    """One process that serves clients by https."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.port, peer_port = free_ports(2)
        self.node = LocalNode(
            "default",
            self.port,
            (
                f"--data-dir={directory / 'data'}",
                f"--listen-client-urls=https://{HOST}:{self.port}",
                f"--listen-peer-urls=https://{HOST}:{peer_port}",
                "--peer-auto-tls=true",
                "--heartbeat-interval=20",
                "--election-timeout=100",
                *arguments,
            ),
            directory / "log",
        )

    def etcdctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["etcdctl", f"--endpoints=https://{HOST}:{self.port}", "--dial-timeout=1s", "--command-timeout=3s"]
        environment = {**os.environ, "ETCDCTL_API": "3"}
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment
        )


def write_pki(directory: Path) -> None:
    directory.mkdir()
    ca = make_ca("a CA", 30)
    (directory / "ca.crt").write_bytes(ca.certificate)
    for name in ("server", "client"):
        pair = make_certificate(ca, name, [HOST, f"{name}.example"], 30)
        (directory / f"{name}.crt").write_bytes(pair.certificate)
        (directory / f"{name}.key").write_bytes(pair.key)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("tls")
    pki = directory / "pki"
    write_pki(pki)
    found = Server(
        directory,
        f"--cert-file={pki / 'server.crt'}",
        f"--key-file={pki / 'server.key'}",
        f"--trusted-ca-file={pki / 'ca.crt'}",
        "--client-cert-allowed-hostname=client.example,other.example",
    )
    found.node.start()
    try:
        found.node.wait_ready()
        yield found
    finally:
        found.node.terminate()
        found.node.wait_stopped()


def certificates(server: Server, name: str) -> list[str]:
    pki = server.directory / "pki"
    return [f"--cacert={pki / 'ca.crt'}", f"--cert={pki / name}.crt", f"--key={pki / name}.key"]


def put(server: Server, *how: str) -> subprocess.CompletedProcess[str]:
    return server.etcdctl(*how, "put", "k", "v")


def test_a_client_with_a_certificate_of_an_allowed_name_is_served(server: Server) -> None:
    assert put(server, *certificates(server, "client")).stdout == "OK\n"


def test_a_client_without_a_certificate_or_of_another_name_is_refused_and_others_go_on(server: Server) -> None:
    for how in ([certificates(server, "client")[0]], certificates(server, "server")):
        assert put(server, *how).returncode != 0
    assert put(server, *certificates(server, "client")).returncode == 0


def test_what_is_no_tls_is_closed_at_once(server: Server) -> None:
    for said in (PREFACE + settings(), b"GET / HTTP/1.1\r\n\r\n", bytes(1000)):
        with socket.create_connection((HOST, server.port), timeout=TIMEOUT_S) as stranger:
            stranger.sendall(said)
            while stranger.recv(1000):  # an alert, then the end
                pass
    assert put(server, *certificates(server, "client")).returncode == 0


def test_http2_is_agreed_on(server: Server) -> None:
    pki = server.directory / "pki"
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "client.crt", pki / "client.key")
    context.set_alpn_protocols(["http/1.1", "h2"])
    with (
        socket.create_connection((HOST, server.port), timeout=TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as secure,
    ):
        assert secure.selected_alpn_protocol() == "h2"
        assert (secure.version() or "") >= "TLSv1.2"


def test_a_server_serves_by_a_certificate_that_it_makes_and_keeps_it(tmp_path: Path) -> None:
    server = Server(tmp_path, "--auto-tls=true")
    own = tmp_path / "data" / "fixtures" / "client" / "cert.pem"
    kept = b""
    for _ in range(2):
        server.node.start()
        try:
            server.node.wait_ready()
            assert put(server, "--insecure-skip-tls-verify", "--insecure-transport=false").stdout == "OK\n"
            assert put(server, f"--cacert={own}").stdout == "OK\n", "it is for this host"
            assert kept in (b"", own.read_bytes())
            kept = own.read_bytes()
        finally:
            server.node.terminate()
            assert server.node.wait_stopped() == 0


def test_a_certificate_that_cannot_be_used_is_said_before_anything_is_made(tmp_path: Path) -> None:
    server = Server(tmp_path, f"--cert-file={tmp_path / 'gone.crt'}", f"--key-file={tmp_path / 'gone.key'}")
    server.node.start()
    with pytest.raises(NodeFailed, match=r"certificates for clients cannot be used: cannot read .*gone.crt"):
        server.node.wait_ready()
    assert server.node.wait_stopped() == 1
    assert not (tmp_path / "data").exists()
