"""The server's log: lines on its standard error, written by a thread of their own.

Rules of this file:

1. Whoever logs never waits. What the reader of it has not taken waits in a queue of at most
   ``LOG_LINES_MAX`` lines; a line that does not fit is dropped and counted, and the count is logged in its place.
2. The thread alone writes, with no buffer and no lock that anybody else could need, so a reader that stands still
   holds up nothing: not a turn, not a signal, not the end of the process.
3. At its end the process waits at most ``LOG_END_S`` for what is queued to be written.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener

from typing_extensions import override

LOG_LINES_MAX = 10_000
"""Lines that may wait to be written."""
LOG_END_S = 1.0
"""How long the end of the process waits for the last lines to be written, in seconds."""

_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S"


class _Lines(QueueHandler):
    """Where all loggers put their lines."""

    def __init__(self, lines: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__(lines)
        self.dropped = 0

    @override
    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class _Writer(logging.Handler):
    """Writes lines to a file descriptor as they are, on the one thread that has it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(_FORMAT, _TIME))
        self._descriptor = descriptor

    @override
    def createLock(self) -> None:
        # logging.shutdown takes every handler's lock: that of one whose write never returns would hang the end.
        self.lock = None

    @override
    def handle(self, record: logging.LogRecord) -> bool:
        self.emit(record)
        return True

    @override
    def emit(self, record: logging.LogRecord) -> None:
        line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            pass  # nobody is left who could read it


class _Listener(QueueListener):
    """Takes lines from the queue to the writer, and says where some were dropped."""

    def __init__(self, lines: queue.Queue[logging.LogRecord | None], source: _Lines, writer: _Writer) -> None:
        super().__init__(lines, writer)
        self._lines = lines
        self._source = source
        self._writer = writer
        self._told = 0

    @override
    def handle(self, record: logging.LogRecord) -> None:
        super().handle(record)
        dropped = self._source.dropped
        if dropped > self._told:
            self._writer.handle(_dropped(dropped - self._told))
            self._told = dropped

    @override
    def enqueue_sentinel(self) -> None:
        self._lines.put(None)  # waits for room, other than the inherited one

    def stop_within(self, seconds: float) -> None:
        """Have everything written that is queued, and end; not later than this."""
        stopping = threading.Thread(target=self.stop, name="ratified-log-end", daemon=True)
        stopping.start()
        stopping.join(seconds)


@contextmanager
def logging_to(descriptor: int, level: int) -> Iterator[None]:
    """Log to a file descriptor, and wait for none who reads it."""
    lines: queue.Queue[logging.LogRecord | None] = queue.Queue(LOG_LINES_MAX)
    handler = _Lines(lines)
    listener = _Listener(lines, handler, _Writer(descriptor))
    logging.basicConfig(handlers=[handler], level=level, format="%(message)s", force=True)
    listener.start()
    try:
        yield
    finally:
        listener.stop_within(LOG_END_S)


def _dropped(count: int) -> logging.LogRecord:
    text = "%d lines were dropped here: whoever reads this log did not take them in time"
    return logging.LogRecord("ratified.server", logging.WARNING, __file__, 0, text, (count,), None)
