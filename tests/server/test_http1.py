"""HTTP/1.1 beside HTTP/2 on one port: pages by either, and bad requests."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from ratified.api.pages import NOT_FOUND, Page
from ratified.api.service import Service
from ratified.edge.grpc import Sink
from ratified.edge.hpack import Header
from ratified.server.gateway import JsonCall
from ratified.server.http1 import BODY_BYTES_MAX, WAITING_BYTES_MAX, Http1, is_http1
from ratified.server.web import Web
from ratified.testing.processes import LocalNode
from tests.server.test_process import Place

TIMEOUT_S = 20


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    with Place(Path(tmp_path_factory.mktemp("place"))).serving() as serving:
        yield serving


def said(node: LocalNode, request: bytes) -> bytes:
    """All that the server answers until it closes, or has sent as many answers as were asked for."""
    with socket.create_connection(("127.0.0.1", node.client_port), timeout=TIMEOUT_S) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer


def get(target: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "host: a", *headers, "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/health", 200, b'{"health":"true","reason":""}'),
        ("/health?serializable=true", 200, b'{"health":"true","reason":""}'),
        ("/version", 200, b'{"etcdserver":"3.5.8","etcdcluster":"3.5.8"}'),
        ("/readyz", 200, b"ok\n"),
        ("/livez", 200, b"ok\n"),
        ("/livez?verbose", 200, b"[+]serializable_read ok\nok\n"),
        ("/readyz?verbose=1", 200, b"[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n"),
        (
            "/readyz?verbose&exclude=linearizable_read&exclude=another",
            200,
            b"[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read excluded: ok\nok\n",
        ),
        ("/readyz/linearizable_read?verbose&exclude=linearizable_read", 200, b"[+]linearizable_read ok\nok\n"),
        ("/livez/linearizable_read", 404, b"404 page not found\n"),
        ("/readyz/", 404, b"404 page not found\n"),
        ("/", 404, b"404 page not found\n"),
    ],
)
def test_pages_are_there_by_http_1(node: LocalNode, target: str, status: int, body: bytes) -> None:
    head, _, found = said(node, get(target)).partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 %d %b" % (status, {200: b"OK", 404: b"Not Found"}[status])
    assert found == body


def test_requests_of_one_connection_are_answered_in_their_order(node: LocalNode) -> None:
    answer = said(node, get("/version") + get("/nothing") + get("/health", "connection: close"))
    assert [part.split()[0] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200"]
    assert answer.endswith(b'"reason":""}')


def test_a_head_request_gets_no_body_and_other_methods_nothing(node: LocalNode) -> None:
    head, _, body = said(node, get("/health", method="HEAD")).partition(b"\r\n\r\n")
    assert b"content-length: 29" in head
    assert body == b""
    assert said(node, get("/health", "content-length: 0", method="POST")).startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /" + b"a" * 20_000, 400),
        (get("/health", f"content-length: {BODY_BYTES_MAX + 1}", method="POST") + bytes(BODY_BYTES_MAX + 1), 413),
        (get("/health", "content-length: a"), 400),
    ],
)
def test_a_bad_request_gets_one_answer_and_the_end(node: LocalNode, request_bytes: bytes, status: int) -> None:
    answer = said(node, request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d" % status)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert said(node, get("/livez")).endswith(b"ok\n")


def test_a_member_without_a_majority_says_why_it_is_not_healthy(tmp_path: Path) -> None:
    place = Place(tmp_path)
    peers = f"default=http://127.0.0.1:{place.peer_port},b=http://127.0.0.1:1,c=http://127.0.0.1:2"
    node = place.node(f"--initial-cluster={peers}")
    node.start()
    try:
        while True:
            try:
                answer = said(node, get("/health"))
            except ConnectionRefusedError:
                continue
            break
        assert answer.startswith(b"HTTP/1.1 503")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"health": "false", "reason": "RAFT NO LEADER"}
        assert said(node, get("/livez")).startswith(b"HTTP/1.1 200")
    finally:
        node.terminate()
        node.wait_stopped()


@pytest.mark.parametrize(
    ("first", "is_so"), [(b"PRI", False), (b"PRI * HTTP/2.0\r\n\r\nSM", False), (b"PUT", True), (b"G", True)]
)
def test_the_first_bytes_tell_the_protocols_apart(first: bytes, is_so: bool) -> None:
    assert is_http1(first) == is_so


def test_the_server_speaks_second_however_long_the_client_waits(node: LocalNode) -> None:
    with socket.create_connection(("127.0.0.1", node.client_port), timeout=1.5) as connection:
        with pytest.raises(TimeoutError):  # past the second in which the server looks at its connections
            connection.recv(1)
        connection.settimeout(TIMEOUT_S)
        connection.sendall(get("/livez"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


class UnreadSocket:
    """Takes nothing."""

    def __init__(self) -> None:
        self.socket_bytes = 0
        self.ended = ""

    is_paused = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def on_limit(self, limit: str) -> None:
        pass

    def holds(self, size_bytes: int) -> bool:
        return True

    def on_json_call(self, call: JsonCall, metadata: Sequence[Header]) -> Sink | None:
        return None

    def write(self, data: bytes) -> None:
        self.socket_bytes += len(data)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = self.ended or "aborted"


def test_who_asks_and_does_not_read_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(*_: object) -> Page:
        return NOT_FOUND

    monkeypatch.setattr(Web, "page", answer)

    async def run() -> None:
        unread = UnreadSocket()
        connection = Http1(Web(cast(Service, None)), unread)
        while not unread.ended:
            connection.receive(get("/nothing"))
            await asyncio.sleep(0)
        assert unread.ended == "aborted"
        assert unread.socket_bytes < 2 * WAITING_BYTES_MAX

    asyncio.run(run())
