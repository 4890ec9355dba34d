"""Calls as JSON, the same ones to etcd 3.5 and to this: statuses and answers are compared field by field."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ratified.client import Client
from ratified.testing.processes import LocalCluster
from tests.conformance.reference import etcd_35
from tests.conformance.test_members import wait_until

TIMEOUT_S = 20
ITS_OWN = {"cluster_id", "member_id", "raft_term"}


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real one is reached."""
    with etcd_35(tmp_path_factory.mktemp("etcd")) as endpoint:
        yield f"http://{endpoint}"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with LocalCluster(tmp_path_factory.mktemp("ours"), 1) as running:
        yield f"http://{running.nodes[0].endpoint}"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def post(url: str, path: str, body: str | bytes | dict[str, Any], method: str = "POST") -> tuple[int, str]:
    text = json.dumps(body) if isinstance(body, dict) else body
    data = text.encode() if isinstance(text, str) else text
    asked = urllib.request.Request(f"{url}{path}", data if method == "POST" else None, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def without_own(value: Any) -> Any:
    """What does not depend on which cluster it is."""
    if isinstance(value, dict):
        return {name: without_own(each) for name, each in value.items() if name not in ITS_OWN}
    return [without_own(each) for each in value] if isinstance(value, list) else value


KEY, VALUE = b64("foo"), b64("bar")
COMPARED: list[tuple[str, str | dict[str, Any]]] = [
    ("/v3/kv/put", {"key": KEY, "value": VALUE}),
    ("/v3/kv/put", {"key": KEY, "value": VALUE, "prev_kv": True}),
    ("/v3/kv/put", {"key": KEY, "value": VALUE, "prevKv": True, "unknown": {"a": 1}}),
    ("/v3/kv/put", {"key": KEY, "value": VALUE, "lease": "7"}),
    ("/v3/kv/put", {"key": KEY, "lease": 7}),
    ("/v3/kv/put", {"key": b64("null"), "value": None}),
    ("/v3/kv/put", {"key": KEY, "value": "YmFy\r\nYmFy\n"}),
    ("/v3/kv/put", ""),
    ("/v3/kv/put", "null"),
    ("/v3/kv/range", {"key": KEY}),
    ("/v3/kv/range", '{"key":"Zm9v"} what stands behind'),
    ("/v3/kv/range", {"key": b64("\0"), "range_end": b64("\0"), "sort_order": "DESCEND", "sort_target": "KEY"}),
    ("/v3/kv/range", {"key": b64("\0"), "rangeEnd": b64("\0"), "sortOrder": 2, "limit": "1"}),
    ("/v3/kv/range", {"key": KEY, "count_only": True}),
    ("/v3/kv/range", {"key": KEY, "revision": "99"}),
    ("/v3beta/kv/range", {"key": KEY}),
    ("/v3/lease/grant", {"TTL": 600, "ID": "5"}),
    ("/v3/lease/grant", {"TTL": "600", "ID": 5}),
    ("/v3/kv/put", {"key": b64("leased"), "lease": "5"}),
    ("/v3/lease/keepalive", {"ID": 5}),
    ("/v3/lease/keepalive", '{"ID":5}{"ID":"6"}'),
    ("/v3/lease/leases", {}),
    ("/v3/kv/lease/leases", {}),
    ("/v3/lease/revoke", {"ID": "5"}),
    ("/v3/kv/lease/revoke", {"ID": "5"}),
    (
        "/v3/kv/txn",
        {
            "compare": [{"result": "EQUAL", "target": "VALUE", "key": KEY, "value": VALUE}],
            "success": [{"request_put": {"key": KEY, "value": b64("x")}}],
            "failure": [{"request_range": {"key": KEY}}],
        },
    ),
    (
        "/v3/kv/txn",
        {
            "compare": [{"target": "CREATE", "createRevision": "1", "key": KEY}],
            "success": [{"requestPut": {"key": KEY}}],
            "failure": [{"requestRange": {"key": KEY}}, {"request_delete_range": {"key": KEY}}],
        },
    ),
    ("/v3/kv/deleterange", {"key": b64("null"), "prev_kv": True}),
    ("/v3/kv/deleterange", {"key": b64("null")}),
    ("/v3/kv/compaction", {"revision": "99"}),
    ("/v3/kv/compaction", {"revision": "3"}),
    ("/v3/kv/range", {"key": KEY, "revision": 2}),
    ("/v3/maintenance/alarm", {}),
    ("/v3/lease/grant", {"TTL": 600, "ID": 8}),
    ("/v3/lease/grant", {"TTL": 600, "ID": 9}),
    ("/v3/lock/lock", {"name": b64("lock"), "lease": 8}),
    ("/v3/lock/lock", {"name": b64("lock"), "lease": 8}),
    ("/v3/kv/range", {"key": b64("lock/8")}),
    ("/v3/lock/unlock", {"key": b64("lock/8")}),
    ("/v3/lock/lock", {"name": b64("lock"), "lease": 9}),
    ("/v3/lock/unlock", {"key": b64("lock/8")}),
    ("/v3/election/leader", {"name": b64("vote")}),
    ("/v3/election/campaign", {"name": b64("vote"), "lease": 8, "value": b64("one")}),
    ("/v3/election/campaign", {"name": b64("vote"), "lease": 8, "value": b64("two")}),
    ("/v3/election/leader", {"name": b64("vote")}),
    ("/v3/election/proclaim", {}),
    ("/v3/election/proclaim", {"leader": {"key": b64("vote/8"), "rev": 1, "lease": 8}, "value": VALUE}),
    ("/v3/election/resign", {}),
    ("/v3/election/resign", {"leader": {"name": b64("vote"), "key": b64("vote/8"), "rev": 1, "lease": 8}}),
    ("/v3/lease/revoke", {"ID": 8}),
    ("/v3/election/leader", {"name": b64("vote")}),
]


def test_answers_and_failures_are_those_of_etcd(etcd: str, ours: str) -> None:
    for path, body in COMPARED:
        (status, theirs), found = post(etcd, path, body), post(ours, path, body)
        assert found[0] == status, (path, body, found[1])
        lines = [[without_own(json.loads(line)) for line in text.splitlines()] for text in (found[1], theirs)]
        assert lines[0] == lines[1], (path, body)


BAD: list[tuple[str, str]] = [
    ("/v3/kv/put", '{"key":"Zm'),
    ("/v3/kv/put", '{"key":"@@@"}'),
    ("/v3/kv/put", "[1]"),
    ("/v3/kv/put", '"text"'),
    ("/v3/kv/range", '{"key":"Zm9v","limit":"abc"}'),
    ("/v3/kv/range", '{"key":"Zm9v","sort_order":"UP"}'),
    ("/v3/kv/txn", '{"success":[{"request_put":{"key":"@"}}]}'),
    ("/v3/kv/range", "[" * 10_000),
    ("/v3/kv/range", "\v\v"),
    ("/v3/auth/role/grant", '{"perm":"text"}'),
    ("/v3/kv/txn", '{"success":[7]}'),
    ("/v3/kv/put", '{"key":"\\ud800"}'),
    ("/v3/kv/range", '{"sort_order":"\\ud800"}'),
]


@pytest.mark.parametrize(("path", "body"), BAD)
def test_a_bad_body_is_refused_as_etcd_refuses_it_and_says_why(etcd: str, ours: str, path: str, body: str) -> None:
    (status, theirs), (our_status, found) = post(etcd, path, body), post(ours, path, body)
    assert (our_status, json.loads(found)["code"]) == (status, json.loads(theirs)["code"]) == (400, 3)
    assert len(json.loads(found)["message"]) > 10


def test_bytes_that_are_no_text_stand_as_etcd_has_them(etcd: str, ours: str) -> None:
    body = b'{"name":"a\xffb"}'
    for path in ("auth/role/add", "auth/role/list", "auth/role/delete"):
        sent = body.replace(b"name", b"role") if path.endswith("delete") else body
        (status, theirs), (our_status, found) = post(etcd, f"/v3/{path}", sent), post(ours, f"/v3/{path}", sent)
        assert (our_status, without_own(json.loads(found))) == (status, without_own(json.loads(theirs))), path


@pytest.mark.parametrize(("path", "method"), [("/v3/kv/put", "GET"), ("/v3/kv/put", "PUT"), ("/v3/kv/no", "POST")])
def test_paths_and_methods_that_are_none_have_etcds_status(etcd: str, ours: str, path: str, method: str) -> None:
    assert post(ours, path, "{}", method)[0] == post(etcd, path, "{}", method)[0]


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_a_watch_is_lines_of_json_until_the_client_goes(ours: str, version: str) -> None:
    curl = shutil.which("curl")
    assert curl is not None, "Debian's curl is missing"
    command = [curl, "-sN", version, f"{ours}/v3/watch", "-d", json.dumps({"create_request": {"key": b64("watched")}})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["result"]["created"]
        post(ours, "/v3/kv/put", {"key": b64("watched"), "value": VALUE})
        (event,) = json.loads(watching.stdout.readline())["result"]["events"]
        assert event["kv"]["value"] == VALUE
        watching.kill()
    with Client([ours.removeprefix("http://")]) as client:
        wait_until(lambda: client.report(ours.removeprefix("http://")).open_requests == 0, "the watch has ended")


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_a_large_request_and_its_large_answer_pass_and_one_that_is_too_large_does_not(
    ours: str, version: str, tmp_path: Path
) -> None:
    curl = shutil.which("curl")
    assert curl is not None, "Debian's curl is missing"
    value = "eHh4" * 400_000
    body = tmp_path / "body"

    def asked(path: str, data: str) -> tuple[str, str]:
        body.write_text(data)
        command = [curl, "-s", version, f"{ours}{path}", "-d", f"@{body}", "-w", "\n%{http_code}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        found, _, status = done.stdout.rpartition("\n")
        return status, found

    assert asked("/v3/kv/put", json.dumps({"key": b64("large"), "value": value}))[0] == "200"
    status, found = asked("/v3/kv/range", json.dumps({"key": b64("large")}))
    assert (status, json.loads(found)["kvs"][0]["value"]) == ("200", value)
    assert asked("/v3/kv/put", json.dumps({"key": b64("large"), "value": value * 2}))[0] in ("400", "413")


def test_requests_of_one_connection_are_answered_one_behind_the_other(ours: str) -> None:
    host, _, port = ours.removeprefix("http://").partition(":")
    body = json.dumps({"key": KEY, "value": VALUE}).encode()
    one = b"POST /v3/kv/put HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    last = b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
        connection.sendall(one * 20 + last)
        answer = b""
        while data := connection.recv(1 << 16):
            answer += data
    assert answer.count(b"HTTP/1.1 200") == 21
    assert answer.count(b'"revision"') == 20


@contextmanager
def waiting_for(ours: str, path: str, body: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A client that waits; it is killed at the end."""
    curl = shutil.which("curl")
    assert curl is not None, "Debian's curl is missing"
    command = [curl, "-sN", f"{ours}{path}", "-d", json.dumps(body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def keys_below(ours: str, name: str) -> list[str]:
    with Client([ours.removeprefix("http://")]) as client:
        return sorted(pair.key.decode() for pair in client.range(f"{name}/", prefix=True).pairs)


@pytest.mark.parametrize(("path", "name"), [("lock/lock", "left"), ("election/campaign", "gone")])
def test_who_waits_has_its_turn_and_who_waits_no_longer_leaves_nothing(ours: str, path: str, name: str) -> None:
    for lease in (21, 22, 23):
        post(ours, "/v3/lease/grant", {"TTL": 600, "ID": lease})
    asked = {lease: {"name": b64(name), "lease": lease} for lease in (21, 22, 23)}
    assert post(ours, f"/v3/{path}", asked[21])[0] == 200
    with waiting_for(ours, f"/v3/{path}", asked[22]) as leaves, waiting_for(ours, f"/v3/{path}", asked[23]) as stays:
        wait_until(lambda: len(keys_below(ours, name)) == 3, "both wait")
        leaves.kill()
        wait_until(lambda: keys_below(ours, name) == [f"{name}/15", f"{name}/17"], "its key is gone")
        assert stays.poll() is None
        post(ours, "/v3/lease/revoke", {"ID": 21})
        assert stays.stdout is not None
        assert json.loads(stays.stdout.read())["header"]
    for lease in (22, 23):
        post(ours, "/v3/lease/revoke", {"ID": lease})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("lock/unlock", {}),
        ("election/proclaim", {"leader": {"name": KEY}}),
        ("election/proclaim", {"leader": {"rev": 1}, "value": VALUE}),
        ("election/resign", {"leader": {}}),
    ],
)
def test_to_unlock_or_to_lead_nothing_is_refused(etcd: str, ours: str, path: str, body: dict[str, Any]) -> None:
    (status, theirs), (our_status, found) = post(etcd, f"/v3/{path}", body), post(ours, f"/v3/{path}", body)
    assert (status, our_status) == (500, 400)
    assert json.loads(found)["message"] == json.loads(theirs)["message"] == "etcdserver: key is not provided"


@pytest.mark.parametrize("path", ["lock/lock", "election/campaign"])
def test_a_lease_that_is_not_there_is_not_found_where_etcd_says_that_it_does_not_know(
    etcd: str, ours: str, path: str
) -> None:
    asked = {"name": b64("none"), "lease": 77}
    (status, theirs), (our_status, found) = post(etcd, f"/v3/{path}", asked), post(ours, f"/v3/{path}", asked)
    assert (status, our_status) == (500, 404)
    assert json.loads(found)["message"] == json.loads(theirs)["message"] == "etcdserver: requested lease not found"


def test_who_brings_no_lease_has_one_that_ends_by_itself(ours: str) -> None:
    status, found = post(ours, "/v3/lock/lock", {"name": b64("own")})
    key = base64.b64decode(json.loads(found)["key"]).decode()
    lease = int(key.partition("/")[2], 16)
    left = json.loads(post(ours, "/v3/lease/timetolive", {"ID": str(lease)})[1])
    assert (status, left["grantedTTL"]) == (200, "60")
    post(ours, "/v3/lease/revoke", {"ID": str(lease)})


def test_an_observer_is_told_of_each_leader_and_of_what_it_proclaims(ours: str) -> None:
    for lease in (31, 32):
        post(ours, "/v3/lease/grant", {"TTL": 600, "ID": lease})
    with waiting_for(ours, "/v3/election/observe", {"name": b64("seen")}) as observing:
        assert observing.stdout is not None

        def told() -> str:
            assert observing.stdout is not None
            return base64.b64decode(json.loads(observing.stdout.readline())["result"]["kv"]["value"]).decode()

        first = json.loads(
            post(ours, "/v3/election/campaign", {"name": b64("seen"), "lease": 31, "value": b64("one")})[1]
        )
        assert told() == "one"
        post(ours, "/v3/election/proclaim", {"leader": first["leader"], "value": b64("two")})
        assert told() == "two"
        campaign = {"name": b64("seen"), "lease": 32, "value": b64("three")}
        with waiting_for(ours, "/v3/election/campaign", campaign) as waiting:
            wait_until(lambda: len(keys_below(ours, "seen")) == 2, "it waits")
            post(ours, "/v3/election/resign", {"leader": first["leader"]})
            assert told() == "three"
            assert waiting.stdout is not None
            waiting.stdout.read()
        observing.kill()


@pytest.mark.parametrize(
    "body",
    ['{"zz":' + "1" * 5_000 + "}", '{"\\ud800":1}', '{"success":[' + "{}," * 30_000 + "{}]}", "{}" * 30_000],
    ids=["a long number", "half a character", "a long list", "many messages"],
)
def test_no_body_ends_more_than_its_own_call(ours: str, body: str) -> None:
    status, found = post(ours, "/v3/lease/keepalive", body)
    assert status == 200
    assert {"result", "error"} & set(json.loads(found.splitlines()[0]))
    assert post(ours, "/v3/kv/range", {"key": KEY})[0] == 200
