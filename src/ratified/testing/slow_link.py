"""A link with a bandwidth, between real processes: a proxy on loopback that carries so many bytes a second.

Each connection has two directions, each as fast as the link. What a direction cannot carry yet stays with its
sender: the proxy reads no more than it may pass on, so that a full pipe pushes back as a real one does.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STEP_S = 0.005
"""How often a direction passes on what it may."""
BUFFER_BYTES = 32 << 10
"""What the kernel holds at each end of a direction, as far as it can be told."""


class SlowLink:
    """Listens on ``port``; what connects is carried to ``target`` and back. The rate may be changed at any time."""

    def __init__(self, target: int, bytes_per_second: int) -> None:
        self.bytes_per_second = bytes_per_second
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._open: list[socket.socket] = []
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where to connect instead of to the target."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Carry nothing more."""
        self._closed = True
        for each in (self._listener, *self._open):
            _end(each)

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket()
            self._open += [near, far]
            try:
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
                far.connect(("127.0.0.1", self._target))
            except OSError:
                _end(near)
                _end(far)
                continue
            for source, sink in ((near, far), (far, near)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        free_at = time.monotonic()
        try:
            while not self._closed:
                data = source.recv(max(int(self.bytes_per_second * STEP_S), 1))
                if not data:
                    break
                free_at = max(free_at, time.monotonic()) + len(data) / self.bytes_per_second
                time.sleep(max(free_at - time.monotonic(), 0.0))
                sink.sendall(data)
        except OSError:
            pass
        finally:
            _end(source)
            _end(sink)


@contextmanager
def slow_link(target: int, bytes_per_second: int) -> Iterator[SlowLink]:
    link = SlowLink(target, bytes_per_second)
    try:
        yield link
    finally:
        link.close()


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
