"""Local clusters for people and tests."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ratified.testing.processes import LocalCluster, LocalNode, NodeFailed, free_ports, is_free, scratch_directory


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert all(is_free(port) for port in ports)


def test_a_free_port_is_held_for_the_node_that_will_listen_on_it() -> None:
    """Between the choice and the start of a node the port of another cluster, or of a connection, must not be this."""
    (port,) = free_ports(1)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)):  # with SO_REUSEADDR, as servers do
        assert not is_free(port)


def test_a_cluster_says_at_once_which_of_its_nodes_ended(tmp_path: Path) -> None:
    client, peers = free_ports(3), free_ports(3)
    with (
        socket.create_server(("127.0.0.1", peers[2])),
        pytest.raises(NodeFailed, match=r"node3 ended: .* in use"),
        LocalCluster(tmp_path, client_ports=client, peer_ports=peers),
    ):
        """It never serves."""


def test_a_node_that_ends_says_its_last_line_and_where_its_log_is(tmp_path: Path) -> None:
    node = LocalNode("n", 1, ["--heartbeat-interval=x"], tmp_path / "n.log")
    node.start()
    with pytest.raises(NodeFailed, match=r"n ended: ratified: error: flag --heartbeat-interval: 'x' .*n\.log"):
        node.wait_ready()
    assert node.wait_stopped() == 1
    assert "'x' is not a whole number" in node.log_file.read_text()


def keep(failure: BaseException | None) -> Path:
    """The scratch directory of a block that ended in this way."""
    try:
        with scratch_directory("ratified-test-") as directory:
            (directory / "file").write_text("")
            if failure is not None:
                raise failure
    except (NodeFailed, KeyboardInterrupt):
        return directory
    return directory


def test_a_scratch_directory_is_kept_only_where_a_node_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert not keep(None).exists()
    assert not keep(KeyboardInterrupt()).exists()
    assert (keep(NodeFailed("n ended")) / "file").exists()
