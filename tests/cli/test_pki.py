"""``ratified pki init``: which files it makes, what it says, and what it refuses."""

from __future__ import annotations

import json
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest

from ratified.cli.main import run
from tests.server.handshake import talk


def init(directory: Path, *arguments: str) -> int:
    return run(["pki", "init", "--directory", str(directory), *arguments])


def content(directory: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in directory.rglob("*")}


def refused(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> str:
    """The one line of an error; and nothing was made."""
    before = content(directory)
    capsys.readouterr()
    assert init(directory, *arguments) == 1
    caught = capsys.readouterr()
    assert caught.out == ""
    assert len(caught.err.splitlines()) == 1
    assert content(directory) == before
    return caught.err


def handshake(directory: Path, member: str, client: str | None, host: str) -> str:
    """What a client says that reaches a member at this host; it has this certificate, or none."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=directory / "ca.crt")
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(directory / f"{member}.crt", directory / f"{member}.key")
    asks = ssl.create_default_context(cafile=directory / "ca.crt")
    if client is not None:
        asks.load_cert_chain(directory / f"{client}.crt", directory / f"{client}.key")
    return talk(server, asks, host)[0]


def test_members_and_clients_accept_each_other_and_nobody_else(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    members = ("--members", "node1=10.0.0.1,node1.example", "--members", "node2=10.0.0.2")
    assert init(directory, *members, "--clients", "app") == 0
    assert handshake(directory, "node1", "app", "node1.example") == "answered"
    assert handshake(directory, "node1", "node2", "10.0.0.1") == "answered"
    assert handshake(directory, "node2", "node1", "10.0.0.2") == "answered"
    assert handshake(directory, "node1", None, "10.0.0.1") != "answered"
    assert "not valid for '10.0.0.1'" in handshake(directory, "node2", "app", "10.0.0.1")


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    assert init(tmp_path, "--members", "a=h") == 0
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert set(modes) == {"ca.crt", "ca.key", "a.crt", "a.key"}
    assert modes["ca.key"] == modes["a.key"] == 0o600


def test_a_ca_that_is_there_is_used_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path, "--members", "a=h", "--json") == 0
    ca = (tmp_path / "ca.crt").read_bytes(), (tmp_path / "ca.key").read_bytes()
    assert json.loads(capsys.readouterr().out)["ca_made"]
    assert init(tmp_path, "--members", "b=i,127.0.0.1", "--clients", "c,d", "--days", "3", "--json") == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert not told["ca_made"]
    assert [(row["name"], row["hosts"]) for row in told["certificates"]] == [
        ("b", ["i", "127.0.0.1"]),
        ("c", []),
        ("d", []),
    ]
    assert told["certificates"][0]["key"] == str(tmp_path / "b.key")
    assert ((tmp_path / "ca.crt").read_bytes(), (tmp_path / "ca.key").read_bytes()) == ca
    assert handshake(tmp_path, "b", "a", "i") == handshake(tmp_path, "a", "d", "h") == "answered"


def test_it_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path, "--members", "a=h,10.0.0.1", "--clients", "app") == 0
    ca, member, client = capsys.readouterr().out.splitlines()
    assert f"{tmp_path}/ca.key (made)" in ca
    assert member.startswith(f"{tmp_path}/a.crt and {tmp_path}/a.key: for h, 10.0.0.1, until 20")
    assert "for a client" in client


def test_no_file_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path, "--members", "a=h") == 0
    said = refused(capsys, tmp_path, "--members", "a=h", "--clients", "c")
    assert f"{tmp_path}/a.crt, {tmp_path}/a.key: there already" in said
    assert "leave out a, or move the old files away; nothing was made" in said
    (tmp_path / "b.key").symlink_to(tmp_path / "nowhere")
    assert init(tmp_path, "--clients", "b") == 1
    assert f"{tmp_path}/b.key: there already" in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["ca.crt", "ca.key"])
def test_half_a_ca_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: str) -> None:
    assert init(tmp_path, "--members", "a=h") == 0
    (tmp_path / lost).unlink()
    assert f"{tmp_path / lost} is not: bring that back" in refused(capsys, tmp_path, "--clients", "c")


def test_a_ca_that_cannot_sign_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path, "--members", "a=h") == 0
    (tmp_path / "ca.key").write_bytes((tmp_path / "a.key").read_bytes())
    said = refused(capsys, tmp_path, "--clients", "c")
    assert f"{tmp_path}/ca.key: the CA's key is not that of its certificate" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give at least one --members"),
        (["--members", "a"], "--members: 'a' is not of the form NAME=HOST"),
        (["--members", "a="], "--members: 'a=' is not of the form NAME=HOST"),
        (["--members", "a=h:2379"], "--members: 'h:2379' is neither a DNS name nor an IP address"),
        (["--members", "../a=h"], "--members: '../a' cannot be the name of a file"),
        (["--clients", ""], "--clients: '' cannot be the name of a file"),
        (["--clients", "ca"], "the CA's own files"),
        (["--members", "a=h", "--members", "a=i"], "'a' is named twice; give a member all its hosts at once"),
        (["--members", "a=h", "--clients", "a"], "--clients: 'a' is named twice"),
        (["--clients", "a", "--days", "99999"], "for 99999 days: give 1 to 36500; nothing was made"),
    ],
)
def test_what_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert words in refused(capsys, tmp_path / "pki", *arguments)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert "File exists; nothing was made" in refused(capsys, tmp_path / "file", "--clients", "a")
