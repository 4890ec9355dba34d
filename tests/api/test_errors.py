"""A host's refusals, in etcd's words."""

from __future__ import annotations

import pytest

from ratified.api.errors import refused, unknown
from ratified.runtime import Reason, RequestRefused
from ratified.wire.etcd.errors import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.NONE])
def test_every_refusal_has_one_of_etcds_texts(reason: Reason) -> None:
    assert refused(RequestRefused(reason)).text.startswith("etcdserver: ")


@pytest.mark.parametrize(
    ("reason", "code", "text"),
    [
        (Reason.NO_LEADER, UNAVAILABLE, "etcdserver: no leader"),
        (Reason.TIMED_OUT, UNAVAILABLE, "etcdserver: request timed out"),
        (Reason.OVERLOADED, RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
        (Reason.TOO_LARGE, INVALID_ARGUMENT, "etcdserver: request is too large"),
        (Reason.STOPPING, UNAVAILABLE, "etcdserver: server stopped"),
        (Reason.NO_SPACE, RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
    ],
)
def test_a_refusal_has_etcds_code_and_text(reason: Reason, code: int, text: str) -> None:
    error = refused(RequestRefused(reason))
    assert (error.code, error.text) == (code, text)


def test_an_unknown_outcome_never_reads_like_a_refusal() -> None:
    error = unknown()
    assert error.text == "etcdserver: request timed out, possibly due to previous leader failure"
    assert error.code == UNAVAILABLE
