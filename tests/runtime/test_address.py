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
    "text", ["", "127.0.0.1", ":2380", "a:b", "a:99999", "unix://a:1", "http://a:1/path", "u:p@a:1", "[::1:1"]
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


def _stands_for(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """The next names stand for these addresses; 192.0.2.1 is nobody's (RFC 5737)."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in hosts]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_a_name_may_stand_for_addresses_that_this_host_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    _stands_for(monkeypatch, "192.0.2.1", "127.0.0.1")
    (bound,) = bind(Address("localhost", 0))
    with bound:
        assert bound.getsockname()[0] == "127.0.0.1"


def test_a_name_that_stands_for_no_address_of_this_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _stands_for(monkeypatch, "192.0.2.1")
    with pytest.raises(OSError, match="Cannot assign requested address"):
        bind(Address("elsewhere", 0))


def test_several_processes_may_bind_one_port_where_all_of_them_say_so() -> None:
    (first,) = bind(Address("127.0.0.1", 0), reuse_port=True)
    port = first.getsockname()[1]
    with first:
        first.listen()
        with pytest.raises(OSError, match="in use"):
            bind(Address("127.0.0.1", port))
        (second,) = bind(Address("127.0.0.1", port), reuse_port=True)
        second.close()
