"""Certificates and TLS sessions: who is let in, what a change of the files does, and hosts that speak it."""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from ratified import Host, HostConfig, StartRefused
from ratified.machine import StateMachine
from ratified.runtime import TlsFiles
from ratified.runtime.tls import Certificates, CertificatesError, TlsFailed, TlsSession, common_name, dial, is_for
from ratified.runtime.transport import PeerTransport, _Session
from ratified.server.certificates import Pair, make_ca, make_certificate
from ratified.testing.processes import free_ports

HOST = "127.0.0.1"


class Counter(StateMachine):
    """Counts its commands."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, command: bytes) -> bytes:
        self.count += 1
        return b"%d" % self.count

    def query(self, request: bytes) -> bytes:
        return b"%d" % self.count

    def snapshot(self) -> bytes:
        return b"%d" % self.count

    def restore(self, pieces: Iterable[bytes]) -> None:
        self.count = int(b"".join(pieces))


class Pki:
    """A CA and what it has signed, as files."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.ca = make_ca("a CA", 30)
        self.ca_file = directory / "ca.crt"
        self.ca_file.write_bytes(self.ca.certificate)

    def write(self, name: str, pair: Pair) -> tuple[Path, Path]:
        cert, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        cert.write_bytes(pair.certificate)
        key.write_bytes(pair.key)
        return cert, key

    def files(self, name: str, host: str = HOST, **options: object) -> TlsFiles:
        cert, key = self.write(name, make_certificate(self.ca, name, [host], 30))
        return TlsFiles(cert_file=cert, key_file=key, trusted_ca_file=self.ca_file, **options)  # type: ignore[arg-type]


def talk(server: TlsSession, client: TlsSession) -> tuple[bytes, bytes]:
    """Pass on what either side writes, until nobody does; what each has received."""
    at_server, at_client = b"", b""
    while True:
        to_server, to_client = client.take(), server.take()
        if not to_server and not to_client:
            return at_server, at_client
        at_server += server.receive(to_server) if to_server else b""
        at_client += client.receive(to_client) if to_client else b""


def sessions(server: Certificates, client: Certificates, name: str = HOST) -> tuple[TlsSession, TlsSession]:
    return TlsSession(server.server), TlsSession(client.client, server_name=name)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


def test_what_is_written_before_the_handshake_arrives_after_it(pki: Pki) -> None:
    server, client = sessions(Certificates(pki.files("a", client_cert_auth=True)), Certificates(pki.files("b")))
    client.write(b"from the client")
    server.write(b"from the server")
    large = bytes(1 << 20)
    server.write(large)
    assert talk(server, client) == (b"from the client", b"from the server" + large)
    assert common_name(server.certificate or {}) == "b"


def test_a_member_of_another_ca_is_not_let_in(pki: Pki, tmp_path: Path) -> None:
    stranger = Pki(tmp_path / "other")
    server, client = sessions(
        Certificates(pki.files("a", client_cert_auth=True)), Certificates(stranger.files("b", verifies=False))
    )
    with pytest.raises(TlsFailed, match="certificate verify failed"):
        talk(server, client)


def test_whoever_dials_verifies_whom_it_reaches(pki: Pki, tmp_path: Path) -> None:
    stranger = Pki(tmp_path / "other")
    for server_files, name in ((stranger.files("a"), HOST), (pki.files("a"), "other.example")):
        server, client = sessions(Certificates(server_files), Certificates(pki.files("b")), name)
        with pytest.raises(TlsFailed, match="certificate verify failed"):
            talk(server, client)


@pytest.mark.parametrize(
    ("names", "hosts", "is_let_in"),
    [
        ((), (), True),
        (("b",), (), True),
        ((HOST,), (), False),
        (("c", "d"), (), False),
        ((), ("c", HOST), True),
        ((), ("b",), False),
        (("b",), ("c",), False),
    ],
)
def test_only_certificates_of_the_allowed_names_are_let_in(
    pki: Pki, names: tuple[str, ...], hosts: tuple[str, ...], is_let_in: bool
) -> None:
    tls = Certificates(pki.files("a", client_cert_auth=True, allowed_common_names=names, allowed_hosts=hosts))
    server, client = sessions(tls, Certificates(pki.files("b")))
    talk(server, client)
    assert (tls.refuses(server.certificate) is None) == is_let_in


@pytest.mark.parametrize(
    ("names", "host", "is_so"),
    [
        ((("DNS", "a.example"),), "A.example", True),
        ((("DNS", "*.example"),), "a.example", True),
        ((("DNS", "*.example"),), "a.b.example", False),
        ((("DNS", "*.example"),), ".example", False),
        ((("IP Address", "0:0:0:0:0:0:0:1"),), "::1", True),
        ((("DNS", "10.0.0.1"),), "10.0.0.1", False),
        ((("email", "root"), ("URI", "app"), ("DirName", ((("commonName", "root"),),))), "root", False),
        ((), "a", False),
    ],
)
def test_a_certificate_is_for_the_hosts_among_its_alternative_names(
    names: tuple[tuple[str, object], ...], host: str, is_so: bool
) -> None:
    assert is_for({"subjectAltName": names, "subject": ((("commonName", host),),)}, host) == is_so


def test_nothing_is_raised_by_what_is_sent_after_an_error(pki: Pki) -> None:
    server, client = sessions(Certificates(pki.files("a")), Certificates(pki.files("b")))
    talk(server, client)
    with pytest.raises(TlsFailed):
        server.receive(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert server.take() != b"", "an alert"
    server.write(b"an answer")
    server.finish()
    assert server.take() == b""


def test_nothing_is_kept_for_a_handshake_that_has_failed(pki: Pki) -> None:
    server = TlsSession(Certificates(pki.files("a")).server)
    server.write(b"an answer")
    with pytest.raises(TlsFailed):
        server.receive(b"GET / HTTP/1.1\r\n\r\n")
    server.write(bytes(1000))
    assert server.unsent_bytes == len(b"an answer")


def test_part_of_a_record_is_a_sign_of_life_of_a_peer(pki: Pki) -> None:
    class Owner:
        """Of a session, as far as it asks."""

        def __init__(self) -> None:
            self.loop = asyncio.new_event_loop()
            self.heard: list[bytes] = []

        def make_codec(self) -> None: ...

        def refuses(self, _: TlsSession) -> None: ...

        def received(self, _: object, data: bytes) -> None:
            self.heard.append(data)

    server, client = sessions(Certificates(pki.files("a")), Certificates(pki.files("b")))
    owner = Owner()
    session = _Session(cast(PeerTransport, owner), None, server)
    while not (server.ready and client.ready):
        session.data_received(client.take())
        client.receive(server.take())
    session.data_received(client.take())
    owner.heard.clear()
    client.write(b"a frame")
    record = client.take()
    session.data_received(record[:9])
    session.data_received(record[9:])
    owner.loop.close()
    assert owner.heard == [b"", b"a frame"]


def test_an_end_is_told_and_nothing_is_sent_behind_it(pki: Pki) -> None:
    server, client = sessions(Certificates(pki.files("a")), Certificates(pki.files("b")))
    talk(server, client)
    server.finish()
    server.write(b"too late")
    assert talk(server, client) == (b"", b"")
    assert client.ended


def test_a_revoked_certificate_counts_no_more(pki: Pki) -> None:
    client_files = pki.files("b")
    revoked = x509.load_pem_x509_certificate(client_files.cert_file.read_bytes())
    issuer = x509.load_pem_x509_certificate(pki.ca.certificate)
    now = datetime.datetime.now(datetime.UTC)
    entry = x509.RevokedCertificateBuilder().serial_number(revoked.serial_number).revocation_date(now).build()
    crl = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(now)
    crl = crl.next_update(now + datetime.timedelta(days=1)).add_revoked_certificate(entry)
    key = load_pem_private_key(pki.ca.key, None)
    crl_file = pki.directory / "crl.pem"
    crl_file.write_bytes(crl.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))  # type: ignore[arg-type]
    tls = Certificates(pki.files("a", client_cert_auth=True, crl_file=crl_file))
    server, client = sessions(tls, Certificates(client_files))
    with pytest.raises(TlsFailed, match="certificate verify failed"):
        talk(server, client)
    talk(*sessions(tls, Certificates(pki.files("c"))))


def test_an_exchanged_certificate_holds_for_new_connections_and_half_an_exchange_for_none(pki: Pki) -> None:
    tls = Certificates(pki.files("a", client_cert_auth=True))
    assert tls.refresh() is None
    new = make_certificate(pki.ca, "new", [HOST], 30)
    tls.files.cert_file.write_bytes(new.certificate)
    os.utime(tls.files.cert_file, ns=(1, 1))
    wrong = tls.refresh()
    assert wrong is not None
    assert str(tls.files.cert_file) in wrong
    assert tls.refresh() is None, "it is said once"
    server, client = sessions(tls, Certificates(pki.files("b", client_cert_auth=True)))
    talk(server, client)
    assert common_name(client.certificate or {}) == "a"
    tls.files.key_file.write_bytes(new.key)
    os.utime(tls.files.key_file, ns=(2, 2))
    assert tls.refresh() is None
    server, client = sessions(tls, Certificates(pki.files("b")))
    talk(server, client)
    assert common_name(client.certificate or {}) == "new"


def test_a_file_that_goes_is_said_once_and_what_was_read_goes_on(pki: Pki) -> None:
    tls = Certificates(pki.files("a"))
    content = tls.files.key_file.read_bytes()
    tls.files.key_file.unlink()
    wrong = tls.refresh()
    assert wrong is not None
    assert "No such file" in wrong
    assert [tls.refresh() for _ in range(3)] == [None] * 3
    talk(*sessions(tls, Certificates(pki.files("b"))))
    tls.files.key_file.write_bytes(content)
    assert tls.refresh() is None


def test_who_dials_lets_no_other_than_the_allowed_ones_answer(pki: Pki) -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(close, HOST, 0, ssl=Certificates(pki.files("a")).server)
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(10), server:
            _, writer = await dial(Certificates(pki.files("b", allowed_common_names=("a",))), HOST, port)
            writer.close()
            with pytest.raises(ConnectionRefusedError, match="its certificate is of 'a', and c may connect"):
                await dial(Certificates(pki.files("b", allowed_common_names=("c",))), HOST, port)

    asyncio.run(run())


def test_files_that_cannot_be_used_are_named(pki: Pki) -> None:
    files = pki.files("a")
    locked = pki.directory / "locked.key"
    loaded = load_pem_private_key(files.key_file.read_bytes(), None)
    locked.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    other_key = pki.files("b").key_file
    no_pem = pki.directory / "nonsense"
    no_pem.write_text("nonsense")
    for cert, key, ca, named in (
        (pki.directory / "gone.crt", files.key_file, pki.ca_file, "cannot read .*gone.crt: No such file"),
        (files.cert_file, files.key_file, pki.directory / "gone.crt", "cannot read .*gone.crt: No such file"),
        (files.cert_file, other_key, pki.ca_file, "a.crt"),
        (files.cert_file, locked, pki.ca_file, "locked.key"),
        (no_pem, files.key_file, pki.ca_file, "nonsense"),
        (files.cert_file, files.key_file, no_pem, "nonsense"),
    ):
        with pytest.raises(CertificatesError, match=named):
            Certificates(TlsFiles(cert_file=cert, key_file=key, trusted_ca_file=ca))


def configs(path: Path, names: str) -> list[HostConfig]:
    cluster = {name: f"https://{HOST}:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)}
    return [
        HostConfig(data_dir=path / name, name=name, cluster=cluster, heartbeat_us=20_000, election_timeout_us=200_000)
        for name in names
    ]


def test_hosts_replicate_by_tls_and_without_a_certificate_of_theirs_a_member_takes_no_part(
    tmp_path: Path, pki: Pki
) -> None:
    async def run() -> None:
        every = [
            msgspec.structs.replace(config, peer_tls=pki.files(config.name, client_cert_auth=True))
            for config in configs(tmp_path, "abc")
        ]
        async with asyncio.timeout(30), AsyncExitStack() as stack:
            *two, third = [await Host.start(config, Counter) for config in every]
            for host in two:
                await stack.enter_async_context(host)
            assert await third.propose(b"count") == b"1"
            await third.close()
            strangers = Pki(tmp_path / "other").files("c", client_cert_auth=True)
            third = await Host.start(msgspec.structs.replace(every[2], peer_tls=strangers), Counter)
            await stack.enter_async_context(third)
            for count in (b"2", b"3"):
                assert await two[0].propose(b"count") == count
            assert third.leader() is None

    asyncio.run(run())


def test_a_host_with_https_addresses_and_no_certificate_does_not_start(tmp_path: Path) -> None:
    async def run() -> None:
        with pytest.raises(StartRefused, match=r"is at https://127.0.0.1:\d+: give peer_tls"):
            await Host.start(configs(tmp_path, "ab")[0], Counter)

    asyncio.run(run())


def test_who_dials_may_have_a_certificate_for_that_alone(pki: Pki) -> None:
    cert, key = pki.write("dials", make_certificate(pki.ca, "dials", [HOST], 30))
    files = pki.files("b", client_cert_file=cert, client_key_file=key)
    server, client = sessions(Certificates(pki.files("a", client_cert_auth=True)), Certificates(files))
    talk(server, client)
    assert common_name(server.certificate or {}) == "dials"
    server, client = sessions(Certificates(files), Certificates(pki.files("c")))
    talk(server, client)
    assert common_name(client.certificate or {}) == "b"
    assert cert in files.all


@pytest.mark.parametrize(
    ("options", "version", "suite"),
    [
        ({}, "TLSv1.3", None),
        ({"max_version": "TLS1.2"}, "TLSv1.2", None),
        (
            {"max_version": "TLS1.2", "ciphers": ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256")},
            "TLSv1.2",
            "AES128-GCM-SHA256",
        ),
        ({"ciphers": ()}, "TLSv1.3", None),
    ],
)
def test_versions_and_suites_are_those_that_were_chosen(
    pki: Pki, options: dict[str, Any], version: str, suite: str | None
) -> None:
    server, client = sessions(Certificates(pki.files("a", **options)), Certificates(pki.files("b")))
    talk(server, client)
    assert server._object.version() == version
    name, _, _ = server._object.cipher() or ("", "", 0)
    assert suite is None or name.endswith(suite)


@pytest.mark.parametrize("options", [{"min_version": "TLS1.3"}, {"ciphers": ()}])
def test_an_older_version_is_refused(pki: Pki, options: dict[str, Any]) -> None:
    server, client = sessions(
        Certificates(pki.files("a", **options)), Certificates(pki.files("b", max_version="TLS1.2"))
    )
    with pytest.raises(TlsFailed, match="unsupported protocol"):
        talk(server, client)


def test_suites_that_openssl_does_not_serve_are_named(pki: Pki) -> None:
    with pytest.raises(CertificatesError, match="OpenSSL serves none of the suites RC4-SHA"):
        Certificates(pki.files("a", ciphers=("RC4-SHA",)))
