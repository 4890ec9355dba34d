"""Peer addresses: what is read, and what is said about the rest."""

from __future__ import annotations

import socket

import pytest

from ratified.runtime.address import Address, AddressError, bind, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:2380", Address("127.0.0.1", 2380)),
        ("http://127.0.0.1:2380", Address("127.0.0.1", 2380)),
        ("http://node-a:2380/", Address("node-a", 2380)),
        ("[::1]:2380", Address("::1", 2380)),
        ("localhost:0", Address("localhost", 0)),
    ],
)
def test_an_address_is_read_with_or_without_a_scheme(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1", ":2380", "a:b", "a:99999", "https://a:1", "http://a:1/path", "u:p@a:1", "[::1:1"]
)
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(AddressError, match="peer address") as refusal:
        parse_address(text)
    assert repr(text) in str(refusal.value)


def test_binding_a_used_port_fails_and_leaves_nothing_bound() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        bind(Address("127.0.0.1", taken.getsockname()[1]))


def test_a_bound_socket_does_not_listen_yet() -> None:
    (bound,) = bind(Address("127.0.0.1", 0))
    with bound, pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound.getsockname())
