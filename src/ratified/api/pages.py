"""What is asked for by HTTP and is no call: health and version, in etcd's words.

``/health`` answers 200 where this member could serve a linearizable read just now, with ``?serializable=true`` where it
serves at all, and no alarm stands but those that ``?exclude=NOSPACE`` names; else 503 with a reason. ``/livez`` asks
whether the process should run on, ``/readyz`` whether clients should be sent to it, each by some checks: they are said
with ``?verbose``, and where one has failed; ``?exclude=`` leaves one out, and ``/readyz/data_corruption`` is one alone.
``/version`` says which version of etcd's API this is, ``/metrics`` what Prometheus scrapes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from ratified.api.maintenance import ETCD_VERSION
from ratified.api.service import Service
from ratified.kv import queries
from ratified.kv.errors import EtcdError
from ratified.wire.etcd.rpc_pb2 import CORRUPT, AlarmMember, AlarmType

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
NO_LEADER = "RAFT NO LEADER"
"""etcd's word for it, whatever the protocol."""


class Page(NamedTuple):
    """An answer."""

    status: HTTPStatus
    content_type: str
    body: bytes


NOT_FOUND = Page(HTTPStatus.NOT_FOUND, _TEXT, b"404 page not found\n")
NOT_ALLOWED = Page(HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"Method Not Allowed\n")

Query = Mapping[str, list[str]]


async def page(service: Service, method: str, target: str) -> Page:
    """What is at this target: a path, and a query behind ``?``."""
    path, _, query = target.partition("?")
    page_of, _, check = path.rpartition("/")
    is_one_check = check in _CHECKED_BY.get(page_of, ())
    handler = _PAGES.get(page_of if is_one_check else path)
    if handler is None:
        return NOT_FOUND
    if method not in ("GET", "HEAD"):
        return NOT_ALLOWED
    asked = parse_qs(query, keep_blank_values=True)
    return await (_checked(service, (check,), asked | {"exclude": []}) if is_one_check else handler(service, asked))


async def _health(service: Service, query: Query) -> Page:
    excluded = query.get("exclude", [])
    kinds = [AlarmType.Name(each.alarm) for each in await _alarms(service)]
    found = next((f"ALARM {kind}" for kind in kinds if kind not in excluded), "")
    reason = found or await _unhealthy(service, serializable=query.get("serializable") == ["true"])
    status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
    return Page(status, _JSON, msgspec.json.encode({"health": "false" if reason else "true", "reason": reason}))


async def _livez(service: Service, query: Query) -> Page:
    return await _checked(service, _CHECKED_BY["/livez"], query)


async def _readyz(service: Service, query: Query) -> Page:
    return await _checked(service, _CHECKED_BY["/readyz"], query)


async def _version(service: Service, query: Query) -> Page:
    return Page(HTTPStatus.OK, _JSON, msgspec.json.encode({"etcdserver": ETCD_VERSION, "etcdcluster": ETCD_VERSION}))


async def _metrics(service: Service, query: Query) -> Page:
    return Page(HTTPStatus.OK, CONTENT_TYPE_LATEST, await service.metrics.text())


async def _checked(service: Service, checks: Sequence[str], query: Query) -> Page:
    lines: list[str] = []
    has_failed = False
    for check in checks:
        if check in query.get("exclude", ()):
            lines.append(f"[+]{check} excluded: ok\n")
        elif reason := await _CHECKS[check](service):
            has_failed = True
            lines.append(f"[-]{check} failed: {reason}\n")
        else:
            lines.append(f"[+]{check} ok\n")
    if has_failed:
        return Page(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, "".join([*lines, "\n"]).encode())
    return Page(HTTPStatus.OK, _TEXT, "".join([*(lines if "verbose" in query else ()), "ok\n"]).encode())


async def _data_corruption(service: Service) -> str:
    is_corrupt = any(each.alarm == CORRUPT for each in await _alarms(service))
    return "alarm activated: CORRUPT" if is_corrupt else ""


async def _serializable_read(service: Service) -> str:
    return await _unhealthy(service, serializable=True)


async def _linearizable_read(service: Service) -> str:
    return await _unhealthy(service, serializable=False)


async def _unhealthy(service: Service, *, serializable: bool) -> str:
    """Why it cannot serve; "": it can."""
    if not serializable and service.host.leader() is None:
        return NO_LEADER
    try:
        await service.query(queries.status(), linearizable=not serializable)
    except EtcdError as error:
        return f"QGET ERROR:{error.text}"
    return ""


async def _alarms(service: Service) -> Sequence[AlarmMember]:
    """Those that stand in this member's store; none where it does not answer, for which there is another reason."""
    try:
        return await service.alarms()
    except EtcdError:
        return ()


_CHECKS: Mapping[str, Callable[[Service], Awaitable[str]]] = {
    "data_corruption": _data_corruption,
    "linearizable_read": _linearizable_read,
    "serializable_read": _serializable_read,
}
"""Why one has failed; "": it has not."""
_CHECKED_BY: Mapping[str, Sequence[str]] = {
    "/livez": ("serializable_read",),
    "/readyz": ("data_corruption", "serializable_read", "linearizable_read"),
}
_PAGES: Mapping[str, Callable[[Service, Query], Awaitable[Page]]] = {
    "/health": _health,
    "/livez": _livez,
    "/metrics": _metrics,
    "/readyz": _readyz,
    "/version": _version,
}
