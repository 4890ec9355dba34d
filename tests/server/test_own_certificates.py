"""The certificate that a server makes itself: where it is, and when it is made anew."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from ratified.runtime.tls import CertificatesError
from ratified.server.certificates import expires
from ratified.server.config import TlsOptions
from ratified.server.own_certificates import tls_files

OPTIONS = TlsOptions(
    cert_file=None,
    key_file=None,
    trusted_ca_file=None,
    client_cert_auth=False,
    crl_file=None,
    allowed_common_names=(),
    allowed_hosts=(),
    validity_years=2,
)


def test_it_is_kept_for_this_user_alone_and_used_again(tmp_path: Path) -> None:
    directory = tmp_path / "data" / "fixtures"
    files = tls_files(OPTIONS, directory, ["a.example", "127.0.0.1"])
    certificate = files.cert_file.read_bytes()
    assert [each.stat().st_mode & 0o777 for each in (tmp_path / "data", directory, files.key_file)] == [
        0o700,
        0o700,
        0o600,
    ]
    assert (expires(certificate) - datetime.now(UTC)).days in (729, 730)
    assert not files.verifies
    again = tls_files(OPTIONS, directory, ["127.0.0.1", "a.example"])
    assert again == files
    assert again.cert_file.read_bytes() == certificate


def test_it_is_made_anew_for_other_hosts_near_its_end_and_where_a_part_is_missing(tmp_path: Path) -> None:
    seen = set()
    soon = msgspec.structs.replace(OPTIONS, validity_years=1)
    for hosts in (["a"], ["b"], ["b"], ["b"]):
        files = tls_files(soon, tmp_path, hosts)
        seen.add(files.cert_file.read_bytes())
        (files.cert_file if len(seen) == 2 else files.key_file).unlink()
    assert len(seen) == 4


def test_one_that_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CertificatesError, match=r"cannot keep a certificate in .*file/fixtures: Not a directory"):
        tls_files(OPTIONS, tmp_path / "file" / "fixtures", ["a"])


def test_given_files_are_used_as_they_are(tmp_path: Path) -> None:
    given = msgspec.structs.replace(OPTIONS, cert_file=Path("c"), key_file=Path("k"), trusted_ca_file=Path("ca"))
    files = tls_files(given, tmp_path, ["a"])
    assert (files.cert_file, files.key_file, files.trusted_ca_file, files.verifies) == (
        Path("c"),
        Path("k"),
        Path("ca"),
        True,
    )
    assert not list(tmp_path.iterdir())
