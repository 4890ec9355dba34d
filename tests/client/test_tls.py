"""The clients, and the command line, against servers that speak TLS."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from ratified.cli.main import run
from ratified.client import AsyncClient, Client, Tls, Unavailable, calls
from ratified.client.tls import TlsError
from ratified.server.certificates import Pair, make_ca, make_certificate
from ratified.testing.processes import LocalNode, free_ports
from ratified.wire.etcd import kv_pb2, rpc_pb2

AT_ONCE_S = 5.0
TIMEOUT_S = 60.0
"""Of calls that are to fail at once."""


class Pki:
    """Files of a CA, its members and clients, and of another CA."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pairs = {"ca": make_ca("the CA", 10), "other": make_ca("another CA", 10)}
        self.pairs["member"] = self._signed("ca", ["127.0.0.1"])
        self.pairs["elsewhere"] = self._signed("ca", ["node1.example"])
        self.pairs["app"] = self._signed("ca", [])
        self.pairs["stranger"] = self._signed("other", [])
        for name, pair in self.pairs.items():
            (directory / f"{name}.crt").write_bytes(pair.certificate)
            (directory / f"{name}.key").write_bytes(pair.key)

    def tls(self, ca: str = "ca", own: str | None = None, server_name: str | None = None) -> Tls:
        return Tls(
            ca_file=self.certificate(ca),
            cert_file=self.certificate(own) if own else None,
            key_file=self.key(own) if own else None,
            server_name=server_name,
        )

    def certificate(self, name: str) -> Path:
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    def _signed(self, ca: str, hosts: list[str]) -> Pair:
        return make_certificate(self.pairs[ca], "somebody", hosts, 10)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


class Store(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every call: one with nothing in it, a watch with one event, a snapshot with one part."""

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        method = handler_call_details.method
        if method == calls.WATCH:
            return grpc.stream_stream_rpc_method_handler(self._watch)
        if method == calls.SNAPSHOT:
            return grpc.unary_stream_rpc_method_handler(
                lambda *_: iter([rpc_pb2.SnapshotResponse(blob=b"all").SerializeToString()])
            )
        return grpc.unary_unary_rpc_method_handler(lambda *_: b"")

    def _watch(self, requests: Iterator[bytes], _: Any) -> Iterator[bytes]:
        next(requests)
        header = rpc_pb2.ResponseHeader(revision=1)
        yield rpc_pb2.WatchResponse(header=header, created=True).SerializeToString()
        event = kv_pb2.Event(kv=kv_pb2.KeyValue(key=b"k", value=b"v", mod_revision=2))
        yield rpc_pb2.WatchResponse(header=header, events=[event]).SerializeToString()
        next(requests, None)


Serve = Callable[..., str]


@pytest.fixture
def serve(pki: Pki) -> Iterator[Serve]:
    """Start a server with a certificate, or without TLS, and give its address."""
    with ExitStack() as stack:

        def start(own: str | None, *, client_auth: bool = False) -> str:
            server = grpc.server(stack.enter_context(ThreadPoolExecutor(4)), handlers=[Store()])
            if own is None:
                port = server.add_insecure_port("127.0.0.1:0")
            else:
                pair = pki.pairs[own]
                cas = pki.pairs["ca"].certificate if client_auth else None
                credentials = grpc.ssl_server_credentials([(pair.key, pair.certificate)], cas, client_auth)
                port = server.add_secure_port("127.0.0.1:0", credentials)
            server.start()
            stack.callback(lambda: server.stop(None).wait())
            return f"127.0.0.1:{port}"

        yield start


def all_calls(endpoint: str, tls: Tls | None) -> None:
    """A call of each kind, by both clients."""
    with Client([endpoint], tls=tls) as client:
        client.put("k", "v")
        assert client.get("k") is None
        client.status(endpoint)
        assert [part.data for part in client.snapshot(endpoint)] == [b"all"]
        with client.watch("k") as events:
            assert next(events).pair.value == b"v"
    asyncio.run(all_calls_async(endpoint, tls))


async def all_calls_async(endpoint: str, tls: Tls | None) -> None:
    async with AsyncClient([endpoint], tls=tls) as client:
        await client.put("k", "v")
        assert await client.get("k") is None
        await client.status(endpoint)
        async with client.watch("k") as events:
            assert (await anext(events)).pair.value == b"v"


def refusals(endpoint: str, tls: Tls | None, timeout_s: float = TIMEOUT_S) -> set[str]:
    """What a write, a status, a watch and a snapshot fail with, of both clients; none has happened."""
    said = set()
    with Client([endpoint], tls=tls, timeout_s=timeout_s) as client:
        for fails in (
            lambda: client.put("k", "v"),
            lambda: client.status(endpoint),
            lambda: next(client.watch("k")),
            lambda: next(client.snapshot(endpoint)),
        ):
            with pytest.raises(Unavailable) as failed:
                fails()
            said.add(failed.value.text)
    return said | asyncio.run(refusals_async(endpoint, tls, timeout_s))


async def refusals_async(endpoint: str, tls: Tls | None, timeout_s: float) -> set[str]:
    said = set()
    async with AsyncClient([endpoint], tls=tls, timeout_s=timeout_s) as client:
        for fails in (client.put("k", "v"), client.status(endpoint), anext(client.watch("k"))):
            with pytest.raises(Unavailable) as failed:
                await fails
            said.add(failed.value.text)
    return said


@pytest.mark.parametrize("scheme", ["", "https://"])
def test_a_client_asks_over_tls(pki: Pki, serve: Serve, scheme: str) -> None:
    all_calls(scheme + serve("member"), pki.tls())


def test_a_client_shows_its_certificate_to_a_server_that_asks_for_one(pki: Pki, serve: Serve) -> None:
    all_calls(serve("member", client_auth=True), pki.tls(own="app"))


@pytest.mark.parametrize("own", [None, "stranger"])
def test_a_client_that_the_server_refuses_is_told_of_its_certificate(pki: Pki, serve: Serve, own: str | None) -> None:
    said = refusals(serve("member", client_auth=True), pki.tls(own=own), timeout_s=0.2)
    assert all("client certificate" in text for text in said), said


def test_a_server_of_another_ca_is_refused_at_once(pki: Pki, serve: Serve) -> None:
    address = serve("member")
    began = time.monotonic()
    (said,) = refusals(address, pki.tls("other"))
    assert time.monotonic() - began < AT_ONCE_S
    assert said.startswith(
        f"the certificate of {address} is refused, checked against the CAs of {pki.certificate('other')}: "
    )


def test_a_server_at_another_host_than_its_certificates_is_refused_at_once(pki: Pki, serve: Serve) -> None:
    address = serve("elsewhere")
    began = time.monotonic()
    assert refusals(address, pki.tls()) == {f"the certificate of {address} is refused: it is not made for 127.0.0.1"}
    assert refusals(address, pki.tls(server_name="node2.example")) == {
        f"the certificate of {address} is refused: it is not made for node2.example"
    }
    assert time.monotonic() - began < AT_ONCE_S
    all_calls(address, pki.tls(server_name="node1.example"))


def test_tls_at_a_server_without_it_says_so_at_once(pki: Pki, serve: Serve) -> None:
    address = serve(None)
    assert refusals(address, pki.tls()) == {f"no TLS is spoken at {address}: the server takes http:// only"}


def test_a_server_of_tls_asked_without_it_makes_one_think_of_https(serve: Serve) -> None:
    said = refusals(serve("member"), None, timeout_s=0.2)
    assert all("https:// only?" in text for text in said), said


def test_without_tls_given_an_endpoint_of_https_is_checked_by_the_systems_cas(
    pki: Pki, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = f"https://{serve('member')}"
    monkeypatch.setenv("SSL_CERT_FILE", str(pki.certificate("other")))
    assert all("checked against the CAs of the system: " in text for text in refusals(endpoint, None))
    monkeypatch.setenv("SSL_CERT_FILE", str(pki.certificate("ca")))
    all_calls(endpoint, None)


def test_the_systems_cas_may_be_many_files(
    pki: Pki, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number, name in enumerate(("other", "ca")):
        (tmp_path / f"0000000{number}.0").symlink_to(pki.certificate(name))
    paths = ssl.get_default_verify_paths()._replace(cafile="", capath=str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    all_calls(f"https://{serve('member')}", None)


def test_endpoints_may_be_with_and_without_tls(pki: Pki, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pki.certificate("ca")))
    secure, plain = f"https://{serve('member')}", f"http://{serve(None)}"
    wrong = f"https://{serve('elsewhere')}"
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    for endpoints in ([secure, plain], [plain, secure], [wrong, plain], [nobody, wrong, secure]):
        with Client(endpoints) as client:
            client.put("k", "v")


@pytest.mark.parametrize(
    ("fields", "option", "words"),
    [
        ({"ca_file": "no-such-file"}, "ca_file", "no-such-file: No such file or directory"),
        ({"ca_file": "{ca.key}"}, "ca_file", "ca.key has no certificate in PEM"),
        ({"cert_file": "no-such-file", "key_file": "{app.key}"}, "cert_file", "no-such-file: No such file"),
        ({"cert_file": "{app.crt}", "key_file": "no-such-file"}, "key_file", "no-such-file: No such file"),
        ({"cert_file": "{app.crt}", "key_file": "{ca.key}"}, "key_file", "app.crt"),
        ({"cert_file": "{app.key}", "key_file": "{app.key}"}, "cert_file", "PEM without a password"),
        ({"cert_file": "{app.crt}", "key_file": "{locked.key}"}, "cert_file", "PEM without a password"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_option(
    pki: Pki, serve: Serve, fields: dict[str, str], option: str, words: str
) -> None:
    (pki.directory / "locked.key").write_bytes(
        load_pem_private_key(pki.pairs["app"].key, None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    )
    tls = Tls(**{name: re.sub(r"{(.*)}", rf"{pki.directory}/\1", file) for name, file in fields.items()})
    with Client([serve("member")], tls=tls) as client, pytest.raises(TlsError, match=words) as wrong:
        client.put("k", "v")
    assert wrong.value.option == option
    assert str(wrong.value).startswith(f"{option}: ")


@pytest.mark.parametrize(("given", "missing"), [("cert_file", "key_file"), ("key_file", "cert_file")])
def test_a_certificate_and_its_key_are_given_together(given: str, missing: str) -> None:
    with pytest.raises(TlsError, match=f"^{missing}: not given"):
        Tls(**{given: "x"})


@pytest.fixture(scope="module")
def member(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A real member, which asks clients for a certificate."""
    directory = tmp_path_factory.mktemp("member")
    client_port, peer_port = free_ports(2)
    arguments = [
        f"--data-dir={directory / 'data'}",
        f"--listen-client-urls=https://127.0.0.1:{client_port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
        f"--initial-cluster=default=http://127.0.0.1:{peer_port}",
        f"--cert-file={pki.certificate('member')}",
        f"--key-file={pki.key('member')}",
        f"--trusted-ca-file={pki.certificate('ca')}",
        "--client-cert-auth=true",
    ]
    node = LocalNode("default", client_port, arguments, directory / "log")
    node.start()
    try:
        node.wait_ready()
        yield node
    finally:
        node.terminate()
        node.wait_stopped()


def test_the_clients_ask_a_member_over_tls(pki: Pki, member: LocalNode) -> None:
    with Client([member.endpoint], tls=pki.tls(own="app")) as client, client.watch("k") as events:
        events.begin()
        client.put("k", "v")
        assert next(events).pair.value == b"v"
        assert client.report(member.endpoint).name == "default"
    for own in (None, "stranger"):
        said = refusals(member.endpoint, pki.tls(own=own), timeout_s=0.2)
        assert all("client certificate" in text for text in said), said


def test_every_command_asks_a_member_over_tls(
    pki: Pki, member: LocalNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        *("--endpoints", f"https://{member.endpoint}", "--cacert", str(pki.certificate("ca"))),
        *("--cert", str(pki.certificate("app")), "--key", str(pki.key("app"))),
    ]
    for command in (
        ["put", "greeting", "hello"],
        ["get", "greeting"],
        ["watch", "greeting", "--rev", "1", "--count", "1"],
        ["status"],
        ["member", "list"],
        ["snapshot", "save", str(tmp_path / "backup")],
        ["del", "greeting"],
    ):
        assert run([*command, *options]) == 0, command
    assert capsys.readouterr().err == ""


def test_the_files_may_be_variables(
    pki: Pki, member: LocalNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RATIFIED_ENDPOINTS", member.endpoint)
    monkeypatch.setenv("RATIFIED_CACERT", str(pki.certificate("ca")))
    monkeypatch.setenv("RATIFIED_CERT", str(pki.certificate("app")))
    monkeypatch.setenv("RATIFIED_KEY", str(pki.key("app")))
    assert run(["put", "k", "v"]) == 0
    assert capsys.readouterr().out == "OK\n"


def test_a_command_says_in_one_line_that_it_is_the_certificate(
    pki: Pki, member: LocalNode, capsys: pytest.CaptureFixture[str]
) -> None:
    other = pki.certificate("other")
    assert run(["get", "k", "--endpoints", member.endpoint, "--cacert", str(other)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"ratified: error: the certificate of {member.endpoint} is refused, checked against the CAs of {other}: "
    )
    assert run(["status", "--endpoints", member.endpoint, "--cacert", str(other), "--json"]) == 1
    assert "is refused, checked against" in json.loads(capsys.readouterr().out)[0]["error"]
