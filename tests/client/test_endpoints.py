"""Which endpoint a call goes to, and what a failed call means."""

from __future__ import annotations

import pytest

from ratified.client.endpoints import (
    ROUND_PAUSE_S,
    ROUND_PAUSE_S_MAX,
    Attempts,
    EndpointError,
    Endpoints,
    Target,
    error,
    explained,
    may_repeat,
    parse_endpoint,
)
from ratified.client.errors import (
    CallOutcomeUnknown,
    CallRefused,
    ClientError,
    Compacted,
    LeaseNotFound,
    NoSpace,
    RequestTooLarge,
    Unavailable,
)
from ratified.client.tls import Tls

A, B, C = Target("a:1"), Target("b:1"), Target("c:1")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("h:1", "h:1"),
        ("http://h:1", "h:1"),
        ("http://h:1/", "h:1"),
        ("[::1]:1", "[::1]:1"),
        ("http://[::1]:1", "[::1]:1"),
        ("unix:///run/r", "unix:/run/r"),
    ],
)
def test_an_endpoint_is_host_and_port_with_or_without_http(text: str, target: str) -> None:
    assert parse_endpoint(text) == Target(target)


def test_an_endpoint_of_https_is_of_tls_and_one_without_a_scheme_where_tls_is_given() -> None:
    assert parse_endpoint("https://[::1]:1") == Target("[::1]:1", tls=True)
    assert Endpoints(["https://h:1", "h:1", "http://h:1"]).targets == (
        Target("h:1", tls=True),
        Target("h:1"),
        Target("h:1"),
    )
    assert Endpoints(["https://h:1", "h:1"], Tls()).targets == (Target("h:1", tls=True),) * 2
    with pytest.raises(EndpointError, match=r"'http://h:1' is one without TLS.*use https://"):
        Endpoints(["http://h:1"], Tls())
    with pytest.raises(EndpointError, match=r"'unix:///s' is one without TLS"):
        Endpoints(["unix:///s"], Tls())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://h", "not of the form"),
        ("h", "not of the form"),
        ("ftp://h:1", "not of the form"),
        ("h:1/x", "not of the form"),
        ("h:99999", "Port out of range"),
        ("unix://", "needs the path of a socket"),
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
    endpoints.failed(A)
    endpoints.failed(A)
    assert endpoints.current == B
    endpoints.failed(B)
    endpoints.failed(C)
    assert endpoints.current == A


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
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", False, False, NoSpace),
        ("INVALID_ARGUMENT", "etcdserver: request is too large", False, False, RequestTooLarge),
        ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (9 vs. 8)", False, False, RequestTooLarge),
        ("NOT_FOUND", "etcdserver: requested lease not found", False, False, LeaseNotFound),
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
    assert tried == [A, B, A, B]
    assert pauses == [0.0, ROUND_PAUSE_S, 0.0, ROUND_PAUSE_S]


def test_a_call_ends_with_what_its_last_failure_means_when_its_time_is_over() -> None:
    endpoints = Endpoints(["a:1", "b:1"])
    with pytest.raises(Unavailable, match="failed to connect"):
        Attempts(endpoints, repeatable=False, deadline=10.0).failed(A, "UNAVAILABLE", UNREACHED, now=10.0)
    with pytest.raises(CallOutcomeUnknown):
        Attempts(endpoints, repeatable=False, deadline=10.0).failed(B, "UNAVAILABLE", "Socket closed", now=0.0)
    assert endpoints.current == A


def test_a_read_leaves_time_for_the_endpoints_that_it_has_not_tried() -> None:
    attempts = Attempts(Endpoints(["a:1", "b:1", "c:1"]), repeatable=True, deadline=10.0)
    assert attempts.timeout_s(1.0) == 3.0
    attempts.failed(A, "DEADLINE_EXCEEDED", "Deadline Exceeded", now=4.0)
    assert attempts.timeout_s(4.0) == 3.0
    attempts.failed(B, "UNAVAILABLE", UNREACHED, now=4.0)
    assert attempts.timeout_s(4.0) == 6.0


def test_a_write_takes_all_the_time_at_one_endpoint_since_it_cannot_be_sent_again() -> None:
    assert Attempts(Endpoints(["a:1", "b:1"]), repeatable=False, deadline=10.0).timeout_s(1.0) == 9.0


def test_a_write_goes_only_to_an_endpoint_that_has_answered() -> None:
    endpoints = Endpoints(["a:1", "b:1"])
    attempts = Attempts(endpoints, repeatable=False, deadline=10.0)
    assert attempts.asks_first(A)
    assert attempts.timeout_s(0.0) == 5.0
    attempts.failed(A, "DEADLINE_EXCEEDED", "Deadline Exceeded", now=5.0)
    assert attempts.asks_first(B)
    attempts.answered(B)
    assert attempts.timeout_s(5.0) == 5.0
    assert not Attempts(endpoints, repeatable=False, deadline=10.0).asks_first(B)
    with pytest.raises(CallOutcomeUnknown):
        attempts.failed(B, "DEADLINE_EXCEEDED", "Deadline Exceeded", now=10.0)
    assert Attempts(endpoints, repeatable=False, deadline=10.0).asks_first(B)


def test_what_another_call_learns_meanwhile_does_not_change_what_was_sent() -> None:
    endpoints = Endpoints(["a:1"])
    attempts = Attempts(endpoints, repeatable=False, deadline=10.0)
    assert attempts.asks_first(A)
    attempts.answered(A)
    endpoints.failed(A)
    with pytest.raises(CallOutcomeUnknown):
        attempts.failed(A, "DEADLINE_EXCEEDED", "Deadline Exceeded", now=10.0)


def test_a_question_that_finds_no_answer_in_time_leaves_nothing_done() -> None:
    attempts = Attempts(Endpoints(["a:1"]), repeatable=False, deadline=10.0)
    assert attempts.asks_first(A)
    with pytest.raises(Unavailable):
        attempts.failed(A, "DEADLINE_EXCEEDED", "Deadline Exceeded", now=10.0)


def test_a_read_asks_no_question_first() -> None:
    assert not Attempts(Endpoints(["a:1"]), repeatable=True, deadline=10.0).asks_first(A)


def test_a_call_ends_at_once_when_no_endpoint_has_an_address() -> None:
    attempts = Attempts(Endpoints(["a:1", "b:1"]), repeatable=False, deadline=10.0)
    attempts.failed(A, "UNAVAILABLE", UNRESOLVED, now=0.0)
    with pytest.raises(Unavailable, match="errors resolving"):
        attempts.failed(B, "UNAVAILABLE", UNRESOLVED, now=0.0)


def test_a_call_goes_on_while_some_endpoint_has_an_address() -> None:
    attempts = Attempts(Endpoints(["a:1", "b:1"]), repeatable=False, deadline=10.0)
    for _ in range(3):
        attempts.failed(A, "UNAVAILABLE", UNRESOLVED, now=0.0)
        attempts.failed(B, "UNAVAILABLE", UNREACHED, now=0.0)


TO_TLS = "failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:1: "
VERIFY_FAILED = (
    f"{TO_TLS}Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:"
    "OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: certificate has expired: OK"
)
WRONG_NAME = (
    f"{TO_TLS}Custom verification check failed with error: UNAUTHENTICATED: Hostname Verification Check failed."
)
NO_TLS = f"{TO_TLS}Ssl handshake failed: SSL_ERROR_SSL: OPENSSL_internal:WRONG_VERSION_NUMBER: "


@pytest.mark.parametrize(
    ("text", "tls", "meaning"),
    [
        (
            VERIFY_FAILED,
            Tls(ca_file="x/ca.crt"),
            "the certificate of a:1 is refused, checked against the CAs of x/ca.crt: certificate has expired",
        ),
        (
            VERIFY_FAILED,
            Tls(),
            "the certificate of a:1 is refused, checked against the CAs of the system: certificate has expired",
        ),
        (WRONG_NAME, Tls(), "the certificate of a:1 is refused: it is not made for a"),
        (WRONG_NAME, Tls(server_name="m"), "the certificate of a:1 is refused: it is not made for m"),
        (NO_TLS, Tls(), "no TLS is spoken at a:1: the server takes http:// only"),
    ],
)
def test_a_call_ends_at_once_and_says_what_is_wrong_with_tls(text: str, tls: Tls, meaning: str) -> None:
    target = Target("a:1", tls=True)
    assert explained(text, target, tls) == meaning
    with pytest.raises(Unavailable):
        Attempts(Endpoints(["a:1"], tls), repeatable=False, deadline=10.0).failed(
            target, "UNAVAILABLE", meaning, now=0.0
        )


@pytest.mark.parametrize(
    ("tls", "how", "words"),
    [
        (True, "Socket closed", "a client certificate"),
        (True, "Unwrap failed (TSI_DATA_CORRUPTED)", "a client certificate"),
        (True, "Ssl handshake failed: OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA", "a client certificate"),
        (False, "Socket closed", "https:// only"),
    ],
)
def test_a_connection_that_the_server_ends_makes_one_think_of_tls(tls: bool, how: str, words: str) -> None:
    ended = f"{TO_TLS}{how}"
    meaning = explained(ended, Target("a:1", tls=tls), Tls())
    assert meaning.startswith(ended)
    assert words in meaning
    assert explained(how, Target("a:1", tls=tls), Tls()) == how


def test_without_a_deadline_an_outage_lasts_as_long_as_it_does_and_is_asked_ever_less_often() -> None:
    attempts = Attempts(Endpoints(["a:1", "b:1"]), repeatable=True, deadline=None)
    pauses = []
    for number in range(20):
        attempts.failed(attempts.target, "UNAVAILABLE", UNRESOLVED, now=float(number))
        pauses.append(attempts.pause_s)
    assert pauses[:6] == [0.0, ROUND_PAUSE_S, 0.0, 2 * ROUND_PAUSE_S, 0.0, 4 * ROUND_PAUSE_S]
    assert pauses[-1] == ROUND_PAUSE_S_MAX
    with pytest.raises(CallRefused):
        attempts.failed(attempts.target, "PERMISSION_DENIED", "etcdserver: permission denied", now=20.0)


def test_a_watch_waits_for_a_silent_member_no_longer_than_a_call_does_for_each() -> None:
    assert Endpoints(["a:1"]).attempt_s(9.0) == 9.0
    assert Endpoints(["a:1", "b:1", "c:1"]).attempt_s(9.0) == 3.0
