"""Certificates: files, and what TLS makes of them.

Rules

1. Files are read again when one of them has changed, and what they say holds for new connections. Where they do not
   fit together, as in the middle of an exchange, what was there before goes on, and the log says so once.
2. TLS is spoken over buffers (``TlsSession``), not by the event loop: a connection counts, and can be timed out, from
   its first byte on, whether its handshake ever ends or not.
3. Who presents a certificate of the trusted CA is let in. With ``allowed_common_names`` its common name must be one of
   these; with ``allowed_hosts`` it must be for one of these, by its alternative names, as host names are verified.
4. After an error a session takes nothing more to send: what is left of it is an alert, and the end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import msgspec

READ_BYTES = 256 << 10


class CertificatesError(Exception):
    """Certificates that cannot be used; one line that says which file, and what is wrong with it."""


class TlsFailed(Exception):
    """A handshake, or what follows it, that went wrong; one line."""


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Which files, as PEM."""

    cert_file: Path
    key_file: Path
    trusted_ca_file: Path | None = None
    """None: whoever is dialled is believed to be whom it says (``verifies`` false), or is known to the system's CAs."""
    client_cert_auth: bool = False
    """Who connects must have a certificate of the trusted CA."""
    crl_file: Path | None = None
    """Certificates that count no more."""
    allowed_common_names: Sequence[str] = ()
    allowed_hosts: Sequence[str] = ()
    verifies: bool = True
    """Does who dials verify the certificate that it is shown?"""
    client_cert_file: Path | None = None
    """What to dial by; None: ``cert_file``."""
    client_key_file: Path | None = None
    ciphers: Sequence[str] | None = None
    """OpenSSL's names of suites for TLS 1.2, the best first; empty: that version is not spoken; None: OpenSSL's."""
    min_version: str = "TLS1.2"
    max_version: str | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        files = (*self.server_pair, *self.client_pair, self.trusted_ca_file, self.crl_file)
        return tuple(dict.fromkeys(file for file in files if file is not None))

    @property
    def server_pair(self) -> tuple[Path, Path]:
        return self.cert_file, self.key_file

    @property
    def client_pair(self) -> tuple[Path, Path]:
        if self.client_cert_file is None or self.client_key_file is None:
            return self.server_pair
        return self.client_cert_file, self.client_key_file


class Certificates:
    """The contexts that these files make. Raises ``CertificatesError``."""

    def __init__(self, files: TlsFiles, protocols: Sequence[str] = ()) -> None:
        self.files = files
        self._protocols = list(protocols)
        self._seen = self._look()
        self.server, self.client = self._contexts()

    def refresh(self) -> str | None:
        """Read the files again where they have changed; what is wrong with them, said once for each change."""
        seen = self._look()
        if seen == self._seen:
            return None
        self._seen = seen
        try:
            self.server, self.client = self._contexts()
        except CertificatesError as error:
            return str(error)
        return None

    def refuses(self, certificate: Mapping[str, Any] | None) -> str | None:
        """Rule 3: why who presents this verified certificate is not let in; None: it is."""
        files = self.files
        of = certificate or {}
        if files.allowed_common_names and (name := common_name(of)) not in files.allowed_common_names:
            return f"its certificate is of {name!r}, and {', '.join(files.allowed_common_names)} may connect"
        if files.allowed_hosts and not any(is_for(of, host) for host in files.allowed_hosts):
            return f"its certificate is for none of {', '.join(files.allowed_hosts)}"
        return None

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What tells that a file has changed; None: it is not there, which whoever reads it says."""
        return tuple(map(_stamp, self.files.all))

    def _contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        files = self.files
        for context, pair in ((server, files.server_pair), (client, files.client_pair)):
            _limit(context, files)
            if self._protocols:
                context.set_alpn_protocols(self._protocols)
            _load(context, files, pair)
        if files.client_cert_auth:
            server.verify_mode = ssl.CERT_REQUIRED
        if not files.verifies:
            client.check_hostname = False
            client.verify_mode = ssl.CERT_NONE
        elif files.trusted_ca_file is None:
            client.load_default_certs()
        return server, client


def common_name(certificate: Mapping[str, Any]) -> str:
    """Of whom the certificate is; "": it does not say."""
    names = (value for part in certificate.get("subject", ()) for key, value in part if key == "commonName")
    return str(next(names, ""))


def is_for(certificate: Mapping[str, Any], host: str) -> bool:
    """Do its alternative names have this host? A DNS name's first label may be ``*`` (RFC 6125, section 6.4)."""
    address = _ip_address(host)
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "IP Address" and address is not None and _ip_address(value.strip()) == address:
            return True
        if kind == "DNS" and address is None and _is_name(value.lower(), host.lower()):
            return True
    return False


def _is_name(pattern: str, host: str) -> bool:
    if not pattern.startswith("*."):
        return pattern == host
    first, dot, rest = host.partition(".")
    return bool(first and dot) and rest == pattern[2:]


def _ip_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


_VERSIONS = {"TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}


def _limit(context: ssl.SSLContext, files: TlsFiles) -> None:
    """To the versions and suites that are wanted."""
    context.minimum_version = _VERSIONS[files.min_version]
    if files.max_version is not None:
        context.maximum_version = _VERSIONS[files.max_version]
    if files.ciphers is None:
        return
    if not files.ciphers:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return
    try:
        context.set_ciphers(":".join(files.ciphers))
    except ssl.SSLError as error:
        raise CertificatesError(f"OpenSSL serves none of the suites {', '.join(files.ciphers)}") from error


def _load(context: ssl.SSLContext, files: TlsFiles, pair: tuple[Path, Path]) -> None:
    for each in files.all:  # OpenSSL does not say which one it could not read
        try:
            with each.open("rb"):
                pass
        except OSError as error:
            raise CertificatesError(f"cannot read {each}: {error.strerror}") from error
    cert, key = pair
    try:
        # A key with a password is refused: else OpenSSL would ask for it on the terminal, and wait.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise CertificatesError(f"{cert} and {key} are no certificate and its key: {_said(error)}") from error
    for file, what in ((files.trusted_ca_file, "CA certificates"), (files.crl_file, "a list of revoked certificates")):
        if file is None:
            continue
        try:
            context.load_verify_locations(file)
        except (OSError, ssl.SSLError) as error:
            raise CertificatesError(f"{file} has no {what}: {_said(error)}") from error
    if files.crl_file is not None:
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _said(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return error.strerror or str(error)


class TlsSession:
    """One connection's TLS, over buffers."""

    def __init__(self, context: ssl.SSLContext, *, server_name: str | None = None) -> None:
        """``server_name``: whom this side has dialled; None: it was dialled."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self.ready = False
        """The handshake is done."""
        self.ended = False
        """The other side sends no more."""
        self._has_failed = False
        """It sends nothing more."""
        self._unsent: list[bytes | memoryview] = []
        self.unsent_bytes = 0
        if server_name is not None:
            self._shake_hands()

    def receive(self, data: bytes) -> bytes:
        """What the other side has sent with these bytes. Raises ``TlsFailed``; there may be something to ``take``."""
        self._incoming.write(data)
        if not self.ready and not self._shake_hands():
            return b""
        parts: list[bytes] = []
        try:
            while part := self._object.read(READ_BYTES):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if not isinstance(error, ssl.SSLZeroReturnError):
                self._has_failed = True
                raise TlsFailed(_said(error)) from error
            self.ended = True
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, data: bytes | memoryview) -> None:
        """To be sent, once the handshake is done; nothing after an error."""
        if self._has_failed:
            return
        if not self.ready:
            self._unsent.append(data)
            self.unsent_bytes += len(data)
            return
        try:
            written = 0
            while written < len(data):
                written += self._object.write(data[written:] if written else data)
        except ssl.SSLError:  # the other side has ended it
            self._has_failed = True

    def finish(self) -> None:
        """Tell the other side that nothing more comes."""
        if self.ready and not self._has_failed:
            self._has_failed = True
            with suppress(ssl.SSLError):  # it does not wait for the other side's word
                self._object.unwrap()

    def take(self) -> bytes:
        """What is to be written to the socket next."""
        return self._outgoing.read()

    @property
    def certificate(self) -> Mapping[str, Any] | None:
        """The other side's, verified; None or empty: it has none."""
        return self._object.getpeercert()

    def _shake_hands(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._has_failed = True
            raise TlsFailed(_said(error)) from error
        self.ready = True
        unsent, self._unsent = self._unsent, []
        self.unsent_bytes = 0
        for data in unsent:
            self.write(data)
        return True


async def dial(
    tls: Certificates | None, host: str, port: int, *, name: str | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect; by TLS where there are certificates. ``name``: whom these must be for; None: ``host``.

    Raises ``OSError``, also where who answers is not to be believed.
    """
    if tls is None:
        return await asyncio.open_connection(host, port)
    reader, writer = await asyncio.open_connection(host, port, ssl=tls.client, server_hostname=name or host)
    refusal = tls.refuses(writer.get_extra_info("peercert"))
    if refusal is not None:
        writer.close()
        raise ConnectionRefusedError(refusal)
    return reader, writer
