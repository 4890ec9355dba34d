"""What is asked for by HTTP and is no call: health and version, in etcd's words.

``/health`` answers 200 where this member could serve a linearizable read just now, with ``?serializable=true`` where it
serves at all; else 503 with a reason. ``/livez`` and ``/readyz`` ask the same of the process and of the cluster, and
answer in words. ``/version`` says which version of etcd's API this is, ``/metrics`` what Prometheus scrapes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from ratified.api.maintenance import ETCD_VERSION
from ratified.api.service import Service
from ratified.kv import queries
from ratified.kv.errors import EtcdError

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
    handler = _PAGES.get(path)
    if handler is None:
        return NOT_FOUND
    if method not in ("GET", "HEAD"):
        return NOT_ALLOWED
    return await handler(service, parse_qs(query))


async def _health(service: Service, query: Query) -> Page:
    reason = await _unhealthy(service, serializable=query.get("serializable") == ["true"])
    status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
    return Page(status, _JSON, msgspec.json.encode({"health": "false" if reason else "true", "reason": reason}))


async def _livez(service: Service, query: Query) -> Page:
    return _checked(await _unhealthy(service, serializable=True))


async def _readyz(service: Service, query: Query) -> Page:
    return _checked(await _unhealthy(service, serializable=False))


async def _version(service: Service, query: Query) -> Page:
    return Page(HTTPStatus.OK, _JSON, msgspec.json.encode({"etcdserver": ETCD_VERSION, "etcdcluster": ETCD_VERSION}))


async def _metrics(service: Service, query: Query) -> Page:
    return Page(HTTPStatus.OK, CONTENT_TYPE_LATEST, await service.metrics.text())


def _checked(reason: str) -> Page:
    if reason:
        return Page(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"{reason}\n".encode())
    return Page(HTTPStatus.OK, _TEXT, b"ok\n")


async def _unhealthy(service: Service, *, serializable: bool) -> str:
    """Why it cannot serve; "": it can."""
    if not serializable and service.host.leader() is None:
        return NO_LEADER
    try:
        await service.query(queries.status(), linearizable=not serializable)
    except EtcdError as error:
        return f"QGET ERROR:{error.text}"
    return ""


_PAGES: Mapping[str, Callable[[Service, Query], Awaitable[Page]]] = {
    "/health": _health,
    "/livez": _livez,
    "/metrics": _metrics,
    "/readyz": _readyz,
    "/version": _version,
}
