"""A host's refusals, in etcd's words."""

from __future__ import annotations

import pytest

from ratified.api.errors import refused, unknown
from ratified.runtime import OutcomeUnknown, RequestRefused, Why
from ratified.wire.etcd.errors import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE


@pytest.mark.parametrize("why", [why for why in Why if why is not Why.NONE])
def test_every_refusal_has_one_of_etcds_texts(why: Why) -> None:
    assert refused(RequestRefused(why)).text.startswith("etcdserver: ")


@pytest.mark.parametrize(
    ("why", "code", "text"),
    [
        (Why.NO_LEADER, UNAVAILABLE, "etcdserver: no leader"),
        (Why.TIMED_OUT, UNAVAILABLE, "etcdserver: request timed out"),
        (Why.OVERLOADED, RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
        (Why.TOO_LARGE, INVALID_ARGUMENT, "etcdserver: request is too large"),
        (Why.LEADER_LOST, UNAVAILABLE, "etcdserver: leader changed"),
        (Why.STOPPING, UNAVAILABLE, "etcdserver: server stopped"),
        (Why.NO_SPACE, RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
    ],
)
def test_a_refusal_has_etcds_code_and_text(why: Why, code: int, text: str) -> None:
    error = refused(RequestRefused(why))
    assert (error.code, error.text) == (code, text)


@pytest.mark.parametrize("why", [Why.TIMED_OUT, Why.LEADER_LOST, Why.STOPPING])
def test_an_unknown_outcome_never_reads_like_a_refusal(why: Why) -> None:
    error = unknown(OutcomeUnknown(why))
    assert error.text == "etcdserver: request timed out, possibly due to previous leader failure"
    assert error.code == UNAVAILABLE
