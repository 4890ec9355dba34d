"""Certificates of members and clients, as Python's own TLS judges them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ratified.server.certificates import (
    BACKDATED,
    CertificateError,
    Pair,
    check_ca,
    check_host,
    expires,
    make_ca,
    make_certificate,
    self_signed,
)
from tests.server.handshake import talk

HOSTS = ("node1.example", "127.0.0.1", "::1")


@pytest.fixture(scope="module")
def ca() -> Pair:
    return make_ca("the CA", days=30)


@pytest.fixture(scope="module")
def member(ca: Pair) -> Pair:
    return make_certificate(ca, "node1", HOSTS, days=10)


Contexts = Callable[..., ssl.SSLContext]


@pytest.fixture
def context(tmp_path: Path) -> Contexts:
    """A context with these CAs, which asks the other side for a certificate, and with an own certificate or none."""

    def make(protocol: int, ca: Pair, own: Pair | None) -> ssl.SSLContext:
        made = ssl.SSLContext(protocol)
        made.verify_mode = ssl.CERT_REQUIRED
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        made.load_verify_locations(cadata=ca.certificate.decode())
        if own is not None:
            (tmp_path / "crt").write_bytes(own.certificate)
            (tmp_path / "key").write_bytes(own.key)
            made.load_cert_chain(tmp_path / "crt", tmp_path / "key")
        return made

    return make


@pytest.mark.parametrize("host", HOSTS)
def test_a_member_and_a_client_of_one_ca_accept_each_other(
    ca: Pair, member: Pair, context: Contexts, host: str
) -> None:
    own = make_certificate(ca, "app", [], days=10)
    server, client = context(ssl.PROTOCOL_TLS_SERVER, ca, member), context(ssl.PROTOCOL_TLS_CLIENT, ca, own)
    assert talk(server, client, host) == ("answered", ["served"])


def test_a_member_is_a_client_of_its_peers_by_the_same_certificate(ca: Pair, member: Pair, context: Contexts) -> None:
    server, client = context(ssl.PROTOCOL_TLS_SERVER, ca, member), context(ssl.PROTOCOL_TLS_CLIENT, ca, member)
    assert talk(server, client, "node1.example") == ("answered", ["served"])


def test_a_client_without_a_certificate_is_refused(ca: Pair, member: Pair, context: Contexts) -> None:
    server, client = context(ssl.PROTOCOL_TLS_SERVER, ca, member), context(ssl.PROTOCOL_TLS_CLIENT, ca, None)
    told, (said,) = talk(server, client, "127.0.0.1")
    assert told != "answered"
    assert "peer did not return a certificate" in said


def test_a_client_of_another_ca_is_refused(ca: Pair, member: Pair, context: Contexts) -> None:
    own = make_certificate(make_ca("the CA", days=10), "app", [], days=10)
    server, client = context(ssl.PROTOCOL_TLS_SERVER, ca, member), context(ssl.PROTOCOL_TLS_CLIENT, ca, own)
    told, (said,) = talk(server, client, "127.0.0.1")
    assert told != "answered"
    assert "certificate verify failed" in said.lower()


@pytest.mark.parametrize("host", ["127.0.0.2", "node2.example", "x.node1.example"])
def test_a_member_reached_at_another_host_is_refused(ca: Pair, member: Pair, context: Contexts, host: str) -> None:
    server, client = context(ssl.PROTOCOL_TLS_SERVER, ca, member), context(ssl.PROTOCOL_TLS_CLIENT, ca, member)
    told, _ = talk(server, client, host)
    assert "is not valid for" in told


def test_a_client_certificate_serves_no_host(ca: Pair, context: Contexts) -> None:
    own = make_certificate(ca, "node1.example", [], days=10)
    server, client = context(ssl.PROTOCOL_TLS_SERVER, ca, own), context(ssl.PROTOCOL_TLS_CLIENT, ca, own)
    told, _ = talk(server, client, "node1.example")
    assert "unsuitable certificate purpose" in told or "unsupported certificate purpose" in told


def test_a_self_signed_certificate_is_accepted_by_whom_it_was_given_to(ca: Pair, context: Contexts) -> None:
    own = self_signed(["127.0.0.1"], days=10)
    server = context(ssl.PROTOCOL_TLS_SERVER, own, own)
    assert talk(server, context(ssl.PROTOCOL_TLS_CLIENT, own, own), "127.0.0.1") == ("answered", ["served"])
    told, _ = talk(server, context(ssl.PROTOCOL_TLS_CLIENT, ca, own), "127.0.0.1")
    assert "certificate verify failed" in told.lower()


def test_a_certificate_is_valid_from_an_hour_back_and_not_longer_than_its_ca(ca: Pair) -> None:
    for days, ends_in in ((10, 10), (100, 30)):
        made = x509.load_pem_x509_certificate(make_certificate(ca, "m", HOSTS, days).certificate)
        now = datetime.now(UTC)
        assert abs(now - BACKDATED - made.not_valid_before_utc) < timedelta(minutes=5)
        assert abs(now + timedelta(days=ends_in) - made.not_valid_after_utc) < timedelta(minutes=5)
    assert expires(make_certificate(ca, "m", HOSTS, 100).certificate) == expires(ca.certificate)


def test_no_two_certificates_have_one_serial_number(ca: Pair) -> None:
    made = [x509.load_pem_x509_certificate(make_certificate(ca, "m", [], 1).certificate) for _ in range(3)]
    assert len({each.serial_number for each in made}) == 3


@pytest.mark.parametrize(
    "host", ["", "10.0.0", "10.0.0.256", "h:1", "[::1]", "http://h", "a..b", "-a", "a b", "é.example", "a" * 64]
)
def test_a_wrong_host_is_named(host: str) -> None:
    with pytest.raises(CertificateError, match="neither a DNS name nor an IP address"):
        check_host(host)


@pytest.mark.parametrize("host", ["h", "H-1.example", "*.example", "2001:db8::1", "0.0.0.0", "a_b"])
def test_a_host_is_a_dns_name_or_an_ip_address(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize("days", [0, -1, 10**12])
def test_days_that_cannot_be_are_refused(days: int) -> None:
    with pytest.raises(CertificateError, match=f"for {days} days: give 1 to"):
        make_ca("x", days)


def test_a_name_that_is_too_long_is_refused(ca: Pair) -> None:
    with pytest.raises(CertificateError, match="65 characters"):
        make_certificate(ca, "x" * 65, [], 1)


def test_a_ca_that_cannot_sign_is_refused(ca: Pair, member: Pair) -> None:
    ed25519_key = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    check_ca(ca)
    for wrong, words in (
        (member, "not one of a CA"),
        (Pair(b"x", ca.key), "certificate is not in PEM"),
        (Pair(ca.certificate, b"x"), "key is not in PEM without a password"),
        (Pair(ca.certificate, member.key), "key is not that of its certificate"),
        (Pair(ca.certificate, ed25519_key), "neither EC nor RSA"),
    ):
        with pytest.raises(CertificateError, match=words):
            check_ca(wrong)


def test_an_expired_ca_is_refused(ca: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Later:
            return cls.fromtimestamp(datetime.now(UTC).timestamp() + 31 * 86_400, UTC)

    monkeypatch.setattr("ratified.server.certificates.datetime", Later)
    with pytest.raises(CertificateError, match="expired on"):
        check_ca(ca)
