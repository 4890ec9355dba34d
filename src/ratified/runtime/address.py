"""Peer addresses as users write them: ``127.0.0.1:2380``, ``[::1]:2380``, ``node-a:2380`` or ``http://node-a:2380``."""

from __future__ import annotations

import socket
from typing import NamedTuple
from urllib.parse import urlsplit


class AddressError(ValueError):
    """The text is no address; the message says which text and what is expected."""


class Address(NamedTuple):
    """A host name or IP address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read a peer address. Raises ``AddressError``."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    if scheme != "http":
        raise AddressError(
            f"peer address {text!r}: scheme {scheme!r} is not served; write http://host:port or host:port"
        )
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(f"peer address {text!r}: {error}; write host:port") from error
    if not host or port is None or parts.path not in ("", "/") or parts.query or parts.username is not None:
        raise AddressError(f"peer address {text!r} is not of the form host:port")
    return Address(host, port)


def bind(address: Address) -> list[socket.socket]:
    """Bind a socket on each IP address that the name stands for; they are not listening yet. Raises ``OSError``."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    for family, kind, protocol, _, where in dict.fromkeys(found):
        listener = socket.socket(family, kind, protocol)
        bound.append(listener)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(where)
        except OSError:
            for each in bound:
                each.close()
            raise
    return bound
