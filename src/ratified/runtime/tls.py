"""Certificates: files, and what TLS makes of them.

Rules

1. Files are read again when one of them has changed, and what they say holds for new connections. Where they do not
   fit together, as in the middle of an exchange, what was there before goes on, and the log says so once.
2. TLS is spoken over buffers (``TlsSession``), not by the event loop: a connection counts, and can be timed out, from
   its first byte on, whether its handshake ever ends or not.
3. Who presents a certificate of the trusted CA is let in; with ``allowed_names`` it must have one of these, as common
   name or as subject alternative name.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
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
    allowed_names: Sequence[str] = ()
    verifies: bool = True
    """Does who dials verify the certificate that it is shown?"""

    @property
    def all(self) -> tuple[Path, ...]:
        files = (self.cert_file, self.key_file, self.trusted_ca_file, self.crl_file)
        return tuple(file for file in files if file is not None)


class Certificates:
    """The contexts that these files make. Raises ``CertificatesError``."""

    def __init__(self, files: TlsFiles, protocols: Sequence[str] = ()) -> None:
        self.files = files
        self._protocols = list(protocols)
        self._seen = self._look()
        self.server, self.client = self._contexts()

    def refresh(self) -> str | None:
        """Read the files again where they have changed; what is wrong with them, said once for each change."""
        try:
            seen = self._look()
            if seen == self._seen:
                return None
            self._seen = seen
            self.server, self.client = self._contexts()
        except CertificatesError as error:
            return str(error)
        return None

    def refuses(self, session: TlsSession) -> str | None:
        """Rule 3: why who is at the other end is not let in; None: it is."""
        allowed = self.files.allowed_names
        if not allowed:
            return None
        names = session.peer_names()
        if any(name in allowed for name in names):
            return None
        return f"its certificate is of {', '.join(names) or 'nobody'}, and {', '.join(allowed)} may connect"

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for file in self.files.all:
            try:
                status = file.stat()
            except OSError as error:
                raise CertificatesError(f"cannot read {file}: {error.strerror}") from error
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        files = self.files
        for context in (server, client):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self._protocols:
                context.set_alpn_protocols(self._protocols)
            _load(context, files)
        if files.client_cert_auth:
            server.verify_mode = ssl.CERT_REQUIRED
        if not files.verifies:
            client.check_hostname = False
            client.verify_mode = ssl.CERT_NONE
        elif files.trusted_ca_file is None:
            client.load_default_certs()
        return server, client


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    try:
        context.load_cert_chain(files.cert_file, files.key_file)
    except (OSError, ssl.SSLError) as error:
        raise CertificatesError(
            f"{files.cert_file} and {files.key_file} are no certificate and its key: {_said(error)}"
        ) from error
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
                raise TlsFailed(_said(error)) from error
            self.ended = True
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, data: bytes | memoryview) -> None:
        """To be sent, once the handshake is done."""
        if not self.ready:
            self._unsent.append(data)
            self.unsent_bytes += len(data)
            return
        written = 0
        while written < len(data):
            written += self._object.write(data[written:] if written else data)

    def take(self) -> bytes:
        """What is to be written to the socket next."""
        return self._outgoing.read()

    def protocol(self) -> str | None:
        """What ALPN has agreed on."""
        return self._object.selected_alpn_protocol()

    def peer_names(self) -> tuple[str, ...]:
        """The common name and the subject alternative names of the other side's verified certificate."""
        certificate: Mapping[str, Any] = self._object.getpeercert() or {}
        common = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        return (*common, *(value for _, value in certificate.get("subjectAltName", ())))

    def _shake_hands(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise TlsFailed(_said(error)) from error
        self.ready = True
        unsent, self._unsent = self._unsent, []
        self.unsent_bytes = 0
        for data in unsent:
            self.write(data)
        return True


def asyncio_options(tls: Certificates | None, host: str) -> dict[str, Any]:
    """How ``asyncio.open_connection`` dials a host by TLS; None: without."""
    return {} if tls is None else {"ssl": tls.client, "server_hostname": host}
