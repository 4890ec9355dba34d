"""Which certificates a server uses: those that it was given, or one that it makes itself (``--auto-tls``).

One that it makes is kept in the data directory and used again, until it is about to end or is for other hosts. Nobody
can verify it: it keeps what is said from being read on the way, and from nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ratified.runtime.directory import make_private
from ratified.runtime.tls import CertificatesError, TlsFiles
from ratified.server.config import TlsOptions

DIRECTORY = "fixtures"
"""Inside the data directory; etcd's name for it."""
_ENDS_SOON = timedelta(days=7)
_DAYS_A_YEAR = 365


def tls_files(options: TlsOptions, directory: Path, hosts: Iterable[str]) -> TlsFiles:
    """The files to serve these hosts by. Raises ``CertificatesError``.

    ``directory`` is where a certificate that is made is kept.
    """
    cert, key = options.cert_file, options.key_file
    is_own = cert is None or key is None
    if cert is None or key is None:
        cert, key = _made(directory, sorted(set(hosts)), options.validity_years)
    return TlsFiles(
        cert_file=cert,
        key_file=key,
        trusted_ca_file=options.trusted_ca_file,
        client_cert_auth=options.client_cert_auth,
        crl_file=options.crl_file,
        allowed_common_names=options.allowed_common_names,
        allowed_hosts=options.allowed_hosts,
        verifies=not is_own,
        client_cert_file=options.client_cert_file,
        client_key_file=options.client_key_file,
        ciphers=options.cipher_suites,
        min_version=options.min_version,
        max_version=options.max_version,
    )


def _made(directory: Path, hosts: list[str], years: int) -> tuple[Path, Path]:
    from ratified.server.certificates import CertificateError, expires, self_signed

    cert, key, made_for = directory / "cert.pem", directory / "key.pem", directory / "hosts"
    try:
        wanted = "\n".join(hosts)
        if (
            key.exists()
            and cert.exists()
            and made_for.exists()
            and made_for.read_text() == wanted
            and expires(cert.read_bytes()) > datetime.now(UTC) + _ENDS_SOON
        ):
            return cert, key
        make_private(directory)
        pair = self_signed(hosts, years * _DAYS_A_YEAR)
        made_for.unlink(missing_ok=True)
        for file, content in ((key, pair.key), (cert, pair.certificate), (made_for, wanted.encode())):
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as opened:
                opened.write(content)
    except OSError as error:
        raise CertificatesError(f"cannot keep a certificate in {directory}: {error.strerror}") from error
    except (CertificateError, ValueError) as error:
        raise CertificatesError(f"cannot make a certificate: {error}") from error
    return cert, key
