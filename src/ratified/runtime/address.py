"""Peer addresses as users write them: ``127.0.0.1:2380``, ``[::1]:2380``, ``node-a:2380``, or an http or https URL."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class AddressError(ValueError):
    """The text is no address; the message says which text and what is expected."""


class Address(NamedTuple):
    """A host name or IP address, and a port."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read a peer address. Raises ``AddressError``."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    if scheme not in ("http", "https"):
        raise AddressError(
            f"peer address {text!r}: scheme {scheme!r} is not served; write http://, https:// or just host:port"
        )
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(f"peer address {text!r}: {error}; write host:port") from error
    if not host or port is None or parts.path not in ("", "/") or parts.query or parts.username is not None:
        raise AddressError(f"peer address {text!r} is not of the form host:port")
    return Address(host, port, scheme == "https")


def checked_peer_urls(urls: Sequence[str]) -> tuple[str, ...]:
    """At least one, each with its scheme, none twice. Raises ``AddressError``."""
    if not urls:
        raise AddressError("a member needs at least one peer URL, such as http://host:port")
    for at, url in enumerate(urls):
        parse_address(url)
        if "://" not in url:
            raise AddressError(f"peer URL {url!r} has no scheme: write http://{url}")
        if url in urls[:at]:
            raise AddressError(f"peer URL {url!r} is there twice")
    return tuple(urls)


def bind(address: Address, *, reuse_port: bool = False) -> list[socket.socket]:
    """Bind a socket on each IP address of this host that the name stands for; they are not listening yet.

    A name may stand for more than the host has (``localhost`` for ::1 where there is no IPv6): one is enough. With
    ``reuse_port`` other processes of this user may bind the same. Raises ``OSError``.
    """
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    absent: list[OSError] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            try:
                bound.append(_bound(family, kind, protocol, where, reuse_port))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent.append(error)
        if not bound:
            raise absent[0]
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound


def why_not_bound(error: OSError) -> str:
    """What is wrong, and what to do about it."""
    said = error.strerror or str(error)
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{said}: give an address of this machine, or 0.0.0.0 for all that it has"
    return f"{said}: stop what uses this address, or give another one"


def _bound(family: int, kind: int, protocol: int, where: tuple[Any, ...], reuse_port: bool) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(where)
    except OSError:
        listener.close()
        raise
    return listener
