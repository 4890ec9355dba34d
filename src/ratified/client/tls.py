"""How a client proves who it is over TLS, and by which CAs it checks the server."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc
import msgspec


class TlsError(ValueError):
    """TLS that cannot be used. ``option`` is the field of ``Tls`` that is wrong, ``problem`` says why."""

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option}: {problem}")
        self.option = option
        self.problem = problem


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """Files in PEM, read when an endpoint is first used. Raises ``TlsError`` for half a pair."""

    ca_file: str | Path | None = None
    """The CAs that a server's certificate may be signed by; None: those of the system."""

    cert_file: str | Path | None = None
    """The client's own certificate, for a server that asks for one; it needs ``key_file``."""

    key_file: str | Path | None = None
    """The key of ``cert_file``, without a password."""

    server_name: str | None = None
    """The name that every server's certificate must be made for; None: the endpoint's own host."""

    def __post_init__(self) -> None:
        if self.cert_file is not None and self.key_file is None:
            raise TlsError("key_file", "not given, and a certificate needs its key")
        if self.key_file is not None and self.cert_file is None:
            raise TlsError("cert_file", "not given, and a key needs its certificate")

    @property
    def cas(self) -> str:
        """The CAs, in words."""
        return "the CAs of the system" if self.ca_file is None else f"the CAs of {self.ca_file}"

    @property
    def channel_options(self) -> tuple[tuple[str, str], ...]:
        """What a gRPC channel needs besides the credentials."""
        return () if self.server_name is None else (("grpc.ssl_target_name_override", self.server_name),)

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises ``TlsError``, since gRPC itself does not say what is wrong with one."""
        cas = _system_cas() if self.ca_file is None else _read("ca_file", self.ca_file)
        if self.ca_file is not None and cas is not None:
            _check_cas(self.ca_file, cas)
        if self.cert_file is None or self.key_file is None:
            return grpc.ssl_channel_credentials(cas)
        certificate, key = _read("cert_file", self.cert_file), _read("key_file", self.key_file)
        _check_pair(self.cert_file, self.key_file)
        return grpc.ssl_channel_credentials(cas, key, certificate)


def _system_cas() -> bytes | None:
    """Those that Python's own TLS trusts; gRPC would take a list that it brings along. None: there are none."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return Path(paths.cafile).read_bytes()
    hashed = sorted(Path(paths.capath).glob("*.[0-9]")) if paths.capath else ()
    return b"\n".join(file.read_bytes() for file in hashed) or None


def _read(option: str, file: str | Path) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise TlsError(option, f"{file}: {error.strerror or error}") from error


def _check_cas(file: str | Path, cas: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=cas.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as wrong:
        raise TlsError("ca_file", f"{file} has no certificate in PEM") from wrong


def _check_pair(certificate: str | Path, key: str | Path) -> None:
    try:
        # The password keeps OpenSSL from asking for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password="none")
    except ssl.SSLError as wrong:
        if wrong.reason == "KEY_VALUES_MISMATCH":
            raise TlsError("key_file", f"{key} is not the key of {certificate}") from wrong
        raise TlsError(
            "cert_file", f"{certificate} with the key {key} is not a certificate and a key in PEM without a password"
        ) from wrong
