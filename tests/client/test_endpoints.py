"""Which endpoint a call goes to, and what a failed call means."""

from __future__ import annotations

import pytest

from ratified.client.endpoints import (
    ROUND_PAUSE_S,
    Attempts,
    EndpointError,
    Endpoints,
    error,
    may_repeat,
    parse_endpoint,
)
from ratified.client.errors import CallOutcomeUnknown, CallRefused, ClientError, Compacted, Unavailable


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("h:1", "h:1"),
        ("http://h:1", "h:1"),
        ("http://h:1/", "h:1"),
        ("[::1]:1", "[::1]:1"),
        ("http://[::1]:1", "[::1]:1"),
    ],
)
def test_an_endpoint_is_host_and_port_with_or_without_http(text: str, target: str) -> None:
    assert parse_endpoint(text) == target


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://h:1", "TLS comes in a later version"),
        ("h", "not of the form"),
        ("ftp://h:1", "not of the form"),
        ("h:1/x", "not of the form"),
        ("h:99999", "Port out of range"),
    ],
)
def test_a_wrong_endpoint_is_named(text: str, words: str) -> None:
    with pytest.raises(EndpointError, match=words):
        parse_endpoint(text)


def test_a_client_without_endpoints_is_refused() -> None:
    with pytest.raises(EndpointError, match="at least one"):
        Endpoints([])


def test_a_failure_turns_to_the_next_endpoint_once_however_many_calls_fail() -> None:
    endpoints = Endpoints(["a:1", "b:1", "c:1"])
    endpoints.failed("a:1")
    endpoints.failed("a:1")
    assert endpoints.current == "b:1"
    endpoints.failed("b:1")
    endpoints.failed("c:1")
    assert endpoints.current == "a:1"


UNRESOLVED = "errors resolving no.invalid:1: [field:hostname lookup error:address lookup failed]"
UNREACHED = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused"


@pytest.mark.parametrize(
    ("code", "text", "read_again", "write_again", "write_error"),
    [
        ("UNAVAILABLE", UNREACHED, True, True, Unavailable),
        ("UNAVAILABLE", UNRESOLVED, True, True, Unavailable),
        ("UNAVAILABLE", "DNS resolution failed for no.invalid:1: Domain name not found", True, True, Unavailable),
        ("UNAVAILABLE", "etcdserver: no leader", True, True, Unavailable),
        ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", True, True, Unavailable),
        ("UNAVAILABLE", "Socket closed", True, False, CallOutcomeUnknown),
        ("UNAVAILABLE", "etcdserver: request timed out", True, False, CallOutcomeUnknown),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", True, False, CallOutcomeUnknown),
        ("INVALID_ARGUMENT", "etcdserver: key is not provided", False, False, CallRefused),
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", False, False, CallRefused),
        ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted", False, False, Compacted),
    ],
)
def test_a_write_is_sent_again_only_where_nothing_happened(
    code: str, text: str, read_again: bool, write_again: bool, write_error: type[ClientError]
) -> None:
    assert may_repeat(code, text, repeatable=True) is read_again
    assert may_repeat(code, text, repeatable=False) is write_again
    assert type(error(code, text, repeatable=False)) is write_error
    assert not isinstance(error(code, text, repeatable=True), CallOutcomeUnknown)


def test_a_call_pauses_only_when_every_endpoint_has_failed_once_more() -> None:
    endpoints = Endpoints(["a:1", "b:1"])
    attempts = Attempts(endpoints, repeatable=False, deadline=10.0)
    tried = []
    pauses = []
    for _ in range(4):
        tried.append(attempts.target)
        attempts.failed(attempts.target, "UNAVAILABLE", UNREACHED, now=9.0)
        pauses.append(attempts.pause_s)
    assert tried == ["a:1", "b:1", "a:1", "b:1"]
    assert pauses == [0.0, ROUND_PAUSE_S, 0.0, ROUND_PAUSE_S]


def test_a_call_ends_with_what_its_last_failure_means_when_its_time_is_over() -> None:
    endpoints = Endpoints(["a:1", "b:1"])
    with pytest.raises(Unavailable, match="failed to connect"):
        Attempts(endpoints, repeatable=False, deadline=10.0).failed("a:1", "UNAVAILABLE", UNREACHED, now=10.0)
    with pytest.raises(CallOutcomeUnknown):
        Attempts(endpoints, repeatable=False, deadline=10.0).failed("b:1", "UNAVAILABLE", "Socket closed", now=0.0)
    assert endpoints.current == "a:1"


def test_a_read_leaves_time_for_the_endpoints_that_it_has_not_tried() -> None:
    attempts = Attempts(Endpoints(["a:1", "b:1", "c:1"]), repeatable=True, deadline=10.0)
    assert attempts.timeout_s(1.0) == 3.0
    attempts.failed("a:1", "DEADLINE_EXCEEDED", "Deadline Exceeded", now=4.0)
    assert attempts.timeout_s(4.0) == 3.0
    attempts.failed("b:1", "UNAVAILABLE", UNREACHED, now=4.0)
    assert attempts.timeout_s(4.0) == 6.0


def test_a_write_takes_all_the_time_at_one_endpoint_since_it_cannot_be_sent_again() -> None:
    assert Attempts(Endpoints(["a:1", "b:1"]), repeatable=False, deadline=10.0).timeout_s(1.0) == 9.0


def test_a_write_goes_only_to_an_endpoint_that_has_answered() -> None:
    endpoints = Endpoints(["a:1", "b:1"])
    attempts = Attempts(endpoints, repeatable=False, deadline=10.0)
    assert attempts.asks_first("a:1")
    assert attempts.timeout_s(0.0) == 5.0
    attempts.failed("a:1", "DEADLINE_EXCEEDED", "Deadline Exceeded", now=5.0)
    assert attempts.asks_first("b:1")
    attempts.answered("b:1")
    assert attempts.timeout_s(5.0) == 5.0
    assert not Attempts(endpoints, repeatable=False, deadline=10.0).asks_first("b:1")
    with pytest.raises(CallOutcomeUnknown):
        attempts.failed("b:1", "DEADLINE_EXCEEDED", "Deadline Exceeded", now=10.0)
    assert Attempts(endpoints, repeatable=False, deadline=10.0).asks_first("b:1")


def test_what_another_call_learns_meanwhile_does_not_change_what_was_sent() -> None:
    endpoints = Endpoints(["a:1"])
    attempts = Attempts(endpoints, repeatable=False, deadline=10.0)
    assert attempts.asks_first("a:1")
    attempts.answered("a:1")
    endpoints.failed("a:1")
    with pytest.raises(CallOutcomeUnknown):
        attempts.failed("a:1", "DEADLINE_EXCEEDED", "Deadline Exceeded", now=10.0)


def test_a_question_that_finds_no_answer_in_time_leaves_nothing_done() -> None:
    attempts = Attempts(Endpoints(["a:1"]), repeatable=False, deadline=10.0)
    assert attempts.asks_first("a:1")
    with pytest.raises(Unavailable):
        attempts.failed("a:1", "DEADLINE_EXCEEDED", "Deadline Exceeded", now=10.0)


def test_a_read_asks_no_question_first() -> None:
    assert not Attempts(Endpoints(["a:1"]), repeatable=True, deadline=10.0).asks_first("a:1")


def test_a_call_ends_at_once_when_no_endpoint_has_an_address() -> None:
    attempts = Attempts(Endpoints(["a:1", "b:1"]), repeatable=False, deadline=10.0)
    attempts.failed("a:1", "UNAVAILABLE", UNRESOLVED, now=0.0)
    with pytest.raises(Unavailable, match="errors resolving"):
        attempts.failed("b:1", "UNAVAILABLE", UNRESOLVED, now=0.0)


def test_a_call_goes_on_while_some_endpoint_has_an_address() -> None:
    attempts = Attempts(Endpoints(["a:1", "b:1"]), repeatable=False, deadline=10.0)
    for _ in range(3):
        attempts.failed("a:1", "UNAVAILABLE", UNRESOLVED, now=0.0)
        attempts.failed("b:1", "UNAVAILABLE", UNREACHED, now=0.0)
