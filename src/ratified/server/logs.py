"""The server's log: lines on one or more outputs, each written by a thread of its own.

Rules of this file:

1. Whoever logs never waits. What an output has not taken waits in a queue of at most ``LOG_LINES_MAX`` lines; a line
   that does not fit is dropped and counted, and the count is logged in its place. One output holds up no other.
2. The thread alone writes, with no buffer and no lock that anybody else could need, so a reader that stands still
   holds up nothing: not a turn, not a signal, not the end of the process.
3. Of lines that say the same about different things (one text with different values) at most ``LIKE_LINES_MAX`` are
   written within a second, and how many were left out is logged with the next one.
4. A file that was moved away or removed is made anew, so whoever rotates logs need not tell the server.
5. At its end the process waits at most ``LOG_END_S`` for what is queued to be written.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

import msgspec
from typing_extensions import override

LOG_LINES_MAX = 10_000
"""Lines that may wait to be written to one output."""
LOG_END_S = 1.0
"""How long the end of the process waits for the last lines to be written, in seconds."""
LIKE_LINES_MAX = 100
"""Lines of one text, with whatever values, within a second."""
TEXTS_MAX = 1_000
"""Texts whose lines are counted within a second; beyond it all further ones count as one."""
FILE_LOOK_S = 1.0
"""How often it is looked whether a file is still where it was."""
FORMATS = ("console", "json")

_CONSOLE = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S"


class LogOutputError(Exception):
    """A file that the log cannot be written to; one line."""


class JsonFormatter(logging.Formatter):
    """A line is an object with ``level``, ``ts``, ``logger``, ``caller`` and ``msg``, as etcd's lines have them, with
    what the record has in ``fields``, and ``error`` where there was an exception."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "logger": record.name,
            "caller": f"{record.filename}:{record.lineno}",
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class _Output(Protocol):
    """Where lines go."""

    def descriptor(self) -> int:
        """The one to write to now. Raises ``OSError``."""


class _Stream:
    """A descriptor that is there from the start."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def descriptor(self) -> int:
        return self._descriptor


class _File:
    """A file by its path, to which lines are appended."""

    def __init__(self, path: str) -> None:
        """Raises ``LogOutputError``."""
        self._path = path
        self._looked_at = time.monotonic()
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise LogOutputError(
                f"cannot log to {path}: {error.strerror}: give --log-outputs a file that can be written"
            ) from error

    def descriptor(self) -> int:
        now = time.monotonic()
        if now >= self._looked_at + FILE_LOOK_S:
            self._looked_at = now
            if not self._is_there():
                opened = self._open()
                os.close(self._descriptor)
                self._descriptor = opened
        return self._descriptor

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


class _Writer:
    """Takes lines to one output, on a thread of its own."""

    def __init__(self, output: _Output, dropped_line: Callable[[int], bytes]) -> None:
        self._output = output
        self._dropped_line = dropped_line
        self._lines: queue.Queue[bytes | None] = queue.Queue(LOG_LINES_MAX)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="ratified-log", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def stop(self) -> None:
        """Have everything written that is queued, and end."""
        self._lines.put(None)
        self._thread.join()

    def _run(self) -> None:
        told = 0
        while (line := self._lines.get()) is not None:
            self._write(line)
            if (dropped := self._dropped) > told:
                self._write(self._dropped_line(dropped - told))
                told = dropped

    def _write(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self._output.descriptor(), line) :]
        except OSError:
            pass  # nobody is left who could read it


class _Lines(logging.Handler):
    """Where all loggers put their lines."""

    def __init__(self, outputs: Sequence[_Output], formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._writers = [_Writer(output, self._dropped_line) for output in outputs]
        self._second = 0
        self._like: dict[object, int] = {}
        """Lines of each text in this second."""
        self._left_out = 0

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if self._is_one_too_many(record):
            self._left_out += 1
            return
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            self._put(
                _warning("%d lines were left out here: more than %d like them a second", left_out, LIKE_LINES_MAX)
            )
        self._put(record)

    def stop_within(self, seconds: float) -> None:
        """Have everything written that is queued, and end; not later than this."""
        stopping = [threading.Thread(target=each.stop, name="ratified-log-end", daemon=True) for each in self._writers]
        for each in stopping:
            each.start()
        until = time.monotonic() + seconds
        for each in stopping:
            each.join(max(until - time.monotonic(), 0))

    def _put(self, record: logging.LogRecord) -> None:
        line = self._encoded(record)
        for writer in self._writers:
            writer.put(line)

    def _is_one_too_many(self, record: logging.LogRecord) -> bool:
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._like.clear()
        text: object = (record.name, record.msg)
        if text not in self._like and len(self._like) >= TEXTS_MAX:
            text = None
        like = self._like[text] = self._like.get(text, 0) + 1
        return like > LIKE_LINES_MAX

    def _encoded(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(errors="backslashreplace")

    def _dropped_line(self, count: int) -> bytes:
        return self._encoded(
            _warning("%d lines were dropped here: whoever reads this log did not take them in time", count)
        )


@contextmanager
def logging_to(outputs: Sequence[str | int], level: int, format_: str = "console") -> Iterator[None]:
    """Log to ``stderr``, ``stdout``, files or file descriptors, and wait for none who reads it.

    Raises ``LogOutputError`` where a file cannot be written.
    """
    formatter = JsonFormatter() if format_ == "json" else logging.Formatter(_CONSOLE, _TIME)
    handler = _Lines([_output(each) for each in outputs], formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    try:
        yield
    finally:
        handler.stop_within(LOG_END_S)


def _output(name: str | int) -> _Output:
    match name:
        case "stderr":
            return _Stream(sys.stderr.fileno())
        case "stdout":
            return _Stream(sys.stdout.fileno())
        case str():
            return _File(name)
        case _:
            return _Stream(name)


def _warning(text: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("ratified.server", logging.WARNING, __file__, 0, text, values, None)
