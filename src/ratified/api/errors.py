"""Which of etcd's errors a host's refusal, or its not knowing, becomes."""

from __future__ import annotations

from ratified.kv.errors import EtcdError
from ratified.runtime import OutcomeUnknown, RequestRefused, Why
from ratified.wire.etcd import errors
from ratified.wire.etcd.errors import Error

_REFUSALS: dict[Why, Error] = {
    Why.NO_LEADER: errors.NO_LEADER,
    Why.TIMED_OUT: errors.TIMEOUT,
    Why.OVERLOADED: errors.TOO_MANY_REQUESTS,
    Why.TOO_LARGE: errors.REQUEST_TOO_LARGE,
    Why.LEADER_LOST: errors.LEADER_CHANGED,
    Why.NO_GROUP: errors.STOPPED,
    Why.GROUP_STOPPED: errors.STOPPED,
    Why.STOPPING: errors.STOPPED,
    Why.FAILED: errors.STORE_FAILED,
    Why.NO_SPACE: errors.NO_SPACE,
}


def refused(error: RequestRefused) -> EtcdError:
    """Nothing of the request has happened."""
    return EtcdError(*_REFUSALS[error.why])


def stopped() -> EtcdError:
    """The host ended before it could answer a read; of a read nothing is unknown."""
    return EtcdError(*errors.STOPPED)


def unknown(error: OutcomeUnknown) -> EtcdError:
    """The request may have happened. etcd has one text for it that clients know, whatever the cause."""
    return EtcdError(*errors.TIMEOUT_DUE_TO_LEADER_FAIL)
