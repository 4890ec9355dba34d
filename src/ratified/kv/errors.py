"""etcd's errors: gRPC status code and text, as etcd 3.5 sends them (clients compare the text)."""

from __future__ import annotations

from typing import NamedTuple

from ratified.kv.encoding import Failure, RequestError

INVALID_ARGUMENT = 3
NOT_FOUND = 5
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
OUT_OF_RANGE = 11
INTERNAL = 13
UNAVAILABLE = 14


class Error(NamedTuple):
    """One kind of failure."""

    code: int
    text: str

    def refusal(self) -> RequestError:
        """To be raised before anything is proposed."""
        return RequestError(self.code, self.text)

    def failure(self) -> Failure:
        """To be raised while applying or reading; becomes the answer."""
        return Failure(self.code, self.text)


EMPTY_KEY = Error(INVALID_ARGUMENT, "etcdserver: key is not provided")
KEY_NOT_FOUND = Error(INVALID_ARGUMENT, "etcdserver: key not found")
VALUE_PROVIDED = Error(INVALID_ARGUMENT, "etcdserver: value is provided")
LEASE_PROVIDED = Error(INVALID_ARGUMENT, "etcdserver: lease is provided")
TOO_MANY_OPS = Error(INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
DUPLICATE_KEY = Error(INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
INVALID_SORT = Error(INVALID_ARGUMENT, "etcdserver: invalid sort option")
COMPACTED = Error(OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
FUTURE_REVISION = Error(OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
NO_SPACE = Error(RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
LEASE_NOT_FOUND = Error(NOT_FOUND, "etcdserver: requested lease not found")
LEASE_EXISTS = Error(FAILED_PRECONDITION, "etcdserver: lease already exists")
LEASE_TTL_TOO_LARGE = Error(OUT_OF_RANGE, "etcdserver: too large lease TTL")
REQUEST_TOO_LARGE = Error(INVALID_ARGUMENT, "etcdserver: request is too large")
LEADER_CHANGED = Error(UNAVAILABLE, "etcdserver: leader changed")
NOT_DECODABLE = Error(INTERNAL, "grpc: error unmarshalling request")

EMPTY_WATCH_RANGE_TEXT = "mvcc: watcher range is empty"
