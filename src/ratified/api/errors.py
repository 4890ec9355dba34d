"""Which of etcd's errors a host's refusal, or its not knowing, becomes."""

from __future__ import annotations

from ratified.kv.errors import EtcdError
from ratified.runtime import Reason, RequestRefused
from ratified.wire.etcd import errors
from ratified.wire.etcd.errors import Error

_REFUSALS: dict[Reason, Error] = {
    Reason.NO_LEADER: errors.NO_LEADER,
    Reason.LEADER_LEFT: errors.NO_LEADER,
    Reason.TIMED_OUT: errors.TIMEOUT,
    Reason.OVERLOADED: errors.TOO_MANY_REQUESTS,
    Reason.TOO_LARGE: errors.REQUEST_TOO_LARGE,
    Reason.NO_GROUP: errors.STOPPED,
    Reason.GROUP_STOPPED: errors.STOPPED,
    Reason.STOPPING: errors.STOPPED,
    Reason.FAILED: errors.STORE_FAILED,
    Reason.UNFIT: errors.BAD_MEMBER_URLS,
    Reason.CHANGING: errors.TIMEOUT,
    Reason.INSTALLED: errors.TIMEOUT,
    Reason.LEARNER_BEHIND: errors.LEARNER_NOT_READY,
    Reason.UNHEALTHY: errors.UNHEALTHY,
    Reason.NO_SPACE: errors.NO_SPACE,
}


def refused(error: RequestRefused) -> EtcdError:
    """Nothing of the request has happened."""
    return refusal(error.reason)


def refusal(reason: Reason) -> EtcdError:
    return EtcdError(*_REFUSALS[reason])


def stopped() -> EtcdError:
    """The host ended before it could answer a read; of a read nothing is unknown."""
    return EtcdError(*errors.STOPPED)


def unknown() -> EtcdError:
    """The request may have happened. etcd has one text for it that clients know, whatever the cause."""
    return EtcdError(*errors.TIMEOUT_DUE_TO_LEADER_FAIL)
