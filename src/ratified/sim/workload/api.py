"""How clients put single-key calls to what a cluster replicates, whichever it is."""

from __future__ import annotations

from typing import Protocol

from ratified.check.register import Call, Result


class RegisterApi(Protocol):
    def command(self, key: bytes, call: Call, tag: bytes) -> bytes:
        """The command for a write; ``tag`` tells it from all others where the call does not."""

    def query(self, key: bytes) -> bytes:
        """The request for a read."""

    def answer(self, call: Call, reply: bytes) -> tuple[Result, int, bool]:
        """Result, revision, and whether the revision is this call's own."""
