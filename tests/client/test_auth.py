"""Users and passwords, at a cluster of ours and at etcd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ratified.client import (
    AsyncClient,
    AuthenticationFailed,
    AuthNotEnabled,
    CallRefused,
    Client,
    Permission,
    PermissionDenied,
    TokenRefused,
)
from ratified.client.auth_calls import authenticate
from ratified.client.recipes.steps import ask
from ratified.testing.processes import LocalCluster
from tests.client.etcd import Etcd


def guard(endpoint: str) -> None:
    """root, and alice, who may do what she likes with what begins with a/, and read b/; then nobody else."""
    with Client([endpoint]) as client:
        client.auth.add_user("root", "secret")
        client.auth.add_role("root")
        client.auth.grant_role("root", "root")
        client.auth.add_user("alice", "wonder")
        client.auth.add_role("readers")
        client.auth.grant_permission("readers", "readwrite", "a/", prefix=True)
        client.auth.grant_permission("readers", "read", "b/", prefix=True)
        client.auth.grant_role("alice", "readers")
        client.auth.enable()


class Server(NamedTuple):
    """One member that is a cluster, and can be killed and started."""

    endpoint: str
    kill: Callable[[], None]
    start: Callable[[], None]


@contextmanager
def server(kind: str, directory: Path) -> Iterator[Server]:
    if kind == "etcd":
        with Etcd(directory) as etcd:
            yield Server(etcd.endpoint, etcd.kill, etcd.start)
        return
    with LocalCluster(directory, 1) as cluster:
        (node,) = cluster.nodes
        yield Server(node.endpoint, node.kill, cluster.start)


KINDS = ["ratified", "etcd"]


@pytest.fixture(scope="module", params=KINDS)
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(request.param, tmp_path_factory.mktemp("guarded")) as running:
        guard(running.endpoint)
        yield running


@pytest.fixture
def alice(guarded: Server) -> Iterator[Client]:
    with Client([guarded.endpoint], user="alice", password="wonder") as client:
        yield client


@pytest.fixture
def root(guarded: Server) -> Iterator[Client]:
    with Client([guarded.endpoint], user="root", password="secret") as client:
        yield client


def test_a_user_may_do_what_its_roles_admit_to(alice: Client, guarded: Server) -> None:
    alice.put("a/1", "v")
    assert alice.range("a/", prefix=True).count >= 1
    assert alice.get("b/1") is None
    for refused in (lambda: alice.put("b/1", "v"), lambda: alice.get("c"), lambda: alice.range("", prefix=True)):
        with pytest.raises(PermissionDenied):
            refused()
    with Client([guarded.endpoint]) as nobody, pytest.raises(TokenRefused):
        nobody.get("a/1")
    with Client([guarded.endpoint], user="alice", password="wander") as other, pytest.raises(AuthenticationFailed):
        other.get("a/1")
    with pytest.raises(ValueError, match="a user needs a password"):
        Client([guarded.endpoint], user="alice")


def test_a_watch_is_the_users_too(alice: Client, root: Client) -> None:
    with alice.watch("a/", prefix=True) as watch:
        watch.begin()
        root.put("a/seen", "v")
        assert next(watch).pair.key == b"a/seen"
    with alice.watch("c") as watch, pytest.raises(PermissionDenied):
        next(watch)


def test_recipes_are_the_users_too(alice: Client) -> None:
    with alice.lock("a/lock", 10), alice.keep_lease(10) as lease:
        alice.put("a/kept", "v", lease=lease.id)
    alice.stm(lambda transaction: transaction.put("a/stm", "v"))
    with pytest.raises(PermissionDenied):
        alice.lock("c/lock", 10).acquire()


def test_a_token_that_has_ended_is_renewed(alice: Client) -> None:
    alice.put("a/1", "v")
    old = alice._login.token
    assert old
    alice._login.token = "nonsense.1"
    alice.put("a/1", "w")
    alice._login.token = "nonsense.2"
    with alice.watch("a/", prefix=True) as watch:
        watch.begin()
        alice.put("a/1", "x")
        assert next(watch).pair.value == b"x"
    assert alice._login.token not in (old, "nonsense.1", "nonsense.2")


def test_many_calls_at_once_ask_for_one_token(alice: Client, guarded: Server) -> None:
    with ThreadPoolExecutor(16) as pool:
        tokens = set(pool.map(lambda number: (alice.put(f"a/{number}", "v"), alice._login.token)[1], range(64)))
    assert len(tokens) == 1

    async def run() -> None:
        async with AsyncClient([guarded.endpoint], user="alice", password="wonder") as client:

            async def put(number: int) -> str | None:
                await client.put(f"a/{number}", "v")
                return client._login.token

            assert len(set(await asyncio.gather(*map(put, range(64))))) == 1

    asyncio.run(run())


def test_awaited(guarded: Server) -> None:
    async def run() -> None:
        async with AsyncClient([guarded.endpoint], user="alice", password="wonder") as client:
            await client.put("a/1", "v")
            client._login.token = "nonsense.1"
            async with client.watch("a/1") as watch:
                await watch.begin()
                await client.put("a/1", "w")
                assert (await anext(watch)).pair.value == b"w"
            with pytest.raises(PermissionDenied):
                await client.get("c")
            async with client.watch("c") as watch:
                with pytest.raises(PermissionDenied):
                    await anext(watch)
        async with AsyncClient([guarded.endpoint]) as nobody:
            with pytest.raises(TokenRefused):
                await nobody.get("a/1")
            async with nobody.watch("a/1") as watch:
                with pytest.raises((TokenRefused, PermissionDenied)):  # etcd 3.5 does not tell them apart
                    await anext(watch)
        async with AsyncClient([guarded.endpoint], user="root", password="secret") as root:
            await root.auth.add_user("bob", None)
            assert "bob" in await root.auth.users()
            await root.auth.delete_user("bob")
            assert (await root.auth.status()).enabled

    asyncio.run(run())


def test_users_and_roles(root: Client) -> None:
    auth = root.auth
    before = auth.status()
    assert before.enabled
    auth.add_role("role")
    auth.grant_permission("role", "read", "k")
    auth.grant_permission("role", "write", "p", prefix=True)
    auth.grant_permission("role", "readwrite", "x", end=b"\0")
    assert auth.permissions("role") == (
        Permission("read", b"k"),
        Permission("write", b"p", b"q"),
        Permission("readwrite", b"x", b"\0"),
    )
    auth.revoke_permission("role", "p", prefix=True)
    assert len(auth.permissions("role")) == 2
    auth.add_user("carol", "one")
    auth.grant_role("carol", "role")
    assert auth.user_roles("carol") == ("role",)
    auth.change_password("carol", "two")
    auth.revoke_role("carol", "role")
    assert {"root", "alice", "carol"} <= set(auth.users())
    assert {"root", "readers", "role"} <= set(auth.roles())
    auth.delete_user("carol")
    auth.delete_role("role")
    assert auth.status().revision > before.revision
    with pytest.raises(CallRefused, match="user name not found"):
        auth.user_roles("carol")
    with pytest.raises(ValueError, match="'all' is no permission"):
        auth.grant_permission("role", "all", "k")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_that_asks_for_no_user_takes_one(tmp_path: Path, kind: str) -> None:
    with server(kind, tmp_path) as open_, Client([open_.endpoint], user="root", password="secret") as client:
        client.put("k", "v")
        with pytest.raises(AuthNotEnabled):
            client.carry_out(ask(authenticate("root", "secret")))
        guard(open_.endpoint)
        client.put("k", "w")
        client.auth.disable()
        client.put("k", "x")


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_has_forgotten_its_tokens_is_told_again(tmp_path: Path, kind: str) -> None:
    with server(kind, tmp_path) as restarted:
        guard(restarted.endpoint)
        with (
            Client([restarted.endpoint], user="alice", password="wonder", timeout_s=3) as client,
            client.watch("a/", prefix=True) as watch,
        ):
            watch.begin()
            client.put("a/1", "v")
            restarted.kill()
            restarted.start()
            client.put("a/1", "w")
            assert [next(watch).pair.value for _ in range(2)] == [b"v", b"w"]


@contextmanager
def keys(directory: Path) -> Iterator[str]:
    """A pair of keys for tokens that say themselves whose they are, as etcd's option names it."""
    private = rsa.generate_private_key(65537, 2048)
    pem = serialization.Encoding.PEM
    secret = private.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    (directory / "private.pem").write_bytes(secret)
    public = private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (directory / "public.pem").write_bytes(public)
    named = f"pub-key={directory / 'public.pem'},priv-key={directory / 'private.pem'}"
    yield f"--auth-token=jwt,{named},sign-method=RS256,ttl=10m"


def test_a_token_of_before_a_change_of_roles_is_renewed(tmp_path: Path) -> None:
    with keys(tmp_path) as option, Etcd(tmp_path, [option]) as etcd:
        guard(etcd.endpoint)
        with (
            Client([etcd.endpoint], user="alice", password="wonder") as client,
            Client([etcd.endpoint], user="root", password="secret") as root,
        ):
            client.put("a/1", "v")
            old = client._login.token
            root.auth.add_role("more")
            client.put("a/1", "w")
            assert client._login.token != old
            root.auth.grant_permission("more", "read", "c")
            root.auth.grant_role("alice", "more")
            with client.watch("c") as watch:
                watch.begin()
                root.put("c", "v")
                assert next(watch).pair.value == b"v"
