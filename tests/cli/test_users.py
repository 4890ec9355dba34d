"""``auth``, ``user`` and ``role``, and ``--user``, at a cluster of ours and at etcd."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratified.testing.processes import LocalCluster
from tests.cli.conftest import Ratified
from tests.client.etcd import Etcd


@pytest.fixture(params=["ratified", "etcd"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Ratified]:
    """A cluster of the test's own."""
    if request.param == "etcd":
        with Etcd(tmp_path) as etcd:
            yield Ratified([etcd.endpoint], capsys)
    else:
        with LocalCluster(tmp_path, 1) as cluster:
            yield Ratified(cluster.endpoints, capsys)


def test_users_and_roles(guarded: Ratified, monkeypatch: pytest.MonkeyPatch) -> None:
    assert guarded("user", "add", "root", "--new-password", "secret") == "User root created\n"
    assert guarded("role", "add", "root") == "Role root created\n"
    assert guarded("user", "grant-role", "root", "root") == "Role root is granted to user root\n"
    guarded("user", "add", "alice", "--new-password", "wonder")
    guarded("user", "add", "robot", "--no-password")
    guarded("role", "add", "readers")
    assert guarded("role", "grant-permission", "readers", "read", "app/", "--prefix") == "Role readers updated\n"
    guarded("role", "grant-permission", "readers", "write", "one")
    guarded("role", "grant-permission", "readers", "readwrite", "x", "--from-key")
    guarded("user", "grant-role", "alice", "readers")
    assert guarded("role", "get", "readers") == "read: [app/, app0)\nwrite: one\nreadwrite: [x, ...)\n"
    assert guarded.json("role", "get", "readers")["permissions"][0] == {
        "permission": "read",
        "key": "app/",
        "range_end": "app0",
    }
    assert guarded("auth", "enable") == "Authentication Enabled\n"

    guarded("get", "app/1", status=1)
    assert "user name is empty" in guarded.error
    guarded("put", "app/1", "v", "--user", "alice:wonder", status=1)
    assert "permission denied" in guarded.error
    guarded("get", "app/1", "--user", "alice", "--password", "wander", status=1)
    assert "authentication failed, invalid user ID or password" in guarded.error
    root = ("--user", "root:secret")
    guarded("put", "app/1", "v", *root)
    assert guarded("get", "app/1", "--user", "alice:wonder") == "app/1\nv\n"
    assert "is healthy" in guarded("endpoint", "health", "--user", "alice:wonder")
    with monkeypatch.context() as patched:
        patched.setenv("RATIFIED_USER", "alice")
        patched.setenv("RATIFIED_PASSWORD", "wonder")
        assert guarded("get", "app/1") == "app/1\nv\n"
    assert guarded.json("auth", "status", *root)["enabled"]
    assert guarded("auth", "status", *root).startswith("Authentication Status: true\nAuthRevision: ")

    assert guarded("user", "list", *root).split() == ["alice", "robot", "root"]
    assert guarded.json("role", "list", *root) == ["readers", "root"]
    assert guarded("user", "get", "alice", *root) == "User: alice\nRoles: readers\n"
    assert guarded("user", "passwd", "alice", "--new-password", "land", *root) == "Password updated\n"
    guarded("get", "app/1", "--user", "alice:land")
    guarded("role", "revoke-permission", "readers", "app/", "--prefix", *root)
    guarded("get", "app/1", "--user", "alice:land", status=1)
    guarded("user", "revoke-role", "alice", "readers", *root)
    assert guarded.json("user", "get", "alice", *root) == {"user": "alice", "roles": []}
    assert guarded("user", "delete", "robot", *root) == "User robot deleted\n"
    assert guarded("role", "delete", "readers", *root) == "Role readers deleted\n"
    assert guarded("auth", "disable", *root) == "Authentication Disabled\n"
    guarded("put", "app/1", "w")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["get", "k", "--password", "p"], "--user: not given, and a password needs its user"),
        (["get", "k", "--user", ":p"], "--user: ':p' has no name"),
        (["get", "k", "--user", "u:p", "--password", "q"], "--password: --user has a password, too"),
        (["mirror", "--from", "h:1", "--from-user", ":p"], "--from-user: ':p' has no name"),
    ],
)
def test_a_login_that_is_wrong_says_so(ratified: Ratified, arguments: list[str], words: str) -> None:
    ratified(*arguments, status=1)
    assert words in ratified.error


def test_without_a_terminal_no_password_is_asked_for(ratified: Ratified, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    ratified("get", "k", "--user", "u", status=1)
    assert "--password: not given, and there is no terminal to ask at" in ratified.error
    ratified("user", "add", "u", status=1)
    assert "--new-password: not given" in ratified.error
