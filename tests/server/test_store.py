"""Real server processes whose store's file was cut, or exchanged for a copy that was made while it was written."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

from ratified.client import Client, Unavailable
from ratified.testing.processes import LocalNode
from tests.server.test_process import Place

KEYS = 200


def stop(node: LocalNode) -> int | None:
    node.terminate()
    return node.wait_stopped()


def fill(node: LocalNode, value: str) -> None:
    with Client([node.endpoint]) as client:
        for number in range(KEYS):
            client.put(f"k{number}", value)


def assert_whole_after_a_rebuild(node: LocalNode, value: str, why: str) -> None:
    """Start it: it says once that and why the store was rebuilt, and has every key."""
    before = len(node.log_file.read_text())
    node.start()
    node.wait_ready()
    with Client([node.endpoint]) as client:
        assert [pair.value for pair in client.range("k", prefix=True).pairs] == [value.encode()] * KEYS
    said = node.log_file.read_text()[before:]
    assert said.count("the store is built from the log") == 1
    assert why in said


def test_a_store_that_was_cut_after_a_clean_stop_is_rebuilt(tmp_path: Path) -> None:
    place = Place(tmp_path)
    data = place.data / "store" / "data.mdb"
    with place.serving() as node:
        fill(node, "x" * 500)
    os.truncate(data, data.stat().st_size // 2)
    assert_whole_after_a_rebuild(node, "x" * 500, "its file was cut")
    assert stop(node) == 0


def test_a_hot_copy_that_was_restored_in_place_is_not_used(tmp_path: Path) -> None:
    place = Place(tmp_path)
    data = place.data / "store" / "data.mdb"
    with place.serving() as node:
        fill(node, "old" * 100)
        shutil.copyfile(data, tmp_path / "copy")
        fill(node, "new" * 100)
    shutil.copyfile(tmp_path / "copy", data)
    assert_whole_after_a_rebuild(node, "new" * 100, "its file was exchanged")
    assert stop(node) == 0


def test_a_store_that_is_cut_while_it_serves_ends_the_process_with_a_word(tmp_path: Path) -> None:
    place = Place(tmp_path)
    data = place.data / "store" / "data.mdb"
    node = place.node()
    node.start()
    node.wait_ready()
    fill(node, "x" * 500)
    os.truncate(data, 8192)
    with Client([node.endpoint], timeout_s=2) as client, contextlib.suppress(Unavailable):
        client.range("k", prefix=True)
    assert node.wait_stopped() == -signal.SIGBUS
    assert "Fatal Python error: Bus error" in node.log_file.read_text()
    assert_whole_after_a_rebuild(node, "x" * 500, "its file was cut")
    assert stop(node) == 0
