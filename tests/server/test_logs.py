"""Whoever reads the server's log may stand still: the server goes on."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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


def read_until(reading: int, text: bytes) -> bytes:
    taken = b""
    while text not in taken:
        more = os.read(reading, 65536)
        assert more, taken
        taken += more
    return taken


def test_lines_are_written_in_order_and_all_of_them_at_the_end(pipe: tuple[int, int]) -> None:
    with logs.logging_to(pipe[1], logging.INFO):
        for number in range(20):
            log.info("line %d", number)
        log.debug("not this one")
    lines = read_until(pipe[0], b"line 19\n").decode().splitlines()
    assert [line.split("ratified.test: ")[1] for line in lines] == [f"line {number}" for number in range(20)]


def test_who_logs_never_waits_and_what_was_dropped_is_said(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOG_LINES_MAX", 50)
    monkeypatch.setattr(logs, "LOG_END_S", 30)
    began = time.monotonic()
    with ThreadPoolExecutor() as reader:
        with logs.logging_to(pipe[1], logging.INFO):
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
    with logs.logging_to(pipe[1], logging.INFO):
        for number in range(1_000):
            log.info("line %d", number)
    logging.shutdown()
    assert 0.2 <= time.monotonic() - began < 5
    read_until(pipe[0], b"line 999")


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
