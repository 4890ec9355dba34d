"""Which lists of headers make a request (RFC 9113, sections 8.1 to 8.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ratified.edge.hpack import Header, Headers

_PSEUDO = (b":method", b":scheme", b":path", b":authority")
_REQUIRED = (b":method", b":scheme", b":path")
_OF_CONNECTIONS = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_NAME = re.compile(rb"[!-9;-@\[-~]+")
"""What is visible in ASCII, without capitals and the colon."""
_NOT_AROUND_VALUES = (b" ", b"\t")
_LENGTH_DIGITS_MAX = 15


class Malformed(ValueError):
    """The headers make no request; its text says why."""


class Request(NamedTuple):
    """What the headers of a request say to HTTP."""

    length: int | None
    """Of its body; None: they do not say."""


def read_request(headers: Headers) -> Request:
    """Raises ``Malformed`` where these are no headers of a request."""
    if headers.request is None:
        headers.request = _read_request(headers.fields)
    request: Request = headers.request
    return request


def _read_request(fields: Sequence[Header]) -> Request:
    pseudo: dict[bytes, bytes] = {}
    rest: Sequence[Header] = ()
    for at, (name, value) in enumerate(fields):
        if name[:1] != b":":
            rest = fields[at:]
            break
        if name not in _PSEUDO or name in pseudo:
            raise Malformed(f"{name!r} is unknown, or is there twice")
        _check_value(value)
        pseudo[name] = value
    _check_fields(rest)
    if pseudo.get(b":method") == b"CONNECT":
        raise Malformed("CONNECT is not served")
    for name in _REQUIRED:
        if not pseudo.get(name):
            raise Malformed(f"{name!r} is missing")
    return Request(_content_length(rest))


def check_trailers(headers: Headers) -> None:
    """Raise ``Malformed`` where these cannot stand behind a request."""
    _check_fields(headers.fields)


def _content_length(fields: Sequence[Header]) -> int | None:
    found: int | None = None
    for name, value in fields:
        if name == b"content-length":
            if not value.isdigit() or len(value) > _LENGTH_DIGITS_MAX or found not in (None, int(value)):
                raise Malformed("content-length is no number, or two")
            found = int(value)
    return found


def _check_fields(fields: Sequence[Header]) -> None:
    for name, value in fields:
        if not _NAME.fullmatch(name):
            raise Malformed(f"{name!r} is no name of a field in its place")
        if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
            raise Malformed(f"{name!r} is about a connection")
        _check_value(value)


def _check_value(value: bytes) -> None:
    if value.startswith(_NOT_AROUND_VALUES) or value.endswith(_NOT_AROUND_VALUES):
        raise Malformed("the value of a field begins or ends with a space")
    if b"\0" in value or b"\r" in value or b"\n" in value:
        raise Malformed("the value of a field has a byte that it must not have")
