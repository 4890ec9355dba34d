"""Hosts by name and by address, on machines of their own: localhost, IPv6, names that come later or never."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.server import dns_server
from tests.server.namespaces import Machine, needs_namespaces

pytestmark = needs_namespaces


def serve_three(machine: Machine, hosts: tuple[str, str, str], listen: str) -> list[str]:
    """Start members a, b and c; their endpoints."""
    members = [f"{name}=http://{host}:{2380 + at}" for at, (name, host) in enumerate(zip("abc", hosts, strict=True))]
    for at, name in enumerate("abc"):
        machine.serve(
            name,
            f"--listen-client-urls=http://{listen}:{3380 + at}",
            f"--listen-peer-urls=http://{listen}:{2380 + at}",
            f"--initial-cluster={','.join(members)}",
        )
    return [f"{listen}:{3380 + at}" for at in range(3)]


def put(machine: Machine, endpoint: str) -> None:
    assert machine.run(sys.executable, "-m", "ratified", "put", "k", "v", "--endpoints", endpoint) == "OK\n"


@pytest.mark.parametrize("ipv6", [False, True])
def test_localhost_is_what_this_machine_has_of_it(tmp_path: Path, ipv6: bool) -> None:
    with Machine(tmp_path, ipv6=ipv6) as machine:
        endpoints = serve_three(machine, ("localhost",) * 3, "localhost")
        for name, endpoint in zip("abc", endpoints, strict=True):
            machine.wait_for(name)
            put(machine, endpoint)
            put(machine, endpoint.replace("localhost", "127.0.0.1"))
            if ipv6:
                put(machine, endpoint.replace("localhost", "[::1]"))


def test_a_machine_without_ipv6_serves_by_default(tmp_path: Path) -> None:
    with Machine(tmp_path, ipv6=False) as machine:
        machine.serve("alone")
        machine.wait_for("alone")
        put(machine, "127.0.0.1:2379")


def test_members_and_clients_may_have_addresses_of_ipv6(tmp_path: Path) -> None:
    with Machine(tmp_path) as machine:
        endpoints = serve_three(machine, ("[::1]",) * 3, "[::1]")
        for name, endpoint in zip("abc", endpoints, strict=True):
            machine.wait_for(name)
            put(machine, endpoint)


def test_clients_and_members_may_be_listened_for_at_several_urls(tmp_path: Path) -> None:
    peers = {"a": "2380", "b": "2381", "c": "2382"}
    cluster = ",".join(f"{name}=http://127.0.0.2:{port},{name}=http://[::1]:{port}" for name, port in peers.items())
    with Machine(tmp_path) as machine:
        for name, port in peers.items():
            elsewhere = ",http://127.0.0.2:2381" if name == "b" else ""  # at one of its two alone, but b
            machine.serve(
                name,
                f"--listen-client-urls=http://127.0.0.1:1{port},http://[::1]:1{port},unix://{tmp_path}/{name}.sock",
                f"--listen-peer-urls=http://[::1]:{port}{elsewhere}",
                f"--initial-cluster={cluster}",
            )
        for name, port in peers.items():
            machine.wait_for(name)
            put(machine, f"127.0.0.1:1{port}")
            put(machine, f"[::1]:1{port}")
            health = machine.run("curl", "-s", "--unix-socket", f"{tmp_path}/{name}.sock", "http://localhost/health")
            assert '"health":"true"' in health


@pytest.mark.parametrize("resolver_hangs", [False, True])
def test_members_wait_for_names_that_do_not_resolve_yet(tmp_path: Path, resolver_hangs: bool) -> None:
    zone = tmp_path / "zone"
    zone.write_text("")
    with Machine(tmp_path) as machine:
        if resolver_hangs:
            machine.start("dns", dns_server.__file__, str(zone), "elsewhere.")
            machine.wait_for("dns", "answers")
        machine.hosts.write_text("127.0.0.1 a.test b.test\n")
        serve_three(machine, ("a.test", "b.test", "c.test"), "127.0.0.1")
        for name in "ab":
            machine.wait_for(name, "cannot reach the peer at c.test:2382")
            machine.wait_for(name, "it waits for c")
        machine.hosts.write_text("127.0.0.1 a.test b.test c.test\n")
        for name in "abc":
            machine.wait_for(name)
            assert "Traceback" not in machine.log_file(name).read_text()
            assert " ERROR " not in machine.log_file(name).read_text()


def test_a_name_that_cannot_be_listened_on_is_said(tmp_path: Path) -> None:
    with Machine(tmp_path) as machine:
        machine.serve("a", "--listen-client-urls=http://nowhere.test:2379")
        machine.wait_for("a", "cannot listen for clients on http://nowhere.test:2379: ")
        machine.wait_for(
            "a", "give an address of this machine, or 0.0.0.0 for all that it has, with --listen-client-urls"
        )
        machine.serve("b", "--listen-peer-urls=http://nowhere.test:2380")
        machine.wait_for("b", "cannot listen for peers on nowhere.test:2380: ")
