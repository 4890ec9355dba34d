"""A trace of a run, for people and for a viewer: one JSON object a line, in the order in which things happened.

Every line has ``t`` (virtual microseconds), ``m`` (the member, 0 for the world) and ``what``; the rest depends on it. A
trace only looks: with it and without it a run is the same.
"""

from __future__ import annotations

from typing import IO

import msgspec


class Trace:
    """Writes a line an event, or nothing at all where there is no file."""

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self._file = file
        self._encode = msgspec.json.Encoder().encode

    @property
    def on(self) -> bool:
        """Is anybody reading? Asked before work is done for a line."""
        return self._file is not None

    def event(self, now: int, member: int, what: str, **details: object) -> None:
        """One line."""
        if self._file is not None:
            self._file.write(self._encode({"t": now, "m": member, "what": what, **details}) + b"\n")
