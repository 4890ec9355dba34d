"""Sockets in the file system, for clients on this machine. Who may connect is who may write to the file."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path


class UnixSocket:
    """A listening socket, and its file."""

    def __init__(self, path: str, backlog: int) -> None:
        """Bind it and listen; a file that a process left there which has ended gives way. Raises ``OSError``."""
        self._path = Path(path)
        if _is_left_over(path):
            self._path.unlink()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.bind(path)
            self.socket.listen(backlog)  # at once: one on which nobody listens is taken for left over
            self._file = self._path.stat()
        except OSError:
            self.socket.close()
            raise

    def remove(self) -> None:
        """Remove the file, unless another one has taken its place."""
        if self._path.exists() and os.path.samestat(self._path.stat(), self._file):
            self._path.unlink()


def _is_left_over(path: str) -> bool:
    """Is a socket there on which nobody listens?"""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except (FileNotFoundError, BlockingIOError):  # of these the latter has more callers than it takes
        return False
    return False
