"""Which address serves what by HTTP, for whom, and who may read it, at a real process; by both versions of HTTP."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from ratified.client import Client, ClientError
from ratified.server.readers import hosts_or_all, origins
from ratified.testing.processes import free_ports
from tests.server.test_process import Place

VERSIONS = ("--http1.1", "--http2-prior-knowledge")
RANGE = '{"key":"YQ=="}'
TIMEOUT_S = 20


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


def asked(url: str, *arguments: str) -> Answer:
    """By curl."""
    curl = shutil.which("curl")
    assert curl is not None, "Debian's curl is missing"
    done = subprocess.run(
        [curl, "-si", "--max-time", str(TIMEOUT_S), url, *arguments],
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT_S,
        check=True,
    )
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    first, *fields = head.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return Answer(int(first.split()[1]), headers, body)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """The URLs for gRPC, for HTTP and for metrics of one server that has each apart."""
    place = Place(tmp_path_factory.mktemp("apart"))
    web, metrics, second_metrics = free_ports(3)
    flags = (
        f"--listen-client-http-urls=http://127.0.0.1:{web}",
        f"--listen-metrics-urls=http://127.0.0.1:{metrics},http://127.0.0.1:{second_metrics}",
    )
    with place.serving(*flags) as node:
        assert asked(f"http://127.0.0.1:{second_metrics}/health").status == 200
        yield f"http://{node.endpoint}", f"http://127.0.0.1:{web}", f"http://127.0.0.1:{metrics}"


@pytest.mark.parametrize("version", VERSIONS)
def test_each_address_serves_what_it_is_for(apart: tuple[str, str, str], version: str) -> None:
    calls, web, metrics = apart
    pages = ("/metrics", "/health", "/livez", "/readyz", "/version")
    assert [asked(calls + page, version).status for page in pages] == [404] * 5
    assert [asked(web + page, version).status for page in pages] == [200] * 5
    assert [asked(metrics + page, version).status for page in pages] == [200] * 4 + [404]
    posted = [asked(f"{url}/v3/kv/range", version, "-d", RANGE).status for url in apart]
    assert posted == [404, 200, 404]


def test_calls_by_grpc_are_served_at_their_address_alone(apart: tuple[str, str, str]) -> None:
    calls, web, metrics = (url.removeprefix("http://") for url in apart)
    with Client([calls]) as client:
        client.put("k", "v")
    for endpoint in (web, metrics):
        with Client([endpoint]) as client, pytest.raises(ClientError, match=r"unknown method [A-Z]"):
            client.put("k", "v")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that names its hosts, and whose pages may read it."""
    flags = ("--host-whitelist=Good.example,127.0.0.1,[::1]", "--cors=http://page.example:80,https://b.example:8443")
    with Place(tmp_path_factory.mktemp("guarded")).serving(*flags) as node:
        yield f"http://{node.endpoint}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("host", "is_served"),
    [
        ("good.example", True),
        ("GOOD.example:2379", True),
        ("[::1]:2379", True),
        ("evil.example", False),
        ("good.example.evil.example", False),
    ],
)
def test_requests_for_other_hosts_are_refused(guarded: str, version: str, host: str, is_served: bool) -> None:
    page = asked(f"{guarded}/health", version, "-H", f"Host: {host}")
    call = asked(f"{guarded}/v3/kv/range", version, "-H", f"Host: {host}", "-d", RANGE)
    assert [page.status, call.status] == [200 if is_served else 421] * 2
    if not is_served:
        assert call.body == f"'{host}' is not a host of this server: use https, or name it by --host-whitelist\n"


def test_calls_by_grpc_are_for_no_host(guarded: str) -> None:
    with grpc.insecure_channel(
        guarded.removeprefix("http://"), options=[("grpc.default_authority", "evil.example")]
    ) as channel:
        grpc.channel_ready_future(channel).result(TIMEOUT_S)
        answer = channel.unary_unary("/etcdserverpb.KV/Range")(b"\x0a\x01k", timeout=TIMEOUT_S)
        assert answer


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_are_open_to_pages_of_the_origins_that_are_named(guarded: str, version: str) -> None:
    for path, arguments in (("/health", ()), ("/v3/kv/range", ("-d", RANGE)), ("/nothing", ())):
        for origin, allowed in (
            ("http://page.example", "http://page.example"),
            ("https://b.example:8443", "https://b.example:8443"),
            ("https://page.example", None),
            ("null", None),
        ):
            answer = asked(guarded + path, version, "-H", f"Origin: {origin}", *arguments)
            assert answer.headers.get("access-control-allow-origin") == allowed
    before = asked(f"{guarded}/v3/kv/range", version, "-X", "OPTIONS", "-H", "Origin: http://page.example")
    assert (before.status, before.body) == (200, "")
    assert before.headers["access-control-allow-methods"] == "POST, GET, OPTIONS, PUT, DELETE"


@pytest.mark.parametrize("version", VERSIONS)
def test_calls_as_json_can_be_left_out_and_origins_may_be_all_or_none(tmp_path: Path, version: str) -> None:
    place = Place(tmp_path)
    with place.serving("--enable-grpc-gateway=false", "--cors=*") as node:
        url = f"http://{node.endpoint}"
        assert asked(f"{url}/v3/kv/range", version, "-d", RANGE).status == 404
        assert asked(f"{url}/health", version).headers["access-control-allow-origin"] == "*"
    with place.serving() as node:
        url = f"http://{node.endpoint}"
        answer = asked(f"{url}/v3/kv/range", version, "-d", RANGE, "-H", "Origin: http://page.example")
        assert json.loads(answer.body)["header"]
        assert "access-control-allow-origin" not in answer.headers
        assert asked(f"{url}/v3/kv/range", version, "-X", "OPTIONS").status == 405


def test_hosts_and_origins_are_read_as_they_are_compared() -> None:
    assert hosts_or_all("A.example, [::1]") == {"a.example", "::1"}
    assert hosts_or_all("*") == hosts_or_all("a,*") == frozenset()
    assert origins("http://a:80,https://b:443,http://c:81/,https://[::1]:80,*") == {
        "http://a",
        "https://b",
        "http://c:81",
        "https://[::1]:80",
        "*",
    }
    for wrong in ("page.example", "ftp://a", "http://a/path", ""):
        with pytest.raises(ValueError, match=r"is no origin|names nobody"):
            origins(wrong)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_process_says_what_it_does_where_the_operator_lets_it(tmp_path: Path, version: str) -> None:
    place = Place(tmp_path)
    with place.serving("--enable-pprof") as node:
        url = f"http://{node.endpoint}/debug/pprof/"
        assert "goroutine" in asked(url, version).body
        stacks = asked(f"{url}goroutine", version).body
        assert "thread MainThread:" in stacks
        assert re.search(r"\ntask .*:\n.* in _serve\n.* in _serve_on\n", stacks)
        for path, status in (("nothing", 404), ("profile?seconds=0", 400), ("profile?seconds=x", 400)):
            assert asked(url + path, version).status == status
        with ThreadPoolExecutor() as pool:
            profile = pool.submit(asked, f"{url}profile?seconds=3", version)
            while "_profile" not in asked(f"{url}goroutine", version).body:
                assert not profile.done()
            assert asked(f"{url}profile?seconds=1", version).status == 409
            with Client([node.endpoint]) as client:
                client.put("k", "v")
        assert re.search(r"clients\.py:\d+\(data_received\)", profile.result().body)
        assert asked(url, version, "-X", "POST").status == 405
    with place.serving() as node:
        assert asked(f"http://{node.endpoint}/debug/pprof/", version).status == 404
