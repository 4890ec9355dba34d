"""etcd's error codes and texts, and which of them a host's refusal becomes.

Clients tell errors apart by code and text, so both are etcd's to the letter. The codes are gRPC's numbers.
"""

from __future__ import annotations

from ratified.kv import errors
from ratified.runtime import OutcomeUnknown, RequestRefused, Why

RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14


class ApiError(Exception):
    """What a client gets instead of an answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


_REFUSALS: dict[Why, tuple[int, str]] = {
    Why.NO_LEADER: (UNAVAILABLE, "etcdserver: no leader"),
    Why.TIMED_OUT: (UNAVAILABLE, "etcdserver: request timed out"),
    Why.OVERLOADED: (RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
    Why.TOO_LARGE: errors.REQUEST_TOO_LARGE,
    Why.LEADER_LOST: errors.LEADER_CHANGED,
    Why.NO_GROUP: (UNAVAILABLE, "etcdserver: server stopped"),
    Why.GROUP_STOPPED: (UNAVAILABLE, "etcdserver: server stopped"),
    Why.STOPPING: (UNAVAILABLE, "etcdserver: server stopped"),
    Why.FAILED: (INTERNAL, "etcdserver: the store could not answer; see the member's log"),
    Why.NO_SPACE: errors.NO_SPACE,
}


def refused(error: RequestRefused) -> ApiError:
    """Nothing of the request has happened."""
    return ApiError(*_REFUSALS[error.why])


def stopped() -> ApiError:
    """The host ended before it could answer a read; of a read nothing is unknown."""
    return refused(RequestRefused(Why.STOPPING))


def unknown(error: OutcomeUnknown) -> ApiError:
    """The request may have happened. etcd has one text for it that clients know, whatever the cause."""
    return ApiError(UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure")
