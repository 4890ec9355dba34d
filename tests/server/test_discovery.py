"""Clusters by SRV records, asked of a real name server, on a machine of their own."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from ratified.server.config import load
from ratified.server.discovery import FILE, DiscoveryFailed, Members, remembered
from ratified.server.sources import ConfigError
from tests.server import dns_server
from tests.server.namespaces import TIMEOUT_S, Machine, needs_namespaces

DOMAIN = "cluster.test"
PORTS = {"one": 2380, "two": 2381, "three": 2382}
ADDRESSES = "".join(f"{name} 60 IN A 127.0.0.1\n" for name in PORTS)


def records(service: str, *names: str) -> str:
    return "".join(f"_{service}._tcp 60 IN SRV 0 0 {PORTS[name]} {name}\n" for name in names)


class Zone:
    """What the name server of a machine says of the domain."""

    def __init__(self, machine: Machine) -> None:
        self.file = machine.directory / "zone"
        self._machine = machine

    def write(self, text: str) -> None:
        """Whole at once: it is read at each question."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(self.file)

    def serve(self) -> None:
        self._machine.start("dns", dns_server.__file__, str(self.file), f"{DOMAIN}.")
        self._machine.wait_for("dns", "answers")


def serve(machine: Machine, name: str, *more: str, advertised: str | None = None) -> None:
    port = PORTS[name]
    machine.serve(
        name,
        f"--discovery-srv={DOMAIN}",
        f"--initial-advertise-peer-urls={advertised or f'http://{name}.{DOMAIN}:{port}'}",
        f"--listen-peer-urls=http://127.0.0.1:{port}",
        f"--listen-client-urls=http://127.0.0.1:{port + 1000}",
        *more,
    )


def has_members(machine: Machine, name: str, *names: str) -> bool:
    """Once all of them have said their names."""
    endpoint = f"127.0.0.1:{PORTS[name] + 1000}"
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        listed = json.loads(
            machine.run(sys.executable, "-m", "ratified", "member", "list", "--json", "--endpoints", endpoint)
        )
        if {member["name"]: member["peer_urls"] for member in listed} == {each: URLS[each] for each in names}:
            return True
    return False


URLS = {name: [f"http://{name}.{DOMAIN}:{port}"] for name, port in PORTS.items()}


@needs_namespaces
def test_members_find_each_other_by_srv_and_keep_what_they_found(tmp_path: Path) -> None:
    with Machine(tmp_path) as machine:
        zone = Zone(machine)
        zone.write(ADDRESSES + records("etcd-server", *PORTS))
        serve(machine, "one")
        machine.wait_for("one", "cannot look up SRV records of cluster.test yet, and asks again")
        zone.serve()
        serve(machine, "two", advertised="http://127.0.0.1:2381")  # it is known by its address
        serve(machine, "three")
        for name in PORTS:
            machine.wait_for(name)
        assert has_members(machine, "one", *PORTS)
        zone.write(ADDRESSES)
        machine.end("two")
        machine.log_file("two").write_text("")
        serve(machine, "two", advertised="http://127.0.0.1:2381")
        machine.wait_for("two")
        assert has_members(machine, "two", *PORTS)


@needs_namespaces
def test_a_member_may_join_a_cluster_by_srv(tmp_path: Path) -> None:
    with Machine(tmp_path) as machine:
        zone = Zone(machine)
        zone.write(ADDRESSES + records("etcd-server-blue", "one"))
        zone.serve()
        serve(machine, "one", "--discovery-srv-name=blue")
        machine.wait_for("one")
        url, endpoint = URLS["two"][0], "127.0.0.1:3380"
        machine.run(sys.executable, "-m", "ratified", "member", "add", "--peer-urls", url, "--endpoints", endpoint)
        serve(machine, "two", "--discovery-srv-name=blue", "--initial-cluster-state=existing")
        machine.wait_for("two")
        assert has_members(machine, "two", "one", "two")


@needs_namespaces
@pytest.mark.parametrize(
    ("zone", "said"),
    [
        (
            ADDRESSES,
            "there are no SRV records of _etcd-server-ssl._tcp.cluster.test and _etcd-server._tcp.cluster.test: add"
            " one for each member, or see to --discovery-srv",
        ),
        (
            ADDRESSES + records("etcd-server", "two", "three"),
            "--initial-advertise-peer-urls (http://one.cluster.test:2380) is none of the members that the SRV records"
            " of cluster.test name (http://three.cluster.test:2382, http://two.cluster.test:2381), and must be one of"
            " them",
        ),
        (
            ADDRESSES + records("etcd-server-ssl", "one"),
            "the member one.cluster.test:2380 is at https://one.cluster.test:2380, which needs --peer-cert-file and"
            " --peer-key-file, or --peer-auto-tls",
        ),
    ],
)
def test_records_that_name_no_cluster_with_this_member_are_said(tmp_path: Path, zone: str, said: str) -> None:
    with Machine(tmp_path) as machine:
        served = Zone(machine)
        served.write(zone)
        served.serve()
        serve(machine, "one")
        machine.wait_for("one", f"ratified: error: {said}\n")


@needs_namespaces
def test_records_of_https_are_members_by_tls(tmp_path: Path) -> None:
    with Machine(tmp_path) as machine:
        zone = Zone(machine)
        zone.write(ADDRESSES + records("etcd-server-ssl", "one", "two"))
        zone.serve()
        for name in ("one", "two"):
            machine.serve(
                name,
                f"--discovery-srv={DOMAIN}",
                "--peer-auto-tls",
                f"--initial-advertise-peer-urls=https://{name}.{DOMAIN}:{PORTS[name]}",
                f"--listen-peer-urls=https://127.0.0.1:{PORTS[name]}",
                f"--listen-client-urls=http://127.0.0.1:{PORTS[name] + 1000}",
            )
        for name in ("one", "two"):
            machine.wait_for(name)


def test_what_was_found_is_read_or_refused(tmp_path: Path) -> None:
    assert remembered(tmp_path) is None
    (tmp_path / FILE).write_text('{"cluster": {"a:1": ["http://a:1"]}, "this": "a:1"}')
    assert remembered(tmp_path) == Members({"a:1": ["http://a:1"]}, "a:1")
    (tmp_path / FILE).write_text("{")
    with pytest.raises(DiscoveryFailed, match="remove it, to look the members up again"):
        remembered(tmp_path)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"discovery-srv": "a.test", "initial-cluster": "default=http://h:1"}, "give one of the two"),
        ({"discovery-srv-name": "blue"}, "it is about the records of --discovery-srv: give that too"),
        ({"discovery-srv": "http://a.test"}, "'http://a.test' is no name of a domain such as example.com"),
        ({"discovery-srv": "a.test", "listen-peer-urls": "http://0.0.0.0:1"}, "say --initial-advertise-peer-urls too"),
    ],
)
def test_a_wrong_option_about_records_is_one_line(flags: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(flags, {}, None)


def test_the_options_are_read() -> None:
    config = load({"discovery-srv": "a.test.", "discovery-srv-name": "blue"}, {}, None)
    assert config.discovery is not None
    assert config.discovery.question("https") == "_etcd-server-ssl-blue._tcp.a.test"
    assert config.initial_cluster == {}
