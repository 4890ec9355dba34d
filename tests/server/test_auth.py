"""Users at real processes: tokens that all members know, tokens that say whose they are, and certificates."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ratified.api.jwt_options import JwtOptions
from ratified.api.passwords import PASSWORD_BYTES_MAX, PASSWORDS_WAITING_MAX, Passwords
from ratified.api.sessions import REMEMBERED_S, SESSIONS_MAX, Credentials, Session, Sessions
from ratified.api.signed_tokens import BadKey, JwtTokens
from ratified.client import CallRefused, Client
from ratified.kv.errors import EtcdError
from ratified.kv.identity import NAME_BYTES_MAX, Identity
from ratified.kv.tokens import Holder
from ratified.server.auth_token import auth_token
from ratified.testing.processes import LocalCluster
from ratified.wire.etcd import errors
from tests.client.test_auth import guard
from tests.server.test_tls import HOST, Server, write_pki

KEY = "YS8x"
"""``a/1`` in base64."""


@contextmanager
def guarded(directory: Path, nodes: int, *arguments: str) -> Iterator[LocalCluster]:
    with LocalCluster(directory, nodes, arguments=arguments) as cluster:
        guard(cluster.nodes[0].endpoint)
        yield cluster


def post(
    endpoint: str, path: str, body: dict[str, str], token: str = "", *, grpc_token: str = ""
) -> tuple[int, dict[str, str]]:
    headers = {"Authorization": token} if token else {}
    if grpc_token:
        headers["Grpc-Metadata-Token"] = grpc_token
    asked = urllib.request.Request(f"http://{endpoint}/v3/{path}", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return int(answer.status), json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def token_of(endpoint: str) -> str:
    return post(endpoint, "auth/authenticate", {"name": "alice", "password": "wonder"})[1]["token"]


def test_a_token_of_one_member_is_known_to_all_until_they_start_again(tmp_path: Path) -> None:
    with guarded(tmp_path, 3) as cluster:
        first, second, third = cluster.nodes
        token = token_of(first.endpoint)
        for node in cluster.nodes:
            assert post(node.endpoint, "kv/range", {"key": KEY}, token)[0] == 200
            assert post(node.endpoint, "kv/range", {"key": "eg=="}, token)[0] == 403
            assert post(node.endpoint, "kv/range", {"key": KEY})[0] == 400
        third.kill()
        third.start()
        third.wait_ready()
        assert post(third.endpoint, "kv/range", {"key": KEY}, token) == (
            401,
            {"error": errors.INVALID_AUTH_TOKEN.text, "message": errors.INVALID_AUTH_TOKEN.text, "code": 16},
        )
        assert post(second.endpoint, "kv/range", {"key": KEY}, token)[0] == 200
        with Client([third.endpoint], user="alice", password="wonder") as client:
            client.put("a/1", "again")


def test_a_call_goes_on_where_users_are_changed_beside_it(tmp_path: Path) -> None:
    """What this member remembers of a token is old then: it asks again, and the client sees no error."""
    with guarded(tmp_path, 1) as cluster:
        endpoint = cluster.nodes[0].endpoint
        token = token_of(endpoint)
        with Client([endpoint], user="root", password="secret") as root:
            for number in range(5):
                assert post(endpoint, "kv/put", {"key": KEY}, token)[0] == 200
                root.auth.add_role(f"more{number}")
            root.auth.change_password("alice", "other")
        assert post(endpoint, "kv/put", {"key": KEY}, token)[0] == 401


def test_who_may_not_change_users_makes_no_work_for_bcrypt(tmp_path: Path) -> None:
    """It would take days here."""
    with guarded(tmp_path, 1, "--bcrypt-cost=4") as cluster:
        (node,) = cluster.nodes
        node.kill()
        node.arguments = (*(each for each in node.arguments if each != "--bcrypt-cost=4"), "--bcrypt-cost=31")
        node.start()
        node.wait_ready()
        token = token_of(node.endpoint)
        for path, name in (("auth/user/add", "eve"), ("auth/user/changepw", "alice")):
            assert post(node.endpoint, path, {"name": name, "password": "any"}, token)[0] == 403


def test_of_two_tokens_that_by_grpc_counts(tmp_path: Path) -> None:
    """As in etcd, whatever stands first: a proxy may add the one of HTTP."""
    with guarded(tmp_path, 1) as cluster:
        endpoint = cluster.nodes[0].endpoint
        token = token_of(endpoint)
        assert post(endpoint, "kv/put", {"key": KEY}, "nobodys", grpc_token=token)[0] == 200
        assert post(endpoint, "kv/put", {"key": KEY}, token, grpc_token="nobodys")[0] == 401


def test_a_password_is_looked_at_once_while_others_are_changed(tmp_path: Path) -> None:
    """That takes longer than changes are apart: whoever began anew with each would never be let in."""
    with guarded(tmp_path, 1, "--bcrypt-cost=12") as cluster:
        endpoint = cluster.nodes[0].endpoint
        is_over = threading.Event()
        with Client([endpoint], user="root", password="secret") as root, ThreadPoolExecutor(1) as workers:
            root.auth.add_role("first")  # from here on its password has been said

            def change() -> None:
                for number in itertools.count():
                    if is_over.wait(0.05):
                        return
                    root.auth.add_role(f"more{number}")

            changing = workers.submit(change)
            try:
                assert token_of(endpoint)
            finally:
                is_over.set()
            changing.result()


PEM = serialization.Encoding.PEM


def write_keys(directory: Path, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
    secret = private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = private.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (directory / "private.pem").write_bytes(secret)
    (directory / "public.pem").write_bytes(public)
    return directory / "private.pem", directory / "public.pem"


def test_a_token_that_says_whose_it_is_needs_no_memory(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    option = f"--auth-token=jwt,sign-method=ES256,priv-key={private},pub-key={public},ttl=1h"
    with guarded(tmp_path / "cluster", 1, option) as cluster:
        (node,) = cluster.nodes
        token = token_of(node.endpoint)
        node.kill()
        node.start()
        node.wait_ready()
        assert post(node.endpoint, "kv/put", {"key": KEY}, token)[0] == 200
        assert post(node.endpoint, "kv/put", {"key": "eg=="}, token)[0] == 403
        assert post(node.endpoint, "kv/put", {"key": KEY}, token[:-4] + "AAAA")[0] == 401
        with Client([node.endpoint], user="root", password="secret") as root:
            root.auth.add_role("more")
        for path in ("kv/put", "lease/grant"):  # it stays as old as it is, whatever is found out anew
            answer = post(node.endpoint, path, {"key": KEY, "TTL": "60"}, token)[1]
            assert answer["message"] == errors.AUTH_OLD_REVISION.text


def test_a_signed_token_is_held_against_its_key_its_method_and_its_time(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path, rsa.generate_private_key(65537, 2048))
    signing = JwtTokens(JwtOptions("RS256", public, private, 100))
    reading = JwtTokens(JwtOptions("RS256", public, None, 100))
    token = signing.sign("alice", 7)
    assert reading.read(token) == signing.read(token) == Identity("alice", 7)
    assert JwtTokens(JwtOptions("RS256", None, private, 100)).read(token) == Identity("alice", 7)
    with pytest.raises(EtcdError, match="gives none out"):
        reading.sign("alice", 7)
    late = JwtTokens(JwtOptions("RS256", public, private, -100)).sign("alice", 7)
    secret = tmp_path / "secret"
    secret.write_bytes(public.read_bytes()[:40])
    forged = JwtTokens(JwtOptions("HS256", None, secret, 100)).sign("root", 7)
    whole = {"username": "root", "revision": 7, "exp": 2**32}
    assert reading.read(jwt.encode(whole, private.read_bytes(), "RS256")) == Identity("root", 7)
    for missing in whole:
        part = {name: value for name, value in whole.items() if name != missing}
        with pytest.raises(EtcdError, match="invalid auth token"):
            reading.read(jwt.encode(part, private.read_bytes(), "RS256"))
    half = signing.sign("\ud800", 7)
    for wrong in (late, forged, "", "a.b.c", signing.sign("", 7), half, signing.sign("alice", -1)):
        with pytest.raises(EtcdError, match="invalid auth token"):
            reading.read(wrong)


def test_keys_that_do_not_belong_together_are_said_to_be_wrong(tmp_path: Path) -> None:
    private, _ = write_keys(tmp_path, rsa.generate_private_key(65537, 2048))
    (tmp_path / "other").mkdir()
    _, other = write_keys(tmp_path / "other", rsa.generate_private_key(65537, 2048))
    for options in (
        JwtOptions("RS256", other, private, 1),
        JwtOptions("ES256", None, private, 1),
        JwtOptions("RS256", None, tmp_path / "nothing", 1),
        JwtOptions("RS256", private, other, 1),
    ):
        with pytest.raises(BadKey, match="--auth-token: "):
            JwtTokens(options)


class Told:
    """A store that says the same of every token."""

    def __init__(self, enabled: bool = True, user: str = "") -> None:
        self.holder = Holder(enabled, user, 7)

    async def own_query(self, request: bytes, *, linearizable: bool = True) -> bytes:
        return msgspec.msgpack.encode(self.holder)


class Behind(Told):
    """Such a store of a member that has not heard of the token yet, where the others have."""

    async def own_query(self, request: bytes, *, linearizable: bool = True) -> bytes:
        return msgspec.msgpack.encode(self.holder if linearizable else Holder(True, "", 6))


def test_a_token_that_another_member_gave_out_just_now_is_known() -> None:
    found = asyncio.run(Sessions(Behind(user="alice")).identify(Credentials("hers", ""), 0.0))
    assert found == Identity("alice", 7)


def test_who_is_found_out_anew_is_asked_of_the_latest_state() -> None:
    found = asyncio.run(Sessions(Behind(user="")).identify(Credentials("", "certified"), 0.0, anew=True))
    assert found == Identity("certified", 7)


def test_sessions_are_bounded() -> None:
    async def check() -> None:
        sessions = Sessions(Told(user="alice"))
        for number in range(SESSIONS_MAX + 1):
            await sessions.identify(Credentials(f"{number}", ""), 0.0)
        known = [sessions.known(Credentials(f"{number}", ""), 0.0) for number in (0, 1, SESSIONS_MAX)]
        assert [each is not None for each in known] == [False, True, True]
        assert sessions.known(Credentials("1", ""), REMEMBERED_S) is None

    asyncio.run(check())


def test_a_name_that_is_too_long_for_a_user_is_nobodys() -> None:
    longest = "n" * NAME_BYTES_MAX
    sessions = Sessions(Told())
    assert asyncio.run(sessions.identify(Credentials("", longest), 0.0)) == Identity(longest, 7)
    with pytest.raises(EtcdError, match="permission denied"):
        asyncio.run(sessions.identify(Credentials("", longest + "n"), 0.0))


def test_of_tokens_that_nobody_looks_at_nothing_is_kept() -> None:
    """They may be as long as a header: 10,000 of them would be 150 MiB."""

    async def check() -> None:
        store = Told(enabled=False)
        sessions = Sessions(store)
        tracemalloc.start()
        try:
            for number in range(100):
                assert await sessions.identify(Credentials(f"{number:010000}", ""), 0.0) is None
            assert tracemalloc.get_traced_memory()[0] < 500_000
        finally:
            tracemalloc.stop()
        assert sessions.known(Credentials("any", ""), REMEMBERED_S - 1) == Session(None, REMEMBERED_S)
        assert sessions.known(Credentials("any", ""), REMEMBERED_S) is None
        store.holder = Holder(True, "alice", 7)
        assert await sessions.identify(Credentials("hers", ""), 1.0) == Identity("alice", 7)
        assert sessions.known(Credentials("any", ""), 1.0) is None

    asyncio.run(check())


@pytest.mark.parametrize("token", ["", "nobodys"])
def test_a_token_of_nobodys_is_no_user(token: str) -> None:
    """An empty one neither: it must not come to a user without a name, which a member itself is."""
    with pytest.raises(EtcdError, match="invalid auth token"):
        asyncio.run(Sessions(Told()).identify(Credentials(token, ""), 0.0))


def test_passwords_that_wait_are_bounded() -> None:
    async def check() -> None:
        passwords = Passwords(4)
        hashed = await passwords.hashed("right")
        for _ in range(2):  # who has waited makes room for others
            asked = [passwords.matches("right", hashed) for _ in range(PASSWORDS_WAITING_MAX + 2)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert answers[:PASSWORDS_WAITING_MAX] == [True] * PASSWORDS_WAITING_MAX
            assert [str(each) for each in answers[PASSWORDS_WAITING_MAX:]] == [errors.TOO_MANY_PASSWORDS.text] * 2

    asyncio.run(check())


def test_passwords_are_held_against_their_hashes_as_a_whole() -> None:
    async def check() -> None:
        passwords = Passwords(cost=4)
        longest = "p" * PASSWORD_BYTES_MAX
        for password in ("", "secret", "a\0b", longest):
            hashed = await passwords.hashed(password)
            assert await passwords.matches(password, hashed)
            assert not await passwords.matches(password + "!", hashed)
            assert not await passwords.matches(password, b"")
        with pytest.raises(EtcdError, match="more than 72 bytes"):
            await passwords.hashed(longest + "p")

    asyncio.run(check())


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("simple,ttl=1s", "must be simple"),
        ("", "must be simple"),
        ("jwt", "sign-method is ''"),
        ("jwt,sign-method=none,priv-key=x", "sign-method is 'none'"),
        ("jwt,sign-method=RS256", "priv-key=FILE is missing"),
        ("jwt,sign-method=HS256,pub-key=x", "priv-key=FILE is missing"),
        ("jwt,sign-method=RS256,priv-key=x,ttl=0", "ttl must be more than 0"),
        ("jwt,sign-method=RS256,priv-key=x,ttl=soon", "no time"),
        ("jwt,sign-method=RS256,priv-key=x,priv-key=y", "each once"),
        ("jwt,sign-method=RS256,color=red", "must be one of"),
    ],
)
def test_what_is_wrong_with_the_option_is_said(given: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        auth_token(given)


def etcdctl(server: Server, *arguments: str, certified: Sequence[str] = ()) -> tuple[int, str]:
    done = server.etcdctl(*certified, *arguments)
    return done.returncode, done.stdout + done.stderr


def test_a_certificate_names_its_user(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    write_pki(pki)
    server = Server(
        tmp_path,
        f"--cert-file={pki / 'server.crt'}",
        f"--key-file={pki / 'server.key'}",
        f"--trusted-ca-file={pki / 'ca.crt'}",
        "--client-cert-auth",
    )
    endpoint = f"https://{HOST}:{server.port}"
    files = [("cacert", "ca.crt"), ("cert", "client.crt"), ("key", "client.key")]
    certified = [f"--{option}={pki / file}" for option, file in files]
    server.node.start()
    try:
        server.node.wait_ready()
        for arguments in (
            ("user", "add", "root:secret"),
            ("user", "grant-role", "root", "root"),
            ("user", "add", "client", "--no-password"),
            ("role", "add", "a"),
            ("role", "grant-permission", "a", "readwrite", "a/", "--prefix=true"),
            ("user", "grant-role", "client", "a"),
            ("auth", "enable"),
        ):
            code, said = etcdctl(server, *arguments, certified=certified)
            assert code == 0, (endpoint, arguments, said)
        assert etcdctl(server, "put", "a/1", "v", certified=certified) == (0, "OK\n")
        assert errors.PERMISSION_DENIED.text in etcdctl(server, "put", "z", "v", certified=certified)[1]
        assert etcdctl(server, "--user=root:secret", "put", "z", "v", certified=certified) == (0, "OK\n")
        assert errors.AUTH_FAILED.text in etcdctl(server, "--user=client:guess", "get", "a/1", certified=certified)[1]
    finally:
        server.node.terminate()
        server.node.wait_stopped()


def test_users_wait_for_members_of_earlier_versions(tmp_path: Path) -> None:
    """A member that has not met all others does not know whether they know users."""
    with LocalCluster(tmp_path, 3) as cluster:
        cluster.nodes[2].kill()
        cluster.nodes[0].kill()
        cluster.nodes[0].start()
        cluster.nodes[0].wait_ready()
        with Client([cluster.nodes[0].endpoint]) as client:
            with pytest.raises(CallRefused, match="until this member has met every other one"):
                client.auth.add_user("root", "secret")
            client.put("other", "things go on")
