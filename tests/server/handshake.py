"""A handshake of Python's own TLS, and a byte each way."""

from __future__ import annotations

import socket
import ssl
from threading import Thread

TIMEOUT_S = 20


def talk(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> tuple[str, list[str]]:
    """One byte from a client to a server and back: what the client says at the end, and what the server."""
    here, there = socket.socketpair()
    said: list[str] = []

    def serve() -> None:
        try:
            with server.wrap_socket(there, server_side=True) as opened:
                opened.sendall(opened.recv(1))
                said.append("served")
        except OSError as error:
            said.append(str(error))
        finally:
            there.close()

    here.settimeout(TIMEOUT_S)
    there.settimeout(TIMEOUT_S)
    serving = Thread(target=serve)
    serving.start()
    try:
        with here, client.wrap_socket(here, server_hostname=host) as opened:
            opened.sendall(b"x")
            told = "answered" if opened.recv(1) == b"x" else "closed"
    except OSError as error:
        told = str(error)
    serving.join()
    return told, said
