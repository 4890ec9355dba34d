"""A stream of messages both ways, as a handler sees it; each transport brings its own."""

from __future__ import annotations

from typing import Protocol

from ratified.runtime import Reader


class BidiStream(Protocol):
    """One call's messages, as bytes. ``send`` waits while the client does not take them."""

    async def receive(self) -> bytes | None:
        """The next message; None: the client sends no more."""

    async def send(self, message: bytes) -> None: ...

    def reads_by(self, reader: Reader) -> None:
        """What is to be sent waits in this reader: it is held for the client too."""
