"""X.509 certificates of a cluster: a CA, and what it signs for members and clients.

Rules of this module:

1. Every key is EC P-256, every signature is with SHA-256, every serial number is random.
2. A member's certificate serves on both ends of a connection, since a member is the client of its peers. One without
   hosts is a client's, and serves as a server nowhere: not even at a host of its common name.
3. A certificate does not outlive the CA that signs it.
4. Nothing is read or written: certificates and keys are PEM, in memory.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

COMMON_NAME_LENGTH_MAX = 64
"""X.509's own limit (RFC 5280, ub-common-name)."""

DNS_NAME_LENGTH_MAX = 253
DNS_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.I)

DAYS_MAX = 36_500

BACKDATED = timedelta(hours=1)
"""A certificate is valid from so long before it was made, for clocks that are behind."""

_SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class CertificateError(ValueError):
    """A certificate that cannot be made, or a CA that cannot be used; the text says why."""


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its private key, in PEM. The key is not encrypted."""

    certificate: bytes
    key: bytes


def make_ca(name: str, days: int) -> Pair:
    """A CA of this common name that signs certificates for so many days. Raises ``CertificateError``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = _builder(subject, subject, key, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return _signed(builder, key, key)


def make_certificate(ca: Pair, common_name: str, hosts: Sequence[str], days: int) -> Pair:
    """A certificate for DNS names and IP addresses; none: for one that is only a client. Raises ``CertificateError``.

    It ends with the CA where that ends in fewer days.
    """
    issuer, issuer_key = _loaded_ca(ca)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_subject(common_name), issuer.subject, key, days, ends_by=issuer.not_valid_after_utc)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(authority, critical=False)
    return _signed(_for_hosts(builder, hosts, serves=bool(hosts)), key, issuer_key)


def self_signed(hosts: Sequence[str], days: int) -> Pair:
    """A certificate that no CA has signed. Raises ``CertificateError``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject("ratified")
    return _signed(_for_hosts(_builder(subject, subject, key, days), hosts, serves=True), key, key)


def check_ca(ca: Pair) -> None:
    """Raise ``CertificateError`` where this CA cannot sign anything now."""
    _loaded_ca(ca)


def check_host(host: str) -> None:
    """Raise ``CertificateError`` where this is neither a DNS name nor an IP address."""
    _general_name(host)


def expires(certificate: bytes) -> datetime:
    """The moment from which a certificate in PEM is not valid any more, in UTC."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    *,
    ends_by: datetime | None = None,
) -> x509.CertificateBuilder:
    """What all certificates share. ``ends_by`` None: ``days`` alone say when it ends."""
    if not 1 <= days <= DAYS_MAX:
        raise CertificateError(f"a certificate cannot be valid for {days} days: give 1 to {DAYS_MAX}")
    now = datetime.now(UTC)
    ends = now + timedelta(days=days)
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - BACKDATED,
        not_valid_after=ends if ends_by is None else min(ends, ends_by),
    )
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _for_hosts(builder: x509.CertificateBuilder, hosts: Sequence[str], *, serves: bool) -> x509.CertificateBuilder:
    """The extensions of a certificate that is no CA's."""
    server = [ExtendedKeyUsageOID.SERVER_AUTH] if serves else []
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([*server, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    if not hosts:
        return builder
    names = x509.SubjectAlternativeName([_general_name(host) for host in dict.fromkeys(hosts)])
    return builder.add_extension(names, critical=False)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common_name: str) -> x509.Name:
    if not 1 <= len(common_name) <= COMMON_NAME_LENGTH_MAX:
        raise CertificateError(
            f"the name {common_name!r} has {len(common_name)} characters, and may have 1 to {COMMON_NAME_LENGTH_MAX}"
        )
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    # A name of digits and dots alone is a mistyped address: no client would look it up.
    if len(host) > DNS_NAME_LENGTH_MAX or not DNS_NAME.fullmatch(host) or not host.strip("0123456789."):
        raise CertificateError(
            f"{host!r} is neither a DNS name nor an IP address; give it without port, brackets and http://"
        )
    return x509.DNSName(host)


def _loaded_ca(ca: Pair) -> tuple[x509.Certificate, _SigningKey]:
    try:
        certificate = x509.load_pem_x509_certificate(ca.certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = x509.BasicConstraints(ca=False, path_length=None)
    except ValueError as wrong:
        raise CertificateError(f"the CA's certificate is not in PEM: {wrong}") from wrong
    if not constraints.ca:
        raise CertificateError("the CA's certificate is not one of a CA")
    try:
        key = load_pem_private_key(ca.key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as wrong:
        raise CertificateError(f"the CA's key is not in PEM without a password: {wrong}") from wrong
    if not isinstance(key, _SigningKey):
        raise CertificateError("the CA's key is neither EC nor RSA")
    if _public(key.public_key()) != _public(certificate.public_key()):
        raise CertificateError("the CA's key is not that of its certificate")
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise CertificateError(f"the CA has expired on {certificate.not_valid_after_utc:%Y-%m-%d}; make a new one")
    return certificate, key


def _public(key: object) -> bytes:
    assert hasattr(key, "public_bytes")
    public: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer_key: _SigningKey) -> Pair:
    certificate = builder.sign(issuer_key, hashes.SHA256())
    return Pair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
