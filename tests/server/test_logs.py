"""Whoever reads the server's log may stand still: the server goes on."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from ratified.client import Client
from ratified.server import logs
from ratified.testing.processes import free_ports

log = logging.getLogger("ratified.test")
PIPE_BYTES = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe that is full after few lines."""
    before, level = logging.root.handlers[:], logging.root.level
    ends = small_pipe()
    yield ends
    logging.root.handlers, logging.root.level = before, level
    os.close(ends[0])


def small_pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reading, writing


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def read_until(reading: int, text: bytes) -> bytes:
    taken = b""
    while text not in taken:
        more = os.read(reading, 65536)
        assert more, taken
        taken += more
    return taken


def test_lines_are_written_in_order_and_all_of_them_at_the_end(pipe: tuple[int, int]) -> None:
    with logs.logging_to([pipe[1]], logging.INFO):
        for number in range(20):
            log.info("line %d", number)
        log.debug("not this one")
    lines = read_until(pipe[0], b"line 19\n").decode().splitlines()
    assert [line.split("ratified.test: ")[1] for line in lines] == [f"line {number}" for number in range(20)]


def test_who_logs_never_waits_and_what_was_dropped_is_said(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOG_LINES_MAX", 50)
    monkeypatch.setattr(logs, "LIKE_LINES_MAX", 10_000)
    monkeypatch.setattr(logs, "LOG_END_S", 30)
    began = time.monotonic()
    with ThreadPoolExecutor() as reader:
        with logs.logging_to([pipe[1]], logging.INFO):
            for number in range(2_000):
                log.info("line %d", number)
            assert time.monotonic() - began < 5
            reading = reader.submit(read_until, pipe[0], b"the end")
        os.write(pipe[1], b"the end")
        taken = reading.result()
    said = [line.split(": ")[1] for line in taken.decode().splitlines() if "were dropped here" in line]
    written = taken.count(b": line ")
    assert written + sum(int(text.split()[0]) for text in said) == 2_000
    assert 50 <= written < 500


def test_the_end_does_not_wait_for_a_reader_for_ever(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_END_S", 0.2)
    began = time.monotonic()
    with logs.logging_to([pipe[1]], logging.INFO):
        for number in range(99):
            log.info("line %d %s", number, "x" * 100)
    logging.shutdown()
    assert 0.2 <= time.monotonic() - began < 5
    read_until(pipe[0], b"line 98")


def test_each_output_gets_all_lines_though_another_one_stands_still(pipe: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    with logs.logging_to([pipe[1], str(path)], logging.INFO):
        for number in range(99):
            log.info("line %d %s", number, "x" * 100)
        until(lambda: path.read_text().count("\n") == 99)
    assert path.stat().st_mode & 0o777 == 0o600
    read_until(pipe[0], b"line 98")


def test_a_file_that_was_moved_away_is_made_anew(
    pipe: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_LOOK_S", 0.0)
    path, moved = tmp_path / "server.log", tmp_path / "server.log.1"
    with logs.logging_to([str(path)], logging.INFO):
        log.info("before")
        until(lambda: "before" in path.read_text())
        path.rename(moved)
        log.info("after")
        until(lambda: path.exists() and "after" in path.read_text())
    assert "after" not in moved.read_text()


def test_a_file_that_cannot_be_written_is_said(pipe: tuple[int, int], tmp_path: Path) -> None:
    with (
        pytest.raises(logs.LogOutputError, match=f"cannot log to {tmp_path}: Is a directory"),
        logs.logging_to([str(tmp_path)], logging.INFO),
    ):
        pass


def test_lines_of_json_have_what_etcds_have_and_what_they_are_about(pipe: tuple[int, int]) -> None:
    with logs.logging_to([pipe[1]], logging.INFO, "json"):
        log.warning("%d of them, \n in two lines", 3, extra={"fields": {"took_ms": 7}})
        try:
            raise ValueError("wrong")
        except ValueError:
            log.exception("it failed")
        log.error("the end")
    first, second, _ = (json.loads(line) for line in read_until(pipe[0], b"the end").splitlines())
    assert datetime.fromisoformat(first.pop("ts")).tzinfo is not None
    assert first.pop("caller").startswith("test_logs.py:")
    assert first == {"level": "warn", "logger": "ratified.test", "msg": "3 of them, \n in two lines", "took_ms": 7}
    assert second["level"] == "error"
    assert "ValueError: wrong" in second["error"]


def test_of_lines_that_say_the_same_few_are_written_a_second(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LIKE_LINES_MAX", 5)
    monkeypatch.setattr(logs, "TEXTS_MAX", 2)
    now = [100.5]
    monkeypatch.setattr(time, "time", lambda: now[0])
    with logs.logging_to([pipe[1]], logging.INFO):
        for number in range(10):
            log.info("stranger %d", number)
        log.info("something else")
        for number in range(10):
            log.info(f"made up {number}")  # each a text of its own
        now[0] += 1
        log.info("stranger again")
        log.info("the end")
    text = read_until(pipe[0], b"the end").decode()
    assert text.count("stranger ") == 5 + 1
    assert text.count("made up") == 5
    assert text.count("5 lines were left out here") == 2
    assert text.count("something else") == 1


def test_a_server_whose_log_nobody_reads_serves_and_stops(tmp_path: Path) -> None:
    reading, writing = small_pipe()
    client_port, peer_port = free_ports(2)
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ratified",
            "serve",
            f"--data-dir={tmp_path / 'data'}",
            f"--listen-client-urls=http://127.0.0.1:{client_port}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            "--log-level=debug",
        ],
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    try:
        read_until(reading, b"ready to serve")
        with Client([f"127.0.0.1:{client_port}"]) as client:
            for number in range(100):  # each a line, of a stranger from another address
                annoy(f"127.0.0.{2 + number}", peer_port)
                if number % 10 == 9:
                    client.put("k", str(number))
            pair = client.get("k")
            assert pair is not None
            assert pair.value == b"99"
        server.terminate()
        assert server.wait(15) == 0
    finally:
        server.kill()
        server.wait()
        os.close(reading)


def annoy(address: str, port: int) -> None:
    with socket.socket() as stranger:
        stranger.bind((address, 0))
        stranger.connect(("127.0.0.1", port))
        stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
        stranger.settimeout(5)
        try:
            while stranger.recv(100):
                pass
        except OSError:
            pass
