"""Clients of HTTP/2 that are none of gRPC's: curl, h2load, Node's http2 and a browser, with TLS and without."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ratified.testing.processes import LocalNode, free_ports
from ratified.wire.etcd import rpc_pb2

HOST = "127.0.0.1"
TIMEOUT_S = 120
GRPC = ("--header", "content-type: application/grpc", "--header", "te: trailers")


class Server(NamedTuple):
    plain: str
    secure: str
    directory: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("interop")
    plain_port, secure_port, peer_port = free_ports(3)
    plain, secure = f"http://{HOST}:{plain_port}", f"https://{HOST}:{secure_port}"
    arguments = (
        f"--data-dir={directory / 'data'}",
        f"--listen-client-urls={plain},{secure}",
        f"--listen-peer-urls=http://{HOST}:{peer_port}",
        "--auto-tls",
        "--heartbeat-interval=20",
        "--election-timeout=100",
    )
    node = LocalNode("default", plain_port, arguments, directory / "log")
    node.start()
    try:
        node.wait_ready()
        yield Server(plain, secure, directory)
    finally:
        node.terminate()
        node.wait_stopped()


def run(program: str, *arguments: str) -> bytes:
    """What it prints; that it is missing is a failure, never a skip."""
    path = shutil.which(program)
    if path is None:
        pytest.fail(f"{program} is not installed: `make test` installs it, with Debian's packages")
    done = subprocess.run([path, *arguments], capture_output=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def body(server: Server, name: str, message: bytes) -> str:
    """The path of a file with a gRPC message."""
    path = server.directory / name
    path.write_bytes(b"\0" + len(message).to_bytes(4) + message)
    return str(path)


@pytest.fixture(params=["plain", "secure"])
def origin(request: pytest.FixtureRequest, server: Server) -> str:
    return server.plain if request.param == "plain" else server.secure


def test_curl_calls_by_http2_and_hears_the_trailers(server: Server, origin: str) -> None:
    put = body(server, "put", rpc_pb2.PutRequest(key=b"curl", value=b"v" * 100_000).SerializeToString())
    get = body(server, "get", rpc_pb2.RangeRequest(key=b"curl").SerializeToString())
    how = "--http2" if origin == server.secure else "--http2-prior-knowledge"
    always = ("--silent", "--show-error", "--insecure", how, *GRPC)
    for path, data in (("Put", put), ("Range", get)):
        headers = server.directory / "headers"
        url = f"{origin}/etcdserverpb.KV/{path}"
        answer = run("curl", *always, "--dump-header", str(headers), "--data-binary", f"@{data}", url)
        assert headers.read_text().startswith("HTTP/2 200")
        assert "grpc-status: 0" in headers.read_text()
    found = rpc_pb2.RangeResponse.FromString(answer[5:])
    assert [(pair.key, len(pair.value)) for pair in found.kvs] == [(b"curl", 100_000)]


def test_curl_reads_pages_by_the_protocol_that_it_offers(server: Server) -> None:
    for origin, how, version in (
        (server.plain, "--http1.1", "1.1"),
        (server.plain, "--http2", "1.1"),  # asks for an upgrade, which a server may pass over
        (server.plain, "--http2-prior-knowledge", "2"),
        (server.secure, "--http1.1", "1.1"),
        (server.secure, "--http2", "2"),
    ):
        wanted = "%{http_version} %{http_code} %{content_type}"
        url = f"{origin}/health"
        said = run("curl", "--silent", "--show-error", "--insecure", "--output", "/dev/null", "-w", wanted, how, url)
        assert said.decode() == f"{version} 200 application/json"


def test_h2load_has_every_one_of_many_calls_answered(server: Server, origin: str) -> None:
    put = body(server, "loaded", rpc_pb2.PutRequest(key=b"h2load", value=b"v" * 256).SerializeToString())
    load = ("--requests=3000", "--clients=20", "--max-concurrent-streams=50", f"--data={put}")
    headers = ("--header=content-type: application/grpc", "--header=te: trailers")
    said = run("h2load", *load, *headers, f"{origin}/etcdserverpb.KV/Put").decode()
    assert "3000 total, 3000 started, 3000 done, 3000 succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert "Application protocol: h2" in said


def test_nodes_http2_calls_at_once_and_in_large(origin: str, server: Server) -> None:
    script = Path(__file__).with_name("http2_client.mjs")
    found = json.loads(run("node", str(script), origin))
    assert found["protocol"] == ("h2" if origin == server.secure else "h2c")
    assert found["statuses"] == ["0"]
    assert found["puts"] == 204
    assert found["rangeBytes"] > 4 << 20
    assert found["pinged"] is True
    assert found["version"]["status"] == 200
    assert "etcdserver" in json.loads(found["version"]["body"])


def test_a_browser_shows_a_page_by_http2(server: Server, tmp_path: Path) -> None:
    log = tmp_path / "netlog.json"
    browser = ("--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", f"--log-net-log={log}")
    shown = run(
        "chromium", *browser, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"{server.secure}/version"
    )
    assert '"etcdserver"' in shown.decode()
    assert '"negotiated_protocol":"h2"' in log.read_text()
