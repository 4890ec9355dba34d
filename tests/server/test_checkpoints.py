"""Real server processes whose log is cut: what they come back from after a kill, and after the loss of the machine."""

from __future__ import annotations

import time
from pathlib import Path

from ratified.client import Client
from ratified.storage.format import segment_number
from ratified.testing.processes import LocalNode
from tests.server.test_process import TIMEOUT_S, Place

KEYS = 40
VALUE = "x" * 50_000
SMALL_LOG = ("--checkpoint-log-bytes=1048576",)


def segments(place: Place) -> list[int]:
    return sorted(number for path in place.data.iterdir() if (number := segment_number(path.name)) is not None)


def overwrite(node: LocalNode, rounds: int) -> None:
    with Client([node.endpoint]) as client:
        for number in range(rounds):
            client.put(f"k{number % KEYS:02}", f"{number} {VALUE}")


def values(node: LocalNode) -> list[int]:
    with Client([node.endpoint]) as client:
        return [int(pair.value.split()[0]) for pair in client.range("k", prefix=True).pairs]


def wait_for_cut(place: Place) -> None:
    """Until the first segments are gone and no checkpoint is being taken."""
    deadline = time.monotonic() + TIMEOUT_S
    while segments(place)[0] == 1 or (place.data / "checkpoint.new").exists():
        assert time.monotonic() < deadline, segments(place)
        time.sleep(0.02)


def test_a_cut_log_and_a_store_survive_a_kill(tmp_path: Path) -> None:
    place = Place(tmp_path)
    node = place.node(*SMALL_LOG)
    node.start()
    node.wait_ready()
    overwrite(node, 3 * KEYS)
    wait_for_cut(place)
    with Client([node.endpoint]) as client:
        assert client.report(node.endpoint).checkpoint_bytes > 0
    node.kill()
    node.wait_stopped()
    before = len(node.log_file.read_text())
    node.start()
    node.wait_ready()
    assert values(node) == list(range(2 * KEYS, 3 * KEYS))
    assert "the store is built" not in node.log_file.read_text()[before:]
    node.terminate()
    assert node.wait_stopped() == 0


def lose_machine(place: Place) -> None:
    """As after a power failure: the store's mark is of another boot, and its file may be torn."""
    mark = place.data / "store" / "mark"
    mark.write_bytes(mark.read_bytes()[:-4] + b"lost")


def test_the_loss_of_the_machine_is_survived_from_checkpoint_and_log(tmp_path: Path) -> None:
    place = Place(tmp_path)
    node = place.node(*SMALL_LOG)
    node.start()
    node.wait_ready()
    overwrite(node, 3 * KEYS)
    wait_for_cut(place)
    node.kill()
    node.wait_stopped()
    lose_machine(place)
    node.start()
    node.wait_ready()
    assert values(node) == list(range(2 * KEYS, 3 * KEYS))
    assert "it begins as the checkpoint's copy" in node.log_file.read_text()
    node.terminate()
    assert node.wait_stopped() == 0


def test_a_checkpoint_that_does_not_read_is_said_so_and_replaced(tmp_path: Path) -> None:
    place = Place(tmp_path)
    checkpoint = place.data / "checkpoint"
    with place.serving(*SMALL_LOG) as node:
        overwrite(node, 3 * KEYS)
        wait_for_cut(place)
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-1])
    (place.data / "checkpoint.new").write_bytes(b"left by a copy that was interrupted")
    with place.serving(*SMALL_LOG) as node:
        assert "the checkpoint cannot be used, and another one is taken later" in node.log_file.read_text()
        overwrite(node, 3 * KEYS)
        wait_for_cut(place)
        assert len(checkpoint.read_bytes()) > len(whole) // 2
        assert checkpoint.read_bytes()[-64:] != whole[-65:-1]


def test_a_store_that_lacks_what_the_log_has_lost_refuses_the_start(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with place.serving(*SMALL_LOG) as node:
        overwrite(node, 3 * KEYS)
        wait_for_cut(place)
    lose_machine(place)
    checkpoint = place.data / "checkpoint"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(b"rotten" + whole[6:])
    node.start()
    assert node.wait_stopped() == 1
    said = node.log_file.read_text()
    assert "the checkpoint cannot be used: the copy of the store has another checksum" in said
    assert "Put file 'checkpoint' back" in said
    checkpoint.write_bytes(whole)
    lose_machine(place)
    node.start()
    node.wait_ready()
    assert values(node) == list(range(2 * KEYS, 3 * KEYS))
    node.terminate()
    assert node.wait_stopped() == 0
