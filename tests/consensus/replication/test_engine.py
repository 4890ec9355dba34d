"""What the contract's inputs have in common, whatever the protocol."""

from __future__ import annotations

import pytest

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    Durable,
    Engine,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Refused,
    RefusedReason,
)
from ratified.consensus.engines import ENGINES


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Member 1 of three, at time 1000, which knows of no leader."""
    options = Options(
        member=1,
        seed=1,
        election_deadline=lambda now, era: now + 1000,
        election_timeout_max_us=1000,
        election_timeout_min_us=1000,
        heartbeat_us=100,
    )
    return ENGINES[request.param].engine(1000, options, Durable(b"", Base(0, NO_ERA, Membership((1, 2, 3)))))


def test_time_never_goes_back(engine: Engine) -> None:
    engine.tick(1001)
    with pytest.raises(AssertionError, match="time went from 1001 back to 1000"):
        engine.applied(1000, 0)


def test_who_does_not_lead_takes_nothing(engine: Engine) -> None:
    proposal = Proposal(ProposalId(1, 1, 1), b"")
    assert engine.propose(1000, [proposal]) == Refused(RefusedReason.NOT_LEADER, None)
    engine.read_barrier(1000, 7)
    ready = engine.ready()
    assert ready is not None
    assert [(read.token, read.index) for read in ready.reads] == [(7, None)]


def test_what_is_reported_once_is_not_reported_again(engine: Engine) -> None:
    first = engine.ready()
    assert first is not None
    assert first.membership == Membership((1, 2, 3))
    assert first.leader is not None
    assert engine.ready() is None
